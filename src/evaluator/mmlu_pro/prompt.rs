//! What each program sends a model for one question, to the byte. Prompts are part of what an evaluation means: a change here makes results
//! before and after it incomparable.
//!
//! Sources: `lm_eval/tasks/mmlu_pro` (task version 3.1) and `lm_eval/api/task.py` of EleutherAI/lm-evaluation-harness 0.4.13;
//! `evaluate_from_local.py` with `cot_prompt_lib/initial_prompt.txt`, and `evaluate_from_api.py`, of TIGER-AI-Lab/MMLU-Pro. All of them ask with
//! temperature 0.

use super::question::{MOST_OPTIONS, Question};
use crate::api::eval_job::Variant;
use crate::evaluator::extract::Extractor;
use crate::evaluator::prompt::{Body, Message, Prompt};

/// How many examples the harness and `evaluate_from_local.py` show: the first ones of the category. `evaluate_from_api.py` shows all.
pub(in crate::evaluator) const SHOTS: usize = 5;

/// Where an example begins to think, and how it does in the prompt of `evaluate_from_local.py`.
const THINK: &str = "A: Let's think step by step.";
const ANSWER: &str = "Answer: Let's think step by step.";
/// What the authors' programs leave out of the options.
const NO_OPTION: &str = "N/A";
/// The longest answers, in tokens.
const LM_EVAL_TOKENS: u32 = 2048;
const AUTHORS_LOCAL_TOKENS: u32 = 2048;
const AUTHORS_API_TOKENS: u32 = 4000;
/// Where an answer has gone over to a question of its own.
const STOP: &str = "Question:";

/// What a model is sent for a question; `shots` are the examples of its category in the order of their file.
///
/// `evaluate_from_local.py` takes examples away until fewer than 2,048 of its model's tokens remain, for models with a context of 4,096. That is
/// not done here: with a longer context it takes none away.
pub(in crate::evaluator) fn prompt(variant: Variant, shots: &[&Question], question: &Question) -> Prompt {
    let first = &shots[..shots.len().min(SHOTS)];
    match variant {
        Variant::LmEval => Prompt {
            body: Body::Chat(lm_eval(first, question)),
            max_tokens: LM_EVAL_TOKENS,
            stop: vec![STOP.to_owned()],
            top_p: None,
        },
        Variant::AuthorsLocal => Prompt {
            body: Body::Completion(authors_local(first, question)),
            max_tokens: AUTHORS_LOCAL_TOKENS,
            stop: vec![STOP.to_owned()],
            top_p: None,
        },
        Variant::AuthorsApi => Prompt {
            body: Body::Chat(vec![message("user", authors_api(shots, question))]),
            max_tokens: AUTHORS_API_TOKENS,
            stop: Vec::new(),
            top_p: Some(1.0),
        },
    }
}

/// How each program finds the letter in an answer.
pub(in crate::evaluator) fn extractor(variant: Variant) -> Extractor {
    match variant {
        Variant::LmEval => Extractor::First,
        Variant::AuthorsLocal | Variant::AuthorsApi => Extractor::ThreeStep,
    }
}

fn message(role: &str, content: String) -> Message {
    Message {
        role: role.to_owned(),
        content,
    }
}

/// The description as the system's message, a turn for each example, and the question.
fn lm_eval(shots: &[&Question], question: &Question) -> Vec<Message> {
    let block = |of: &Question| {
        let options = of.options.iter().take(MOST_OPTIONS).map(|option| stripped(option));
        format!("Question:\n{}\nOptions:\n{}{ANSWER}", of.question, listed(options))
    };
    let mut messages = vec![message("system", instruction(&question.category))];
    for shot in shots {
        messages.push(message("user", block(shot)));
        let target = shot.cot.replace(&format!("{THINK} "), "");
        // An example that says nothing has no turn of the assistant.
        if !target.is_empty() {
            messages.push(message("assistant", target));
        }
    }
    messages.push(message("user", block(question)));
    messages
}

fn authors_local(shots: &[&Question], question: &Question) -> String {
    let block = |of: &Question| format!("Question:\n{}\nOptions:\n{}", of.question, listed(chosen_from(of)));
    let examples: String = shots
        .iter()
        .map(|shot| format!("{}{}\n\n", block(shot), shot.cot.replace(THINK, ANSWER)))
        .collect();
    // The file of the instruction ends with three line breaks, and the program adds one.
    let instruction = instruction(&question.category);
    format!("{instruction}\n\n\n{examples}{}{ANSWER}", block(question))
}

fn authors_api(shots: &[&Question], question: &Question) -> String {
    let block = |of: &Question, cot: &str| {
        let cot = cot
            .strip_prefix("A: ")
            .unwrap_or(if cot.is_empty() { "Let's think step by step." } else { cot });
        format!("Question: {}\nOptions: {}Answer: {cot}\n\n", of.question, listed(chosen_from(of)))
    };
    let examples: String = shots.iter().map(|shot| block(shot, &shot.cot)).collect();
    let category = &question.category;
    format!(
        "The following are multiple choice questions (with answers) about {category}. Think step by step and then output the answer in the format of \
         \"The answer is (X)\" at the end.\n\n{examples}{}",
        block(question, "")
    )
}

fn instruction(category: &str) -> String {
    format!(
        "The following are multiple choice questions (with answers) about {category}. Think step by step and then finish your answer with \"the \
         answer is (X)\" where X is the correct letter choice.\n"
    )
}

fn chosen_from(question: &Question) -> impl Iterator<Item = &str> {
    question.options.iter().map(String::as_str).filter(|option| *option != NO_OPTION)
}

fn listed<'a>(options: impl Iterator<Item = &'a str>) -> String {
    ('A'..='Z')
        .zip(options)
        .map(|(letter, option)| format!("{letter}. {option}\n"))
        .collect()
}

/// As Python's `str.strip` does: to it, the four separators of ASCII are blanks too.
fn stripped(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}
