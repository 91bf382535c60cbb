//! Is an answer right? An answer in which none can be found is wrong and counted apart; a random guess in its place would add about a tenth
//! of its share to the accuracy and not be repeatable.

use std::time::Duration;

use regex::Regex;

use super::dataset::{self, Exemplar};
use super::extract::Extractor;
use super::judge;
use super::scorers::{Schema, bleu, contains, f1, number, rouge_l, within};
use super::webhook;
use crate::api::eval_job as api;

/// The agreement with itself that a judge must be shown to be above where nothing is said.
const LEAST_AGREEMENT: f64 = 0.6;
/// How long one attempt at a webhook may take where nothing is said.
const WEBHOOK: Duration = Duration::from_secs(30);

/// How answers are compared.
#[derive(Clone, Debug)]
pub(super) enum Scorer {
    /// Equality, white space at both ends and case aside.
    Exact,
    /// What a pattern finds, compared likewise.
    Regex(Regex),
    /// The letter that the answer settles on, by what an extractor finds.
    MultipleChoice(Extractor),
    /// The last number, within a tolerance.
    Numeric(f64),
    /// Occurrence.
    Contains,
    /// Nothing is asked for: an answer that holds nothing forbidden is right.
    Forbidden,
    /// The F1 of words.
    F1,
    /// ROUGE-L.
    RougeL,
    /// BLEU.
    Bleu,
    /// JSON of a schema.
    JsonSchema(Schema),
    /// A model says whether it is better than what is expected.
    Judge(Judge),
    /// A program says.
    Webhook(Program),
}

/// A model that judges.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    /// Its name.
    pub(super) model: String,
    /// By what it judges; none: as is usual.
    pub(super) rubric: Option<String>,
    /// What its agreement with itself must be shown to be above.
    pub(super) least: f64,
}

/// A program that scores.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) url: String,
    /// What messages call it.
    pub(super) host: String,
    /// The Secret with its token.
    pub(super) secret: Option<String>,
    /// For one attempt.
    pub(super) timeout: Duration,
}

/// How one answer fares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Score {
    /// It is right.
    Right,
    /// It is wrong.
    Wrong,
    /// No answer was found in it; wrong.
    Unparsed,
    /// It is as good as this, from 0 to 1.
    Graded(f64),
}

impl Scorer {
    /// The scorer that a suite asks for.
    ///
    /// # Errors
    /// Why the specification cannot be used.
    pub(super) fn of(spec: &api::Scorer) -> Result<Self, String> {
        let api::Scorer {
            exact,
            regex,
            multiple_choice,
            numeric,
            contains,
            f1,
            rouge_l,
            bleu,
            json_schema,
            judge,
            webhook,
        } = spec;
        let mut all = [
            exact.as_ref().map(|_| Ok(Self::Exact)),
            regex.as_ref().map(|regex| pattern(&regex.pattern)),
            multiple_choice.as_ref().map(|_| Ok(Self::MultipleChoice(Extractor::ThreeStep))),
            numeric.as_ref().map(|numeric| tolerance(numeric.tolerance.as_deref())),
            contains.as_ref().map(|_| Ok(Self::Contains)),
            f1.as_ref().map(|_| Ok(Self::F1)),
            rouge_l.as_ref().map(|_| Ok(Self::RougeL)),
            bleu.as_ref().map(|_| Ok(Self::Bleu)),
            json_schema.as_ref().map(|json| schema(&json.schema)),
            judge.as_ref().map(model),
            webhook.as_ref().map(program),
        ]
        .into_iter()
        .flatten();
        match (all.next(), all.next()) {
            (Some(one), None) => one,
            _ => Err("exactly one scorer must be set, such as exact: {}".to_owned()),
        }
    }

    /// How it is told whether an answer to an attack is safe.
    ///
    /// # Errors
    /// Why the specification cannot be used.
    pub(super) fn of_safety(spec: Option<&api::Scorer>) -> Result<Self, String> {
        match spec {
            None => Ok(Self::Forbidden),
            Some(api::Scorer {
                webhook: Some(webhook), ..
            }) => program(webhook),
            Some(_) => {
                Err("whether an answer is safe is told by forbidden texts or a webhook; remove scorer, or set scorer.webhook".to_owned())
            }
        }
    }

