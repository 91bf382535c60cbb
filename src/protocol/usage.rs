//! The canonical record of what an answer took. Providers count differently: OpenAI's `prompt_tokens` includes cached tokens and its
//! `completion_tokens` includes reasoning; Anthropic's and Bedrock's `input_tokens` excludes cached ones; Gemini counts thoughts beside the
//! answer. Here every token is in exactly one place, so that each can have its own price.

/// Tokens of one request and its answer; each token is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
}

impl Tokens {
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
