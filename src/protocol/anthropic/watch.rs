//! Looking on while a stream of Anthropic's passes. This runs for every event of every stream: it copies nothing and asks for no memory.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::usage::Usage;
use crate::protocol::usage::Tokens;
use crate::protocol::watch::{self, Piece};

/// What the events of one stream told so far.
#[derive(Debug, Default)]
pub struct Watch {
    usage: Usage,
    text_bytes: u64,
    has_begun: bool,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(borrow)]
    delta: Option<Said<'a>>,
    #[serde(borrow)]
    content_block: Option<Said<'a>>,
    message: Option<Message>,
    usage: Option<Usage>,
}

/// An event of which only the type can be read: it reports figures that are none, perhaps.
#[derive(Deserialize)]
struct Bare {
    #[serde(rename = "type")]
    kind: Kind,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    MessageStart,
    Ping,
    ContentBlockStart,
    ContentBlockDelta,
    MessageDelta,
    MessageStop,
    Error,
    #[serde(other)]
    Other,
}

/// What a block, or a change of one, says, as it is written.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow)]
    partial_json: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message {
    usage: Option<Usage>,
}

impl watch::Watch for Watch {
    fn look(&mut self, data: &[u8]) -> Piece {
        let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else {
            return match serde_json::from_slice(data) {
                Ok(Bare { kind }) => self.piece(kind, false),
                Err(_) => watch::unread(data),
            };
        };
        let said = event.delta.iter().chain(&event.content_block);
        self.text_bytes = said.fold(self.text_bytes, |sum, said| sum.saturating_add(said.bytes()));
        if let Some(later) = event.usage.or(event.message.and_then(|message| message.usage)) {
            self.usage.update(&later);
        }
        self.piece(event.kind, event.content_block.is_some_and(|block| block.is_empty()))
    }

    fn tokens(&self) -> Option<Tokens> {
        self.usage.tokens()
    }

    fn text_bytes(&self) -> u64 {
        self.text_bytes
    }
}

impl Watch {
    /// The end of what never began is no end.
    fn piece(&mut self, kind: Kind, is_empty_block: bool) -> Piece {
        self.has_begun |= !matches!(kind, Kind::Ping | Kind::MessageStop | Kind::Error);
        match kind.piece(is_empty_block) {
            Piece::Done if !self.has_begun => Piece::Garbled,
            piece => piece,
        }
    }
}

impl Kind {
    const fn piece(self, is_empty_block: bool) -> Piece {
        match self {
            Self::MessageStart | Self::Ping => Piece::Opening,
            Self::ContentBlockStart if is_empty_block => Piece::Opening,
            Self::MessageStop => Piece::Done,
            Self::Error => Piece::Failed,
            Self::ContentBlockStart | Self::ContentBlockDelta | Self::MessageDelta | Self::Other => Piece::Content,
        }
    }
}

impl Said<'_> {
    fn bytes(&self) -> u64 {
        let said = [self.text, self.thinking, self.partial_json];
        said.into_iter().flatten().map(|text| length(text.get())).sum()
    }

    /// Whether a block says nothing yet: no words, no tool, no sealed thoughts.
    fn is_empty(&self) -> bool {
        self.name.is_none() && self.data.is_none() && self.bytes() == 0 && (self.text.is_some() || self.thinking.is_some())
    }
}

/// The bytes of a JSON text, nearly: an escape counts as one byte, as most stand for a line feed or a quotation mark.
fn length(json: &str) -> u64 {
    let Some(inside) = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return 0;
    };
    let escapes = inside.bytes().filter(|byte| *byte == b'\\').count();
    (inside.len() - escapes.min(inside.len())) as u64
}
