use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A folder that is gone with its owner.
struct Folder(PathBuf);

impl Folder {
    fn of(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("portfolio-results-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(&folder.0).unwrap();
        for (name, text) in files {
            let path = folder.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn spec(rest: &str) -> External {
    serde_saphyr::from_str(&format!("{{image: e{rest}}}")).unwrap()
}

fn of(files: &[(&str, &str)], rest: &str) -> Result<Vec<Scored>, String> {
    read(&Folder::of(files).0, &spec(rest))
}

fn scored(id: &str, score: f64) -> Scored {
    Scored {
        id: id.to_owned(),
        score,
        cluster: None,
        stratum: None,
    }
}

const SAMPLES_OF_GSM8K: &str = "claims__llama/samples_gsm8k_cot_2026-05-02T02-00-00.123456.jsonl";

#[test]
fn scores_are_read_with_what_questions_belong_to() {
    let lines = "{\"id\": 7, \"score\": 0.25, \"cluster\": \"a\", \"stratum\": 3}\n\n{\"id\": \"b\", \"score\": true, \"cluster\": null}\n";
    let expected = [
        Scored {
            cluster: Some("a".to_owned()),
            stratum: Some("3".to_owned()),
            ..scored("7", 0.25)
        },
        scored("b", 1.0),
    ];
    assert_eq!(of(&[("scores.jsonl", lines)], "").unwrap(), expected);
}

#[test]
fn samples_of_the_harness_are_read_by_metric_and_filter_and_tasks_are_strata() {
    let line = |doc: u8, filter: &str, score: f64| {
        format!("{{\"doc_id\": {doc}, \"filter\": \"{filter}\", \"exact_match\": {score}, \"metrics\": [\"exact_match\"]}}\n")
    };
    let both = [line(0, "strict-match", 1.0), line(0, "flexible-extract", 0.0)].concat();
    let own = ", metric: exact_match, filter: flexible-extract";
    assert_eq!(of(&[(SAMPLES_OF_GSM8K, &both)], own).unwrap(), [scored("gsm8k_cot/0", 0.0)]);
    let other = line(0, "flexible-extract", 1.0);
    let files = [
        (SAMPLES_OF_GSM8K, &*both),
        ("claims__llama/samples_svamp_2026-05-02T02-00-00.1.jsonl", &*other),
    ];
    let strata: Vec<_> = of(&files, own).unwrap().into_iter().map(|s| (s.id, s.stratum.unwrap())).collect();
    let of = |id: &str, stratum: &str| (id.to_owned(), stratum.to_owned());
    assert_eq!(strata, [of("gsm8k_cot/0", "gsm8k_cot"), of("svamp/0", "svamp")]);
}

#[test]
fn each_flaw_is_told_with_file_line_and_remedy() {
    let scores = |lines: &str, rest: &str| of(&[("scores.jsonl", lines)], rest).unwrap_err();
    let two = "{\"doc_id\": 1, \"filter\": \"a\", \"acc\": 1, \"f1\": 0.5}\n{\"doc_id\": 1, \"filter\": \"b\", \"acc\": 1, \"f1\": 0.5}";
    let samples = |rest: &str| of(&[(SAMPLES_OF_GSM8K, two)], rest).unwrap_err();
    for (seen, says) in [
        (
            of(&[], "").unwrap_err(),
            "it left no lines in a samples_*.jsonl or scores.jsonl below the folder $(RESULTS); have it write one",
        ),
        (scores("", ""), "it left no lines"),
        (
            scores("{\"id\": 1, \"score\": 1}\n[]", ""),
            "scores.jsonl, line 2: it is no JSON object (at column 0); write one on each line",
        ),
        (
            scores("{\"id\": 1, \"score\": NaN}", ""),
            "scores.jsonl, line 1: it is no JSON object",
        ),
        (
            scores("{\"id\": 1, \"score\": 1.5}", ""),
            "scores.jsonl, line 1: its score is 1.5, and a score is from 0 to 1; name another",
        ),
        (
            scores("{\"id\": 1, \"score\": -0.1}", ""),
            "scores.jsonl, line 1: its score is -0.1, ",
        ),
        (
            scores("{\"id\": 1, \"score\": \"1\"}", ""),
            "scores.jsonl, line 1: its score is no number; write one from 0 to 1",
        ),
        (
            scores("{\"id\": 1, \"text\": \"x\"}", ""),
            "scores.jsonl, line 1: it has no score, and no other number; set external.metric",
        ),
        (
            scores("{\"score\": 1}", ""),
            "scores.jsonl, line 1: it has no id; add the question's id",
        ),
        (
            scores("{\"id\": 1.5, \"score\": 1}", ""),
            "scores.jsonl, line 1: its id is no whole number and no text",
        ),
        (
            scores("{\"id\": \"a\\nb\", \"score\": 1}", ""),
            "scores.jsonl, line 1: its id has control characters",
        ),
        (
            scores("{\"id\": 1, \"score\": 1, \"cluster\": []}", ""),
            "scores.jsonl, line 1: its cluster is no text",
        ),
        (
            scores("{\"id\": 1, \"score\": 1}\n{\"id\": \"1\", \"score\": 0}", ""),
            "scores.jsonl, line 2: the question 1 has a line before it; write one line for each question",
        ),
        (
            scores("{\"id\": 1, \"score\": 1}", ", filter: x"),
            "scores.jsonl: no line has the filter \"x\", or any; remove external.filter",
        ),
        (
            samples(""),
            "claims__llama/samples_gsm8k_cot_2026-05-02T02-00-00.123456.jsonl, line 1: it has no score; set external.metric to one of acc, f1",
        ),
        (
            samples(", metric: acc"),
            "claims__llama/samples_gsm8k_cot_2026-05-02T02-00-00.123456.jsonl, line 2: the question gsm8k_cot/1 has a line before it; set external.filter to one of a, b",
        ),
        (
            samples(", metric: acc, filter: c"),
            "claims__llama/samples_gsm8k_cot_2026-05-02T02-00-00.123456.jsonl: no line has the filter \"c\"; set external.filter to one of a, b",
        ),
        (
            of(
                &[
                    (SAMPLES_OF_GSM8K, two),
                    ("samples_svamp_1.jsonl", "{\"doc_id\": 1, \"filter\": \"none\", \"acc\": 1}"),
                ],
                ", metric: acc, filter: a",
            )
            .unwrap_err(),
            "samples_svamp_1.jsonl: no line has the filter \"a\"; set external.filter to one of none",
        ),
        (
            of(&[("scores.jsonl", "{}"), (SAMPLES_OF_GSM8K, "{}")], "").unwrap_err(),
            "there are both scores.jsonl and samples_*.jsonl; write one of them",
        ),
    ] {
        assert!(seen.starts_with(says), "{seen}\n  is not\n{says}");
    }
}

#[test]
fn a_suite_has_no_more_than_a_hundred_thousand_lines() {
    let lines: String = (0..=MOST_LINES).map(|n| format!("{{\"id\":{n},\"score\":1}}\n")).collect();
    let seen = of(&[("scores.jsonl", &lines)], "").unwrap_err();
    assert!(
        seen.starts_with("scores.jsonl, line 100001: this is one line more than the 100000"),
        "{seen}"
    );
}

#[test]
fn a_line_without_an_end_fills_no_memory() {
    let line = format!("{{\"id\": 1, \"score\": 1, \"doc\": \"{}\"}}", "x".repeat(9 << 20));
    let seen = of(&[("scores.jsonl", &line)], "").unwrap_err();
    assert!(seen.starts_with("scores.jsonl, line 1: it has more than 8388608 bytes"), "{seen}");
}

/// The run that reads them sees tokens and Secrets that evaluators do not.
#[test]
fn no_link_is_followed() {
    let secret = Folder::of(&[("scores.jsonl", "{\"id\": 1, \"score\": 1}")]);
    let folder = Folder::of(&[]);
    std::os::unix::fs::symlink(secret.0.join("scores.jsonl"), folder.0.join("scores.jsonl")).unwrap();
    std::os::unix::fs::symlink(&secret.0, folder.0.join("below")).unwrap();
    assert!(read(&folder.0, &spec("")).unwrap_err().starts_with("it left no lines"));
}
