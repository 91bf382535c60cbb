//! What is wrong with a file: where, in which object and field, and what to do about it. One line each, sorted as a person reads the files.

use std::fmt;

use serde::Serialize;

use crate::plan::Invalid;

/// Whether the API server or the operator would refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Severity {
    /// It would be refused, or could never work.
    Error,
    /// It is accepted, and waits for something these files do not have.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The file as it was named, or found in a named folder; `stdin` for `-`.
    pub file: String,
    /// The line of the field, or of the nearest thing around it; absent when the file could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// `Kind namespace/name`; absent when the document is no object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The field's path, such as `spec.rules[0].targets[1].weight`; empty when it is about the whole object.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it; empty when the problem says so itself, as the rules of the CRDs do.
    pub remedy: String,
    /// Whether it would be refused.
    pub severity: Severity,
}

impl Finding {
    /// An error about a whole file.
    pub(super) fn of_file(file: &str, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            object: None,
            field: String::new(),
            problem: problem.into(),
            remedy: remedy.into(),
            severity: Severity::Error,
        }
    }

    /// Whether it would be refused.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Where an object was written, so that findings about it can say so.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    pub(super) file: String,
    pub(super) object: String,
    pub(super) document: super::document::Document,
    /// The path of the object in its document: empty, or `items[3]` in a List.
    pub(super) inside: String,
}

impl Origin {
    /// `invalid` as a finding about this object.
    pub(crate) fn finding(&self, severity: Severity, invalid: Invalid) -> Finding {
        let within = if self.inside.is_empty() || invalid.field.is_empty() {
            format!("{}{}", self.inside, invalid.field)
        } else {
            format!("{}.{}", self.inside, invalid.field)
        };
        Finding {
            file: self.file.clone(),
            line: Some(self.document.line(&within)),
            object: Some(self.object.clone()),
            field: invalid.field,
            problem: invalid.problem,
            remedy: invalid.remedy,
            severity,
        }
    }

    /// The file and line, as editors and terminals link them.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file, self.document.line(&self.inside))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if self.severity == Severity::Warning {
            f.write_str(": warning")?;
        }
        for part in [self.object.as_deref().unwrap_or_default(), &self.field, &self.problem] {
            if !part.is_empty() {
                write!(f, ": {part}")?;
            }
        }
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}
