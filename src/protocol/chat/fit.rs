//! What does not fit: a protocol lacks what the other has.

use std::fmt;

/// So many names say enough; a request of nothing but such fields neither fills a header nor takes long.
const MOST_LOST: usize = 32;

/// What was left out of a request because the model's protocol has no place for it, by the client's names for it. Told to the client in a
/// header: never silently.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost(Vec<String>);

impl Lost {
    /// Notes that `field` is left out. One that is noted already is not noted again; after 32 of them `...` stands for all others.
    pub fn note(&mut self, field: impl Into<String>) {
        let field = if self.0.len() < MOST_LOST { field.into() } else { "...".to_owned() };
        if self.0.len() <= MOST_LOST && !self.0.contains(&field) {
            self.0.push(field);
        }
    }

    /// Notes that `field` is left out if it was given.
    pub fn note_if(&mut self, is_given: bool, field: &str) {
        if is_given {
            self.note(field);
        }
    }

    /// Adds what another step left out.
    pub fn extend(&mut self, other: &Self) {
        other.0.iter().for_each(|field| self.note(field.as_str()));
    }

    /// The names, in the order in which they were noted.
    #[must_use]
    pub fn fields(&self) -> &[String] {
        &self.0
    }

    /// Whether nothing was left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A request cannot be put to a model without changing what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// What of the request, by the client's name for it, such as `n` or `messages[2].content[0]`.
    pub field: String,
    /// What the problem is, as the end of a sentence that begins with the field, such as `asks for several answers, and the model gives one`.
    pub problem: String,
}

impl Unsupported {
    /// The `field` and what its `problem` is.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.problem)
    }
}

/// Why a body is not a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unreadable {
    /// The field, if it is about one.
    pub field: Option<String>,
    /// What is wrong, for the person who wrote the client.
    pub message: String,
}

impl Unreadable {
    /// About `field`, in these words.
    pub fn new(field: Option<&str>, message: impl Into<String>) -> Self {
        Self {
            field: field.map(str::to_owned),
            message: message.into(),
        }
    }
}

/// Why a request cannot be read into the common form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is wrong in itself.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// It asks for what only its own protocol has.
    #[error("{0}")]
    Unsupported(Unsupported),
}

impl From<Unsupported> for Unfit {
    fn from(unsupported: Unsupported) -> Self {
        Self::Unsupported(unsupported)
    }
}
