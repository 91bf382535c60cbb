//! W3C Trace Context: which trace a request belongs to, as its client says (https://www.w3.org/TR/trace-context/, also of level 2). What is
//! malformed is as if it were not there.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

pub(in crate::gateway) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(in crate::gateway) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The most entries of a `tracestate`.
const ENTRIES: usize = 32;

/// The client's span, which ours is a child of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gateway) struct Parent {
    pub(in crate::gateway) trace: u128,
    span: u64,
    flags: u8,
    state: Vec<(String, String)>,
}

impl Parent {
    pub(in crate::gateway) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(TRACEPARENT).iter();
        // Of two, neither can be believed.
        let (Some(only), None) = (given.next(), given.next()) else {
            return None;
        };
        let (trace, span, flags) = parse(only.as_bytes())?;
        let state = state(headers).unwrap_or_default();
        Some(Self { trace, span, flags, state })
    }

    pub(super) fn context(&self) -> SpanContext {
        SpanContext::new(
            TraceId::from(self.trace),
            SpanId::from(self.span),
            TraceFlags::new(self.flags),
            true,
            TraceState::from_key_value(self.state.iter().map(|(key, value)| (key.as_str(), value.as_str()))).unwrap_or_default(),
        )
    }
}

/// `VERSION-TRACE-SPAN-FLAGS`; later versions may add to it.
fn parse(text: &[u8]) -> Option<(u128, u64, u8)> {
    const WHOLE: usize = 55;
    let (text, more) = text.split_at_checked(WHOLE)?;
    let version = number(&text[..2])?;
    let has_room = match version {
        0 => more.is_empty(),
        255 => false,
        _ => more.is_empty() || more[0] == b'-',
    };
    let is_parted = [2, 35, 52].iter().all(|&at| text[at] == b'-');
    let trace = number(&text[3..35])?;
    let span = u64::try_from(number(&text[36..52])?).ok()?;
    // Sampled, and random; the others have no meaning yet.
    let flags = u8::try_from(number(&text[53..])? & 3).ok()?;
    (has_room && is_parted && trace != 0 && span != 0).then_some((trace, span, flags))
}

/// Of hexadecimal digits in lower case, 32 at most.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// The entries of all its headers; `None` if any cannot be read: it is then dropped as a whole.
fn state(headers: &HeaderMap) -> Option<Vec<(String, String)>> {
    let mut entries = Vec::new();
    for header in headers.get_all(TRACESTATE) {
        let members = header.to_str().ok()?.split(',').map(|member| member.trim_matches([' ', '\t']));
        for member in members.filter(|member| !member.is_empty()) {
            let (key, value) = member.split_once('=')?;
            entries.push((key.to_owned(), value.to_owned()));
        }
    }
    (entries.len() <= ENTRIES).then_some(entries)
}

/// Puts a context into the headers of a request to a model, in place of the client's.
pub(super) fn put(context: &SpanContext, headers: &mut HeaderMap) {
    let (trace, span) = (context.trace_id(), context.span_id());
    let text = format!("00-{trace}-{span}-{:02x}", context.trace_flags().to_u8());
    headers.insert(
        TRACEPARENT,
        HeaderValue::try_from(text).expect("it is hexadecimal digits and dashes"),
    );
    match HeaderValue::try_from(context.trace_state().header()) {
        Ok(state) if !state.is_empty() => headers.insert(TRACESTATE, state),
        Ok(_) | Err(_) => headers.remove(TRACESTATE),
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn given(parents: &[&str], states: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append(TRACEPARENT, HeaderValue::from_str(parent).unwrap());
        }
        for state in states {
            headers.append(TRACESTATE, HeaderValue::from_str(state).unwrap());
        }
        headers
    }

    #[test]
    fn a_context_is_read_and_what_is_none_is_not_there() {
        let good = |text: &str| Parent::of(&given(&[text], &[])).map(|parent| parent.flags);
        let with = |version: &str, flags: &str| format!("{version}-{TRACE}-b7ad6b7169203331-{flags}");
        assert_eq!(good(&with("00", "01")), Some(1));
        assert_eq!(good(&with("00", "00")), Some(0));
        assert_eq!(good(&with("00", "ff")), Some(3), "only what has a meaning");
        assert_eq!(good(&with("cc", "01-what-comes-later")), Some(1));
        for bad in [
            "",
            "00-1-2-01",
            &with("ff", "01"),
            &with("00", "01-more"),
            &with("cc", "01.more"),
            &with("0x", "01"),
            &with("00", "0"),
            &with("00", "01").to_uppercase(),
            &with("00", "01").replace(TRACE, &"0".repeat(32)),
            &with("00", "01").replace("b7ad6b7169203331", "0000000000000000"),
            &with("00", "01").replace("-b7", "_b7"),
        ] {
            assert_eq!(good(bad), None, "{bad}");
        }
        let one = with("00", "01");
        assert_eq!(Parent::of(&given(&[&one, &one], &[])), None, "two of them");
    }

    #[test]
    fn the_state_goes_on_in_order_and_one_that_is_broken_is_dropped() {
        let one = format!("00-{TRACE}-b7ad6b7169203331-01");
        let on = |states: &[&str]| {
            let mut headers = given(&[&one], states);
            let parent = Parent::of(&headers).unwrap();
            put(&parent.context(), &mut headers);
            assert_eq!(headers[TRACEPARENT], one);
            headers.get(TRACESTATE).map(|state| state.to_str().unwrap().to_owned())
        };
        assert_eq!(on(&["rojo=1, congo=t61", "x@y=2"]).as_deref(), Some("rojo=1,congo=t61,x@y=2"));
        assert_eq!(on(&[]), None);
        for broken in ["rojo", "ROJO!=1", &vec!["a=1"; 33].join(",")] {
            assert_eq!(on(&[broken]), None, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_a_client_sends_makes_it_panic(parent in "\\PC*", state in proptest::collection::vec("\\PC*", 0..3)) {
            let mut headers = HeaderMap::new();
            if let Ok(parent) = HeaderValue::from_bytes(parent.as_bytes()) {
                headers.append(TRACEPARENT, parent);
            }
            for state in state.iter().filter_map(|state| HeaderValue::from_bytes(state.as_bytes()).ok()) {
                headers.append(TRACESTATE, state);
            }
            prop_assert!(Parent::of(&headers).is_none_or(|parent| parent.context().is_valid()));
        }
    }
}
