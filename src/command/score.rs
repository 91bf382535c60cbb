//! `portfolio score`: how good are outputs that were recorded earlier? Nothing is contacted.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::out;
use crate::evaluator::extract::Extractor;
use crate::evaluator::recorded::{self, Agreement, Compared, Counts, Flaw, Recorded, Suite};
use crate::plan::statistics::{Bounds, Confidence, Design, Estimate, Interval, Pairs, paired_variance};

/// Which outputs, and how they are scored.
#[derive(Args)]
pub struct Scored {
    /// The suite that the outputs answer: mmlu_pro.
    #[arg(long, value_name = "NAME")]
    suite: Suite,
    /// How the letter of an answer is found. first: by the first "answer is (X)", as lm-evaluation-harness does. three-step: by that, else by "Answer: X", else
    /// by the last letter that stands alone, as the benchmark's authors do. An output in which none is found is wrong, and never guessed.
    #[arg(long, value_name = "first|three-step")]
    extractor: Extractor,
    /// One JSON object a line with question_id, category, answer (the right letter), output (what the model said) and, if it is known, stored_pred (the letter
    /// that was found before); compressed with gzip or not.
    #[arg(long, value_name = "FILE")]
    recorded: PathBuf,
    /// Outputs of another model to the same questions: both are compared, question by question.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write one JSON object instead.
    #[arg(long)]
    json: bool,
}

/// The other model.
struct Baseline<'a> {
    path: &'a Path,
    recorded: Recorded,
    compared: Compared,
}

impl Scored {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        match self.read() {
            Ok((recorded, baseline)) => {
                out::line(&self.told(&recorded, baseline.as_ref())?)?;
                Ok(ExitCode::SUCCESS)
            }
            Err(flaw) => {
                eprintln!("{flaw}");
                Ok(ExitCode::from(2))
            }
        }
    }

    fn read(&self) -> Result<(Recorded, Option<Baseline<'_>>), Box<Flaw>> {
        let read = |path| recorded::read_file(path, self.suite, self.extractor);
        let recorded = read(&self.recorded)?;
        let Some(path) = &self.baseline else { return Ok((recorded, None)) };
        let other = read(path)?;
        let compared =
            recorded::compare(&recorded, &other).map_err(|invalid| Box::new(Flaw::of_file(&path.display().to_string(), invalid)))?;
        let baseline = Baseline {
            path,
            recorded: other,
            compared,
        };
        Ok((recorded, Some(baseline)))
    }

    /// What came of it, as it is written.
    fn told(&self, recorded: &Recorded, baseline: Option<&Baseline>) -> anyhow::Result<String> {
        if self.json {
            let mut object = as_json(self.suite, &self.recorded, recorded);
            object["suite"] = json!(self.suite.to_string());
            object["extractor"] = json!(self.extractor.to_string());
            object["confidence"] = json!(Confidence::P95.share());
            object["categories"] = recorded
                .categories()
                .into_iter()
                .map(|(name, counts)| category(name, counts))
                .collect();
            object["baseline"] = baseline.map_or(Value::Null, |baseline| as_json(self.suite, baseline.path, &baseline.recorded));
            object["comparison"] = baseline.map_or(Value::Null, |baseline| comparison(&baseline.compared));
            return serde_json::to_string_pretty(&object).context("writing the scores as JSON");
        }
        let mut text = format!("{}, extractor {}, intervals of 95 %\n\n", self.suite, self.extractor);
        text += &summary(self.suite, &self.recorded, recorded);
        text += &format!("\n{}", table(recorded));
        if let Some(baseline) = baseline {
            text += &format!(
                "\n{}\n{}",
                summary(self.suite, baseline.path, &baseline.recorded),
                paired(&baseline.compared)
            );
        }
        Ok(text.trim_end().to_owned())
    }
}

fn share(interval: Option<Interval>) -> Value {
    interval.map_or(
        Value::Null,
        |Interval { share, lower, upper }| json!({"value": share, "lower": lower, "upper": upper}),
    )
}

fn unparsed(counts: Counts) -> Option<Interval> {
    Interval::wilson(counts.unparsed, counts.rows())
}

fn as_json(suite: Suite, path: &Path, recorded: &Recorded) -> Value {
    let counts = recorded.counts();
    json!({
        "recorded": path.display().to_string(),
        "questions": suite.questions(),
        "rows": counts.rows(),
        "coverage": f64::from(counts.rows()) / f64::from(suite.questions()),
        "right": counts.right,
        "wrong": counts.wrong,
        "unparsed": counts.unparsed,
        "unparsedRate": share(unparsed(counts)),
        "accuracy": share(counts.accuracy()),
        "standardError": recorded.stratified().map(|estimate| estimate.standard_error),
        "storedPred": recorded.stored.map(|Agreement { lines, same }| json!({"rows": lines, "same": same})),
    })
}

fn category(name: &str, counts: Counts) -> Value {
    json!({
        "category": name, "rows": counts.rows(), "right": counts.right, "wrong": counts.wrong, "unparsed": counts.unparsed,
        "accuracy": share(counts.accuracy()),
    })
}

