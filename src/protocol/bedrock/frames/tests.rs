use super::*;
use proptest::prelude::*;

/// Byte vectors of the AWS SDKs (botocore's `tests/unit/test_eventstream.py`), each a whole message.
const VALID: &[(&str, &[u8])] = &[
    ("empty", b"\x00\x00\x00\x10\x00\x00\x00\x00\x05\xc2H\xeb}\x98\xc8\xff"),
    ("a byte", b"\x00\x00\x00\x17\x00\x00\x00\x07)\x86\x01X\x04byte\x02\xff\xc2\xf8i\xdc"),
    (
        "a short",
        b"\x00\x00\x00\x19\x00\x00\x00\tq\x0e\x92>\x05short\x03\xff\xff\xb2|\xb6\xcc",
    ),
    (
        "an integer",
        b"\x00\x00\x00\x1d\x00\x00\x00\r\x83\xe3\xf0\xe7\x07integer\x04\xff\xff\xff\xff\x8b\x8e\x12\xeb",
    ),
    (
        "a long",
        b"\x00\x00\x00\x1e\x00\x00\x00\x0e]J\xdb\x8d\x04long\x05\xff\xff\xff\xff\xff\xff\xff\xffK\xc22\xda",
    ),
    ("a payload alone", b"\x00\x00\x00\x1d\x00\x00\x00\x00\xfdR\x8cZ{'foo':'bar'}\xc3e96"),
    (
        "a text and a payload",
        b"\x00\x00\x00=\x00\x00\x00 \x07\xfd\x83\x96\x0ccontent-type\x07\x00\x10application/json{'foo':'bar'}\x8d\x9c\x08\xb1",
    ),
    (
        "every type of header",
        b"\x00\x00\x00\x62\x00\x00\x00\x52\x03\xb5\xcb\x9c\x010\x00\x011\x01\x012\x02\x02\x013\x03\x00\x03\x014\x04\x00\x00\x00\x04\
          \x015\x05\x00\x00\x00\x00\x00\x00\x00\x05\x016\x06\x00\x05bytes\x017\x07\x00\x04utf8\x018\x08\x00\x00\x00\x00\x00\x00\x00\x08\
          \x019\x090123456789abcdef\x63\x35\x36\x71",
    ),
];

/// From there too: an error.
const ERROR: &[u8] = b"\x00\x00\x00\x52\x00\x00\x00\x42\xbf\x23\x63\x7e\x0d:message-type\x07\x00\x05error\x0b:error-code\x07\x00\x04code\
    \x0e:error-message\x07\x00\x07message\x6b\x6c\xea\x3d";

/// From there too: an event.
const EVENT: &[u8] = b"\x00\x00\x00~\x00\x00\x00O\xc5\xa3\xdd\xc6\r:message-type\x07\x00\x05event\x0b:event-type\x07\x00\x10\
    initial-response\r:content-type\x07\x00\ttext/json{\"InitialResponse\": \"sometext\"}\xf6\x98$\x83";

const EVENT_DATA: &str = r#"{"initial-response":{"InitialResponse": "sometext"}}"#;

fn read(pieces: &[&[u8]]) -> (Vec<String>, Result<(), Broken>) {
    let mut frames = Frames::default();
    let mut events = Vec::new();
    for piece in pieces {
        let _ = frames.feed(piece, |data| events.push(String::from_utf8_lossy(data).into_owned()));
    }
    (events, frames.finish())
}

#[test]
fn every_type_of_header_is_passed_over() {
    for (name, bytes) in VALID {
        assert_eq!(read(&[bytes, EVENT]), (vec![EVENT_DATA.to_owned()], Ok(())), "{name}");
    }
}

