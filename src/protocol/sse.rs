//! Server-sent events over arbitrary chunk boundaries, read as the standard says: any of `\n`, `\r\n` and `\r` ends a line, several `data`
//! lines make one event, comments and a byte order mark are nothing. Reads on the side: the bytes themselves pass on unchanged.

use std::borrow::Cow;

/// The longest event kept for reading. A longer one still counts as an event, with its data cut off here: data of this length are not whole.
/// The bytes themselves pass on whole.
pub const EVENT_LIMIT: usize = 1 << 20;
/// What may stand before the data in their line.
const FIELD: usize = 16;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Splits a stream into events.
#[derive(Debug, Default)]
pub struct Splitter {
    /// The line that has begun.
    line: Vec<u8>,
    /// The data of the event that has begun.
    data: Vec<u8>,
    /// Whether the event that has begun has any field yet.
    in_event: bool,
    /// Whether it has data, were it an empty line.
    has_data: bool,
    /// Whether the last byte was a carriage return: a line feed after it belongs to it.
    after_return: bool,
    /// Whether the first line is over.
    begun: bool,
}

impl Splitter {
    /// Reads a piece, and calls `event` with the data of each event that it completes, and where in the piece that event ends. Returns how
    /// many bytes of the piece belong to complete events: a client that got only those has never seen half an event.
    pub fn feed(&mut self, piece: &[u8], mut event: impl FnMut(&[u8], usize)) -> usize {
        let mut complete = 0;
        let mut at = 0;
        if self.after_return && !piece.is_empty() {
            self.after_return = false;
            if piece[0] == b'\n' {
                at = 1;
                complete = if self.in_event || !self.line.is_empty() { 0 } else { 1 };
            }
        }
        while let Some(length) = piece[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let line = &piece[at..at + length];
            let end = piece[at + length];
            at += length + 1;
            if end == b'\r' {
                match piece.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None => self.after_return = true,
                }
            }
            self.end_line(line, at, &mut event);
            if !self.in_event {
                complete = at;
            }
        }
        keep(&mut self.line, &piece[at..], EVENT_LIMIT + FIELD);
        complete
    }

    /// Reads the end of the stream. The standard drops an event without its empty line; this calls `event` with it, since servers forget.
    pub fn finish(&mut self, mut event: impl FnMut(&[u8])) {
        let mut event = |data: &[u8], _| event(data);
        if !self.line.is_empty() {
            self.end_line(&[], 0, &mut event);
        }
        self.end_line(&[], 0, &mut event);
    }

    fn end_line(&mut self, rest: &[u8], end: usize, event: &mut impl FnMut(&[u8], usize)) {
        let line: Cow<'_, [u8]> = if self.line.is_empty() {
            Cow::Borrowed(rest)
        } else {
            keep(&mut self.line, rest, EVENT_LIMIT + FIELD);
            Cow::Owned(std::mem::take(&mut self.line))
        };
        let line: &[u8] = if self.begun {
            &line
        } else {
            line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line)
        };
        self.begun = true;
        if line.is_empty() {
            if self.has_data {
                event(&self.data, end);
            }
            self.data.clear();
            (self.in_event, self.has_data) = (false, false);
            return;
        }
        if line[0] == b':' {
            return;
        }
        self.in_event = true;
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        if &line[..colon] == b"data" {
            let value = line.get(colon + 1..).unwrap_or_default();
            if self.has_data {
                keep(&mut self.data, b"\n", EVENT_LIMIT);
            }
            keep(&mut self.data, value.strip_prefix(b" ").unwrap_or(value), EVENT_LIMIT);
            self.has_data = true;
        }
    }
}

