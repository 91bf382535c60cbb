//! Numbers in a text: digits in groups, with little between them. Payment cards and social security numbers are told here, telephone numbers
//! beside.

use super::{Found, Identifier, Kinds, after, before, context, digit, is_hyphen, is_space, is_word, phone};

/// The most digits that an identifier has; a longer group is none.
pub(super) const MOST: usize = 19;
/// So many groups an identifier has at most.
const GROUPS: usize = 10;

/// Digits in a row.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) digits: Vec<u8>,
    /// What is between it and the group before it in the run.
    pub(super) gap: Gap,
    /// How many digits the group before it in the run has; 0 without one.
    pub(super) follows: usize,
    /// Whether it is in parentheses.
    pub(super) in_parentheses: bool,
    /// Whether it has a plus just before.
    pub(super) has_plus: bool,
}

/// What is between two groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// It is the first.
    Begins,
    Space,
    Hyphen,
    Dot,
    Slash,
    /// A parenthesis, or several of these.
    Mixed,
}

impl Group {
    pub(super) fn len(&self) -> usize {
        self.digits.len()
    }
}

pub(super) fn find(text: &str, kinds: Kinds, all: &mut Vec<Found>) {
    let (cards, social, phones) = (
        kinds.has(Identifier::CreditCard),
        kinds.has(Identifier::UsSocialSecurityNumber),
        kinds.has(Identifier::Phone),
    );
    if !(cards || social || phones) {
        return;
    }
    let mut from = 0;
    while let Some((groups, end)) = run(text, from) {
        from = end;
        let mut at = 0;
        while let Some(rest) = groups.get(at..).filter(|rest| !rest.is_empty()) {
            let rest = &rest[..rest.len().min(GROUPS)];
            let one = (cards
                .then(|| card(text, rest))
                .flatten()
                .map(|count| (Identifier::CreditCard, count)))
            .or_else(|| {
                let count = social.then(|| social_security(text, rest)).flatten()?;
                Some((Identifier::UsSocialSecurityNumber, count))
            })
            .or_else(|| {
                phones
                    .then(|| phone::number(text, rest))
                    .flatten()
                    .map(|count| (Identifier::Phone, count))
            });
            match one {
                Some((kind, count)) => {
                    let start = match kind {
                        Identifier::Phone => phone::start(text, &rest[0]),
                        _ => rest[0].start,
                    };
                    all.push(Found {
                        kind,
                        at: start..rest[count - 1].end,
                    });
                    at += count;
                }
                None => at += 1,
            }
        }
    }
}

/// The next run of groups from a place on, and where it ends.
fn run(text: &str, from: usize) -> Option<(Vec<Group>, usize)> {
    let first = text[from..]
        .char_indices()
        .find(|(_, c)| digit(*c).is_some())
        .map(|(at, _)| from + at)?;
    let mut groups: Vec<Group> = Vec::new();
    let mut gap: Option<Gap> = None;
    let (mut between, mut is_open, mut has_plus) = (0, before(text, first) == Some('('), before(text, first) == Some('+'));
    let mut end = first;
    for (at, c) in text[first..].char_indices() {
        let at = first + at;
        if let Some(value) = digit(c) {
            match (groups.last_mut(), between) {
                (Some(group), 0) => group.digits.push(value),
                (last, _) => {
                    let follows = last.as_ref().map_or(0, |last| last.len());
                    let gap = if last.is_some() { gap.unwrap_or(Gap::Mixed) } else { Gap::Begins };
                    groups.push(Group {
                        start: at,
                        end: at,
                        digits: vec![value],
                        gap,
                        follows,
                        in_parentheses: is_open,
                        has_plus,
                    });
                }
            }
            end = at + c.len_utf8();
            groups.last_mut()?.end = end;
            (between, gap, is_open, has_plus) = (0, None, false, false);
            continue;
        }
        let this = match c {
            _ if is_space(c) => Gap::Space,
            _ if is_hyphen(c) => Gap::Hyphen,
            '.' => Gap::Dot,
            '/' => Gap::Slash,
            '(' | ')' | '（' | '）' | '+' => Gap::Mixed,
            _ => break,
        };
        between += 1;
        if between > 3 {
            break;
        }
        is_open = c == '(' || c == '（';
        has_plus = c == '+';
        gap = Some(if gap.is_none() { this } else { Gap::Mixed });
    }
    Some((groups, end.max(first + 1)))
}

