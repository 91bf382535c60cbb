use proptest::prelude::*;

use super::*;

fn all() -> Kinds {
    Identifier::ALL.into_iter().collect()
}

#[test]
fn only_the_kinds_that_are_asked_for_are_found() {
    let text = "anna@example.com, +49 30 901820, DE89 3704 0044 0532 0130 00";
    let kinds = |kinds: &[Identifier]| -> Vec<Identifier> {
        let found = find(text, kinds.iter().copied().collect());
        found.into_iter().map(|found| found.kind).collect()
    };
    assert_eq!(kinds(&[]), []);
    assert_eq!(kinds(&[Identifier::Phone]), [Identifier::Phone]);
    assert_eq!(kinds(&Identifier::ALL), [Identifier::Email, Identifier::Phone, Identifier::Iban]);
}

#[test]
fn an_identifier_is_found_as_a_whole_and_without_what_is_around_it() {
    for (text, expected) in [
        ("(+49 30 901820).", "+49 30 901820"),
        ("call (415) 555-0132!", "(415) 555-0132"),
        ("<anna@example.com>.", "anna@example.com"),
        ("anna@example.com. Bye", "anna@example.com"),
        ("...anna@example.com", "anna@example.com"),
        ("4111 1111 1111 1111 12/27 123", "4111 1111 1111 1111"),
        ("DE89 3704 0044 0532 0130 00 BIC", "DE89 3704 0044 0532 0130 00"),
        ("at 203.0.113.7.", "203.0.113.7"),
    ] {
        let found = find(text, all());
        let texts: Vec<&str> = found.iter().map(|found| &text[found.at.clone()]).collect();
        assert_eq!(texts, [expected], "{text}");
    }
}

#[test]
fn the_time_is_linear_in_the_text_however_it_is_made() {
    for unit in [
        "@", "a@", "a.", "1 ", "1", "+49 ", "0", "(0", "DE89 ", "tel 1", "1.1.1.", "::", "4111 ", "a@b.c@", "- ",
    ] {
        let took = |count: usize| {
            let text = unit.repeat(count);
            let began = std::time::Instant::now();
            std::hint::black_box(find(&text, all()));
            began.elapsed()
        };
        // A megabyte, in a build without optimization: what is quadratic would take hours.
        assert!(took((1 << 20) / unit.len()).as_secs() < 60, "{unit}");
    }
}

proptest! {
    #[test]
    fn places_are_in_order_apart_from_each_other_and_fit_into_json(text in "[a-z@.0-9+() \\-/:éß\u{ff10}\"\\\\\n\t]{0,80}") {
        let mut end = 0;
        for found in find(&text, all()) {
            prop_assert!(end <= found.at.start && found.at.start < found.at.end);
            end = found.at.end;
            let value = &text[found.at];
            prop_assert_eq!(serde_json::to_string(value).unwrap(), format!("\"{value}\""));
        }
    }
}
