//! What a model is sent for one question. Prompts are part of what an evaluation means: a change here makes results before and after it
//! incomparable.

use super::dataset::{Exemplar, Message};
use super::score::Scorer;

/// What a multiple choice asks for, so that the answer can be found in the text.
const CHOOSE: &str = "Finish your answer with \"the answer is (X)\", where X is the letter of the right choice.";

/// The messages of one question, with its choices shown as `A. …`.
#[must_use]
pub fn messages(exemplar: &Exemplar, scorer: &Scorer) -> Vec<Message> {
    let mut messages = exemplar.messages.clone();
    if let Some(last) = messages.last_mut()
        && !exemplar.choices.is_empty()
    {
        last.content.push('\n');
        for (choice, letter) in exemplar.choices.iter().zip('A'..='Z') {
            last.content.push_str(&format!("\n{letter}. {}", choice.trim()));
        }
        if matches!(scorer, Scorer::MultipleChoice(_)) {
            last.content.push_str("\n\n");
            last.content.push_str(CHOOSE);
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluator::dataset;
    use crate::evaluator::extract::Extractor;

    fn last(line: &str, scorer: &Scorer) -> String {
        let read = dataset::read("c", line.as_bytes(), scorer).unwrap();
        messages(&read.exemplars[0], scorer).pop().unwrap().content
    }

    #[test]
    fn choices_are_shown_with_letters_and_the_form_of_the_answer() {
        let line = r#"{"id": 1, "input": "Which is blue?", "choices": ["fire", " sky "], "expected": "B"}"#;
        assert_eq!(
            last(line, &Scorer::MultipleChoice(Extractor::ThreeStep)),
            "Which is blue?\n\nA. fire\nB. sky\n\nFinish your answer with \"the answer is (X)\", where X is the letter of the right choice."
        );
        assert_eq!(last(line, &Scorer::Exact), "Which is blue?\n\nA. fire\nB. sky");
    }

    #[test]
    fn a_question_without_choices_is_sent_as_it_is() {
        assert_eq!(last(r#"{"id": 1, "input": "Hi", "expected": "x"}"#, &Scorer::Exact), "Hi");
    }
}
