//! E-mail addresses: what is around an `@`, as it is written in texts rather than as RFC 5322 allows it. Quoted names and addresses of
//! machines in brackets are not found.

use super::{Found, Identifier, is_unspaced};

/// The longest name before the `@`, and the longest domain (RFC 5321, section 4.5.3.1).
const NAME: usize = 64;
const DOMAIN: usize = 255;
/// What ends a version of a package, as in `lib@2.0.beta`.
const RELEASES: [&str; 9] = ["alpha", "beta", "rc", "dev", "next", "canary", "snapshot", "post", "final"];

pub(super) fn find(text: &str, all: &mut Vec<Found>) {
    let mut from = 0;
    for (at, sign) in text.match_indices(['@', '\u{ff20}']) {
        if at < from {
            continue;
        }
        let (Some(start), Some(end)) = (name(&text[..at], from), domain(text, at + sign.len())) else {
            continue;
        };
        if &text[start..at] == "git" && text[end..].starts_with(':') {
            continue;
        }
        all.push(Found {
            kind: Identifier::Email,
            at: start..end,
        });
        from = end;
    }
}

/// Where the name begins that ends `text`, not before `from`.
fn name(text: &str, from: usize) -> Option<usize> {
    let mut start = None;
    let mut script = None;
    for (at, c) in text.char_indices().rev().take(NAME).take_while(|(at, _)| *at >= from) {
        if c.is_alphanumeric() || c == '_' || c == '+' {
            // Where words have no spaces between them, the sentence before it is another script.
            if *script.get_or_insert(is_unspaced(c)) != is_unspaced(c) {
                break;
            }
            start = Some(at);
        } else if !matches!(c, '.' | '-' | '%' | '\'') || start.is_none() && c != '-' {
            break;
        }
    }
    start
}

/// Where the domain ends that begins at `from`: labels with points between them, the last one of letters.
fn domain(text: &str, from: usize) -> Option<usize> {
    let rest = &text[from..];
    let script = rest.chars().next().map(is_unspaced);
    let length = rest
        .char_indices()
        .take(DOMAIN)
        .find(|(_, c)| !(matches!(c, '-' | '.') || c.is_alphanumeric() && Some(is_unspaced(*c)) == script))
        .map_or_else(|| rest.char_indices().nth(DOMAIN).map_or(rest.len(), |(at, _)| at), |(at, _)| at);
    // What is no label, as an empty one, ends it.
    let mut labels: Vec<&str> = rest[..length].split('.').take_while(|label| is_label(label)).collect();
    while let Some(last) = labels.last() {
        if labels.len() < 2 {
            return None;
        }
        let number = labels[labels.len() - 2].bytes().all(|byte| byte.is_ascii_digit());
        if is_top(last) && !(number && RELEASES.contains(&last.to_ascii_lowercase().as_str())) {
            let end = from + labels.iter().map(|label| label.len() + 1).sum::<usize>() - 1;
            return Some(end);
        }
        // As in `a@example.com.2`, where a sentence goes on.
        labels.pop();
    }
    None
}

fn is_label(label: &str) -> bool {
    !label.is_empty() && label.len() <= 63 * 4 && !label.starts_with('-') && !label.ends_with('-')
}

fn is_top(label: &str) -> bool {
    let is_ace = label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"));
    is_ace || (label.chars().count() >= 2 && label.chars().all(char::is_alphabetic))
}