fn keep(buffer: &mut Vec<u8>, bytes: &[u8], limit: usize) {
    let room = limit.saturating_sub(buffer.len());
    buffer.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(pieces: &[&[u8]]) -> (Vec<String>, usize) {
        let mut splitter = Splitter::default();
        let mut events = Vec::new();
        let (mut before, mut complete) = (0, 0);
        for piece in pieces {
            let here = splitter.feed(piece, |data, _| events.push(String::from_utf8_lossy(data).into_owned()));
            if here > 0 {
                complete = before + here;
            }
            before += piece.len();
        }
        (events, complete)
    }

    fn events(stream: &str) -> Vec<String> {
        split(&[stream.as_bytes()]).0
    }

    #[test]
    fn the_standards_own_examples_are_read_as_it_says() {
        assert_eq!(events("data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10"]);
        assert_eq!(
            events(": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"),
            ["first event", "second event", " third event"]
        );
        assert_eq!(events("data\n\ndata\ndata\n\ndata:"), ["", "\n"]);
        assert_eq!(events("data:test\n\ndata: test\n\n"), ["test", "test"]);
    }

    #[test]
    fn every_line_end_and_a_byte_order_mark_are_understood() {
        for end in ["\n", "\r\n", "\r"] {
            let stream = format!("\u{feff}data: a{end}data: b{end}{end}event: x{end}{end}data: c{end}{end}");
            assert_eq!(events(&stream), ["a\nb", "c"], "{end:?}");
        }
    }

    #[test]
    fn comments_are_complete_at_once_and_half_an_event_is_not() {
        assert_eq!(split(&[b": ping\n"]), (vec![], 7));
        assert_eq!(split(&[b"data: a\n\ndata: b\n"]), (vec!["a".to_owned()], 9));
        assert_eq!(split(&[b"data: a\r\n\r", b"\ndata"]), (vec!["a".to_owned()], 11));
        assert_eq!(split(&[b"data: a\r", b"\n", b"data: b\n"]).1, 0);
    }

    #[test]
    fn an_event_without_its_empty_line_is_read_at_the_end() {
        for stream in ["data: [DONE]", "data: [DONE]\n", "data: [DONE]\r\n"] {
            let mut splitter = Splitter::default();
            splitter.feed(stream.as_bytes(), |_, _| panic!("not complete yet"));
            let mut seen = Vec::new();
            splitter.finish(|data| seen.push(data.to_vec()));
            assert_eq!(seen, [b"[DONE]"], "{stream:?}");
        }
    }

    #[test]
    fn a_monstrous_event_is_cut_for_reading_and_counts_once() {
        let stream = format!("data: {}\n\ndata: b\n\n", "x".repeat(3 * EVENT_LIMIT));
        let (events, complete) = split(&stream.as_bytes().chunks(65_536).collect::<Vec<_>>());
        assert_eq!((events.len(), events[1].as_str(), complete), (2, "b", stream.len()));
        assert_eq!(events[0].len(), EVENT_LIMIT, "which says that it is not whole");
    }

    proptest! {
        #[test]
        fn where_a_stream_is_cut_into_pieces_changes_nothing(
            parts in prop::collection::vec(prop::sample::select(vec![
                "data", ":", " ", "a", "{\"x\":1}", "\n", "\r", "\r\n", "\n\n", "event: e", "\u{feff}", ": note", "é", "data: [DONE]\n\n"]), 0..40),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let stream = parts.concat().into_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            at.extend([0, stream.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
            prop_assert_eq!(split(&pieces), split(&[&stream]));
        }

        #[test]
        fn what_is_called_complete_is_complete(
            parts in prop::collection::vec(prop::sample::select(vec!["data: a\n", "\n", "\r\n", ": c\n", "event: e\n", "da"]), 0..20),
        ) {
            let stream = parts.concat();
            let (all, complete) = split(&[stream.as_bytes()]);
            let (head, _) = split(&[&stream.as_bytes()[..complete]]);
            let (tail, _) = split(&[&stream.as_bytes()[complete..]]);
            prop_assert_eq!([head, tail].concat(), all);
        }
    }
}
