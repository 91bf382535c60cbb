//! The number that an answer comes to.

use std::sync::LazyLock;

use regex::Regex;

/// Superscript digits, by value.
const SUPERSCRIPTS: &str = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/// A power of ten right after a number; without "times 10" where that number is the ten.
static POWER: LazyLock<Regex> = LazyLock::new(|| {
    let times_ten = r"(?<times>\s*(?:[×x*·⋅]|\\?times|\\cdot)\s*10)";
    let exponent = r"(?:\^|\*\*)\{?(?<raised>[-+−]?[0-9]+)|(?<superscript>[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)";
    Regex::new(&format!("^(?:[eE](?<e>[-+−]?[0-9]+)|{times_ten}?(?:{exponent}))")).expect("a fixed pattern")
});

/// The last number of an answer, always finite; none where there is none, or where the last is too large for a double.
///
/// Read are ASCII digits with a sign (`-`, `+` or U+2212), commas between thousands ("1,234.5", in LaTeX "1{,}234"), a decimal point, and powers
/// of ten ("1e-5", "3 × 10^8", "10⁻³"). Currency and percent signs do not count: "-$5" is -5, "45%" is 45. Not read:
/// - as a sign, a hyphen right after what it may join: of "3-4" the last number is 4, of "2024-05-17" 17 and of "COVID-19" 19;
/// - digits right after a letter or in a subscript ("CO2", "x_1"), unless there is no other number;
/// - other notations and what is to be computed: "3,14" is 3 and then 14, "3/4" 3 and then 4, "10:30" 10 and then 30.
pub(in crate::evaluator) fn number(answer: &str) -> Option<f64> {
    let (mut last, mut last_in_name) = (None, None);
    let mut at = 0;
    while let Some(start) = answer[at..].find(|c: char| c.is_ascii_digit()) {
        let (before, rest) = answer.split_at(at + start);
        let (number, length) = read(before, rest);
        at += start + length;
        if is_in_name(before) {
            last_in_name = Some(number);
        } else {
            last = Some(number);
        }
    }
    last.or(last_in_name)?.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Are two numbers at most so far apart? Never where one is not finite. What doubles cannot hold exactly is forgiven: 1.1 is within 0.1 of 1.
/// With a tolerance of 0 they must be the same.
pub(in crate::evaluator) fn within(found: f64, expected: f64, tolerance: f64) -> bool {
    let apart = (found - expected).abs();
    let rounding = if tolerance > 0.0 {
        f64::EPSILON * found.abs().max(expected.abs())
    } else {
        0.0
    };
    apart.is_finite() && apart <= tolerance + rounding
}

/// The number whose first digit is the first of `rest`, as Rust writes it, and how much of `rest` belongs to it.
fn read(before: &str, rest: &str) -> (String, usize) {
    let whole = digits(rest);
    let mut length = whole.len();
    let mut number = String::new();
    if let Some(before) = before
        .strip_suffix('.')
        .filter(|before| !before.ends_with(is_joined) && !before.ends_with('.'))
    {
        number.push_str(if is_negative(before) { "-0." } else { "0." });
        number.push_str(whole);
    } else {
        number.push_str(if is_negative(before) { "-" } else { "" });
        number.push_str(whole);
        let can_be_grouped = whole.len() <= 3 && !whole.starts_with('0');
        while let Some((comma, thousand)) = next_thousand(&rest[length..]).filter(|_| can_be_grouped) {
            number.push_str(thousand);
            length += comma + thousand.len();
        }
        let decimals = rest[length..].strip_prefix('.').map_or("", digits);
        if !decimals.is_empty() {
            number.push('.');
            number.push_str(decimals);
            length += 1 + decimals.len();
        }
    }
    if let Some(power) = POWER.captures(&rest[length..]) {
        let is_factor = power.name("times").is_some() || power.name("e").is_some();
        let is_ten = &rest[..length] == "10";
        if is_ten && !is_factor {
            number.pop();
        }
        if is_ten || is_factor {
            let exponent = ["e", "raised", "superscript"].iter().find_map(|name| power.name(name));
            number.push('e');
            number.extend(exponent.map_or("", |exponent| exponent.as_str()).chars().filter_map(plain));
            length += power[0].len();
        }
    }
    (number, length)
}

fn digits(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit());
    &text[..end.unwrap_or(text.len())]
}

