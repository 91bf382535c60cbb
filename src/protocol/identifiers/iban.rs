//! Numbers of bank accounts (ISO 13616): a country, two check digits, and as many characters as that country has, in groups or in one piece.
//! Written here rather than taken from a crate: the crates read one number, and finding them in a text is what there is to do.

use super::{Found, Identifier, after, before, is_hyphen, is_space, is_word};

/// How long a number is, by country; the registry of SWIFT, release 99.
const LENGTHS: &[(&str, usize)] = &[
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AT", 20),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BG", 22),
    ("BH", 22),
    ("BI", 27),
    ("BR", 29),
    ("BY", 28),
    ("CH", 21),
    ("CR", 22),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DJ", 27),
    ("DK", 18),
    ("DO", 28),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FK", 18),
    ("FO", 18),
    ("FR", 27),
    ("GB", 22),
    ("GE", 22),
    ("GI", 23),
    ("GL", 18),
    ("GR", 27),
    ("GT", 28),
    ("HN", 28),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IQ", 23),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LC", 32),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("LY", 25),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MK", 19),
    ("MN", 20),
    ("MR", 27),
    ("MT", 31),
    ("MU", 30),
    ("NI", 28),
    ("NL", 18),
    ("NO", 15),
    ("OM", 23),
    ("PK", 24),
    ("PL", 28),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RO", 24),
    ("RS", 22),
    ("RU", 33),
    ("SA", 24),
    ("SC", 31),
    ("SD", 18),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("SO", 23),
    ("ST", 25),
    ("SV", 28),
    ("TL", 23),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
    ("VA", 22),
    ("VG", 24),
    ("XK", 20),
    ("YE", 30),
];

pub(super) fn find(text: &str, all: &mut Vec<Found>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at + 4 <= bytes.len() {
        let is_start = bytes[at].is_ascii_alphabetic() && bytes[at + 1].is_ascii_alphabetic() && bytes[at + 2].is_ascii_digit();
        match is_start.then(|| number(text, at)).flatten() {
            Some(end) => {
                all.push(Found {
                    kind: Identifier::Iban,
                    at: at..end,
                });
                at = end;
            }
            None => at += 1,
        }
    }
}

/// Where the number ends that begins here.
fn number(text: &str, start: usize) -> Option<usize> {
    if is_word(before(text, start)) {
        return None;
    }
    let country = text[start..start + 2].to_ascii_uppercase();
    let (_, length) = LENGTHS.iter().find(|(known, _)| *known == country)?;
    let mut number = Vec::with_capacity(*length);
    let mut was_between = false;
    for (at, c) in text[start..].char_indices() {
        match c {
            _ if c.is_ascii_alphanumeric() => {
                number.push(c.to_ascii_uppercase() as u8);
                was_between = false;
            }
            _ if (is_space(c) || is_hyphen(c)) && !was_between => was_between = true,
            _ => return None,
        }
        if number.len() == *length {
            let end = start + at + 1;
            return (!is_word(after(text, end)) && is_checked(&number)).then_some(end);
        }
    }
    None
}

/// Whether the check digits are right: the country and they go last, letters count from 10 up, and the rest of a division by 97 is 1.
fn is_checked(number: &[u8]) -> bool {
    let (first, rest) = number.split_at(4);
    let sum = rest.iter().chain(first).fold(0_u32, |sum, byte| match byte {
        b'0'..=b'9' => (sum * 10 + u32::from(byte - b'0')) % 97,
        _ => (sum * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    first[2].is_ascii_digit() && first[3].is_ascii_digit() && sum == 1
}
