//! Words and numbers as a person reads them. Escaping is the template's; here strangers' texts lose what would disturb the text around them.

/// What is said where there is no number: a 0 would be a lie.
pub(super) const ABSENT: &str = "not measured";

/// Of a text that is cut, so many characters are from its start, which tells what it is about …
const FIRST: usize = 118;
/// … and so many from its end, where an answer usually stands, and where one that was cut off breaks off.
const LAST: usize = 179;
/// What stands for the rest.
const GAP: &str = " … ";
/// The most characters of an excerpt.
const MOST: usize = FIRST + LAST + 3;

/// A stranger's text: controls, what turns the direction of writing, and what is no character show as `�`.
pub(super) fn said(text: &str) -> String {
    text.chars().map(visible).collect()
}

fn visible(c: char) -> char {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_no_character = matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe;
    match c {
        '\r' | '\n' | '\t' => ' ',
        c if c.is_control() || turns || is_no_character => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

/// The start and the end of an answer, at most 300 characters on one line.
#[must_use]
pub(super) fn excerpt(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    let count = line.chars().count();
    if count <= MOST {
        return line;
    }
    let mut short: String = line.chars().take(FIRST).collect();
    short.push_str(GAP);
    short.extend(line.chars().skip(count - LAST));
    short
}

/// A number that was measured.
pub(super) fn finite(number: Option<f64>) -> Option<f64> {
    number.filter(|number| number.is_finite())
}

/// A thousandth of what matters: shares to three places, small ones and money to three digits.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-9..1e9).contains(&size) {
        return minus(&format!("{value:.2e}"));
    }
    let text = match size {
        1000.0.. => format!("{value:.0}"),
        100.0.. => format!("{value:.1}"),
        0.1.. => format!("{value:.3}"),
        _ => {
            let places = 2.0 - size.log10().floor();
            let text = format!("{value:.*}", places as usize);
            text.trim_end_matches('0').to_owned()
        }
    };
    minus(&text)
}

/// A hyphen is easily overlooked before a digit.
pub(super) fn minus(text: &str) -> String {
    text.replace('-', "−")
}

/// A number that may be absent.
pub(super) fn number_or_absent(value: Option<f64>) -> String {
    finite(value).map_or_else(|| ABSENT.to_owned(), number)
}

/// The ends of an interval.
pub(super) fn ends(lower: Option<f64>, upper: Option<f64>) -> String {
    match (finite(lower), finite(upper)) {
        (Some(lower), Some(upper)) => format!("{} to {}", number(lower), number(upper)),
        (Some(lower), None) => format!("at least {}", number(lower)),
        (None, Some(upper)) => format!("at most {}", number(upper)),
        (None, None) => ABSENT.to_owned(),
    }
}

/// A share in hundredths.
pub(super) fn percent(share: Option<f64>) -> String {
    let Some(share) = finite(share) else {
        return ABSENT.to_owned();
    };
    let text = format!("{:.2}", share * 100.0);
    format!("{}%", minus(text.trim_end_matches('0').trim_end_matches('.')))
}

/// A count with its thousands apart.
pub(super) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Money: cents, and where there are hardly any, what a price list shows.
pub(super) fn dollars(amount: Option<f64>) -> String {
    match finite(amount) {
        None => ABSENT.to_owned(),
        Some(amount) if amount.abs() < 1.0 => format!("${amount:.4}"),
        Some(amount) => format!("${amount:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_as_exact_as_they_matter() {
        let all = [0.0, 0.8123, 1.0, 0.8, 0.034, 0.000_212_9, 12.5, 1234.5, -0.022, 1e300, -1e-300];
        let expected = [
            "0",
            "0.812",
            "1.000",
            "0.800",
            "0.034",
            "0.000213",
            "12.500",
            "1234",
            "−0.022",
            "1.00e300",
            "−1.00e−300",
        ];
        assert_eq!(all.map(number), expected);
    }

    #[test]
    fn what_is_absent_is_never_a_number() {
        assert_eq!(number_or_absent(None), ABSENT);
        assert_eq!(number_or_absent(Some(f64::NAN)), ABSENT);
        assert_eq!(ends(None, Some(f64::INFINITY)), ABSENT);
        assert_eq!(percent(None), ABSENT);
        assert_eq!(dollars(Some(f64::NEG_INFINITY)), ABSENT);
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }

    proptest! {
        #[test]
        fn an_excerpt_is_short_and_keeps_both_ends(text in "\\PC{0,700}") {
            let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let short = excerpt(&text);
            prop_assert!(short.chars().count() <= MOST);
            let (first, last) = short.split_once(GAP).unwrap_or((&short, ""));
            prop_assert!(line.starts_with(first) && line.ends_with(last));
            prop_assert_eq!(line.chars().count() > MOST, short != line);
        }

        #[test]
        fn what_is_said_has_no_controls(text in prop::collection::vec(any::<char>(), 0..99)) {
            let text: String = text.into_iter().collect();
            prop_assert!(!said(&text).chars().any(char::is_control));
        }
    }
}
