//! Is an answer right? An answer in which none can be found is wrong and counted apart; a random guess in its place would add about a tenth
//! of its share to the accuracy and not be repeatable.

use std::sync::OnceLock;

use regex::Regex;

use super::dataset::Exemplar;
use crate::api::eval_job;

/// How answers are compared.
#[derive(Clone, Debug)]
pub enum Scorer {
    /// Equality, white space at both ends and case aside.
    Exact,
    /// What a pattern finds, compared likewise.
    Regex(Regex),
    /// The letter that the answer settles on.
    MultipleChoice,
}

/// How one answer fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// It is right.
    Right,
    /// It is wrong.
    Wrong,
    /// No answer was found in it; wrong.
    Unparsed,
}

impl Scorer {
    /// The scorer that a suite asks for.
    ///
    /// # Errors
    /// Why the specification cannot be used.
    pub fn of(spec: &eval_job::Scorer) -> Result<Self, String> {
        match (&spec.exact, &spec.regex, &spec.multiple_choice) {
            (Some(_), None, None) => Ok(Self::Exact),
            (None, Some(regex), None) => {
                let pattern = &regex.pattern;
                let read = Regex::new(pattern).map_err(|_| format!("scorer.regex.pattern {pattern:?} is not RE2 syntax"))?;
                Ok(Self::Regex(read))
            }
            (None, None, Some(_)) => Ok(Self::MultipleChoice),
            _ => Err("scorer must be exactly one of exact, regex and multipleChoice".to_owned()),
        }
    }

    /// How `answer` fares.
    #[must_use]
    pub fn score(&self, exemplar: &Exemplar, answer: &str) -> Score {
        let answer = after_thinking(answer);
        let found = match self {
            Self::Exact => Some(answer.trim()).filter(|text| !text.is_empty()),
            Self::Regex(pattern) => {
                let found = pattern.captures(answer);
                found
                    .and_then(|found| found.get(1).or_else(|| found.get(0)))
                    .map(|text| text.as_str())
            }
            Self::MultipleChoice => return chosen(exemplar, answer),
        };
        let Some(found) = found else { return Score::Unparsed };
        let plain = |text: &str| text.trim().to_lowercase();
        if exemplar.expected.iter().any(|expected| plain(expected) == plain(found)) {
            Score::Right
        } else {
            Score::Wrong
        }
    }
}

/// Reasoning models think aloud first; what they consider on the way is not their answer.
fn after_thinking(answer: &str) -> &str {
    answer.rsplit_once("</think>").map_or(answer, |(_, rest)| rest)
}

fn chosen(exemplar: &Exemplar, answer: &str) -> Score {
    match letter(answer, exemplar.choices.len()) {
        None => Score::Unparsed,
        Some(letter) if exemplar.expected.contains(&letter.to_string()) => Score::Right,
        Some(_) => Score::Wrong,
    }
}

/// The letter that a text settles on, of so many choices, in the three steps that the MMLU-Pro authors' own evaluation takes.
fn letter(text: &str, choices: usize) -> Option<char> {
    static PATTERNS: [OnceLock<[Regex; 2]>; 27] = [const { OnceLock::new() }; 27];
    // Emphasis hides a letter, and makes one of the A in **A**nswer.
    let text = &text.replace("**", "");
    let choices = choices.clamp(1, 26);
    let last = ('A'..='Z').nth(choices - 1).unwrap_or('Z');
    let [phrase, label] = PATTERNS[choices].get_or_init(|| {
        let pattern = |text: String| Regex::new(&text).expect("a fixed pattern with one of 26 letters");
        [
            pattern(format!(r"answer is \(?([A-{last}])\)?")),
            pattern(format!(r".*[aA]nswer:\s*([A-{last}])")),
        ]
    });
    let first = |pattern: &Regex| pattern.captures(text)?.get(1)?.as_str().chars().next();
    first(phrase).or_else(|| first(label)).or_else(|| last_alone(text, last))
}

/// The last letter of the choices that is a word by itself. Digits of every kind belong to words, or else H₂O would mention H.
fn last_alone(text: &str, last: char) -> Option<char> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut after = None;
    let mut backwards = text.chars().rev().peekable();
    while let Some(c) = backwards.next() {
        let before = backwards.peek().copied();
        if ('A'..=last).contains(&c) && !before.is_some_and(is_word) && !after.is_some_and(is_word) {
            return Some(c);
        }
        after = Some(c);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluator::dataset;
    use proptest::prelude::*;

    fn score(scorer: &Scorer, expected: &str, answer: &str) -> Score {
        let line = format!(r#"{{"id": 1, "input": "?", "choices": ["w", "x", "y", "z"], "expected": {expected}}}"#);
        let dataset = dataset::read("c", line.as_bytes(), scorer).unwrap();
        scorer.score(&dataset.exemplars[0], answer)
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
            assert_eq!(score(&Scorer::MultipleChoice, r#""y""#, answer), expected, "{answer:?}");
        }
    }

    /// Real answers of real models to 12,032 questions, with the counts that the benchmark's authors' own extraction gives.
    #[test]
    fn recorded_answers_are_read_as_the_benchmarks_authors_read_them() {
        let folder = std::env::var("LLM_PORTFOLIO_DATA").unwrap_or_else(|_| "../shared/data".to_owned());
        let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("mmlu-pro");
        if !data.is_dir() {
            println!("skipped: no data");
            return;
        }
        for (model, rows, right, unparsed) in [
            ("gemini-1.5-pro-002", 12_020, 8444, 8),
            ("gemini-1.5-flash-002", 12_012, 7699, 71),
            ("Llama-2-7b-hf", 12_032, 2256, 1593),
        ] {
            let file = data.join(format!("recorded-{model}.jsonl.gz"));
            let unpacked = std::process::Command::new("gzip").arg("-dc").arg(file).output().unwrap();
            let lines = unpacked.stdout.split(|b| *b == b'\n').filter(|line| !line.is_empty());
            let answers: Vec<serde_json::Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
            let letters: Vec<Option<String>> = answers
                .iter()
                .map(|row| letter(row["output"].as_str().unwrap(), 10).map(String::from))
                .collect();
            let counted = (
                answers.len(),
                answers
                    .iter()
                    .zip(&letters)
                    .filter(|(row, letter)| row["answer"].as_str() == letter.as_deref())
                    .count(),
                letters.iter().filter(|letter| letter.is_none()).count(),
            );
            assert_eq!(counted, (rows, right, unparsed), "{model}");
        }
    }

    proptest! {
        #[test]
        fn the_letter_is_one_of_the_choices(text in "\\PC{0,60}|([A-J ]|answer is |Answer: |\n){0,20}", choices in 2usize..=26) {
            if let Some(letter) = letter(&text, choices) {
                prop_assert!(('A'..='Z').take(choices).any(|l| l == letter));
            }
        }
    }
}
