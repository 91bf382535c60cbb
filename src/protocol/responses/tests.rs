//! Requests read, answers and streams written, and streams that pass.

mod reading;
mod refusing;
mod streaming;
mod watching;
mod writing;

use crate::protocol::chat::Said;

fn said() -> Said {
    Said {
        model: "assistant".to_owned(),
        id: "abc".to_owned(),
        created: 1_700_000_000,
    }
}