#[test]
fn events_keep_their_payload_and_exceptions_their_words() {
    let error = r#"{"exception":{"message":"message","type":"code"}}"#;
    let slow = exception("throttlingException", br#"{"message":"slow \"down\""}"#).unwrap();
    let slow_data = r#"{"exception":{"message":"slow \"down\"","type":"throttlingException"}}"#;
    let garbled = exception("x", b"<html>").unwrap();
    let big = event("a\"b", br#"{"n": 9007199254740993}"#).unwrap();
    for (bytes, expected) in [
        (EVENT, EVENT_DATA),
        (ERROR, error),
        (slow.as_slice(), slow_data),
        (&garbled, r#"{"exception":{"message":"<html>","type":"x"}}"#),
        (&big, r#"{"a\"b":{"n": 9007199254740993}}"#),
        (&event("messageStop", b"").unwrap(), r#"{"messageStop":{}}"#),
    ] {
        assert_eq!(read(&[bytes]), (vec![expected.to_owned()], Ok(())));
    }
}

#[test]
fn what_is_no_event_stream_is_an_error_that_stays() {
    let damaged = |at: usize| {
        let mut bytes = EVENT.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let headers = |bytes: &[u8]| {
        let mut message = ((OVERHEAD + bytes.len()) as u32).to_be_bytes().to_vec();
        message.extend((bytes.len() as u32).to_be_bytes());
        message.extend(crc32(&message).to_be_bytes());
        message.extend_from_slice(bytes);
        message.extend(crc32(&message).to_be_bytes());
        message
    };
    let lengths = |total: u32, headers: u32| {
        let mut prelude = [total.to_be_bytes(), headers.to_be_bytes()].concat();
        prelude.extend(crc32(&prelude).to_be_bytes());
        prelude
    };
    for (bytes, expected) in [
        // Botocore's own: a wrong length, wrong headers' length, a changed header, a changed payload.
        (
            b"\x01\x00\x00\x1d\x00\x00\x00\x00\xfdR\x8cZ{'foo':'bar'}\xc3e96".to_vec(),
            Broken::Prelude,
        ),
        (
            b"\x00\x00\x00=\xFF\x00\x01\x02\x07\xfd\x83\x96\x0ccontent-type\x07\x00\x10application/json".to_vec(),
            Broken::Prelude,
        ),
        (
            b"\x00\x00\x00=\x00\x00\x00 \x07\xfd\x83\x96\x0ccontent+type\x07\x00\x10application/json{'foo':'bar'}\x8d\x9c\x08\xb1".to_vec(),
            Broken::Checksum,
        ),
        (
            b"\x00\x00\x00\x1d\x00\x00\x00\x00\xfdR\x8cZ{'foo':'bar'\x8d\xc3e96".to_vec(),
            Broken::Checksum,
        ),
        (damaged(8), Broken::Prelude),
        (damaged(20), Broken::Checksum),
        (damaged(EVENT.len() - 1), Broken::Checksum),
        (b"data: {\"choices\":[]}\n\n".to_vec(), Broken::Prelude),
        (lengths(15, 0), Broken::Length(15)),
        (lengths(20, 5), Broken::Length(20)),
        (lengths(u32::MAX, 0), Broken::Length(u32::MAX)),
        (lengths(EVENT_LIMIT as u32, 200_000), Broken::Length(EVENT_LIMIT as u32)),
        (headers(b"\x04name\x0a"), Broken::Headers),
        (headers(b"\x04nam"), Broken::Headers),
        (headers(b"\x04name\x07\x00\x05four"), Broken::Headers),
        (headers(b"\x0b:event-type\x07\x00\x01\xff"), Broken::Headers),
        (headers(b"\x0b:event-type\x06\x00\x01a"), Broken::Headers),
        (EVENT[..EVENT.len() - 1].to_vec(), Broken::Cut),
        (EVENT[..3].to_vec(), Broken::Cut),
    ] {
        assert_eq!(read(&[EVENT, &bytes]), (vec![EVENT_DATA.to_owned()], Err(expected)), "{bytes:?}");
        if expected != Broken::Cut {
            assert_eq!(read(&[&bytes, EVENT]), (vec![], Err(expected)), "{bytes:?}");
        }
    }
}

#[test]
fn what_is_written_is_what_botocore_reads() {
    let headers = [
        (":message-type", "event"),
        (":event-type", "initial-response"),
        (":content-type", "text/json"),
    ];
    assert_eq!(encode(&headers, br#"{"InitialResponse": "sometext"}"#).unwrap(), EVENT);
    assert_eq!(encode(&[], b"").unwrap(), VALID[0].1);
    assert_eq!(encode(&[(&"n".repeat(256), "")], b""), None);
    assert_eq!(encode(&[("n", &"v".repeat(65_536))], b""), None);
}

#[test]
fn the_checksum_is_the_one_of_gzip() {
    assert_eq!((crc32(b""), crc32(b"123456789")), (0, 0xcbf4_3926));
}

#[test]
fn no_more_than_one_message_is_held() {
    let longest = event("contentBlockDelta", &vec![b' '; EVENT_LIMIT - OVERHEAD - 95]).unwrap();
    let mut frames = Frames::default();
    let mut seen = 0;
    for piece in longest.repeat(3).chunks(10_000) {
        frames.feed(piece, |_| seen += 1).unwrap();
        assert!(frames.held.len() <= EVENT_LIMIT);
    }
    assert_eq!(seen, 3);
    let longer = event("contentBlockDelta", &vec![b' '; EVENT_LIMIT]).unwrap();
    assert_eq!(frames.feed(&longer[..PRELUDE], |_| ()), Err(Broken::Length(longer.len() as u32)));
}

proptest! {
    #[test]
    fn where_a_stream_is_cut_into_pieces_changes_nothing(
        messages in prop::collection::vec(("[a-zA-Z]{0,12}", "[ -~]{0,40}", any::<bool>()), 0..6),
        garbage in prop::collection::vec(any::<u8>(), 0..20),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut stream: Vec<u8> = Vec::new();
        for (kind, payload, is_event) in &messages {
            stream.extend(if *is_event { event(kind, payload.as_bytes()) } else { exception(kind, payload.as_bytes()) }.unwrap());
        }
        stream.extend(&garbage);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        at.extend([0, stream.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
        let whole = read(&[&stream]);
        prop_assert_eq!(whole.0.len(), messages.len());
        prop_assert_eq!(read(&pieces), whole);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), headers in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = read(&[&bytes]);
        let mut message = ((OVERHEAD + headers.len() + bytes.len()) as u32).to_be_bytes().to_vec();
        message.extend((headers.len() as u32).to_be_bytes());
        message.extend(crc32(&message).to_be_bytes());
        message.extend(headers);
        message.extend(bytes);
        message.extend(crc32(&message).to_be_bytes());
        let (_, end) = read(&[&message]);
        prop_assert!(matches!(end, Ok(()) | Err(Broken::Headers)));
    }
}