/// Three digits after a comma, and how long the comma is.
fn next_thousand(rest: &str) -> Option<(usize, &str)> {
    let after = rest.strip_prefix(',').or_else(|| rest.strip_prefix("{,}"))?;
    let thousand = digits(after);
    (thousand.len() == 3).then_some((rest.len() - after.len(), thousand))
}

/// A character of an exponent as Rust reads it.
fn plain(c: char) -> Option<char> {
    match c {
        '+' | '⁺' => None,
        '−' | '⁻' => Some('-'),
        digit => {
            let value = SUPERSCRIPTS.chars().zip('0'..='9').find(|(superscript, _)| *superscript == digit);
            Some(value.map_or(digit, |(_, plain)| plain))
        }
    }
}

/// Is there a minus before a number, which is no hyphen, and no part of a dash?
fn is_negative(before: &str) -> bool {
    let Some(before) = without_currency(before).strip_suffix(['-', '−']) else {
        return false;
    };
    let before = without_currency(before);
    !before.ends_with(is_joined) && !before.ends_with(['-', '−', '–', '—'])
}

fn without_currency(text: &str) -> &str {
    let is_currency = |c| matches!(c, '$' | '\u{a2}'..='\u{a5}' | '\u{20a0}'..='\u{20cf}');
    let text = text.strip_suffix(is_currency).unwrap_or(text);
    // In LaTeX a dollar sign is "\$".
    text.strip_suffix('\\').unwrap_or(text)
}

/// Do digits after this belong to a name? The letters of a command of LaTeX do not make one: "\times5".
fn is_in_name(before: &str) -> bool {
    let word = before.trim_end_matches(is_cased);
    let is_after_letter = word.len() < before.len() && !word.ends_with('\\');
    let index = before.strip_suffix('{').unwrap_or(before).strip_suffix('_');
    is_after_letter || index.is_some_and(|base| base.ends_with(is_joined))
}

/// Can a hyphen or a point right after this join it to what follows?
fn is_joined(c: char) -> bool {
    is_cased(c) || c.is_numeric() || matches!(c, ')' | ']' | '}' | '%' | '°')
}

