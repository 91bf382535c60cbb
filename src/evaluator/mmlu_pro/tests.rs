//! Against what lm-evaluation-harness rendered, and what the authors' programs say. The goldens come from a run of the harness' own task over
//! invented rows, with five examples and with none.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::api::eval_job::Variant;
use crate::evaluator::extract::Extractor;
use crate::evaluator::prompt::{Body, Prompt};
use crate::evaluator::rows;
use crate::evaluator::sample::draw;

fn read_jsonl(name: &str, bytes: &[u8]) -> Result<Vec<Question>, String> {
    read(name, &rows::read(name, "q.jsonl", bytes)?)
}

#[derive(Deserialize)]
struct Goldens {
    lm_eval: String,
    version: f64,
    shots: Vec<Value>,
    questions: Vec<Value>,
    rendered: Vec<Rendered>,
}

#[derive(Deserialize)]
struct Rendered {
    question_id: u64,
    shots: usize,
    messages: Value,
}

fn goldens() -> Goldens {
    serde_json::from_str(include_str!("goldens.json")).unwrap()
}

fn questions(rows: &[Value]) -> Vec<Question> {
    let each = rows.iter().map(|value| rows::Row {
        place: "row".to_owned(),
        value: value.clone(),
    });
    read("rows", &each.collect::<Vec<_>>()).unwrap()
}

fn question(id: &str, question: &str, options: &[&str], cot: &str) -> Question {
    Question {
        id: id.to_owned(),
        question: question.to_owned(),
        options: options.iter().map(|&option| option.to_owned()).collect(),
        answer: 'A',
        cot: cot.to_owned(),
        category: "computer science".to_owned(),
        src: String::new(),
    }
}

fn text(prompt: &Prompt) -> &str {
    match &prompt.body {
        Body::Completion(text) => text,
        Body::Chat(messages) => {
            assert_eq!((messages.len(), messages[0].role.as_str()), (1, "user"));
            &messages[0].content
        }
    }
}

#[test]
fn messages_are_those_that_the_harness_sends() {
    let goldens = goldens();
    assert_eq!((goldens.lm_eval.as_str(), goldens.version), ("0.4.13", 3.1));
    let (asked, shots) = (questions(&goldens.questions), questions(&goldens.shots));
    for Rendered {
        question_id,
        shots: count,
        messages,
    } in &goldens.rendered
    {
        let question = asked.iter().find(|one| one.id == question_id.to_string()).unwrap();
        let of_category = shots.iter().filter(|shot| shot.category == question.category);
        // Where any are shown it is the prompt that leaves out the sixth.
        let shots: Vec<&Question> = if *count == 0 { Vec::new() } else { of_category.collect() };
        let prompt = prompt(Variant::LmEval, &shots, question);
        let Body::Chat(sent) = &prompt.body else { panic!("no chat") };
        assert_eq!(&serde_json::to_value(sent).unwrap(), messages, "{question_id} with {count}");
        assert_eq!((prompt.max_tokens, prompt.top_p), (2048, None));
        assert_eq!(prompt.stop, ["Question:"]);
    }
    assert_eq!(goldens.rendered.len(), 26);
}

#[test]
fn the_local_program_of_the_authors_goes_on_from_one_text() {
    let shots = [
        question(
            "1",
            "Was?",
            &["ja ", "N/A", " nein"],
            "A: Let's think step by step. Ja. The answer is (A).",
        ),
        question("2", "Line\nbreak?", &["x", "y"], "Plain. The answer is (B)."),
    ];
    let asked = question("3", "Which?\n", &["a", "b", "N/A", "c", "n/a", "N/A "], "");
    let prompt = prompt(Variant::AuthorsLocal, &shots.each_ref(), &asked);
    assert_eq!(
        text(&prompt),
        "The following are multiple choice questions (with answers) about computer science. Think step by step and then finish your answer with \
         \"the answer is (X)\" where X is the correct letter choice.\n\n\n\nQuestion:\nWas?\nOptions:\nA. ja \nB.  nein\nAnswer: Let's think step by \
         step. Ja. The answer is (A).\n\nQuestion:\nLine\nbreak?\nOptions:\nA. x\nB. y\nPlain. The answer is (B).\n\nQuestion:\nWhich?\n\nOptions:\n\
         A. a\nB. b\nC. c\nD. n/a\nE. N/A \nAnswer: Let's think step by step."
    );
    assert_eq!((prompt.max_tokens, prompt.top_p), (2048, None));
    assert_eq!(prompt.stop, ["Question:"]);
    assert!(matches!(prompt.body, Body::Completion(_)));
}

