//! How much an answer is like what was expected: numbers from 0 to 1, and comparisons of numbers, texts and JSON. Pure; each is checked against an
//! independent implementation.

mod bleu;
mod contains;
mod f1;
mod numeric;
mod rouge;
mod schema;
mod words;

#[cfg(test)]
mod goldens;

pub(super) use bleu::bleu;
pub(super) use contains::contains;
pub(super) use f1::f1;
pub(super) use numeric::{number, within};
pub(super) use rouge::rouge_l;
pub(super) use schema::Schema;
