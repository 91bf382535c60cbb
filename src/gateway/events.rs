//! A streamed answer on its way: its bytes pass unchanged, event by event, while what they say is read on the side.

use bytes::Bytes;

use crate::protocol::Piece;
use crate::protocol::openai::{self, Usage};
use crate::protocol::sse::{EVENT_LIMIT, Splitter};

/// What has been seen of a streamed answer.
#[derive(Debug, Default)]
pub(super) struct Events {
    splitter: Splitter,
    /// The beginning of an event whose end has not come: a client never gets half an event.
    tail: Vec<u8>,
    seen: Seen,
}

/// What events said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// A part of the answer, or its end.
    pub(super) content: bool,
    /// `[DONE]`.
    pub(super) done: bool,
    /// An error.
    pub(super) failed: bool,
    /// The latest report of tokens.
    pub(super) usage: Option<Usage>,
}

impl Seen {
    fn read(&mut self, data: &[u8]) {
        let (piece, usage) = openai::event(data);
        self.usage = usage.or(self.usage);
        match piece {
            Piece::Done => (self.done, self.content) = (true, true),
            Piece::Content | Piece::Usage => self.content = true,
            // After the end nothing can go wrong any more.
            Piece::Failed => self.failed |= !self.done,
            Piece::Opening => {}
        }
    }
}

impl Events {
    pub(super) fn seen(&self) -> Seen {
        self.seen
    }

    /// Takes the next bytes; returns those that may pass: all up to the end of the last complete event.
    pub(super) fn pass(&mut self, mut piece: Bytes) -> Bytes {
        let seen = &mut self.seen;
        let complete = self.splitter.feed(&piece, |data| seen.read(data));
        if self.tail.is_empty() {
            let rest = piece.split_off(complete);
            self.tail.extend_from_slice(&rest);
            return self.or_monstrous(piece);
        }
        if complete == 0 {
            self.tail.extend_from_slice(&piece);
            return self.or_monstrous(Bytes::new());
        }
        self.tail.extend_from_slice(&piece[..complete]);
        let whole = std::mem::replace(&mut self.tail, piece[complete..].to_vec());
        self.or_monstrous(whole.into())
    }

    /// An event that outgrows its limit passes in parts, rather than filling memory.
    fn or_monstrous(&mut self, passing: Bytes) -> Bytes {
        if self.tail.len() <= EVENT_LIMIT {
            return passing;
        }
        let mut all = passing.to_vec();
        all.append(&mut self.tail);
        all.into()
    }

    /// Takes the end of the stream; returns the bytes that are left. Half an event is dropped unless it is the mark of the end.
    pub(super) fn end(&mut self) -> Bytes {
        let was_done = self.seen.done;
        let seen = &mut self.seen;
        std::mem::take(&mut self.splitter).finish(|data| seen.read(data));
        let tail = std::mem::take(&mut self.tail);
        if self.seen.done && !was_done {
            [tail.as_slice(), b"\n\n"].concat().into()
        } else {
            Bytes::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn half_an_event_waits_for_its_end() {
        let mut events = Events::default();
        assert_eq!(events.pass("data: a\n\ndata: b".into()), "data: a\n\n");
        assert_eq!(events.pass("c\n".into()), "");
        assert_eq!(events.pass("\ndata: [DO".into()), "data: bc\n\n");
        assert!(events.seen().content && !events.seen().done);
        assert_eq!(events.end(), "");
        assert!(!events.seen().done);
    }

    #[test]
    fn the_mark_of_the_end_passes_without_its_empty_line() {
        let mut events = Events::default();
        assert_eq!(events.pass("data: [DONE]\n".into()), "");
        assert_eq!(events.end(), "data: [DONE]\n\n\n");
        assert!(events.seen().done);
    }

    #[test]
    fn a_monstrous_event_does_not_fill_memory() {
        let mut events = Events::default();
        let piece = Bytes::from(vec![b'x'; EVENT_LIMIT / 4]);
        let passed: usize = (0..40).map(|_| events.pass(piece.clone()).len()).sum();
        assert!(passed >= 36 * piece.len());
    }

    proptest! {
        #[test]
        fn every_byte_of_a_whole_stream_passes(texts in prop::collection::vec("[a-z\\n ]{0,20}", 0..8), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let stream: String = texts.iter().map(|t| format!("data: {}\r\n\r\n", t.replace('\n', "\ndata: "))).collect();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).chain([0, stream.len()]).collect();
            at.sort_unstable();
            let mut events = Events::default();
            let mut passed = Vec::new();
            for w in at.windows(2) {
                passed.extend_from_slice(&events.pass(Bytes::copy_from_slice(&stream.as_bytes()[w[0]..w[1]])));
            }
            passed.extend_from_slice(&events.end());
            // A line feed that belongs to the last carriage return may be cut off at the very end of a piece, never in between.
            prop_assert_eq!(String::from_utf8(passed).unwrap(), stream);
        }
    }
}
