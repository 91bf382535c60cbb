//! What is wrong with a file of recorded outputs.

use std::fmt;

use crate::plan::Invalid;

/// Where, what, and what to do about it: `file:line:column: field: problem; remedy`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Flaw {
    /// The file as it was named.
    pub file: String,
    /// The line, from 1; of what was compressed, where the file is.
    pub line: Option<u64>,
    /// The byte of the line, from 1, where it is known.
    pub column: Option<usize>,
    /// The field, which may be empty, the problem and the remedy.
    pub invalid: Invalid,
}

impl Flaw {
    /// A flaw of a whole file.
    #[must_use]
    pub fn of_file(file: &str, invalid: Invalid) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            column: None,
            invalid,
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        let Invalid { field, problem, remedy } = &self.invalid;
        if !field.is_empty() {
            write!(f, ": {field}")?;
        }
        write!(f, ": {problem}; {remedy}")
    }
}
