//! The task `mmlu_pro` as the harness' own results describe it: a group with a task for each category that was asked. For answers to prompts of
//! that task only: those of the authors' programs are another protocol and need a name of their own.

use super::json::Json;
use super::{Filter, Group, Metric, Task};
use crate::evaluator::mmlu_pro::Question;

/// The metric and the filter, of which the names of numbers are made.
pub(in crate::evaluator) const METRIC: &str = "exact_match";
/// See [`METRIC`].
pub(in crate::evaluator) const FILTER: &str = "custom-extract";

/// What all categories are parts of.
pub(in crate::evaluator) fn group() -> Group {
    Group {
        name: "mmlu_pro".to_owned(),
        alias: "mmlu_pro".to_owned(),
        version: "2.0".to_owned(),
    }
}

/// The task of a category, yet without samples; `docs` is how many questions of it the whole dataset has.
pub(in crate::evaluator) fn task(category: &str, shots: u32, max_tokens: u32, docs: u64) -> Task {
    let alias = category.replace(' ', "_");
    let description = format!(
        "The following are multiple choice questions (with answers) about {category}. Think step by step and then finish your answer with \"the \
         answer is (X)\" where X is the correct letter choice.\n"
    );
    let regex = Json::object([
        ("function", "regex".into()),
        ("regex_pattern", r"answer is \(?([ABCDEFGHIJ])\)?".into()),
    ]);
    let settings = ["ignore_case", "ignore_punctuation"].map(|name| (name.to_owned(), true.into()));
    let config = [
        ("dataset_path", "TIGER-Lab/MMLU-Pro"),
        ("test_split", "test"),
        ("fewshot_split", "validation"),
        ("doc_to_target", "answer"),
        ("description", &description),
    ];
    Task {
        name: format!("mmlu_pro_{alias}"),
        alias,
        version: Json::float(3.1),
        shots,
        repeats: 1,
        filter: Filter {
            name: FILTER.to_owned(),
            steps: vec![regex, Json::object([("function", "take_first".into())])],
        },
        metrics: vec![Metric {
            name: METRIC.to_owned(),
            higher_is_better: true,
            settings: settings.into(),
        }],
        gen_kwargs: Json::object([
            ("until", Json::List(vec!["Question:".into()])),
            ("max_gen_toks", max_tokens.into()),
            ("do_sample", false.into()),
            ("temperature", Json::float(0.0)),
        ]),
        docs,
        config: config.map(|(name, value)| (name.to_owned(), value.into())).into(),
        samples: Vec::new(),
    }
}

/// A question's row with the members and the order of the published dataset, so that its hash is the one in everybody's results. Not so of question
/// 3983, whose `answer_index` is published with another value than its answer's.
pub(in crate::evaluator) fn doc(question: &Question) -> Json {
    let Question {
        id,
        question,
        options,
        answer,
        cot,
        category,
        src,
    } = question;
    let index = u32::from(*answer).saturating_sub(u32::from('A'));
    let number = id.parse::<u64>().ok().filter(|number| number.to_string() == *id);
    Json::object([
        ("question_id", number.map_or_else(|| id.as_str().into(), Json::from)),
        ("question", question.as_str().into()),
        ("options", Json::List(options.iter().map(|option| option.as_str().into()).collect())),
        ("answer", answer.to_string().into()),
        ("answer_index", index.into()),
        ("cot_content", cot.as_str().into()),
        ("category", category.as_str().into()),
        ("src", src.as_str().into()),
    ])
}
