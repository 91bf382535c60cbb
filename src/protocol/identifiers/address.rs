//! Addresses of machines, as in logs: they lead to people. Versions look alike, and those of no machine in particular lead to nobody.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Found, Identifier, before, context, is_word};

/// The longest address, with the dots of an IPv4 one at its end.
const LONGEST: usize = 45;

pub(super) fn find(text: &str, all: &mut Vec<Found>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !is_part(bytes[at]) {
            at += 1;
            continue;
        }
        let length = bytes[at..].iter().position(|byte| !is_part(*byte)).unwrap_or(bytes.len() - at);
        let end = at + length;
        // A sentence or a port goes on after it.
        let run = text[at..end].trim_start_matches('.').trim_end_matches(['.', ':']);
        let start = end - text[at..end].trim_start_matches('.').len();
        if let Some(length) = address(run)
            && !is_word(before(text, start))
            && !goes_on(&text[start + length..])
            && !context::is_version(text, start)
        {
            all.push(Found {
                kind: Identifier::IpAddress,
                at: start..start + length,
            });
        }
        at = end;
    }
}

/// Whether a word goes on, as in `1.2.3.4-beta`.
fn goes_on(rest: &str) -> bool {
    let mut next = rest.chars();
    let first = next.next();
    is_word(first) || (first == Some('-') && next.next().is_some_and(char::is_alphabetic))
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')
}

/// How long the address is that a run begins with: the whole run, but for a port after an IPv4 one.
fn address(run: &str) -> Option<usize> {
    if run.len() > LONGEST || run.len() < 6 {
        return None;
    }
    let four = run.split_once(':').map_or(run, |(address, _)| address);
    let port = &run[four.len()..];
    if (port.is_empty() || port[1..].bytes().all(|byte| byte.is_ascii_digit()))
        && let Ok(address) = four.parse::<Ipv4Addr>()
    {
        let is_nobodys = address.is_loopback() || address.is_unspecified() || address.is_broadcast() || address.octets()[0] == 0;
        return (!is_nobodys).then_some(four.len());
    }
    let six: Ipv6Addr = run.parse().ok()?;
    // Others are of no machine, or names in code with colons between them, as `add::f00d`.
    let first = six.segments()[0];
    let is_ours = (0x2000..0x4000).contains(&first) || first & 0xffc0 == 0xfe80 || first & 0xfe00 == 0xfc00;
    (is_ours && run.as_bytes().get(4) == Some(&b':')).then_some(run.len())
}
