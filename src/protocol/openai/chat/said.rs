//! What a model said, in a whole answer's message or in a stream's delta: the same fields, and each server has its own idea of them. A field
//! of another type than expected is nothing, and spoils no other.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A message or a delta.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Said<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
}

/// A piece of what was said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Words {
    Text(String),
    Reasoning(String),
    Refusal(String),
}

/// A call of a tool, or a part of one.
#[derive(Deserialize)]
pub(super) struct Call<'a> {
    #[serde(default)]
    pub(super) index: Option<u64>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    function: Function<'a>,
}

#[derive(Default, Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

/// A part of Mistral's content.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    thinking: Option<&'a RawValue>,
}

/// A text that is not empty.
pub(super) fn text(raw: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(raw?.get()).ok().filter(|text: &String| !text.is_empty())
}

impl<'a> Said<'a> {
    /// The words, thoughts first. Thoughts that come under both names are taken once.
    pub(super) fn words(&self) -> Vec<Words> {
        let mut words = Vec::new();
        words.extend(text(self.reasoning_content).or_else(|| text(self.reasoning)).map(Words::Reasoning));
        match self.content {
            Some(content) if content.get().starts_with('[') => read_items(content, &mut words),
            content => words.extend(text(content).map(Words::Text)),
        }
        words.extend(text(self.refusal).map(Words::Refusal));
        words
    }

    /// The calls of tools.
    pub(super) fn calls(&self) -> Vec<Call<'a>> {
        let list = self
            .tool_calls
            .and_then(|calls| serde_json::from_str::<Vec<&RawValue>>(calls.get()).ok());
        let calls = list.unwrap_or_default().into_iter();
        calls.filter_map(|call| serde_json::from_str(call.get()).ok()).collect()
    }
}

fn read_items(content: &RawValue, words: &mut Vec<Words>) {
    for item in serde_json::from_str::<Vec<Item<'_>>>(content.get()).unwrap_or_default() {
        words.extend(text(item.text).map(Words::Text));
        let thoughts = item.thinking.map(|thinking| serde_json::from_str::<Vec<Item<'_>>>(thinking.get()));
        let thoughts = thoughts.and_then(Result::ok).unwrap_or_default();
        let thoughts: String = thoughts.into_iter().filter_map(|thought| text(thought.text)).collect();
        words.extend(Some(thoughts).filter(|thoughts| !thoughts.is_empty()).map(Words::Reasoning));
    }
}

impl Call<'_> {
    pub(super) fn id(&self) -> Option<String> {
        // Mistral's word for none.
        text(self.id).filter(|id| id != "null")
    }

    pub(super) fn name(&self) -> Option<String> {
        text(self.function.name)
    }

    /// The arguments: as text, or as the JSON itself where a server sends that.
    pub(super) fn arguments(&self) -> Cow<'_, str> {
        match self.function.arguments.map(RawValue::get) {
            Some(json) if json.starts_with('{') => Cow::Borrowed(json),
            _ => Cow::Owned(text(self.function.arguments).unwrap_or_default()),
        }
    }
}
