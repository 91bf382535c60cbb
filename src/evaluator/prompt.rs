//! What a model is sent for one question. Prompts are part of what an evaluation means: a change here makes results before and after it
//! incomparable.

use super::dataset::Exemplar;
use super::score::Scorer;

/// What a multiple choice asks for, so that the answer can be found in the text.
const CHOOSE: &str = "Finish your answer with \"the answer is (X)\", where X is the letter of the right choice.";
/// The longest answer asked for where nothing is said, in tokens; the benchmark's own limit.
pub const MOST_TOKENS: u32 = 2048;
/// What an engine's template may add to each message, in tokens.
const AROUND: u64 = 32;

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// What is said.
    pub body: Body,
    /// The longest answer, in tokens.
    pub max_tokens: u32,
    /// Where the answer ends.
    pub stop: Vec<String>,
    /// The share of likely words that are drawn from; where it matters to the protocol.
    pub top_p: Option<f64>,
}

/// What is said.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Messages, of which the last is the user's.
    Chat(Vec<Message>),
    /// A text that the model goes on from.
    Completion(String),
}

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Prompt {
    /// What is said, by whom; nothing of a text that is gone on with.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        match &self.body {
            Body::Chat(messages) => messages,
            Body::Completion(_) => &[],
        }
    }

    /// More tokens than the prompt has, whatever the tokeniser: none of them writes a byte as two.
    #[must_use]
    pub fn most_input(&self) -> u64 {
        let bytes = |text: &str| u64::try_from(text.len()).unwrap_or(u64::MAX).saturating_add(AROUND);
        match &self.body {
            Body::Chat(messages) => messages.iter().map(|message| bytes(&message.content)).sum(),
            Body::Completion(text) => bytes(text),
        }
    }
}

/// Of a question that another program asks.
#[must_use]
pub(super) fn nothing() -> Prompt {
    Prompt {
        body: Body::Chat(Vec::new()),
        max_tokens: 0,
        stop: Vec::new(),
        top_p: None,
    }
}

/// The prompt of an exemplar, with its choices shown as `A. …`.
#[must_use]
pub(super) fn of_exemplar(exemplar: &Exemplar, scorer: &Scorer) -> Prompt {
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
    Prompt {
        body: Body::Chat(messages),
        max_tokens: MOST_TOKENS,
        stop: Vec::new(),
        top_p: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluator::dataset;
    use crate::evaluator::extract::Extractor;

    fn last(line: &str, scorer: &Scorer) -> String {
        let read = dataset::exemplar(&serde_json::from_str(line).unwrap(), scorer).unwrap();
        match of_exemplar(&read, scorer).body {
            Body::Chat(mut messages) => messages.pop().unwrap().content,
            Body::Completion(text) => panic!("no chat: {text}"),
        }
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