fn comparison(compared: &Compared) -> Value {
    let Compared {
        pairs,
        left_out,
        left_out_of_baseline,
    } = compared;
    let Pairs {
        both,
        only_candidate,
        only_baseline,
        neither,
    } = pairs;
    let difference = pairs.difference().zip(ends(pairs)).map(|(estimate, ends)| {
        json!({
            "value": estimate.value, "lower": ends.lower, "upper": ends.upper, "standardError": estimate.standard_error,
            "unpairedStandardError": pairs.unpaired_standard_error(), "smallestEffect": smallest_effect(pairs),
        })
    });
    json!({
        "shared": pairs.asked(),
        "onlyInRecorded": left_out,
        "onlyInBaseline": left_out_of_baseline,
        "bothRight": both,
        "onlyThisRight": only_candidate,
        "onlyBaselineRight": only_baseline,
        "neitherRight": neither,
        "difference": difference,
        "mcnemar": {"twoSided": pairs.p_differs(), "better": pairs.p_better(), "worse": pairs.p_worse()},
    })
}

/// The ends of the difference: those that also hold where few questions, or none, tell the models apart.
fn ends(pairs: &Pairs) -> Option<Bounds> {
    let Bounds { lower, upper } = pairs.adjusted_difference()?.interval(Confidence::P95);
    Some(Bounds {
        lower: lower.max(-1.0),
        upper: upper.min(1.0),
    })
}

/// The smallest loss, as a gate of one side looks for it, that so many questions, which tell the models apart so often, find in 80 of 100 runs.
fn smallest_effect(pairs: &Pairs) -> Option<f64> {
    // As for the ends: no models that differ are never told apart.
    let n = f64::from(pairs.asked()) + 2.0;
    let [better, worse] = [pairs.only_candidate, pairs.only_baseline].map(|count| (f64::from(count) + 1.0) / n);
    let (discordance, difference) = (better + worse, better - worse);
    Design::GATE.smallest_effect(paired_variance(discordance, difference), pairs.asked())
}

fn percent(share: f64) -> String {
    format!("{:.2}", share * 100.0)
}

/// `70.25 % (69.43 to 71.06)`.
fn percents(interval: Option<Interval>) -> String {
    interval.map_or_else(
        || "-".to_owned(),
        |Interval { share, lower, upper }| format!("{} % ({} to {})", percent(share), percent(lower), percent(upper)),
    )
}

fn summary(suite: Suite, path: &Path, recorded: &Recorded) -> String {
    let counts = recorded.counts();
    let coverage = f64::from(counts.rows()) / f64::from(suite.questions());
    let error = match recorded.stratified() {
        Some(Estimate { standard_error, .. }) => format!("standard error {:.3} points, by category", standard_error * 100.0),
        None => "standard error by category unknown: one has a single row".to_owned(),
    };
    let mut text = format!(
        "{}\n  rows      {:>6}  of {} questions, {} %\n  right     {:>6}\n  wrong     {:>6}\n  unparsed  {:>6}  {}, as good as wrong\n  accuracy  {}, {error}\n",
        path.display(),
        counts.rows(),
        suite.questions(),
        percent(coverage),
        counts.right,
        counts.wrong,
        counts.unparsed,
        percents(unparsed(counts)),
        percents(counts.accuracy()),
    );
    if let Some(Agreement { lines, same }) = recorded.stored {
        text += &format!("  stored_pred is the letter found on {same} of {lines} rows\n");
    }
    text
}

/// One line for each category.
fn table(recorded: &Recorded) -> String {
    let categories = recorded.categories();
    let width = categories
        .keys()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0)
        .max("category".len());
    let mut text = format!("{:width$}    rows   right   wrong  unparsed  accuracy\n", "category");
    for (name, counts) in categories {
        text += &format!(
            "{name:width$}  {:>6}  {:>6}  {:>6}  {:>8}  {}\n",
            counts.rows(),
            counts.right,
            counts.wrong,
            counts.unparsed,
            percents(counts.accuracy())
        );
    }
    text
}

fn paired(compared: &Compared) -> String {
    let pairs = &compared.pairs;
    let mut text = format!(
        "questions in both files: {}; only in the first: {}; only in the baseline: {}\n  both right           {:>6}\n  only the first       {:>6}\n  only the baseline    {:>6}\n  neither              {:>6}\n",
        pairs.asked(),
        compared.left_out,
        compared.left_out_of_baseline,
        pairs.both,
        pairs.only_candidate,
        pairs.only_baseline,
        pairs.neither,
    );
    if let (Some(difference), Some(ends), Some(unpaired), Some(smallest)) = (
        pairs.difference(),
        ends(pairs),
        pairs.unpaired_standard_error(),
        smallest_effect(pairs),
    ) {
        let points = |share: f64| format!("{:+.2}", share * 100.0);
        text += &format!(
            "  difference           {} points ({} to {})\n  its standard error   {:.3} points; unpaired it would be {:.3}\n",
            points(difference.value),
            points(ends.lower),
            points(ends.upper),
            difference.standard_error * 100.0,
            unpaired * 100.0,
        );
        text += &format!(
            "  smallest loss        {} points: what 80 of 100 such comparisons would find, of one side\n",
            percent(smallest)
        );
    }
    text + &format!(
        "  McNemar, exact       p {}; of one side: better {}, worse {}\n",
        p(pairs.p_differs()),
        p(pairs.p_better()),
        p(pairs.p_worse()),
    )
}

