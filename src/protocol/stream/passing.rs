//! Bytes that pass: unchanged, event by event, but for reports of tokens that the client did not ask for.

use std::fmt;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::{FIELDS, Fault, Seen};
use crate::protocol::error::Error;
use crate::protocol::sieve::Sieve;
use crate::protocol::sse::{EVENT_LIMIT, Splitter};
use crate::protocol::usage::Tokens;
use crate::protocol::watch::{Piece, Watch};

/// How errors are said in a protocol.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// Reads what an event says went wrong, under this status.
    pub read: fn(u16, &[u8]) -> Error,
    /// Writes an event that says so.
    pub event: fn(&Error) -> Vec<u8>,
}

/// A stream in the client's own protocol.
pub struct Passing {
    splitter: Splitter,
    watch: Box<dyn Watch>,
    /// Whether events that only report tokens are left out.
    is_stripped: bool,
    words: Words,
    /// The beginning of an event whose end has not come.
    tail: BytesMut,
    /// Whether the client has the beginning of an event whose end has not come: one that outgrew its limit.
    is_within: bool,
    /// What is kept of such an event.
    sieve: Option<Box<Sieve>>,
    seen: Seen,
}

/// Of an event that may be the last of OpenAI's Responses, which repeats the whole answer.
fn sieve() -> Box<Sieve> {
    Box::new(Sieve::new(Some("response"), FIELDS))
}

impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passing").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl Passing {
    /// A stream that `watch` looks at, of a protocol whose errors are said in `words`. With `is_stripped` the events that only report tokens
    /// are left out.
    #[must_use]
    pub fn new(watch: Box<dyn Watch>, is_stripped: bool, words: Words) -> Self {
        Self {
            splitter: Splitter::default(),
            watch,
            is_stripped,
            words,
            tail: BytesMut::new(),
            is_within: false,
            sieve: None,
            seen: Seen::default(),
        }
    }

    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    pub(super) fn tokens(&self) -> Option<Tokens> {
        self.watch.tokens()
    }

    pub(super) fn text_bytes(&self) -> u64 {
        self.watch.text_bytes()
    }

    /// Half an event that the client has ends first, so that it is not taken for a part of this one.
    pub(super) fn fail(&self, error: &Error) -> Bytes {
        let event = (self.words.event)(error);
        if self.is_within {
            return [b"\n\n", event.as_slice()].concat().into();
        }
        event.into()
    }

    pub(super) fn pass(&mut self, mut piece: Bytes) -> Bytes {
        let held = self.tail.len();
        // Where the last event ended and which are left out, counted from the beginning of what is held.
        let (mut before, mut left_out) = (0, Vec::<Range<usize>>::new());
        // Where the event begins that says that the answer failed: the client gets what came before.
        let mut failed_at = None;
        let (watch, seen, is_stripped, words) = (&mut self.watch, &mut self.seen, self.is_stripped, self.words);
        let (large, tail) = (&mut self.sieve, &self.tail);
        let complete = self.splitter.feed(&piece, |data, end| {
            let what = watch.look(data);
            if large.is_some() || held + end - before >= EVENT_LIMIT {
                let mut sieve = large.take().unwrap_or_else(sieve);
                sieve.feed(&tail[before.min(held)..]);
                sieve.feed(&piece[before.saturating_sub(held)..end]);
                watch.report(&sieve.kept());
            }
            see(seen, what, data, words);
            if seen.failed {
                failed_at.get_or_insert(before);
            } else if what == Piece::Usage && is_stripped {
                left_out.push(before..held + end);
            }
            before = held + end;
        });
        if complete == 0 {
            self.tail.extend_from_slice(&piece);
            return self.or_monstrous();
        }
        self.is_within = false;
        let rest = piece.split_off(complete);
        let mut whole = if held == 0 {
            piece
        } else {
            let mut whole = std::mem::take(&mut self.tail);
            whole.extend_from_slice(&piece);
            whole.freeze()
        };
        self.tail.extend_from_slice(&rest);
        whole.truncate(failed_at.unwrap_or(whole.len()));
        without(whole, &left_out)
    }

    /// An event that outgrows its limit passes in parts, rather than filling memory.
    fn or_monstrous(&mut self) -> Bytes {
        if self.tail.len() <= EVENT_LIMIT {
            return Bytes::new();
        }
        self.is_within = true;
        let part = std::mem::take(&mut self.tail).freeze();
        self.sieve.get_or_insert_with(sieve).feed(&part);
        part
    }

    pub(super) fn end(&mut self) -> Bytes {
        let (watch, seen, words) = (&mut self.watch, &mut self.seen, self.words);
        let was_done = seen.done;
        let (mut is_left_out, mut is_cut) = (false, false);
        self.splitter.finish(|data| {
            let what = watch.look(data);
            is_left_out = self.is_stripped && what == Piece::Usage;
            // Half an event is nothing that anybody said: the stream was cut.
            is_cut = what == Piece::Garbled;
            if !is_cut {
                see(seen, what, data, words);
            }
        });
        let mut tail = std::mem::take(&mut self.tail);
        if was_done || seen.failed {
            return Bytes::new();
        }
        let missing = if seen.done || is_cut { None } else { watch.missing_end() };
        if is_left_out {
            tail.clear();
        }
        if !tail.is_empty() && (seen.done || missing.is_some()) {
            // The last event came without its empty line, which readers wait for.
            tail.extend_from_slice(b"\n\n");
        }
        match missing {
            Some(mark) => {
                seen.done = true;
                tail.extend_from_slice(mark);
                tail.freeze()
            }
            None if seen.done => tail.freeze(),
            None => Bytes::new(),
        }
    }
}

fn see(seen: &mut Seen, what: Piece, data: &[u8], words: Words) {
    match what {
        Piece::Done => (seen.done, seen.content) = (true, true),
        Piece::Content => seen.content = true,
        // After the end nothing can go wrong any more.
        Piece::Failed if !seen.done && !seen.failed => {
            seen.failed = true;
            seen.error = Some((words.read)(500, data));
        }
        Piece::Garbled if !seen.done && !seen.failed => {
            seen.fail(Fault::Garbled);
        }
        Piece::Failed | Piece::Garbled | Piece::Opening | Piece::Usage => {}
    }
}

fn without(whole: Bytes, left_out: &[Range<usize>]) -> Bytes {
    if left_out.is_empty() {
        return whole;
    }
    let mut kept = BytesMut::with_capacity(whole.len());
    let mut at = 0;
    for range in left_out {
        kept.extend_from_slice(&whole[at..range.start]);
        at = range.end;
    }
    kept.extend_from_slice(&whole[at..]);
    kept.freeze()
}