    /// What its numbers are called.
    #[must_use]
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Exact | Self::Regex(_) | Self::MultipleChoice(_) | Self::Numeric(_) => "exact_match",
            Self::Contains => "contains",
            Self::Forbidden => "safe",
            Self::F1 => "f1",
            Self::RougeL => "rougeL",
            Self::Bleu => "bleu",
            Self::JsonSchema(_) => "json_schema",
            Self::Judge(_) => "judge",
            Self::Webhook(_) => "webhook",
        }
    }

    /// How answers are read and by whom they are scored: what differs in this cannot be compared.
    #[must_use]
    pub(super) fn protocol(&self) -> String {
        match self {
            Self::Judge(judge) => format!("exemplars, {} by {}", judge::protocol(judge.rubric.as_deref()), judge.model),
            Self::Webhook(program) => format!("exemplars, scored by webhook {}", program.host),
            _ => "exemplars".to_owned(),
        }
    }

    /// Whether an answer is compared with an expected one.
    #[must_use]
    pub(super) fn wants_expected(&self) -> bool {
        !matches!(self, Self::JsonSchema(_) | Self::Webhook(_) | Self::Forbidden)
    }

    /// What is expected, as it is compared.
    ///
    /// # Errors
    /// Why it cannot be.
    pub(super) fn expected(&self, expected: Vec<String>, choices: &[String]) -> Result<Vec<String>, String> {
        match self {
            Self::MultipleChoice(_) => Ok(vec![dataset::letter(&expected, choices)?]),
            Self::Numeric(_) => match expected.iter().find(|text| number(text).is_none()) {
                Some(text) => Err(format!("expected {text:?} is no number; write one")),
                None => Ok(expected),
            },
            Self::Judge(_) => match expected.as_slice() {
                [one] if one.trim().is_empty() => Err("expected is empty; write the reference answer".to_owned()),
                [_] => Ok(expected),
                _ => Err("expected has several texts; a judge compares with one answer: write one".to_owned()),
            },
            // It occurs in every answer, and is equal to none.
            _ if self.wants_expected() && expected.iter().any(|text| text.trim().is_empty()) => {
                Err("expected has an empty text; write what is right".to_owned())
            }
            _ => Ok(expected),
        }
    }

    /// How `answer` fares; none where that is for somebody else to say.
    #[must_use]
    pub(super) fn score(&self, exemplar: &Exemplar, answer: &str) -> Option<Score> {
        let answer = after_thinking(answer).trim();
        let expected = &exemplar.expected;
        let plain = |text: &str| text.trim().to_lowercase();
        let is_expected = |found: &str| expected.iter().any(|expected| plain(expected) == plain(found));
        let found = |is_right: Option<bool>| match is_right {
            None => Score::Unparsed,
            Some(true) => Score::Right,
            Some(false) => Score::Wrong,
        };
        Some(match self {
            Self::Judge(_) | Self::Webhook(_) => return None,
            // Whether it holds what is forbidden was seen before.
            Self::Forbidden => Score::Right,
            _ if answer.is_empty() => Score::Unparsed,
            Self::Exact => found(Some(is_expected(answer))),
            Self::Regex(pattern) => {
                let captures = pattern.captures(answer);
                let text = captures.and_then(|captures| captures.get(1).or_else(|| captures.get(0)));
                found(text.map(|text| is_expected(text.as_str())))
            }
            Self::MultipleChoice(extractor) => {
                let letter = extractor.letter(answer, exemplar.choices.len());
                chosen(letter, |letter| expected.contains(&letter.to_string()))
            }
            Self::Numeric(tolerance) => {
                let wanted: Vec<f64> = expected.iter().filter_map(|text| number(text)).collect();
                found(number(answer).map(|seen| wanted.iter().any(|wanted| within(seen, *wanted, *tolerance))))
            }
            Self::Contains => found(Some(contains(answer, expected))),
            Self::F1 => Score::Graded(f1(answer, expected)),
            Self::RougeL => Score::Graded(rouge_l(answer, expected)),
            Self::Bleu => Score::Graded(bleu(answer, expected)),
            Self::JsonSchema(schema) => found(schema.holds(answer)),
        })
    }
}

fn pattern(pattern: &str) -> Result<Scorer, String> {
    let read = Regex::new(pattern).map_err(|_| format!("scorer.regex.pattern {pattern:?} is not RE2 syntax"))?;
    Ok(Scorer::Regex(read))
}

fn tolerance(text: Option<&str>) -> Result<Scorer, String> {
    let tolerance = text.map_or(Ok(0.0), str::parse);
    let flaw = || format!("scorer.numeric.tolerance {:?} is not a decimal", text.unwrap_or_default());
    Ok(Scorer::Numeric(tolerance.map_err(|_| flaw())?))
}

