//! Personal identifiers in a text: those with a shape that hardly anything else has, or digits that check each other. Names of people and
//! places have neither, and are not found. The time is linear in the text: every rule looks at a bounded piece of it.

mod address;
mod context;
mod country;
mod digits;
mod email;
mod iban;
#[cfg(test)]
mod labelled;
mod phone;

use std::ops::Range;

/// A kind of identifier. The order is that of their precedence where two claim the same text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identifier {
    /// The number of a bank account, whose digits check each other.
    Iban,
    /// The number of a payment card, whose digits check each other.
    CreditCard,
    /// The number of a person in the United States.
    UsSocialSecurityNumber,
    /// An address of a machine, IPv4 or IPv6.
    IpAddress,
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
}

impl Identifier {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Iban,
        Self::CreditCard,
        Self::UsSocialSecurityNumber,
        Self::IpAddress,
        Self::Email,
        Self::Phone,
    ];

    /// What stands for it in a placeholder.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Iban => "IBAN",
            Self::CreditCard => "CARD",
            Self::UsSocialSecurityNumber => "SSN",
            Self::IpAddress => "IP",
            Self::Email => "EMAIL",
            Self::Phone => "PHONE",
        }
    }

    /// What it is called towards a person.
    #[must_use]
    pub fn called(self) -> &'static str {
        match self {
            Self::Iban => "a bank account number (IBAN)",
            Self::CreditCard => "a payment card number",
            Self::UsSocialSecurityNumber => "a US social security number",
            Self::IpAddress => "an IP address",
            Self::Email => "an e-mail address",
            Self::Phone => "a telephone number",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Some of the kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// Whether it is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this kind is one of them.
    #[must_use]
    pub fn has(self, kind: Identifier) -> bool {
        self.0 & kind.bit() != 0
    }

    /// Whether all of `other` are among them.
    #[must_use]
    pub fn cover(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }
}

impl FromIterator<Identifier> for Kinds {
    fn from_iter<T: IntoIterator<Item = Identifier>>(kinds: T) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | kind.bit()))
    }
}

/// An identifier in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: Identifier,
    /// Where it is.
    pub at: Range<usize>,
}

/// The identifiers of these kinds in a text, in their order. Where two overlap they are one, of the kind that comes first.
///
/// None has a quote, a backslash or a control character in it: it may be put into JSON as it is.
#[must_use]
pub fn find(text: &str, kinds: Kinds) -> Vec<Found> {
    let mut all = Vec::new();
    if kinds.has(Identifier::Email) {
        email::find(text, &mut all);
    }
    if text.bytes().any(|byte| byte.is_ascii_digit() || byte == 0xef || byte == b':') {
        if kinds.has(Identifier::Iban) {
            iban::find(text, &mut all);
        }
        if kinds.has(Identifier::IpAddress) {
            address::find(text, &mut all);
        }
        digits::find(text, kinds, &mut all);
    }
    if all.len() > 1 {
        all.sort_by_key(|found| (found.at.start, found.kind));
        all.dedup_by(|later, earlier| {
            let overlaps = later.at.start < earlier.at.end;
            if overlaps {
                earlier.at.end = earlier.at.end.max(later.at.end);
                earlier.kind = earlier.kind.min(later.kind);
            }
            overlaps
        });
    }
    all
}

/// What comes before a place in a text.
fn before(text: &str, at: usize) -> Option<char> {
    text[..at].chars().next_back()
}

/// What comes at a place in a text.
fn after(text: &str, at: usize) -> Option<char> {
    text[at..].chars().next()
}

/// Whether it goes on with a word, so that what is beside it is only a part.
fn is_word(c: Option<char>) -> bool {
    // Scripts without spaces between words: a number beside them stands alone.
    c.is_some_and(|c| (c.is_alphanumeric() && !is_unspaced(c)) || c == '_')
}

/// Whether it is of a script that writes words without spaces.
#[must_use]
pub fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{0e00}'..='\u{0eff}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Whether it is a space within a line.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '\u{2007}' | '\u{2009}' | '\u{202f}' | '\u{3000}')
}

/// Whether it is some hyphen.
fn is_hyphen(c: char) -> bool {
    matches!(c, '-' | '\u{2010}' | '\u{2011}' | '\u{2012}' | '\u{2013}' | '\u{ff0d}' | '\u{2212}')
}

/// The value of a digit, also of those as wide as the characters of East Asian scripts.
fn digit(c: char) -> Option<u8> {
    match c {
        '0'..='9' => Some(c as u8 - b'0'),
        '\u{ff10}'..='\u{ff19}' => u8::try_from(c as u32 - 0xff10).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
