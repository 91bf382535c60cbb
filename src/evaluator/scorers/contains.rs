//! Does an answer mention what was expected?

use super::words;

/// Does any expected text occur in the answer, case aside, white space of any kind and length counted as one space and that at the ends of an
/// expected text not at all? It may lie within a longer word. An expected text of white space alone occurs nowhere: or else it would make
/// every answer right.
pub(in crate::evaluator) fn contains(answer: &str, expected: &[String]) -> bool {
    let answer = plain(answer);
    expected
        .iter()
        .map(|text| plain(text))
        .any(|text| !text.is_empty() && answer.contains(&text))
}

/// Unicode's lower case letter by letter, because `str::to_lowercase` looks at a sigma's neighbours, and where a text ends is not where it ends
/// in the answer.
fn plain(text: &str) -> String {
    let words: Vec<_> = words::split(text).collect();
    let lowercase = words.join(" ").chars().flat_map(char::to_lowercase).collect::<String>();
    lowercase.replace('ς', "σ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn case_and_white_space_do_not_count() {
        for (answer, expected, wanted) in [
            ("It is\n New\u{a0}  York, I think", "new york", true),
            ("newyork", "New York", false),
            ("STRASSE ÉCOLE", "école", true),
            ("Η ΟΔΟΣ", "οδος", true),
            ("ὁδός", "ΟΔΟΣ", false),
            ("οδοσήμανση", "οδος", true),
            ("İstanbul", "i\u{307}stanbul", true),
            ("concatenate", " cat ", true),
            ("", "x", false),
            ("anything", " \n", false),
            ("anything", "", false),
        ] {
            assert_eq!(contains(answer, &[expected.to_owned()]), wanted, "{answer:?} {expected:?}");
        }
    }

    #[test]
    fn any_of_the_expected_texts_is_enough() {
        let expected = ["Lyon".to_owned(), "Paris".to_owned()];
        assert!(contains("paris", &expected));
        assert!(!contains("Nice", &expected));
        assert!(!contains("Nice", &[]));
    }

    proptest! {
        #[test]
        fn a_text_contains_itself_within_others(before in "\\PC{0,9}", text in "\\PC{0,9}[\\pL\\d]", after in "\\PC{0,9}") {
            let spaced = format!("{before} {text} {after}");
            prop_assert!(contains(&spaced, std::slice::from_ref(&text)));
            prop_assert!(contains(&spaced.replace(' ', "\n\t"), &[text]));
        }
    }
}