/// A letter of a script that puts spaces between words; others may stand right before a number: "答案是5".
fn is_cased(c: char) -> bool {
    c.is_lowercase() || c.is_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(cases: &[(&str, f64)]) {
        for (answer, wanted) in cases {
            assert_eq!(number(answer), Some(*wanted), "{answer:?}");
        }
    }

    #[test]
    fn the_last_number_is_the_answer() {
        check(&[
            ("42", 42.0),
            ("First 3, then 4: the answer is 7.", 7.0),
            ("So x = 1/2, which is 0.5!", 0.5),
            (r"\boxed{42}", 42.0),
            ("**42**", 42.0),
            ("#### 72", 72.0),
            ("007", 7.0),
            ("答案是5。", 5.0),
        ]);
        for answer in ["", "none", "½", "٣", "1e999", "-"] {
            assert_eq!(number(answer), None, "{answer:?}");
        }
    }

    #[test]
    fn commas_part_thousands_and_points_decimals() {
        check(&[
            ("1,234.5", 1234.5),
            ("$1,234,567.", 1_234_567.0),
            ("1{,}234", 1234.0),
            ("12,34", 34.0),
            ("1,2345", 2345.0),
            ("1234,567", 567.0),
            ("0,123", 123.0),
            ("1, 234", 234.0),
            (".5", 0.5),
            ("costs $.50", 0.5),
            ("3.", 3.0),
            ("...5", 5.0),
            ("option.5", 5.0),
            ("version 1.2.3", 3.0),
            ("(a).5", 5.0),
        ]);
    }

    #[test]
    fn a_minus_is_a_sign_unless_it_joins() {
        check(&[
            ("-5", -5.0),
            ("\u{2212}5", -5.0),
            ("+5", 5.0),
            ("x=-5", -5.0),
            ("(-5)", -5.0),
            (r"\boxed{-42}", -42.0),
            ("-.5", -0.5),
            ("-$5", -5.0),
            ("$-5$", -5.0),
            (r"-\$1,000", -1000.0),
            ("-€5", -5.0),
            ("答案是-5", -5.0),
            ("3-4", 4.0),
            ("3–4", 4.0),
            ("3--4", 4.0),
            ("$3-$4", 4.0),
            ("$3$-$4$", 4.0),
            ("5%-10%", 10.0),
            ("20°-25°", 25.0),
            ("3 - 4", 4.0),
            ("3 -4", -4.0),
            ("COVID-19", 19.0),
            ("f(2)-3", 3.0),
            ("2024-05-17", 17.0),
            ("17.05.2024", 2024.0),
            ("17/05/2024", 2024.0),
            ("10:30", 30.0),
        ]);
    }

    #[test]
    fn powers_of_ten_belong_to_the_number() {
        check(&[
            ("1e5", 1e5),
            ("-1.5E-3", -1.5e-3),
            ("2e+3", 2e3),
            ("2e\u{2212}3", 2e-3),
            ("3 × 10^8 m/s", 3e8),
            (r"$6.02 \times 10^{23}$", 6.02e23),
            (r"1.6\cdot10^{-19}", 1.6e-19),
            ("3 x 10**-2", 3e-2),
            ("-2·10⁻³", -2e-3),
            ("10^8", 1e8),
            ("-10⁶", -1e6),
            ("2 eggs", 2.0),
            ("2e", 2.0),
            ("2^10", 10.0),
            ("5²", 5.0),
            ("3 × 105", 105.0),
        ]);
    }

    #[test]
    fn digits_in_names_are_numbers_only_if_nothing_else_is() {
        check(&[
            ("44 g of CO2", 44.0),
            (r"44 g of $CO_2$", 44.0),
            (r"5 \text{ mol CO}_{2}", 5.0),
            ("python3.11 printed 7 for x1", 7.0),
            ("USD100", 100.0),
            (r"a \times5", 5.0),
            ("_5_", 5.0),
        ]);
    }

    #[test]
    fn a_tolerance_is_absolute_and_reaches_its_end() {
        for (found, expected, tolerance, wanted) in [
            (1.1, 1.0, 0.1, true),
            (0.9, 1.0, 0.1, true),
            (1.1001, 1.0, 0.1, false),
            (5.0, 5.0, 0.0, true),
            (5.000_000_1, 5.0, 0.0, false),
            (-0.0, 0.0, 0.0, true),
            (5.0, 5.0, -1.0, false),
            (f64::NAN, f64::NAN, 1.0, false),
            (1.0, 1.0, f64::NAN, false),
            (f64::INFINITY, f64::INFINITY, 1.0, false),
            (f64::INFINITY, 1.0, f64::INFINITY, false),
            (f64::MAX, f64::MIN, 1.0, false),
        ] {
            assert_eq!(within(found, expected, tolerance), wanted, "{found} {expected} {tolerance}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_finite(text in "(\\PC|[-0-9.,eE+^*{}\\\\$−×⁻²_]|10|,000){0,30}") {
            prop_assert!(number(&text).is_none_or(f64::is_finite));
        }

        #[test]
        fn what_rust_writes_is_read_back(wanted in prop::num::f64::NORMAL | prop::num::f64::ZERO) {
            prop_assert_eq!(number(&format!("It is {wanted}.")), Some(wanted));
            prop_assert_eq!(number(&format!("7 or ${wanted:E}$")), Some(wanted));
        }

        #[test]
        fn thousands_may_be_parted(wanted in any::<u32>(), decimals in "(\\.[0-9]{1,5})?") {
            let digits = wanted.to_string();
            let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
            prop_assert_eq!(number(&format!("{}{decimals}", groups.join(","))), format!("{wanted}{decimals}").parse().ok());
        }
    }
}
