//! Telephone numbers: international ones by their prefix, national ones by how their countries write them, others only where they are
//! announced. Not by a library: the one there is (`phonenumber`) reads one number of a known country, with a megabyte of data, and finds none
//! in a text.

use super::digits::{Gap, Group};
use super::{after, before, context, country, is_word};

/// How many of these groups are a telephone number.
pub(super) fn number(text: &str, groups: &[Group]) -> Option<usize> {
    let first = groups.first()?;
    let start = start(text, first);
    if is_word(before(text, start)) {
        return None;
    }
    // Part of an address, the value of something, an amount.
    let is_other = matches!(before(text, start), Some('/' | '=' | '#' | '$' | '€' | '£' | '&' | '?')) && !first.has_plus;
    let by_shape = || {
        international(groups)
            .or_else(|| north_american(groups))
            .or_else(|| with_trunk_zero(groups))
            .or_else(|| with_area_in_parentheses(groups))
    };
    let count = (!is_other).then(by_shape).flatten().or_else(|| announced(text, groups))?;
    (!is_word(after(text, groups[count - 1].end)) && !is_cut(text, groups, count)).then_some(count)
}

/// Where a number begins whose first group is this: with its plus and its parenthesis.
pub(super) fn start(text: &str, first: &Group) -> usize {
    let is_closed = matches!(after(text, first.end), Some(')' | '）'));
    let mut start = first.start;
    for c in text[..start].chars().rev().take(3) {
        if !(c == '+' || (is_closed && matches!(c, '(' | '（'))) {
            break;
        }
        start -= c.len_utf8();
    }
    start
}

/// Whether it ends in the midst of a fraction, a percentage or an amount.
fn is_cut(text: &str, groups: &[Group], count: usize) -> bool {
    let end = groups[count - 1].end;
    let next = text[end..].chars().next();
    let then = text[end..].chars().nth(1);
    matches!(next, Some('%' | '€' | '$' | '£' | '°')) || (matches!(next, Some(',' | ':')) && then.is_some_and(|c| c.is_ascii_digit()))
}

/// As many groups as belong to a number of at most `most` digits, as long as nothing but what is within numbers is between them.
fn taken(groups: &[Group], most: usize) -> (usize, usize) {
    let (mut count, mut total) = (0, 0);
    for group in groups {
        let begins_another = group.has_plus || (group.digits.starts_with(&[0, 0]) && group.len() > 4);
        if total + group.len() > most || (count > 0 && begins_another) {
            break;
        }
        count += 1;
        total += group.len();
    }
    (count, total)
}

/// `+49 30 901820`, `0049 30 901820`, `+1 (415) 555-2671`.
fn international(groups: &[Group]) -> Option<usize> {
    let first = &groups[0];
    let skipped = match first.digits.as_slice() {
        _ if first.has_plus => 0,
        _ if first.follows > 0 => return None,
        [0, 0, rest @ ..] if !rest.is_empty() => 2,
        [0, 0] if groups.len() > 1 && !matches!(groups[1].gap, Gap::Dot | Gap::Slash) => 2,
        _ => return None,
    };
    let (count, total) = taken(groups, 15 + skipped);
    if count == 0 {
        return None;
    }
    let digits: Vec<u8> = groups[..count]
        .iter()
        .flat_map(|group| group.digits.iter().copied())
        .skip(skipped)
        .collect();
    let total = total - skipped;
    let code = country::code(&digits)?;
    let national = &digits[code..];
    let is_one = match digits[0] {
        1 if skipped == 2 && count == 1 => false,
        1 => total == 11 && national[0] >= 2 && national[3] >= 2,
        7 => total == 11 && national[0] >= 3,
        _ => {
            total >= 8
                && national
                    .first()
                    .is_some_and(|first| *first != 0 || digits[..2] == [3, 9] || count > 1)
        }
    };
    // Zeros in front of any other number look like the prefix.
    let is_long_enough = skipped == 0 || (total >= 10 && (count > 1 || total >= 11));
    // An amount, as in +20 000 000.
    let is_round = national.iter().all(|digit| *digit == 0) || national.ends_with(&[0, 0, 0, 0, 0, 0]);
    (is_one && is_long_enough && !is_round).then_some(count)
}