/// With four decimals; what would come to nothing by them is told as less.
fn p(p: f64) -> String {
    if p < 0.0001 { "< 0.0001".to_owned() } else { format!("{p:.4}") }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::fetch::tests::Scratch;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        score: Scored,
    }

    /// Two files in a folder of this test's own, of which the second is the baseline.
    fn told(recorded: &str, baseline: Option<&str>, args: &[&str]) -> Result<String, String> {
        let scratch = Scratch::new();
        let folder = scratch.path();
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let mut all = vec!["score".to_owned(), "--suite".to_owned(), "mmlu_pro".to_owned()];
        all.extend(["--recorded".to_owned(), write("this.jsonl", recorded)]);
        all.extend(
            baseline
                .into_iter()
                .flat_map(|text| ["--baseline".to_owned(), write("baseline.jsonl", text)]),
        );
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        let Arguments { score } = Arguments::parse_from(all);
        let read = score.read();
        let plain = |text: String| text.replace(&format!("{}/", folder.display()), "");
        let (recorded, baseline) = read.map_err(|flaw| plain(flaw.to_string()))?;
        Ok(plain(score.told(&recorded, baseline.as_ref()).unwrap()))
    }

    const TRICKY: &str = include_str!("../evaluator/recorded/tricky.jsonl");

    /// The baseline knows less, and has another question.
    fn baseline() -> String {
        let known = TRICKY
            .replace("J.\"}", "B.\"}")
            .replace("\"question_id\": 9", "\"question_id\": 99");
        known.replace("</think>So the answer is A", "</think>So the answer is C")
    }

    /// The last digits are the processor's.
    fn rounded(value: Value) -> Value {
        match value {
            Value::Object(members) => members.into_iter().map(|(name, value)| (name, rounded(value))).collect(),
            Value::Array(list) => list.into_iter().map(rounded).collect(),
            Value::Number(number) if number.is_f64() => json!((number.as_f64().unwrap() * 1e6).round() / 1e6),
            other => other,
        }
    }

    #[test]
    fn what_a_person_reads() {
        insta::assert_snapshot!(told(TRICKY, Some(&baseline()), &["--extractor", "three-step"]).unwrap());
    }

    #[test]
    fn what_a_machine_reads() {
        let text = told(TRICKY, Some(&baseline()), &["--extractor", "three-step", "--json"]).unwrap();
        let read = rounded(serde_json::from_str(&text).unwrap());
        insta::assert_snapshot!(serde_json::to_string_pretty(&read).unwrap());
        let alone: Value = serde_json::from_str(&told(TRICKY, None, &["--extractor", "first", "--json"]).unwrap()).unwrap();
        assert_eq!(
            (&alone["extractor"], &alone["right"], &alone["unparsed"]),
            (&json!("first"), &json!(2), &json!(7))
        );
        assert_eq!((&alone["baseline"], &alone["comparison"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn one_row_has_no_standard_error_and_a_small_p_is_not_told_as_none() {
        let row = r#"{"question_id": 1, "category": "math", "answer": "C", "output": "the answer is C"}"#;
        let text = told(row, Some(row), &["--extractor", "first"]).unwrap();
        assert!(text.contains("unknown: one has a single row"), "{text}");
        assert!(
            text.contains("questions in both files: 1; only in the first: 0;") && !text.contains("difference"),
            "{text}"
        );
        assert_eq!([0.00004, 0.0001, 0.5, 1.0].map(p), ["< 0.0001", "0.0001", "0.5000", "1.0000"]);
    }

    #[test]
    fn a_baseline_of_other_questions_is_refused() {
        let other = r#"{"question_id": 500, "category": "math", "answer": "C", "output": "C"}"#;
        assert_eq!(
            told(TRICKY, Some(other), &["--extractor", "first"]).unwrap_err(),
            "baseline.jsonl: question_id: none of its questions is in the file that is compared; name a baseline that answers the same questions"
        );
        let changed = TRICKY.replace("\"answer\": \"C\"", "\"answer\": \"D\"");
        assert_eq!(
            told(TRICKY, Some(&changed), &["--extractor", "first"]).unwrap_err(),
            "baseline.jsonl: answer: question 1 has the answer D here and C in the file that is compared; compare outputs for the same version of the suite"
        );
    }

    #[test]
    fn another_suite_or_extractor_is_refused_with_those_there_are() {
        let refused = |suite, extractor| {
            let args = ["score", "--suite", suite, "--extractor", extractor, "--recorded", "x"];
            Arguments::try_parse_from(args).err().unwrap().to_string()
        };
        assert!(refused("gpqa", "first").contains("'gpqa' for '--suite <NAME>': no such suite is known; write mmlu_pro"));
        assert!(refused("mmlu_pro", "last").contains("no such extractor is known; write first or three-step"));
    }
}