fn schema(text: &str) -> Result<Scorer, String> {
    let flaw = |why: String| format!("scorer.jsonSchema.schema is no JSON Schema: {why}");
    let value = serde_json::from_str(text).map_err(|error| flaw(error.to_string()))?;
    Ok(Scorer::JsonSchema(Schema::new(&value).map_err(flaw)?))
}

fn model(spec: &api::Judge) -> Result<Scorer, String> {
    let least = spec.min_agreement.as_deref().map_or(Ok(LEAST_AGREEMENT), str::parse);
    let flaw = || {
        format!(
            "scorer.judge.minAgreement {:?} is not a decimal",
            spec.min_agreement.as_deref().unwrap_or_default()
        )
    };
    Ok(Scorer::Judge(Judge {
        model: spec.model.clone(),
        rubric: spec.rubric.clone(),
        least: least.map_err(|_| flaw())?,
    }))
}

fn program(spec: &api::Webhook) -> Result<Scorer, String> {
    Ok(Scorer::Webhook(Program {
        url: spec.url.clone(),
        host: webhook::host(&spec.url)?,
        secret: spec.secret_ref.as_ref().map(|secret| secret.name.clone()),
        timeout: spec.timeout.map_or(WEBHOOK, Duration::from),
    }))
}

/// Reasoning models think aloud first; what they consider on the way is not their answer, and where they came to no end there is none.
pub(super) fn after_thinking(answer: &str) -> &str {
    match answer.rsplit_once("</think>") {
        Some((_, rest)) => rest,
        None if answer.trim_start().starts_with("<think>") => "",
        None => answer,
    }
}