/// `(415) 555-2671`, `415-555-2671`, `1 415.555.2671`.
fn north_american(groups: &[Group]) -> Option<usize> {
    let skipped = usize::from(groups[0].digits == [1] && groups.len() > 3 && groups[1].gap != Gap::Slash);
    let [area, exchange, line, rest @ ..] = &groups[skipped..] else {
        return None;
    };
    let is_shaped = (area.len(), exchange.len(), line.len()) == (3, 3, 4) && area.digits[0] >= 2 && exchange.digits[0] >= 2;
    let is_even = area.in_parentheses || exchange.gap == line.gap || exchange.gap == Gap::Slash;
    let is_joined = [exchange.gap, line.gap].iter().all(|gap| !matches!(gap, Gap::Begins)) && line.gap != Gap::Slash;
    // One of many numbers in a row, as in a table, or in something longer.
    let is_part = (skipped == 0 && matches!(groups[0].gap, Gap::Dot | Gap::Hyphen) && !area.in_parentheses)
        || (rest
            .first()
            .is_some_and(|next| next.gap == line.gap && line.gap != Gap::Mixed && !next.has_plus));
    let is_in_a_row = !area.in_parentheses && skipped == 0 && line.gap == Gap::Space && groups[0].gap == Gap::Space;
    (is_shaped && is_even && is_joined && !is_part && !is_in_a_row).then_some(skipped + 3)
}

/// National numbers of most of the world begin with a zero: `030 901820`, `0151/23456789`, `06 12 34 56 78`, `03-1234-5678`.
fn with_trunk_zero(groups: &[Group]) -> Option<usize> {
    let first = &groups[0];
    if first.digits[0] != 0 || first.digits.get(1).is_none_or(|digit| *digit == 0) || matches!(first.gap, Gap::Dot | Gap::Hyphen) {
        return None;
    }
    // Within a longer number in groups.
    if first.gap == Gap::Space {
        return None;
    }
    if first.len() >= 10 {
        return is_mobile(&first.digits).then_some(1);
    }
    let is_in_pairs = groups.len() >= 5 && groups[..5].iter().all(|group| group.len() == 2);
    if is_in_pairs && !groups[1..5].iter().any(|group| group.gap == Gap::Slash) {
        let goes_on = groups
            .get(5)
            .is_some_and(|next| next.gap == groups[4].gap && next.gap != Gap::Space);
        return (!goes_on).then_some(5);
    }
    let (mut count, mut total) = taken(groups, 12);
    // What is said after a number is no part of it.
    while count > 2 && groups[1..count].iter().any(|group| group.len() < 2) {
        count -= 1;
        total -= groups[count].len();
    }
    let second = groups.get(1)?;
    let is_area = match first.len() {
        2 => second.len() >= 3 && !matches!(second.gap, Gap::Dot | Gap::Slash),
        3..=6 => second.len() >= 2,
        _ => false,
    };
    let is_dotted = groups[1..count].iter().any(|group| group.gap == Gap::Dot);
    (is_area && count >= 2 && (9..=12).contains(&total) && (!is_dotted || count > 2)).then_some(count)
}

/// Numbers of mobile telephones that are written without a space, as far as they are told from other numbers by how they begin.
fn is_mobile(digits: &[u8]) -> bool {
    matches!(
        (digits, digits.len()),
        ([0, 7, 1..=9, ..], 11) | ([0, 6 | 7, ..], 10) | ([0, 1, 5..=7, ..], 11 | 12) | ([0, 7..=9, 0, ..], 11) | ([0, 4, ..], 10)
    )
}

/// `(11) 91234-5678`, `8 (495) 123-45-67`, `(030) 901820`.
fn with_area_in_parentheses(groups: &[Group]) -> Option<usize> {
    let skipped = usize::from(groups[0].digits == [8] && groups.len() > 2);
    let area = &groups[skipped];
    let is_year = area.len() == 4 && matches!(area.digits[..2], [1, 9] | [2, 0]);
    if !area.in_parentheses || !(2..=5).contains(&area.len()) || is_year {
        return None;
    }
    let (count, total) = taken(&groups[skipped..], 12);
    let is_shaped = groups[skipped + 1..skipped + count]
        .iter()
        .all(|group| group.len() >= 2 && matches!(group.gap, Gap::Mixed | Gap::Space | Gap::Hyphen));
    (count > 1 && is_shaped && total >= 9).then_some(skipped + count)
}

/// Any number of some seven to fifteen digits that is said to be one.
fn announced(text: &str, groups: &[Group]) -> Option<usize> {
    let first = &groups[0];
    if !matches!(first.gap, Gap::Begins | Gap::Mixed) {
        return None;
    }
    let (count, total) = taken(groups, 15);
    let is_shaped = groups[..count]
        .iter()
        .skip(1)
        .all(|group| group.gap != Gap::Slash || group.len() > 4);
    (total >= 7 && is_shaped && !is_date(groups) && context::is_phone(text, start(text, first))).then_some(count)
}

/// `01.02.2024`, `2024-02-01`.
fn is_date(groups: &[Group]) -> bool {
    let [a, b, c, ..] = groups else { return false };
    let is_year = |group: &Group| group.len() == 4 && matches!(group.digits[..2], [1, 9] | [2, 0]);
    let is_short = |group: &Group| group.len() <= 2;
    (is_short(a) && is_short(b) && is_year(c)) || (is_year(a) && is_short(b) && is_short(c))
}
