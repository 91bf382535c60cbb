//! The canonical record of what an answer took. Providers count differently: OpenAI's `prompt_tokens` includes cached tokens and its
//! `completion_tokens` includes reasoning; Anthropic's and Bedrock's `input_tokens` excludes cached ones; Gemini counts thoughts beside the
//! answer. Here every token is in exactly one place, so that each can have its own price.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// Tokens of one request and its answer; each token is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Of the prompt, neither read from a cache nor written to one, audio left aside.
    pub input: u64,
    /// Of the prompt, read from a cache.
    pub cache_read: u64,
    /// Of the prompt, written to a cache for minutes.
    pub cache_write: u64,
    /// Of the prompt, written to a cache for an hour.
    pub cache_write_1h: u64,
    /// Of the prompt, sound.
    pub audio_input: u64,
    /// Of the answer, reasoning and audio left aside.
    pub output: u64,
    /// Of the answer, reasoning.
    pub reasoning: u64,
    /// Of the answer, sound.
    pub audio_output: u64,
    /// On which terms they were, and whether anything else was billed.
    pub terms: Terms,
}

/// The terms of an answer, as it tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Terms {
    /// It says nothing of them.
    #[default]
    Unsaid,
    /// Those of the price list.
    Standard,
    /// Others: a tier that is dearer or cheaper, or tools that the provider bills beside the tokens.
    Special,
}

impl Terms {
    /// The terms of an answer of which this was said too: what is special stays so.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Special, _) | (_, Self::Special) => Self::Special,
            (Self::Standard, _) | (_, Self::Standard) => Self::Standard,
            (Self::Unsaid, Self::Unsaid) => Self::Unsaid,
        }
    }

    /// Special where this is so, else as they are.
    #[must_use]
    pub fn special_if(self, is_special: bool) -> Self {
        if is_special { Self::Special } else { self }
    }

    /// What a tier means, by its name. One that is not known is another tier.
    pub(super) fn of_tier(name: &[u8]) -> Self {
        match name {
            // The standard one by the names of OpenAI and Azure, Anthropic, and Groq.
            b"default" | b"standard" | b"standard_only" | b"on_demand" => Self::Standard,
            // Who answers so only repeats the request.
            b"auto" | b"" => Self::Unsaid,
            _ => Self::Special,
        }
    }

    /// The same of a value in JSON: what is no name says nothing.
    pub(super) fn of_value(tier: &str) -> Self {
        let name = tier.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        name.map(|name| Self::of_tier(name.as_bytes())).unwrap_or_default()
    }

    /// Where it is computed: to insist on a place costs more (Anthropic's `inference_geo`).
    pub(super) fn of_place(place: &str) -> Self {
        Self::Unsaid.special_if(place.starts_with('"') && !matches!(place, "\"global\"" | "\"not_available\"" | "\"\""))
    }

    /// Reads the tier that a request or an answer names; what is no name says nothing.
    pub(super) fn read_tier<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(from).map(|tier| Self::of_value(tier.get()))
    }
}

/// More tokens of one kind than any request has: ten times the longest context of any model, and a hundred embeddings of the longest texts at
/// once. Who reports more reports no tokens, and at a price that would be an untrue cost that uses up every budget.
const MOST: u64 = 100_000_000;

impl Tokens {
    /// The report, where it can be true: where one of its figures cannot, the others are not believed either.
    #[must_use]
    pub fn believed(self) -> Option<Self> {
        self.by_kind().iter().all(|(_, count)| *count <= MOST).then_some(self)
    }

    /// All of the prompt.
    #[must_use]
    pub fn prompt(&self) -> u64 {
        self.input
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_write)
            .saturating_add(self.cache_write_1h)
            .saturating_add(self.audio_input)
    }

    /// How many kinds there are.
    pub const KINDS: usize = 8;

    /// Each kind by its name, always in this order.
    #[must_use]
    pub fn by_kind(self) -> [(&'static str, u64); Self::KINDS] {
        let Self {
            input,
            cache_read,
            cache_write,
            cache_write_1h,
            audio_input,
            output,
            reasoning,
            audio_output,
            terms: _,
        } = self;
        [
            ("input", input),
            ("cache_read", cache_read),
            ("cache_write", cache_write),
            ("cache_write_1h", cache_write_1h),
            ("audio_input", audio_input),
            ("output", output),
            ("reasoning", reasoning),
            ("audio_output", audio_output),
        ]
    }

    /// All of the answer.
    #[must_use]
    pub fn answer(&self) -> u64 {
        self.output.saturating_add(self.reasoning).saturating_add(self.audio_output)
    }
}