#[test]
fn the_api_program_of_the_authors_sends_one_message() {
    let shots = [
        question(
            "1",
            "Was?",
            &["ja ", "N/A", " nein"],
            "A: Let's think step by step. Ja. The answer is (A).",
        ),
        question("2", "Line\nbreak?", &["x", "y"], "Plain. A: The answer is (B)."),
        question("3", "No thoughts?", &["x", "y"], ""),
    ];
    let asked = question("4", "Which?\n", &["a", "N/A", "b"], "A: not shown");
    let prompt = prompt(Variant::AuthorsApi, &shots.each_ref(), &asked);
    assert_eq!(
        text(&prompt),
        "The following are multiple choice questions (with answers) about computer science. Think step by step and then output the answer in the \
         format of \"The answer is (X)\" at the end.\n\nQuestion: Was?\nOptions: A. ja \nB.  nein\nAnswer: Let's think step by step. Ja. The answer \
         is (A).\n\nQuestion: Line\nbreak?\nOptions: A. x\nB. y\nAnswer: Plain. A: The answer is (B).\n\nQuestion: No thoughts?\nOptions: A. x\n\
         B. y\nAnswer: Let's think step by step.\n\nQuestion: Which?\n\nOptions: A. a\nB. b\nAnswer: Let's think step by step.\n\n"
    );
    assert_eq!((prompt.max_tokens, prompt.top_p), (4000, Some(1.0)));
    assert_eq!(prompt.stop, Vec::<String>::new());
    assert!(matches!(prompt.body, Body::Chat(_)));
}

#[test]
fn without_examples_the_instruction_stands_before_the_question() {
    let asked = question("1", "Q", &["x", "y"], "");
    for (variant, end) in [
        (
            Variant::AuthorsLocal,
            "choice.\n\n\n\nQuestion:\nQ\nOptions:\nA. x\nB. y\nAnswer: Let's think step by step.",
        ),
        (
            Variant::AuthorsApi,
            "end.\n\nQuestion: Q\nOptions: A. x\nB. y\nAnswer: Let's think step by step.\n\n",
        ),
    ] {
        assert!(text(&prompt(variant, &[], &asked)).ends_with(end), "{variant}");
    }
}

#[test]
fn only_the_api_program_shows_more_than_five_examples() {
    let shots: Vec<Question> = (0..7)
        .map(|n| question(&n.to_string(), &format!("example {n}"), &["x", "y"], "z"))
        .collect();
    let shots: Vec<&Question> = shots.iter().collect();
    let asked = question("q", "Q", &["x", "y"], "");
    let shown = |variant| format!("{:?}", prompt(variant, &shots, &asked).body).matches("example ").count();
    assert_eq!([Variant::LmEval, Variant::AuthorsLocal, Variant::AuthorsApi].map(shown), [5, 5, 7]);
}

#[test]
fn the_harness_reads_answers_by_their_first_phrase_and_the_authors_in_three_steps() {
    let extractors = [Variant::LmEval, Variant::AuthorsLocal, Variant::AuthorsApi].map(extractor);
    assert_eq!(extractors, [Extractor::First, Extractor::ThreeStep, Extractor::ThreeStep]);
}

const GOOD: &str =
    r#"{"question_id": 7, "question": "Q?", "options": ["x", "y", "z"], "answer": "B", "answer_index": 1, "category": "law"}"#;

#[test]
fn questions_are_read_with_what_they_may_leave_out() {
    let full = r#"{"question_id": "a", "question": " Q ", "options": [" x", ""], "answer": "A", "answer_index": "0", "category": "law", "src": "s",
        "cot_content": "A: c", "note": 1}"#;
    let file = format!("\u{feff}{GOOD}\r\n\r\n{}\n", full.replace('\n', ""));
    let read = read_jsonl("q", file.as_bytes()).unwrap();
    assert_eq!(read[0].id, "7");
    assert_eq!((read[0].answer, read[0].cot.as_str(), read[0].src.as_str()), ('B', "", ""));
    assert_eq!((read[1].id.as_str(), read[1].question.as_str(), read[1].answer), ("a", " Q ", 'A'));
    assert_eq!(
        (read[1].cot.as_str(), read[1].src.as_str(), read[1].options[0].as_str()),
        ("A: c", "s", " x")
    );
}

