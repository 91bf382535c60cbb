//! An error in no provider's words: what went wrong with a request, read from a provider's answer or made by a gateway, and written in the
//! client's protocol.

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Which kind of trouble it is.
    pub kind: Kind,
    /// For a person.
    pub message: String,
    /// For machines, in OpenAI's way, such as `model_not_found`.
    pub code: Option<String>,
    /// The field of the request that it is about.
    pub param: Option<String>,
    /// The request's id, for protocols that have it in the body.
    pub request_id: Option<String>,
}

impl Error {
    /// An error of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            code: None,
            param: None,
            request_id: None,
        }
    }
}

/// The kinds of trouble that protocols tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request is wrong.
    InvalidRequest,
    /// The request has more tokens than the model can hold: another model may hold more.
    ContextLength,
    /// The provider declines to read or write such content.
    ContentFilter,
    /// No credentials, or wrong ones.
    Authentication,
    /// The client may not do this.
    Permission,
    /// There is no such thing.
    NotFound,
    /// The request has too many bytes.
    TooLarge,
    /// Too many requests or tokens, or no quota left.
    RateLimit,
    /// The model has too much to do.
    Overloaded,
    /// It took too long.
    Timeout,
    /// Anything else that is not the client's fault.
    Server,
}

impl Kind {
    /// The kind that an HTTP status stands for when nothing more is known.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Authentication,
            402 | 429 => Self::RateLimit,
            403 => Self::Permission,
            404 => Self::NotFound,
            408 | 504 => Self::Timeout,
            413 => Self::TooLarge,
            503 | 529 => Self::Overloaded,
            400..=499 => Self::InvalidRequest,
            _ => Self::Server,
        }
    }
}
