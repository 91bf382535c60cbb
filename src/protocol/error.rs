//! An error in no provider's words: what went wrong with a request, read from a provider's answer or made by a gateway, and written in the
//! client's protocol.

/// The longest code that is told in logs: those that are known have half of that.
const CODE: usize = 64;

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

    /// What it is, for logs: its kind, and its code where that is one word. Never its message, which may repeat what was asked.
    #[must_use]
    pub fn label(&self) -> String {
        let is_word = |code: &&String| {
            let mut bytes = code.bytes();
            (1..=CODE).contains(&code.len()) && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        };
        match self.code.as_ref().filter(is_word) {
            Some(code) => format!("{:?}, {code}", self.kind),
            None => format!("{:?}", self.kind),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_logged_of_an_error_is_its_kind_and_a_code_but_no_words() {
        let label = |code: Option<&str>| {
            let code = code.map(str::to_owned);
            let error = Error::new(Kind::RateLimit, "the prompt was: hello");
            Error { code, ..error }.label()
        };
        assert_eq!(label(None), "RateLimit");
        assert_eq!(label(Some("insufficient_quota")), "RateLimit, insufficient_quota");
        for words in ["", "the prompt", "é", &"x".repeat(65)] {
            assert_eq!(label(Some(words)), "RateLimit", "{words:?}");
        }
    }
}
