//! What a cell is made of: cases, what providers say, and what a provider and a client's operation are.

/// What is tried with each operation and provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Plain,
    Stream,
    Tools,
    ToolsStream,
    Schema,
    Image,
    /// The provider says that the request is wrong.
    Fault,
    /// The provider has no capacity.
    Throttled,
    Usage,
    UsageStream,
}

pub(super) const CASES: [Case; 10] = [
    Case::Plain,
    Case::Stream,
    Case::Tools,
    Case::ToolsStream,
    Case::Schema,
    Case::Image,
    Case::Fault,
    Case::Throttled,
    Case::Usage,
    Case::UsageStream,
];

/// What a request holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Talk {
    /// A text to go on with.
    Prompt,
    Words,
    /// A call, its result, and the demand for another call.
    Tools,
    Schema,
    Image,
}

/// What a provider says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// `Paris`, for 10 tokens of a prompt and 2 of an answer.
    Words,
    /// A call of `get_weather` for Lyon.
    Call,
    /// `{"city":"Paris"}`.
    Json,
    /// `Paris`, for 16 tokens of a prompt, 6 of them from a cache, and 8 of an answer, 3 of them thoughts where those are counted.
    Costly,
    Fault,
    Throttled,
}

impl Case {
    pub(super) fn is_streamed(self) -> bool {
        matches!(self, Self::Stream | Self::ToolsStream | Self::UsageStream)
    }

    pub(super) fn say(self) -> Say {
        match self {
            Self::Plain | Self::Stream | Self::Image => Say::Words,
            Self::Tools | Self::ToolsStream => Say::Call,
            Self::Schema => Say::Json,
            Self::Fault => Say::Fault,
            Self::Throttled => Say::Throttled,
            Self::Usage | Self::UsageStream => Say::Costly,
        }
    }

    pub(super) fn talk(self) -> Talk {
        match self {
            Self::Tools | Self::ToolsStream => Talk::Tools,
            Self::Schema => Talk::Schema,
            Self::Image => Talk::Image,
            Self::Plain | Self::Stream | Self::Fault | Self::Throttled | Self::Usage | Self::UsageStream => Talk::Words,
        }
    }
}

/// The JSON schema of the tool and of the answer in JSON, in this order of keys everywhere.
pub(super) const SCHEMA: &str =
    r#"{"type":"object","properties":{"city":{"type":"string"}},"required":["city"],"additionalProperties":false}"#;

/// A picture of nothing.
pub(super) const PNG: &str = "iVBORw0KGgo=";

/// What a provider sends back.
pub(super) struct Wire {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    /// More headers, each with its line's end.
    pub(super) headers: &'static str,
    pub(super) body: Vec<u8>,
    /// The event that reports tokens and nothing else, if there is one: it passes only to whoever asked for it.
    pub(super) report: Option<String>,
}

impl Wire {
    pub(super) fn json(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            content_type: "application/json",
            headers: "",
            body: body.into(),
            report: None,
        }
    }

    pub(super) fn fault(body: &str) -> Self {
        Self {
            status: 400,
            ..Self::json(body)
        }
    }

    pub(super) fn throttled(body: &str) -> Self {
        Self {
            status: 429,
            headers: "retry-after: 7\r\n",
            ..Self::json(body)
        }
    }

    pub(super) fn events(body: impl Into<Vec<u8>>) -> Self {
        Self {
            content_type: "text/event-stream; charset=utf-8",
            ..Self::json(body)
        }
    }
}

/// A provider, as its own documentation has it.
pub(super) struct Provider {
    pub(super) name: &'static str,
    /// The `api` of a ModelDeployment, without credentials, for an address; `None`: pods of our own.
    pub(super) spec: Option<fn(&str) -> String>,
    /// What its Secret holds, for an address.
    pub(super) secret: fn(&str) -> String,
    /// The headers that show it: whole lines.
    pub(super) shown: fn(&Sent) -> String,
    /// The model's name there.
    pub(super) model: &'static str,
    /// Where a conversation goes, and where when it is to be streamed.
    pub(super) paths: [&'static str; 2],
    /// In front of the paths of operations whose bytes pass.
    pub(super) prefix: &'static str,
    /// The body of a conversation; the schema's name only where `named`.
    pub(super) asked: fn(Talk, bool) -> String,
    /// The fields that ask for a stream, each with a comma in front.
    pub(super) streamed: &'static str,
    /// What it says, and whether as a stream.
    pub(super) says: fn(Say, bool) -> Wire,
    /// What it says in the middle of a stream that it cannot finish.
    pub(super) gives_up: fn() -> Vec<u8>,
    /// The id of its answers.
    pub(super) id: &'static str,
    /// The id of the call that it makes; `None`: it gives none.
    pub(super) call_id: Option<&'static str>,
    /// How many of 8 tokens it says are thoughts.
    pub(super) thoughts: u32,
    /// Requests beside the one that asks the model.
    pub(super) others: usize,
    /// How it makes vectors: where it is asked, what, and what it says. `None`: it makes none.
    pub(super) vectors: Option<Vectors>,
}

pub(super) struct Vectors {
    pub(super) path: &'static str,
    pub(super) asked: &'static str,
    pub(super) says: &'static str,
    /// Whether it counts tokens.
    pub(super) counts: bool,
}

/// A client's operation.
pub(super) struct Client {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    /// The body; or why there is none of this case.
    pub(super) request: fn(Case) -> Result<String, &'static str>,
    /// The providers that get its bytes as they are.
    pub(super) passes_to: &'static [&'static str],
    /// Where they get them, behind the provider's prefix.
    pub(super) passing_path: &'static str,
    /// What such a provider says, and whether as a stream; `None`: what it always says.
    pub(super) native: Option<fn(Say, bool) -> Wire>,
    /// What the client is told by a provider of another protocol.
    pub(super) answer: fn(Case) -> String,
    /// What is always left out for a provider of another protocol.
    pub(super) lost: &'static str,
    /// The id of an answer whose provider gives none, and as it is written here.
    pub(super) own_id: [&'static str; 2],
    /// Whether its schemas have names, and may be kept to or not.
    pub(super) names_schemas: bool,
}

/// What a provider got.
pub(super) struct Sent {
    /// Where it was sent.
    pub(super) path: String,
    /// The request's line and headers.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Sent {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}