/// How many groups are the number of a payment card.
fn card(text: &str, groups: &[Group]) -> Option<usize> {
    let first = groups.first()?;
    let count = match groups.iter().map(Group::len).collect::<Vec<_>>().as_slice() {
        [13..=MOST, ..] => 1,
        [4, 4, 4, 4, 3, ..] if is_checked(&groups[..5]) => 5,
        [4, 4, 4, 4, ..] => 4,
        [4, 6, 5 | 4, ..] => 3,
        _ => return None,
    };
    let (used, rest) = groups.split_at(count);
    let gap = used.get(1).map(|group| group.gap);
    let is_even = used[1..]
        .iter()
        .all(|group| Some(group.gap) == gap && matches!(group.gap, Gap::Space | Gap::Hyphen | Gap::Dot));
    // The digits of a fraction, or one of the groups of something longer.
    let is_part = first.gap == Gap::Dot || (count > 1 && first.gap != Gap::Begins && gap == Some(first.gap) && gap != Some(Gap::Space));
    let goes_on = count > 1 && rest.first().is_some_and(|next| gap == Some(next.gap) && gap != Some(Gap::Space));
    let stands_alone = !is_word(before(text, first.start)) && !is_word(after(text, used[count - 1].end));
    (is_even && !is_part && !goes_on && stands_alone && is_checked(used)).then_some(count)
}

/// Whether somebody issues cards of this beginning and length, and the digits add up (ISO/IEC 7812, Luhn).
fn is_checked(groups: &[Group]) -> bool {
    let digits: Vec<u8> = groups.iter().flat_map(|group| group.digits.iter().copied()).collect();
    is_issued(&digits) && luhn(&digits)
}

fn is_issued(digits: &[u8]) -> bool {
    let Some(first) = digits.first_chunk::<4>() else { return false };
    let four = first.iter().fold(0_u32, |number, digit| number * 10 + u32::from(*digit));
    match digits.len() {
        16 => {
            matches!(four, 4000..=4999 | 5100..=5599 | 2221..=2720 | 6011 | 6440..=6599 | 3528..=3589 | 6200..=6299 | 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763)
        }
        15 => matches!(four, 3400..=3499 | 3700..=3799),
        14 => matches!(four, 3000..=3059 | 3600..=3699 | 3800..=3999),
        13 => matches!(four, 4000..=4999),
        17 | 18 => matches!(four, 6200..=6299),
        19 => matches!(four, 4000..=4999 | 6011 | 6440..=6599 | 6200..=6299 | 3528..=3589),
        _ => false,
    }
}

fn luhn(digits: &[u8]) -> bool {
    let value = |(at, digit): (usize, &u8)| match (at % 2, *digit) {
        (0, digit) => u32::from(digit),
        (_, digit @ 0..=4) => u32::from(digit) * 2,
        (_, digit) => u32::from(digit) * 2 - 9,
    };
    digits.iter().rev().enumerate().map(value).sum::<u32>() % 10 == 0
}

/// How many groups are a social security number: `123-45-6789`; without hyphens only where it is announced.
fn social_security(text: &str, groups: &[Group]) -> Option<usize> {
    let (digits, count) = match groups {
        [a, b, c, rest @ ..] if (a.len(), b.len(), c.len()) == (3, 2, 4) => {
            let is_hyphened = b.gap == Gap::Hyphen && c.gap == Gap::Hyphen;
            let is_spaced = b.gap == Gap::Space && c.gap == Gap::Space && context::is_social_security(text, a.start);
            let is_part = a.gap == Gap::Hyphen || rest.first().is_some_and(|next| next.gap == Gap::Hyphen);
            if is_part || !(is_hyphened || is_spaced) {
                return None;
            }
            ([&a.digits[..], &b.digits, &c.digits].concat(), 3)
        }
        [one, ..] if one.len() == 9 && context::is_social_security(text, one.start) => (one.digits.clone(), 1),
        _ => return None,
    };
    let number = |digits: &[u8]| digits.iter().fold(0_u32, |number, digit| number * 10 + u32::from(*digit));
    let (area, group, serial) = (number(&digits[..3]), number(&digits[3..5]), number(&digits[5..]));
    let is_given = !matches!(area, 0 | 666 | 900..) && group != 0 && serial != 0;
    let stands_alone = !is_word(before(text, groups[0].start)) && !is_word(after(text, groups[count - 1].end));
    (is_given && stands_alone).then_some(count)
}
