//! The letter that an answer to a multiple choice settles on. Accuracies by different extractors cannot be compared, so each has a name, and results say
//! by which they were found. All take time in proportion to the text.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use regex::Regex;

/// Choices are named by the letters A to Z.
const MOST_CHOICES: usize = 26;

/// How the letter is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extractor {
    /// The first "answer is (X)", as the task `mmlu_pro` of lm-evaluation-harness has it.
    First,
    /// That, without emphasis; else the first "Answer: X"; else the last letter that stands alone: the three steps of the MMLU-Pro authors' own
    /// evaluation. They fill in a random letter where none is found; here there is then none.
    ThreeStep,
}

impl Extractor {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::First, Self::ThreeStep];

    /// The letter that a text settles on, of so many choices.
    #[must_use]
    pub fn letter(self, text: &str, choices: usize) -> Option<char> {
        let choices = choices.clamp(1, MOST_CHOICES);
        let Patterns { phrase, label, last } = patterns(choices);
        match self {
            Self::First => first(phrase, text),
            Self::ThreeStep => {
                // Emphasis hides a letter, and makes one of the A in **A**nswer.
                let text = &text.replace("**", "");
                first(phrase, text)
                    .or_else(|| first(label, text))
                    .or_else(|| last_alone(text, *last))
            }
        }
    }
}

impl fmt::Display for Extractor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first",
            Self::ThreeStep => "three-step",
        })
    }
}

impl FromStr for Extractor {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|extractor| extractor.to_string() == name);
        found.ok_or_else(|| {
            format!(
                "no such extractor is known; write {}",
                Self::ALL.map(|one| one.to_string()).join(" or ")
            )
        })
    }
}

struct Patterns {
    phrase: Regex,
    label: Regex,
    last: char,
}

fn patterns(choices: usize) -> &'static Patterns {
    static PATTERNS: [OnceLock<Patterns>; MOST_CHOICES + 1] = [const { OnceLock::new() }; MOST_CHOICES + 1];
    PATTERNS[choices].get_or_init(|| {
        let last = ('A'..='Z').nth(choices - 1).unwrap_or('Z');
        let pattern = |text: String| Regex::new(&text).expect("a fixed pattern with one of 26 letters");
        Patterns {
            phrase: pattern(format!(r"answer is \(?([A-{last}])\)?")),
            label: pattern(format!(r".*[aA]nswer:\s*([A-{last}])")),
            last,
        }
    })
}

fn first(pattern: &Regex, text: &str) -> Option<char> {
    pattern.captures(text)?.get(1)?.as_str().chars().next()
}

/// The last letter of the choices that is a word by itself. Digits of every kind belong to words, or else H₂O would mention H.
fn last_alone(text: &str, last: char) -> Option<char> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut after = None;
    let mut backwards = text.chars().rev().peekable();
    while let Some(c) = backwards.next() {
        let before = backwards.peek().copied();
        if ('A'..=last).contains(&c) && !before.is_some_and(is_word) && !after.is_some_and(is_word) {
            return Some(c);
        }
        after = Some(c);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_level_finds_what_it_says() {
        for (text, first, three_step) in [
            ("So the answer is (C). Question: … the answer is (A).", Some('C'), Some('C')),
            ("The answer is C", Some('C'), Some('C')),
            ("the answer is (C", Some('C'), Some('C')),
            ("the answer is **(C)**", None, Some('C')),
            ("**A**nswer: the answer is ((D))", None, Some('D')),
            ("A or B?\nAnswer: C, and not answer: D", None, Some('D')),
            ("answer: B\nAnswer: C", None, Some('B')),
            ("Answer:\n\n  C or A", None, Some('C')),
            ("Not A, so C", None, Some('C')),
            ("it is C, made of H₂O and B₂O₃", None, Some('C')),
            ("Antwort: «É» oder »Ж«, also G.", None, Some('G')),
            ("the answer is (K), I think", None, Some('I')),
            ("The Answer Is (C)", None, Some('C')),
            ("no idea", None, None),
            ("", None, None),
        ] {
            let seen = (Extractor::First.letter(text, 10), Extractor::ThreeStep.letter(text, 10));
            assert_eq!(seen, (first, three_step), "{text:?}");
        }
    }

    #[test]
    fn a_letter_beyond_the_choices_is_none() {
        assert_eq!(Extractor::First.letter("the answer is (E)", 4), None);
        assert_eq!(Extractor::First.letter("the answer is (Z)", 99), Some('Z'));
        assert_eq!(Extractor::ThreeStep.letter("Answer: E", 4), None);
    }

    #[test]
    fn extractors_are_read_by_their_names() {
        for extractor in Extractor::ALL {
            assert_eq!(extractor.to_string().parse(), Ok(extractor));
        }
        assert_eq!(
            "last".parse::<Extractor>().unwrap_err(),
            "no such extractor is known; write first or three-step"
        );
    }

    proptest! {
        #[test]
        fn the_letter_is_one_of_the_choices(text in "\\PC{0,60}|([A-J ]|answer is |Answer: |\n){0,20}", choices in 2usize..=26) {
            for extractor in Extractor::ALL {
                if let Some(letter) = extractor.letter(&text, choices) {
                    prop_assert!(('A'..='Z').take(choices).any(|l| l == letter));
                }
            }
        }

        #[test]
        fn what_the_first_level_finds_without_emphasis_the_other_finds_too(text in "([A-J ]|answer is |Answer: |\\(|\n){0,20}") {
            if let Some(letter) = Extractor::First.letter(&text, 10) {
                prop_assert_eq!(Extractor::ThreeStep.letter(&text, 10), Some(letter));
            }
        }
    }
}
