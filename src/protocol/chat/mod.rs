//! A conversation in no provider's words: what a request and its answer are read into, and written from, when the client speaks one protocol
//! and the model another. Whoever reads keeps every word that has a place here, names what has none (`Lost`), and refuses what would change
//! the meaning of the request if it were left out (`Unsupported`). Where both sides speak the same protocol none of this is used: bytes pass.

mod answer;
mod estimate;
mod fit;
mod json;
mod stream;

use serde_json::Number;

pub use answer::{Answer, Choice, Stop};
pub use estimate::estimate;
pub use fit::{Lost, Unfit, Unreadable, Unsupported};
pub use json::Json;
pub use stream::{Delta, ReadStream, Said, WriteStream};
pub(in crate::protocol) use stream::{HELD_LIMIT, too_long_to_hold};

/// A request for the next message of a conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// What was said so far. Instructions (`system`, `developer`) are messages of `Role::System`; results of tools are parts of messages of
    /// `Role::User`.
    pub messages: Vec<Message>,
    /// Functions that the model may call.
    pub tools: Vec<Tool>,
    /// Whether it must call one. `None`: as the provider does by default.
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may call several at once.
    pub parallel_tool_calls: Option<bool>,
    /// The most tokens of the answer, reasoning included.
    pub max_tokens: Option<u64>,
    /// Sampling, as given: numbers keep their digits.
    pub temperature: Option<Number>,
    /// Nucleus sampling.
    pub top_p: Option<Number>,
    /// Sampling among so many tokens.
    pub top_k: Option<Number>,
    /// A penalty for tokens that were there at all.
    pub presence_penalty: Option<Number>,
    /// A penalty for tokens by how often they were there.
    pub frequency_penalty: Option<Number>,
    /// For answers that can be repeated.
    pub seed: Option<Number>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// The form of the answer.
    pub format: Format,
    /// How much the model thinks before it answers. `None`: as the model does by default.
    pub reasoning: Option<Reasoning>,
    /// How many answers are wanted. `None`: one.
    pub choices: Option<u64>,
    /// Who the client's own user is, by a name that the client made up.
    pub user: Option<String>,
    /// Whether the answer is to come as it is made.
    pub stream: bool,
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Whoever instructs the model.
    System,
    /// The user, or a tool that the model called.
    User,
    /// The model.
    Assistant,
}

/// What one of them says at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who.
    pub role: Role,
    /// What, in order.
    pub parts: Vec<Part>,
}

impl Message {
    /// A message of one text.
    #[must_use]
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            parts: vec![Part::Text(text.into())],
        }
    }
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Words.
    Text(String),
    /// A picture.
    Image {
        /// Where it is, or it itself.
        media: Media,
        /// How closely to look: `low`, `high`, `auto`.
        detail: Option<String>,
    },
    /// A document, such as a PDF.
    Document {
        /// Where it is, or it itself.
        media: Media,
        /// Its file name.
        name: Option<String>,
    },
    /// Sound.
    Audio {
        /// In base64.
        data: String,
        /// `wav` or `mp3`.
        format: String,
    },
    /// The model calls a tool.
    ToolCall {
        /// What its result refers to.
        id: String,
        /// The tool's name.
        name: String,
        /// A JSON object, as the model wrote it: it may be cut off.
        arguments: String,
    },
    /// What a tool returned.
    ToolResult {
        /// The call's id.
        id: String,
        /// Texts, images and documents.
        parts: Vec<Part>,
        /// Whether the tool failed.
        is_error: bool,
    },
    /// What the model thought before it went on.
    Reasoning {
        /// In words; may be a summary or empty.
        text: String,
        /// The provider's seal on it, with which it must be sent back unchanged. Only the provider that made it understands it.
        signature: Option<String>,
    },
    /// Thoughts that only the provider can read, to be sent back to it unchanged.
    RedactedReasoning(String),
    /// The model declined, in these words.
    Refusal(String),
    /// What comes before this point is worth keeping for the next request: a hint for prompt caches.
    CachePoint(CachePoint),
}

/// The parts of a message with their places as the client counts them: a cache point is a field of the part before it.
pub(in crate::protocol) fn placed(parts: &[Part]) -> impl Iterator<Item = (usize, &Part)> {
    parts.iter().scan(0, |next, part| {
        *next += usize::from(!matches!(part, Part::CachePoint(_)));
        Some((next.saturating_sub(1), part))
    })
}

/// A hint for prompt caches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CachePoint {
    /// For how long, such as `5m` or `1h`. `None`: as the provider does by default.
    pub ttl: Option<String>,
}

/// A picture or document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Media {
    /// At an address that the provider can fetch.
    Url(String),
    /// Itself.
    Inline {
        /// Such as `image/png`.
        media_type: String,
        /// In base64.
        data: String,
    },
}

/// A function that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does, for the model.
    pub description: Option<String>,
    /// The JSON schema of its arguments, in the client's own words and order: prompt caches depend on both. `None`: it takes none.
    pub parameters: Option<Json>,
    /// Whether arguments must fit the schema exactly.
    pub strict: Option<bool>,
    /// Whether the tools up to this one are worth keeping.
    pub cache: Option<CachePoint>,
}

/// Whether the model must call a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// As it sees fit.
    Auto,
    /// None.
    None,
    /// One at least.
    Required,
    /// This one.
    Tool(String),
}

/// The form of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Format {
    /// Words.
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON that fits a schema.
    JsonSchema {
        /// What the client calls it.
        name: Option<String>,
        /// What it is for, for the model.
        description: Option<String>,
        /// The schema, in the client's own words and order.
        schema: Json,
        /// Whether the answer must fit it exactly.
        strict: Option<bool>,
    },
}

/// How much a model thinks before it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reasoning {
    /// Not at all.
    Off,
    /// In words: `minimal`, `low`, `medium`, `high`, and what else providers come up with.
    Effort(String),
    /// In tokens at most.
    Budget(u64),
    /// As much as the model sees fit.
    Adaptive,
}
