//! What clients ask for, and what models speak.

/// What a client asks for, in the protocol of the path that it called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// OpenAI's `POST /v1/chat/completions`.
    ChatCompletions,
    /// OpenAI's `POST /v1/completions`.
    Completions,
    /// OpenAI's `POST /v1/embeddings`.
    Embeddings,
    /// OpenAI's `POST /v1/responses`.
    Responses,
    /// Anthropic's `POST /v1/messages`.
    Messages,
    /// Anthropic's `POST /v1/messages/count_tokens`.
    CountTokens,
}

/// What a model's server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI itself, or Azure's: all of its operations.
    OpenAI,
    /// A server that speaks OpenAI's chat completions, completions and embeddings, as engines do.
    OpenAICompatible,
    /// Mistral's variant of OpenAI's.
    Mistral,
    /// Anthropic's Messages.
    Anthropic,
    /// Google's generateContent, of AI Studio or Vertex.
    Gemini,
    /// Bedrock's Converse.
    Bedrock,
}