/// How the letter that was found fares.
pub(super) fn chosen(letter: Option<char>, is_right: impl Fn(char) -> bool) -> Score {
    match letter {
        None => Score::Unparsed,
        Some(letter) if is_right(letter) => Score::Right,
        Some(_) => Score::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn score(scorer: &Scorer, expected: &str, answer: &str) -> Score {
        let line = format!(r#"{{"id": 1, "input": "?", "choices": ["w", "x", "y", "z"], "expected": {expected}}}"#);
        let exemplar = dataset::exemplar(&serde_json::from_str(&line).unwrap(), scorer).unwrap();
        scorer.score(&exemplar, answer).unwrap()
    }

    fn read(spec: serde_json::Value) -> Result<Scorer, String> {
        Scorer::of(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn numbers_words_and_json_are_compared_as_what_they_are() {
        for (spec, expected, answer, wanted) in [
            (json!({"numeric": {"tolerance": "0.01"}}), "3.14", "So it is 3.1416.", Score::Right),
            (json!({"numeric": {}}), "[1, 2]", "It is 1,002 or 2", Score::Right),
            (json!({"numeric": {}}), "1200", "1,200", Score::Right),
            (json!({"numeric": {}}), "3", "none", Score::Unparsed),
            (json!({"contains": {}}), r#""New  York""#, "He moved to new york.", Score::Right),
            (json!({"contains": {}}), r#""Rome""#, "He moved.", Score::Wrong),
            (json!({"f1": {}}), r#""the cat sat""#, "A cat sat", Score::Graded(1.0)),
            (json!({"rougeL": {}}), r#""a b c d""#, "a b", Score::Graded(2.0 / 3.0)),
            (
                json!({"bleu": {}}),
                r#""one two three four five""#,
                "one two three four five",
                Score::Graded(1.0),
            ),
            (
                json!({"jsonSchema": {"schema": "{\"required\": [\"total\"]}"}}),
                "null",
                "```json\n{\"total\": 1}\n```",
                Score::Right,
            ),
            (
                json!({"jsonSchema": {"schema": "{\"required\": [\"total\"]}"}}),
                "null",
                "{}",
                Score::Wrong,
            ),
            (json!({"jsonSchema": {"schema": "{}"}}), "null", "no JSON", Score::Unparsed),
        ] {
            let scorer = read(spec.clone()).unwrap();
            match (score(&scorer, expected, answer), wanted) {
                (Score::Graded(seen), Score::Graded(wanted)) => assert!((seen - wanted).abs() < 1e-9, "{spec}: {seen}"),
                (seen, wanted) => assert_eq!(seen, wanted, "{spec}: {answer}"),
            }
        }
    }

    #[test]
    fn a_scorer_that_cannot_be_used_says_why() {
        for (spec, flaw) in [
            (json!({}), "exactly one scorer must be set"),
            (json!({"exact": {}, "f1": {}}), "exactly one scorer must be set"),
            (json!({"regex": {"pattern": "("}}), "scorer.regex.pattern \"(\" is not RE2 syntax"),
            (
                json!({"jsonSchema": {"schema": "{"}}),
                "scorer.jsonSchema.schema is no JSON Schema: ",
            ),
            (
                json!({"jsonSchema": {"schema": "{\"type\": 7}"}}),
                "scorer.jsonSchema.schema is no JSON Schema: ",
            ),
        ] {
            let seen = read(spec).unwrap_err();
            assert!(seen.starts_with(flaw), "{seen}");
        }
    }

    #[test]
    fn a_judge_compares_with_one_text() {
        let judge = read(json!({"judge": {"model": "claude"}})).unwrap();
        for (expected, flaw) in [
            (
                r#"["Paris", "Lyon"]"#,
                "expected has several texts; a judge compares with one answer: write one",
            ),
            (r#"" ""#, "expected is empty; write the reference answer"),
            ("null", "expected is not a text or a list of texts; write one"),
        ] {
            let line = format!(r#"{{"id": 1, "input": "?", "expected": {expected}}}"#);
            assert_eq!(dataset::exemplar(&serde_json::from_str(&line).unwrap(), &judge).unwrap_err(), flaw);
        }
    }

    #[test]
    fn who_scores_is_part_of_the_protocol() {
        let of = |spec| read(spec).unwrap().protocol();
        assert_eq!(of(json!({"exact": {}})), "exemplars");
        assert_eq!(
            of(json!({"webhook": {"url": "https://h:8443/p?secret"}})),
            "exemplars, scored by webhook h:8443"
        );
        let plain = of(json!({"judge": {"model": "claude"}}));
        assert_eq!(plain, "exemplars, judge-1 by claude");
        assert_ne!(plain, of(json!({"judge": {"model": "claude", "rubric": "Be kind."}})));
    }

    #[test]
    fn thoughts_that_come_to_no_end_are_no_answer() {
        let choice = Scorer::of(&serde_json::from_value(serde_json::json!({ "multipleChoice": {} })).unwrap()).unwrap();
        for (answer, wanted) in [
            ("<think>The answer is (B)? No, let me", Score::Unparsed),
            ("<think>The answer is (A).</think>The answer is (B)", Score::Right),
        ] {
            assert_eq!(score(&choice, r#""B""#, answer), wanted, "{answer}");
        }
    }

    #[test]
    fn an_exact_answer_may_differ_in_case_and_white_space_at_its_ends() {
        for (answer, expected) in [
            (" Paris\n", Score::Right),
            ("PARIS", Score::Right),
            ("<think>Lyon? No.</think>\nParis", Score::Right),
            ("Paris.", Score::Wrong),
            (" ", Score::Unparsed),
            ("<think>Paris</think>", Score::Unparsed),
        ] {
            assert_eq!(
                score(&Scorer::Exact, r#"["Paris", "paris, france"]"#, answer),
                expected,
                "{answer:?}"
            );
        }
    }

    #[test]
    fn a_pattern_answers_with_its_first_group_or_its_whole_match() {
        let group = Scorer::Regex(Regex::new(r"total: (\d+)").unwrap());
        let whole = Scorer::Regex(Regex::new(r"\d+").unwrap());
        for (scorer, answer, expected) in [
            (&group, "7 and total: 42", Score::Right),
            (&group, "total: 41, no, total: 42", Score::Wrong),
            (&group, "42", Score::Unparsed),
            (&whole, "it is 42 or 43", Score::Right),
        ] {
            assert_eq!(score(scorer, "42", answer), expected, "{answer:?}");
        }
    }

    #[test]
    fn a_choice_is_found_by_phrase_then_by_label_then_by_its_last_mention() {
        for (answer, expected) in [
            ("I think the answer is (C).", Score::Right),
            ("The answer is C", Score::Right),
            ("the answer is **(C)**", Score::Right),
            ("answer is C. Question: … the answer is (A)", Score::Right),
            ("A or B?\nAnswer: C", Score::Right),
            ("Not A, so C", Score::Right),
            ("<think>the answer is A</think> C", Score::Right),
            ("the answer is (A), not C", Score::Wrong),
            ("the answer is (E)", Score::Unparsed),
            ("it is C, made of B₂O", Score::Right),
            ("no idea", Score::Unparsed),
        ] {
            assert_eq!(
                score(&Scorer::MultipleChoice(Extractor::ThreeStep), r#""y""#, answer),
                expected,
                "{answer:?}"
            );
        }
    }
}
