//! Amounts as Kubernetes writes them, and bytes as people read them.

use std::cmp::Ordering;

/// Suffixes, with what a number with each is in units of 1, or below 0 how many make one of 1. The empty one last: it ends every text.
const SUFFIXES: [(&str, i128); 16] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
    ("n", -1_000_000_000),
    ("u", -1_000_000),
    ("m", -1_000),
    ("", 1),
];

/// A quantity in units of 10⁻⁹; `None` for what is not one. Exponents (`1e3`) are left to textual comparison.
/// Source: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
#[must_use]
pub fn nanos(text: &str) -> Option<i128> {
    let (suffix, scale) = SUFFIXES.iter().find(|(suffix, _)| text.ends_with(suffix))?;
    let (whole, fraction) = text
        .strip_suffix(suffix)?
        .split_once('.')
        .unwrap_or((text.strip_suffix(suffix)?, ""));
    if whole.is_empty() || whole.len() > 18 || fraction.len() > 9 || !(whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos = whole.parse::<i128>().ok()? * 1_000_000_000 + format!("{fraction:0<9}").parse::<i128>().ok()?;
    Some(if *scale < 0 { nanos / -scale } else { nanos.checked_mul(*scale)? })
}

/// Whether a quantity is above 0, below it, or neither, whatever its size; `None` for what is none. Exponents are understood.
#[must_use]
pub fn sign(text: &str) -> Option<Ordering> {
    let is_below = text.starts_with('-');
    let number = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
    let (digits, suffix) = number.split_at(end);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_exponent = suffix.strip_prefix(['e', 'E']).is_some_and(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
    });
    if (whole.is_empty() && fraction.is_empty())
        || fraction.contains('.')
        || !(is_exponent || SUFFIXES.iter().any(|(known, _)| *known == suffix))
    {
        return None;
    }
    Some(match digits.bytes().any(|digit| (b'1'..=b'9').contains(&digit)) {
        false => Ordering::Equal,
        true if is_below => Ordering::Less,
        true => Ordering::Greater,
    })
}

/// A quantity as whole bytes, rounded up; `None` for what is not one or is no such number.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    const NANOS: i128 = 1_000_000_000;
    u64::try_from((nanos(text)? + NANOS - 1) / NANOS).ok()
}

/// Bytes for a person: `16.1 GiB`.
#[must_use]
pub fn readable(bytes: u64) -> String {
    let (unit, name) = unit(bytes);
    amount(bytes, unit) + " " + name
}

/// A part of a whole for a person, in the unit of the whole: `12.4 of 16.1 GiB`.
#[must_use]
pub fn readable_part(part: u64, whole: u64) -> String {
    let (unit, name) = unit(whole);
    format!("{} of {} {name}", amount(part, unit), amount(whole, unit))
}

fn unit(bytes: u64) -> (u64, &'static str) {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    UNITS.into_iter().find(|(unit, _)| bytes >= *unit).unwrap_or((1, "bytes"))
}

fn amount(bytes: u64, unit: u64) -> String {
    if unit == 1 {
        bytes.to_string()
    } else {
        format!("{:.1}", bytes as f64 / unit as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_are_whole_and_never_too_few() {
        for (text, expected) in [("1Gi", 1 << 30), ("1.5k", 1500), ("0.5", 1), ("7", 7), ("1m", 1)] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for text in ["", "x", "-1", "99999Ei"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn a_quantity_has_a_sign_in_each_of_its_forms_and_what_is_none_has_not() {
        for (text, expected) in [
            ("4", Ordering::Greater),
            ("+.5Ki", Ordering::Greater),
            ("1e-3", Ordering::Greater),
            ("2E", Ordering::Greater),
            ("1.", Ordering::Greater),
            ("0.000m", Ordering::Equal),
            ("-0", Ordering::Equal),
            ("-1E+2", Ordering::Less),
        ] {
            assert_eq!(sign(text), Some(expected), "{text}");
        }
        for text in ["", ".", "+", "--1", "1.2.3", "4 requests", "1e", "1e1.5", "1mi", "K", "ten", "1K"] {
            assert_eq!(sign(text), None, "{text}");
        }
    }

    #[test]
    fn people_read_one_decimal_of_the_unit_of_the_whole() {
        assert_eq!(readable_part(13_314_398_618, 17_287_243_366), "12.4 of 16.1 GiB");
        assert_eq!(
            (readable(512), readable(98_362_432)),
            ("512 bytes".to_owned(), "93.8 MiB".to_owned())
        );
    }

    proptest! {
        #[test]
        fn a_quantity_equals_itself_in_thousandths(n in 0u64..1_000_000_000) {
            prop_assert_eq!(nanos(&n.to_string()), nanos(&format!("{n}000m")));
            prop_assert_eq!(nanos(&format!("{n}Ki")), nanos(&(n * 1024).to_string()));
        }

        #[test]
        fn the_sign_of_a_quantity_is_that_of_its_nanos(text in "[0-9]{0,3}\\.?[0-9]{0,3}(n|u|m|k|M|Ki|Gi|e|E)?") {
            if let Some(nanos) = nanos(&text) {
                let sign = sign(&text).unwrap();
                // Less than one of them is not seen there.
                prop_assert!(sign == nanos.cmp(&0) || (nanos == 0 && sign.is_gt()));
            }
        }

        #[test]
        fn no_text_is_too_strange(text in ".{0,40}") {
            let _ = (nanos(&text), sign(&text));
        }
    }
}
