use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;
use crate::evaluator::extract::Extractor::{self, First, ThreeStep};

const TRICKY: &str = include_str!("tricky.jsonl");

fn counts(right: u32, wrong: u32, unparsed: u32) -> Counts {
    Counts { right, wrong, unparsed }
}

fn scored(text: &str, extractor: Extractor) -> Recorded {
    read("outputs.jsonl", text.as_bytes(), Suite::MmluPro, extractor).unwrap()
}

fn refused(name: &str, bytes: &[u8]) -> String {
    read(name, bytes, Suite::MmluPro, First).unwrap_err().to_string()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// By the authors' regular expressions in Python's `re`, after the block of thoughts is taken off.
#[test]
fn outputs_of_every_kind_are_scored_as_the_benchmarks_authors_do() {
    for (extractor, expected, same) in [(First, counts(2, 1, 7), 4), (ThreeStep, counts(5, 4, 1), 9)] {
        let recorded = scored(TRICKY, extractor);
        assert_eq!(recorded.counts(), expected, "{extractor}");
        assert_eq!(recorded.stored, Some(Agreement { lines: 9, same }), "{extractor}");
    }
    let recorded = scored(TRICKY, ThreeStep);
    let by_category: Vec<(&str, Counts)> = recorded.categories().into_iter().collect();
    assert_eq!(
        by_category,
        [("history", counts(2, 2, 0)), ("law", counts(1, 1, 0)), ("math", counts(2, 1, 1))]
    );
    assert_eq!(recorded.rows["10"].answer, 'I');
}

#[test]
fn a_file_may_be_compressed_whatever_its_name_is() {
    let plain = scored(TRICKY, ThreeStep);
    let compressed = gzip(TRICKY);
    // As `cat a.gz b.gz` writes it.
    let (first, second) = TRICKY.split_at(TRICKY.find("{\"question_id\": 5").unwrap());
    let parts = [gzip(first), gzip(second)].concat();
    let marked = format!("\u{feff}{}", TRICKY.replace('\n', "\r\n"));
    for (name, bytes) in [
        ("outputs.jsonl.gz", &*compressed),
        ("outputs", &*compressed),
        ("outputs.gz", &*parts),
        ("outputs.jsonl", marked.as_bytes()),
    ] {
        assert_eq!(read(name, bytes, Suite::MmluPro, ThreeStep).unwrap(), plain, "{name}");
    }
}

#[test]
fn a_line_that_cannot_be_used_is_named_with_its_place_its_field_and_a_remedy() {
    let good = r#"{"question_id": 1, "category": "math", "answer": "C", "output": "C"}"#;
    let shape = r#"write one JSON object on one line: {"question_id": …, "category": …, "answer": …, "output": …}"#;
    for (line, flaw) in [
        (
            r#"{"question_id": 2, "#,
            format!("18: it is not JSON of the right form (EOF while parsing a value); {shape}"),
        ),
        ("question 2", format!("1: it is not a JSON object; {shape}")),
        (r#"[2, "math", "C", null, "C"]"#, format!("1: it is not a JSON object; {shape}")),
        (
            r#"{"question_id": 2, "question_id": 3}"#,
            format!("32: it is not JSON of the right form (duplicate field `question_id`); {shape}"),
        ),
        (
            r#"{"category": "math", "answer": "C", "output": "C"}"#,
            " question_id: it is missing; add the question's id".to_owned(),
        ),
        (
            r#"{"question_id": 2.5, "category": "math", "answer": "C", "output": "C"}"#,
            " question_id: it is not a whole number or a text; write the question's id".to_owned(),
        ),
        (
            r#"{"question_id": "1", "category": "math", "answer": "C", "output": "C"}"#,
            " question_id: 1 is that of an earlier line too; keep one output for each question".to_owned(),
        ),
        (
            r#"{"question_id": 2, "answer": "C", "output": "C"}"#,
            " category: it is missing; write the question's subject".to_owned(),
        ),
        (
            r#"{"question_id": 2, "category": "math", "output": "C"}"#,
            " answer: it is missing; write the letter of the right choice".to_owned(),
        ),
        (
            r#"{"question_id": 2, "category": "math", "answer": "K", "output": "C"}"#,
            " answer: \"K\" is none of the letters A to J; write the letter of the right choice".to_owned(),
        ),
        (
            r#"{"question_id": 2, "category": "math", "answer": 2, "output": "C"}"#,
            " answer: it is not a text; write the letter of the right choice".to_owned(),
        ),
        (
            r#"{"question_id": 2, "category": "math", "answer": "C"}"#,
            " output: it is missing; write what the model said, \"\" where that is nothing".to_owned(),
        ),
        (
            r#"{"question_id": 2, "category": "math", "answer": "C", "output": null}"#,
            " output: it is not a text; write what the model said, \"\" where that is nothing".to_owned(),
        ),
        (
            r#"{"question_id": 2, "category": "math", "answer": "C", "output": "C", "stored_pred": 3}"#,
            " stored_pred: it is not a text or null; write the letter that was found, or null for none, or leave it out".to_owned(),
        ),
    ] {
        let text = format!("{good}\n\n{line}\n");
        assert_eq!(refused("outputs.jsonl", text.as_bytes()), format!("outputs.jsonl:3:{flaw}"));
        assert_eq!(refused("outputs.gz", &gzip(&text)), format!("outputs.gz:3:{flaw}"));
    }
}

#[test]
fn a_file_that_cannot_be_used_at_all_says_why() {
    let shape = r#"write one JSON object on one line: {"question_id": …, "category": …, "answer": …, "output": …}"#;
    for (name, bytes, flaw) in [
        ("o", &b""[..], format!("o: it has no recorded outputs; {shape}")),
        ("o.gz", b"", format!("o.gz: it has no recorded outputs; {shape}")),
        ("o.gz", &gzip("\n\n"), format!("o.gz: it has no recorded outputs; {shape}")),
        (
            "o.gz",
            TRICKY.as_bytes(),
            "o.gz: it is not gzip, as its name says; compress it, or take .gz off its name".to_owned(),
        ),
        (
            "o",
            b"\x1f\x8bno",
            "o:1: it ends within its gzip data; copy the whole file again".to_owned(),
        ),
        (
            "o",
            b"\x1f\x8bno gzip at all",
            "o:1: its gzip data is damaged (invalid gzip header); copy the file again".to_owned(),
        ),
    ] {
        assert_eq!(refused(name, bytes), flaw);
    }
    let mut cut = gzip(TRICKY);
    cut.truncate(cut.len() - 20);
    assert!(refused("o.gz", &cut).ends_with(": it ends within its gzip data; copy the whole file again"));
    let none = read_file(Path::new("/nowhere/o.jsonl"), Suite::MmluPro, First)
        .unwrap_err()
        .to_string();
    assert!(none.starts_with("/nowhere/o.jsonl: it cannot be read (No such file"), "{none}");
    assert!(none.ends_with("; name a file that is there and may be read"), "{none}");
    let folder = read_file(Path::new("/"), Suite::MmluPro, First).unwrap_err().to_string();
    assert!(folder.starts_with("/: it cannot be read ("), "{folder}");
}

#[test]
fn an_endless_line_and_more_questions_than_there_are_end_the_reading() {
    let endless = gzip(&" ".repeat((16 << 20) + 1));
    assert_eq!(
        refused("o.gz", &endless),
        "o.gz:1: it has more than 16777216 bytes; write each output on a line of its own, or shorten it"
    );
    let line = |id| format!("{{\"question_id\": {id}, \"category\": \"math\", \"answer\": \"C\", \"output\": \"C\"}}\n");
    let many: String = (0..12_033).map(line).collect();
    assert_eq!(
        refused("o", many.as_bytes()),
        "o:12033: question_id: this is one question more than the 12032 of mmlu_pro; score outputs for the current version of the suite"
    );
}

#[test]
fn suites_are_read_by_their_names() {
    assert_eq!(Suite::MmluPro.to_string().parse(), Ok(Suite::MmluPro));
    assert_eq!("gpqa".parse::<Suite>().unwrap_err(), "no such suite is known; write mmlu_pro");
}

#[test]
fn questions_that_only_one_file_has_are_counted_and_left_out() {
    let this = scored(TRICKY, ThreeStep);
    let lines: Vec<&str> = TRICKY.lines().collect();
    let other = scored(&lines[..5].join("\n"), First);
    let compared = compare(&this, &other).unwrap();
    assert_eq!(
        compared.pairs,
        Pairs {
            both: 1,
            only_candidate: 1,
            only_baseline: 0,
            neither: 2
        }
    );
    assert_eq!((compared.left_out, compared.left_out_of_baseline), (6, 0));
}

/// The folder of real outputs of real models, where there is one.
fn data() -> Option<PathBuf> {
    let folder = std::env::var("LLM_PORTFOLIO_DATA").unwrap_or_else(|_| "../shared/data".to_owned());
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("mmlu-pro");
    data.is_dir().then_some(data)
}

/// Rows, then for each extractor: right, unparsed, and how many letters are the stored ones. Published by the benchmark's authors.
#[test]
fn recorded_answers_are_read_as_the_benchmarks_authors_read_them() {
    let Some(data) = data() else {
        println!("skipped: no data");
        return;
    };
    let read = |model: &str, extractor| read_file(&data.join(format!("recorded-{model}.jsonl.gz")), Suite::MmluPro, extractor).unwrap();
    let mut at_three_steps = Vec::new();
    for (model, rows, first, three_step) in [
        ("gemini-1.5-pro-002", 12_020, [8441, 23, 12_005], [8444, 8, 12_020]),
        ("gemini-1.5-flash-002", 12_012, [7665, 467, 11_616], [7699, 71, 12_012]),
        ("Llama-2-7b-hf", 12_032, [2207, 2061, 12_032], [2256, 1593, 11_564]),
    ] {
        for (extractor, [right, unparsed, same]) in [(First, first), (ThreeStep, three_step)] {
            let recorded = read(model, extractor);
            let seen = recorded.counts();
            assert_eq!(
                (seen.rows(), seen.right, seen.unparsed),
                (rows, right, unparsed),
                "{model} {extractor}"
            );
            assert_eq!(recorded.stored, Some(Agreement { lines: rows, same }), "{model} {extractor}");
            assert_eq!(recorded.categories().len(), 14);
            if extractor == ThreeStep {
                at_three_steps.push(recorded);
            }
        }
    }
    let Compared {
        pairs,
        left_out,
        left_out_of_baseline,
    } = compare(&at_three_steps[0], &at_three_steps[1]).unwrap();
    assert_eq!(
        pairs,
        Pairs {
            both: 6725,
            only_candidate: 1705,
            only_baseline: 967,
            neither: 2605
        }
    );
    assert_eq!((pairs.asked(), left_out, left_out_of_baseline), (12_002, 18, 10));
}

proptest! {
    #[test]
    fn no_file_is_too_strange(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        text in "(\\{\"(question_id|category|answer|output)\": ?(\"\\PC{0,5}\"|[0-9]|null)(, )?\\}?\n?){0,5}",
    ) {
        let damaged = [&[0x1f, 0x8b, 8, 0][..], &bytes].concat();
        for bytes in [&*bytes, text.as_bytes(), &*damaged] {
            match read("o", bytes, Suite::MmluPro, ThreeStep) {
                Ok(recorded) => prop_assert!(recorded.counts().rows() > 0),
                Err(flaw) => prop_assert!(flaw.to_string().starts_with("o:")),
            }
        }
    }

    #[test]
    fn a_file_against_itself_tells_nothing_apart(right in prop::collection::vec(any::<bool>(), 1..30)) {
        let line = |(id, right): (usize, &bool)| {
            let output = if *right { "C" } else { "D" };
            format!("{{\"question_id\": {id}, \"category\": \"math\", \"answer\": \"C\", \"output\": \"{output}\"}}\n")
        };
        let recorded = scored(&right.iter().enumerate().map(line).collect::<String>(), ThreeStep);
        let Compared { pairs, left_out, left_out_of_baseline } = compare(&recorded, &recorded).unwrap();
        prop_assert_eq!((pairs.only_candidate, pairs.only_baseline, left_out, left_out_of_baseline), (0, 0, 0, 0));
        prop_assert_eq!((pairs.both, pairs.asked() as usize), (recorded.counts().right, right.len()));
    }
}
