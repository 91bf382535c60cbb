//! Comparing what clients get with what they should.

use serde_json::Value;

/// Compares two bodies in JSON.
pub(super) fn same_json(is: &str, should: &str, cell: &str) {
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|e| panic!("{cell}: {e}: {text}"));
    assert_eq!(read(is), read(should), "{cell}:\n{is}");
}

/// Compares streams event by event: the lines in front of the data as they are, the data as JSON.
pub(super) fn same_events(is: &str, should: &str, cell: &str) {
    let events = |text: &str| -> Vec<(String, Value)> {
        let blocks = text.strip_suffix("\n\n").unwrap_or(text).split("\n\n");
        let event = |block: &str| {
            let (name, data) = block
                .split_once("data: ")
                .unwrap_or_else(|| panic!("{cell}: {block:?} has no data"));
            let data = serde_json::from_str(data).unwrap_or_else(|_| Value::from(data));
            (name.to_owned(), data)
        };
        blocks.map(event).collect()
    };
    let (is_events, should_events) = (events(is), events(should));
    for (is_event, should_event) in is_events.iter().zip(&should_events) {
        assert_eq!(is_event, should_event, "{cell}:\n{is}");
    }
    assert_eq!(is_events.len(), should_events.len(), "{cell}:\n{is}");
    assert!(is.ends_with("\n\n"), "{cell}");
}
