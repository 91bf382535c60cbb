//! The benchmark MMLU-Pro (Y. Wang et al. 2024, dataset TIGER-Lab/MMLU-Pro) as three public programs ask it, and samples of its questions.
//!
//! ```text
//!   rows ── read ──► Question ── sample, clusters: which are asked
//!                       └─ prompt(variant, examples) ──► Prompt
//! ```

mod prompt;
mod question;

#[cfg(test)]
mod tests;

pub(super) use prompt::{SHOTS, extractor, prompt};
pub(super) use question::{MOST_OPTIONS, Question, clusters, read};
