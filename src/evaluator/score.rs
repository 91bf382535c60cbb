//! Is an answer right? An answer in which none can be found is wrong and counted apart; a random guess in its place would add about a tenth
//! of its share to the accuracy and not be repeatable.

use regex::Regex;

use super::dataset::Exemplar;
use super::extract::Extractor;
use crate::api::eval_job;

/// How answers are compared.
#[derive(Clone, Debug)]
pub enum Scorer {
    /// Equality, white space at both ends and case aside.
    Exact,
    /// What a pattern finds, compared likewise.
    Regex(Regex),
    /// The letter that the answer settles on, by what an extractor finds.
    MultipleChoice(Extractor),
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
            (None, None, Some(_)) => Ok(Self::MultipleChoice(Extractor::ThreeStep)),
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
            Self::MultipleChoice(extractor) => {
                let found = extractor.letter(answer, exemplar.choices.len());
                return chosen(found, |letter| exemplar.expected.contains(&letter.to_string()));
            }
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
    use crate::evaluator::dataset;

    fn score(scorer: &Scorer, expected: &str, answer: &str) -> Score {
        let line = format!(r#"{{"id": 1, "input": "?", "choices": ["w", "x", "y", "z"], "expected": {expected}}}"#);
        let dataset = dataset::read("c", line.as_bytes(), scorer).unwrap();
        scorer.score(&dataset.exemplars[0], answer)
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