#[test]
fn a_line_that_cannot_be_used_is_named_with_its_field_and_remedy() {
    let row: Value = serde_json::from_str(GOOD).unwrap();
    for (field, value, flaw) in [
        ("question_id", Value::Null, "question_id is missing; add one that no other row has"),
        (
            "question_id",
            json!(1.5),
            "question_id is neither a whole number nor a text; write one",
        ),
        ("question_id", json!("7"), "question_id 7 is used before; give each row its own"),
        ("question", Value::Null, "question is missing; write the question"),
        ("question", json!("\n"), "question is empty; write the question"),
        ("question", json!(["Q"]), "question is not a text; write the question"),
        ("options", Value::Null, "options is missing; write 2 to 10"),
        ("options", json!("x"), "options is not a list of texts; write 2 to 10"),
        ("options", json!(["x", 2]), "options is not a list of texts; write 2 to 10"),
        ("options", json!(["x"]), "options has a length of 1; write 2 to 10"),
        ("options", json!(vec!["x"; 11]), "options has a length of 11; write 2 to 10"),
        ("answer", Value::Null, "answer is missing; write a letter of A to C"),
        ("answer", json!(1), "answer is not a text; write a letter of A to C"),
        (
            "answer",
            json!("D"),
            r#"answer "D" is no letter of the 3 options; write one of A to C"#,
        ),
        (
            "answer",
            json!("b"),
            r#"answer "b" is no letter of the 3 options; write one of A to C"#,
        ),
        (
            "answer",
            json!("C"),
            "answer_index 1 and answer C disagree, which is 2; correct one of them",
        ),
        (
            "answer_index",
            Value::Null,
            "answer_index is missing; write the place of the right option, from 0",
        ),
        (
            "answer_index",
            json!(-1),
            "answer_index is not a whole number; write the place of the right option, from 0",
        ),
        ("category", Value::Null, "category is missing; write the question's subject"),
        ("category", json!(""), "category is empty; write the question's subject"),
        ("src", json!(1), "src is not a text; write one, or remove it"),
        ("cot_content", json!([]), "cot_content is not a text; write one, or remove it"),
    ] {
        let mut changed = row.clone();
        changed["question_id"] = json!(8);
        changed[field] = value;
        let refused = read_jsonl("q.jsonl", format!("{GOOD}\n\n{changed}\n").as_bytes()).unwrap_err();
        assert_eq!(refused, format!("q.jsonl line 3: {flaw}"));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_its_line() {
    let object = r#"it is not a JSON object; write {"question_id": …, "question": …, "options": …, "answer": …}"#;
    for (bytes, flaw) in [
        (&b""[..], "q has no questions; add at least one line".to_owned()),
        (b"\n \n", "q has no questions; add at least one line".to_owned()),
        (b"{}\n\xff", "q line 2 is not UTF-8 text; save it as UTF-8".to_owned()),
        (b"[1]", format!("q line 1: {object}")),
        (
            b"\n{\"question_id\": 1,",
            "q line 2, column 18: it is not JSON (EOF while parsing a value); write one JSON object on one line".to_owned(),
        ),
    ] {
        assert_eq!(read_jsonl("q", bytes).unwrap_err(), flaw);
    }
}

#[test]
fn questions_with_the_same_text_and_options_are_one_cluster() {
    let mut all: Vec<Question> = ["p", "q", "p", "r", "q"]
        .iter()
        .map(|text| question("x", text, &["a", "b"], ""))
        .collect();
    all[4].options[1] = "c".to_owned();
    assert_eq!(clusters(&all), [0, 1, 0, 2, 3]);
}

fn counts(strata: &[&str], places: &[usize]) -> BTreeMap<String, usize> {
    let mut counts: BTreeMap<String, usize> = strata.iter().map(|&stratum| (stratum.to_owned(), 0)).collect();
    places.iter().for_each(|place| *counts.get_mut(strata[*place]).unwrap() += 1);
    counts
}

/// Fails where a stratum is not its exact share rounded up or down.
fn check_shares(strata: &[&str], places: &[usize]) {
    let whole: Vec<usize> = (0..strata.len()).collect();
    let all = counts(strata, &whole);
    for (stratum, count) in counts(strata, places) {
        let (exact, size) = (all[&stratum] * places.len(), strata.len());
        assert!(
            (exact / size..=exact.div_ceil(size)).contains(&count),
            "{stratum}: {count} of {exact}/{size}"
        );
    }
}

/// A change here would change what past results were measured on.
#[test]
fn samples_are_the_same_for_all_time() {
    let strata = ["a", "b", "a", "c", "a", "b", "a", "b", "a", "a"];
    assert_eq!(draw(&strata, 10, 0), [2, 1, 3, 9, 6, 0, 7, 8, 4, 5]);
    assert_eq!(draw(&strata, 4, 0), draw(&strata, 10, 0)[..4]);
    assert_eq!(draw(&strata, 10, 1234), [9, 7, 3, 4, 6, 2, 1, 8, 0, 5]);
    assert_eq!(draw(&strata, 99, 7).len(), 10);
    assert_eq!(draw(&[], 3, 7), Vec::<usize>::new());
}

#[test]
fn strata_of_one_size_each_have_a_turn_before_any_has_two() {
    let strata: Vec<String> = (0..90).map(|n| format!("{}", n % 9)).collect();
    let strata: Vec<&str> = strata.iter().map(String::as_str).collect();
    for size in (9..90).step_by(9) {
        assert!(counts(&strata, &draw(&strata, size, 5)).values().all(|count| *count == size / 9));
    }
}

#[test]
fn a_small_stratum_is_there_as_soon_as_no_other_misses_its_share_for_it() {
    // Of 90 the big one has 81, which leaves 9 for ten; of 91 it has 81 too.
    let mut strata = vec!["big"; 90];
    let names: Vec<String> = (0..10).map(|n| format!("small {n}")).collect();
    strata.extend(names.iter().map(String::as_str));
    let present = |size| {
        counts(&strata, &draw(&strata, size, 3))
            .values()
            .filter(|count| **count > 0)
            .count()
    };
    assert_eq!((present(90), present(91), present(100)), (10, 11, 11));
    let strata: Vec<&str> = ["x", "x", "x", "y", "z"].to_vec();
    let drawn = draw(&strata, 3, 9);
    assert!(counts(&strata, &drawn).values().all(|count| *count == 1), "{drawn:?}");
}

proptest! {
    #[test]
    fn every_beginning_of_a_sample_is_in_proportion(sizes in prop::collection::vec(1usize..40, 1..12), seed: u64, size in 0usize..300) {
        let names: Vec<String> = (0..sizes.len()).map(|n| format!("s{n}")).collect();
        let strata: Vec<&str> = sizes.iter().zip(&names).flat_map(|(size, name)| vec![name.as_str(); *size]).collect();
        let all = draw(&strata, strata.len(), seed);
        prop_assert_eq!(all.iter().collect::<HashSet<_>>().len(), strata.len());
        for end in 0..=strata.len() {
            check_shares(&strata, &all[..end]);
        }
        prop_assert_eq!(draw(&strata, size, seed), &all[..size.min(strata.len())]);
        // From the first size on at which it can be so, every stratum is there: one less, and those that must be do not fit.
        let everyone = (0..=strata.len()).find(|end| counts(&strata, &all[..*end]).values().all(|count| *count > 0)).unwrap();
        let needed = |slots: usize| sizes.iter().map(|size| (slots * size / strata.len()).max(1)).sum::<usize>();
        let possible = (0..=strata.len()).rev().take_while(|slots| needed(*slots) <= *slots).last().unwrap();
        prop_assert!(everyone <= possible, "{} {}", everyone, possible);
    }

    #[test]
    fn other_strata_do_not_change_what_is_drawn_from_one(others in 0usize..30, seed: u64) {
        let alone = ["law"; 12];
        let mut strata = alone.to_vec();
        strata.extend(vec!["math"; others]);
        let drawn = draw(&strata, strata.len(), seed);
        let of_law: Vec<usize> = drawn.into_iter().filter(|place| *place < 12).collect();
        prop_assert_eq!(of_law, draw(&alone, 12, seed));
    }

    #[test]
    fn no_file_is_too_strange(text in "(\\{\"(question_id|question|options|answer)\": ?(\"\\PC{0,5}\"|[0-9]|\\[\\])(, )?\\}?\n?){0,5}") {
        let _ = read_jsonl("q", text.as_bytes());
    }
}

/// Each place of 20 is drawn about as often as another; a χ² of 19 degrees of freedom is beyond 43.8 once in a thousand times.
#[test]
fn draws_are_even() {
    let strata = vec!["s"; 20];
    let mut drawn = [0_u32; 20];
    for seed in 0..4000 {
        draw(&strata, 5, seed).into_iter().for_each(|place| drawn[place] += 1);
    }
    let chi: f64 = drawn.iter().map(|count| (f64::from(*count) - 1000.0).powi(2) / 1000.0).sum();
    assert!(chi < 43.8, "{chi} {drawn:?}");
}

#[test]
fn the_whole_benchmark_is_read_and_sampled() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/mmlu-pro/questions.jsonl.gz");
    let Ok(file) = std::fs::File::open(path) else {
        println!("skipped: no data");
        return;
    };
    let mut bytes = Vec::new();
    flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    let questions = read_jsonl("questions.jsonl", &bytes).unwrap();
    assert_eq!(questions.len(), 12_032);
    let clusters: HashSet<usize> = clusters(&questions).into_iter().collect();
    assert_eq!(questions.len() - clusters.len(), 159);
    let strata: Vec<&str> = questions.iter().map(|question| question.category.as_str()).collect();
    let categories: Vec<&str> = questions.iter().map(|question| question.category.as_str()).collect();
    let all = draw(&categories, questions.len(), 1234);
    for size in (14..=questions.len()).step_by(311) {
        check_shares(&strata, &all[..size]);
    }
    assert_eq!(draw(&categories, 500, 1234), draw(&categories, 1500, 1234)[..500]);
    assert!(counts(&strata, &all[..14]).values().all(|count| *count == 1));
}
