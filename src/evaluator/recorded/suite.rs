//! The public suites whose recorded outputs can be scored.

use std::fmt;
use std::str::FromStr;

/// A suite of questions that everyone has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// The test questions of MMLU-Pro (TIGER-Lab/MMLU-Pro, Y. Wang et al. 2024).
    MmluPro,
}

impl Suite {
    /// How many questions it has.
    #[must_use]
    pub fn questions(self) -> u32 {
        match self {
            Self::MmluPro => 12_032,
        }
    }

    /// How many choices a question has at most: outputs are searched for the letters of so many, also where a question has fewer, as the
    /// benchmark's authors do.
    #[must_use]
    pub fn choices(self) -> usize {
        match self {
            Self::MmluPro => 10,
        }
    }

    /// The letters of the choices.
    pub(super) fn letters(self) -> impl Iterator<Item = char> {
        ('A'..='Z').take(self.choices())
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MmluPro => "mmlu_pro",
        })
    }
}

impl FromStr for Suite {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "mmlu_pro" => Ok(Self::MmluPro),
            _ => Err("no such suite is known; write mmlu_pro".to_owned()),
        }
    }
}
