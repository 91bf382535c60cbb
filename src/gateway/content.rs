//! What was asked and answered, in the log: of policies that say so (`spec.logging.content: Always`), and of no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, HeaderValue};
use tracing::Level;

use super::headers;
use super::tally::Record;
use crate::plan::names::Key;

/// The target of these lines, by which `RUST_LOG` filters them.
pub const TARGET: &str = "content";

/// What is logged of a request, and of its answer.
const LONGEST: usize = 64 << 10;
/// What all requests in flight may hold for it.
const TOGETHER: usize = 32 << 20;

/// The bytes that are held for it, of all requests.
#[derive(Clone, Default)]
pub(super) struct Desk(Arc<AtomicUsize>);

/// What is written down of one request.
pub(super) struct Transcript {
    desk: Desk,
    id: Option<HeaderValue>,
    asked: Vec<u8>,
    answered: Vec<u8>,
    is_cut: bool,
}

impl Desk {
    /// Begins with what is asked, if anyone would read it.
    pub(super) fn begin(&self, headers: &HeaderMap, asked: &[u8]) -> Option<Transcript> {
        tracing::enabled!(target: TARGET, Level::INFO).then(|| {
            let mut transcript = Transcript {
                desk: self.clone(),
                id: headers.get(headers::REQUEST_ID).cloned(),
                asked: Vec::new(),
                answered: Vec::new(),
                is_cut: false,
            };
            let fits = transcript.room(asked.len(), 0);
            transcript.asked.extend_from_slice(&asked[..fits]);
            transcript
        })
    }
}

impl Transcript {
    /// A piece of the answer.
    pub(super) fn answers(&mut self, piece: &[u8]) {
        let fits = self.room(piece.len(), self.answered.len());
        self.answered.extend_from_slice(&piece[..fits]);
    }

    /// Takes room for so many bytes after so many, or for as many as there may be.
    fn room(&mut self, bytes: usize, before: usize) -> usize {
        let fits = bytes.min(LONGEST.saturating_sub(before));
        let taken = self.desk.0.fetch_add(fits, Ordering::Relaxed);
        let fits = if taken + fits > TOGETHER {
            self.desk.0.fetch_sub(fits, Ordering::Relaxed);
            0
        } else {
            fits
        };
        self.is_cut |= fits < bytes;
        fits
    }

    /// Logs it.
    pub(super) fn log(&self, record: &Record) {
        let policy = record.route.as_ref().and_then(|route| route.policy.as_ref());
        tracing::info!(
            target: TARGET,
            id = self.id.as_ref().and_then(|id| id.to_str().ok()),
            policy = policy.map(Key::to_string),
            answered_by = record.model.as_ref().map(|model| model.model.to_string()),
            status = record.status.map(|status| status.as_u16()),
            asked = &*String::from_utf8_lossy(&self.asked),
            answered = &*String::from_utf8_lossy(&self.answered),
            cut = self.is_cut,
        );
    }
}

impl Drop for Transcript {
    fn drop(&mut self) {
        self.desk.0.fetch_sub(self.asked.len() + self.answered.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(desk: &Desk) -> Transcript {
        Transcript {
            desk: desk.clone(),
            id: None,
            asked: Vec::new(),
            answered: Vec::new(),
            is_cut: false,
        }
    }

    #[test]
    fn so_much_is_held_of_one_and_of_all_and_given_back() {
        let desk = Desk::default();
        let mut one = transcript(&desk);
        one.answers(&vec![b'x'; LONGEST - 1]);
        assert!(!one.is_cut);
        one.answers(b"xy");
        assert!(one.is_cut && one.answered.len() == LONGEST, "its first bytes");
        let mut all: Vec<Transcript> = (0..TOGETHER / LONGEST).map(|_| transcript(&desk)).collect();
        all.iter_mut().for_each(|other| other.answers(&vec![b'x'; LONGEST]));
        assert_eq!(all.iter().filter(|other| other.is_cut).count(), 1, "there is room for all but one");
        drop((one, all));
        assert_eq!(desk.0.load(Ordering::Relaxed), 0);
    }
}
