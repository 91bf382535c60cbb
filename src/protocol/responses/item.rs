//! The things that a model said, as they are written: messages, reasoning, calls.

use serde::Serialize;
use serde_json::value::RawValue;

use super::seal;

/// How far an answer or one of its items is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    InProgress,
    Completed,
    Incomplete,
    Failed,
}

/// One of the things that a model said.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Item {
    Message {
        id: String,
        status: Status,
        role: &'static str,
        content: Vec<Content>,
    },
    FunctionCall {
        id: String,
        status: Status,
        call_id: String,
        name: String,
        arguments: String,
    },
    /// A model's plain thoughts are `content`; `summary` is for what somebody else made of them.
    Reasoning {
        id: String,
        status: Status,
        summary: [(); 0],
        content: Vec<Content>,
        encrypted_content: Option<String>,
    },
}

/// A part of an item.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Content {
    OutputText {
        text: String,
        annotations: [(); 0],
        logprobs: [(); 0],
    },
    Refusal {
        refusal: String,
    },
    ReasoningText {
        text: String,
    },
}

/// Which of the kinds of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    Text,
    Refusal,
    Reasoning,
}

impl Content {
    pub(super) fn new(voice: Voice) -> Self {
        match voice {
            Voice::Text => Self::OutputText {
                text: String::new(),
                annotations: [],
                logprobs: [],
            },
            Voice::Refusal => Self::Refusal { refusal: String::new() },
            Voice::Reasoning => Self::ReasoningText { text: String::new() },
        }
    }

    pub(super) fn voice(&self) -> Voice {
        match self {
            Self::OutputText { .. } => Voice::Text,
            Self::Refusal { .. } => Voice::Refusal,
            Self::ReasoningText { .. } => Voice::Reasoning,
        }
    }

    pub(super) fn words(&self) -> &str {
        match self {
            Self::OutputText { text, .. } | Self::ReasoningText { text } => text,
            Self::Refusal { refusal } => refusal,
        }
    }

    fn words_mut(&mut self) -> &mut String {
        match self {
            Self::OutputText { text, .. } | Self::ReasoningText { text } => text,
            Self::Refusal { refusal } => refusal,
        }
    }
}

impl Item {
    /// Something that is said, of which nothing is known yet. `name` is part of its id.
    pub(super) fn saying(voice: Voice, name: &str) -> Self {
        let (status, content) = (Status::InProgress, Vec::new());
        match voice {
            Voice::Text | Voice::Refusal => Self::Message {
                id: format!("msg_{name}"),
                status,
                role: "assistant",
                content,
            },
            Voice::Reasoning => Self::Reasoning {
                id: format!("rs_{name}"),
                status,
                summary: [],
                content,
                encrypted_content: None,
            },
        }
    }

    /// Thoughts that only their provider can read.
    pub(super) fn redacted(data: &str, name: &str) -> Self {
        Self::Reasoning {
            id: format!("rs_{name}"),
            status: Status::InProgress,
            summary: [],
            content: Vec::new(),
            encrypted_content: Some(seal::redacted(data)),
        }
    }

    /// A call without arguments. Where the provider gave it no id it gets one, since its result must refer to it.
    pub(super) fn call(id: &str, function: &str, name: &str) -> Self {
        Self::FunctionCall {
            id: format!("fc_{name}"),
            status: Status::InProgress,
            call_id: if id.is_empty() { format!("call_{name}") } else { id.to_owned() },
            name: function.to_owned(),
            arguments: String::new(),
        }
    }

    pub(super) fn id(&self) -> &str {
        match self {
            Self::Message { id, .. } | Self::FunctionCall { id, .. } | Self::Reasoning { id, .. } => id,
        }
    }

    pub(super) fn set_status(&mut self, is: Status) {
        match self {
            Self::Message { status, .. } | Self::FunctionCall { status, .. } | Self::Reasoning { status, .. } => *status = is,
        }
    }

    pub(super) fn content(&self) -> &[Content] {
        match self {
            Self::Message { content, .. } | Self::Reasoning { content, .. } => content,
            Self::FunctionCall { .. } => &[],
        }
    }

    /// Whether this item is one that `voice` can go on with. What is sealed is over.
    pub(super) fn takes(&self, voice: Voice) -> bool {
        match self {
            Self::Message { .. } => voice != Voice::Reasoning,
            Self::Reasoning { encrypted_content, .. } => voice == Voice::Reasoning && encrypted_content.is_none(),
            Self::FunctionCall { .. } => false,
        }
    }

    /// Begins a part. Calls have none.
    pub(super) fn begin(&mut self, voice: Voice) {
        if let Self::Message { content, .. } | Self::Reasoning { content, .. } = self {
            content.push(Content::new(voice));
        }
    }

    /// Adds to the last part, or to the arguments.
    pub(super) fn add(&mut self, words: &str) {
        match self {
            Self::Message { content, .. } | Self::Reasoning { content, .. } => {
                if let Some(last) = content.last_mut() {
                    last.words_mut().push_str(words);
                }
            }
            Self::FunctionCall { arguments, .. } => arguments.push_str(words),
        }
    }

    /// Adds to the seal on thoughts. Returns whether this is an item that takes one: others, and thoughts that cannot be read, do not.
    pub(super) fn seal(&mut self, more: &str) -> bool {
        let Self::Reasoning { encrypted_content, .. } = self else {
            return false;
        };
        match encrypted_content {
            Some(redacted) if !matches!(seal::read(redacted), seal::Sealed::Signature(_)) => return false,
            Some(seal) => seal.push_str(more),
            None => *encrypted_content = Some(seal::signature(more)),
        }
        true
    }
}

/// An item as it is sent, and kept for the end.
pub(super) fn json(item: &Item) -> Box<RawValue> {
    serde_json::value::to_raw_value(item).expect("items have string keys only")
}
