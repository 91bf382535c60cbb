//! Anthropic's wire forms, read and written.

mod answer;
mod errors;
mod read;
mod round_trip;
mod stream;
mod write;

use serde_json::Value;

use super::super::chat::{Delta, ReadStream, Said, WriteStream};
use super::super::sse::Splitter;
use super::{Reader, Writer};

fn said() -> Said {
    Said {
        model: "assistant".to_owned(),
        id: "0123".to_owned(),
        created: 1_700_000_000,
    }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(bytes)))
}

/// The changes that a stream tells, whose bytes come in these pieces.
fn changes<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Delta> {
    let (mut splitter, mut reader, mut changes) = (Splitter::default(), Reader::default(), Vec::new());
    for piece in pieces {
        splitter.feed(piece, |data, _| reader.read(data, &mut changes));
    }
    splitter.finish(|data| reader.read(data, &mut changes));
    changes
}

fn written(changes: &[Delta]) -> String {
    let (mut writer, mut events) = (Writer::new(said()), Vec::new());
    changes.iter().for_each(|change| writer.write(change, &mut events));
    String::from_utf8(events).unwrap()
}
