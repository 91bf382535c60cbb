//! Wire formats: reading just enough of a request or answer, and changing as few bytes as possible. Pure; imports nothing of ours.

pub mod openai;
pub mod sse;
