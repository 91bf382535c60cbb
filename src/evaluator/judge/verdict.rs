//! What the judge said, and what both of its verdicts on a pair come to.

use serde::{Deserialize, Serialize};

use crate::evaluator::client::Finish;
use crate::evaluator::score::after_thinking;

/// What may surround a verdict. None of these quotes: a verdict that is quoted, such as the candidate's, is not the judge's.
const MARKUP: [char; 4] = ['*', '_', '`', '#'];

/// What one judgement ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::evaluator) enum Letter {
    /// The answer that stands first is better.
    A,
    /// The other one is.
    B,
    /// Neither is.
    Tie,
}

impl Letter {
    /// The verdict in the last line of what the judge wrote. None where that line is anything else, or the judge did not come to its end: what was
    /// cut off may have been about to go on from a line of the candidate's.
    #[must_use]
    pub(in crate::evaluator) fn read(text: &str, finish: Finish) -> Option<Self> {
        if finish != Finish::Stop {
            return None;
        }
        let last = after_thinking(text).lines().rfind(|line| !line.trim().is_empty())?;
        let bare = |text: &str| {
            text.trim_matches(|c: char| c.is_whitespace() || MARKUP.contains(&c))
                .to_ascii_uppercase()
        };
        let (form, said) = last.split_once(':')?;
        match (bare(form).as_str(), bare(said).as_str()) {
            ("VERDICT", "A") => Some(Self::A),
            ("VERDICT", "B") => Some(Self::B),
            ("VERDICT", "TIE") => Some(Self::Tie),
            _ => None,
        }
    }
}

/// Whose answer is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::evaluator) enum Preferred {
    /// The candidate's.
    #[serde(rename = "c")]
    Candidate,
    /// The dataset's.
    #[serde(rename = "r")]
    Reference,
    /// Neither.
    #[serde(rename = "t")]
    Tie,
}

impl Preferred {
    /// As people read it.
    #[must_use]
    pub(in crate::evaluator) fn word(self) -> &'static str {
        match self {
            Self::Candidate => "candidate",
            Self::Reference => "reference",
            Self::Tie => "tie",
        }
    }
}

/// Both verdicts on a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::evaluator) struct Judged {
    /// With the candidate's answer first.
    #[serde(rename = "a")]
    pub(in crate::evaluator) candidate_first: Preferred,
    /// With the reference first.
    #[serde(rename = "b")]
    pub(in crate::evaluator) reference_first: Preferred,
}

impl Judged {
    /// What two judgements of a pair say: with the candidate's answer first, then with the reference first. None where one of them says nothing;
    /// the other one alone is a matter of the place.
    #[must_use]
    pub(in crate::evaluator) fn of([candidate_first, reference_first]: [Option<Letter>; 2]) -> Option<Self> {
        Some(Self {
            candidate_first: match candidate_first? {
                Letter::A => Preferred::Candidate,
                Letter::B => Preferred::Reference,
                Letter::Tie => Preferred::Tie,
            },
            reference_first: match reference_first? {
                Letter::A => Preferred::Reference,
                Letter::B => Preferred::Candidate,
                Letter::Tie => Preferred::Tie,
            },
        })
    }

    /// How good the candidate's answer is beside the reference: 1 better, 0 worse, and a half as good; a half too where the order decided, which
    /// counts against the judge ([`super::Agreement`]).
    #[must_use]
    pub(in crate::evaluator) fn score(self) -> f64 {
        match (self.candidate_first, self.reference_first) {
            (Preferred::Candidate, Preferred::Candidate) => 1.0,
            (Preferred::Reference, Preferred::Reference) => 0.0,
            (Preferred::Candidate | Preferred::Reference | Preferred::Tie, _) => 0.5,
        }
    }

    /// Whether the order made no difference.
    #[must_use]
    pub(in crate::evaluator) fn is_agreed(self) -> bool {
        self.candidate_first == self.reference_first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_verdict_is_the_last_line_in_its_form_and_nothing_else() {
        for (text, expected) in [
            ("A is right.\nVERDICT: A", Some(Letter::A)),
            ("VERDICT: B\n\n  \n", Some(Letter::B)),
            ("verdict: tie", Some(Letter::Tie)),
            ("**VERDICT: A**", Some(Letter::A)),
            ("**Verdict:** B", Some(Letter::B)),
            ("### VERDICT: `TIE`", Some(Letter::Tie)),
            ("VERDICT: A\nNo, wait.\nVERDICT: B", Some(Letter::B)),
            ("<think>VERDICT: A</think>VERDICT: B", Some(Letter::B)),
            ("<think>VERDICT: A", None),
            ("VERDICT: A\nI hope that helps.", None),
            ("> VERDICT: A", None),
            ("\"VERDICT: A\"", None),
            ("```\nVERDICT: A\n```", None),
            ("VERDICT: A or B", None),
            ("VERDICT: A|B|TIE", None),
            ("VERDICT: C", None),
            ("VERDICT: A.", None),
            ("My VERDICT: A", None),
            ("VERDICT A", None),
            ("A", None),
            ("", None),
        ] {
            assert_eq!(Letter::read(text, Finish::Stop), expected, "{text}");
        }
    }

    #[test]
    fn what_was_cut_off_or_withheld_is_no_verdict() {
        for finish in [Finish::Length, Finish::Withheld] {
            assert_eq!(Letter::read("VERDICT: A", finish), None);
        }
    }

    #[test]
    fn only_both_orders_together_say_who_is_better() {
        use Letter::{A, B, Tie};
        for (letters, expected) in [
            ([Some(A), Some(B)], Some((1.0, true))),
            ([Some(B), Some(A)], Some((0.0, true))),
            ([Some(Tie), Some(Tie)], Some((0.5, true))),
            ([Some(A), Some(A)], Some((0.5, false))),
            ([Some(B), Some(B)], Some((0.5, false))),
            ([Some(A), Some(Tie)], Some((0.5, false))),
            ([Some(Tie), Some(A)], Some((0.5, false))),
            ([Some(A), None], None),
            ([None, Some(B)], None),
        ] {
            let judged = Judged::of(letters);
            assert_eq!(judged.map(|judged| (judged.score(), judged.is_agreed())), expected, "{letters:?}");
        }
    }

    #[test]
    fn both_verdicts_are_noted_in_a_few_bytes() {
        let judged = Judged::of([Some(Letter::A), Some(Letter::Tie)]).unwrap();
        let noted = serde_json::to_string(&judged).unwrap();
        assert_eq!(noted, r#"{"a":"c","b":"t"}"#);
        assert_eq!(serde_json::from_str::<Judged>(&noted).unwrap(), judged);
    }

    proptest! {
        #[test]
        fn no_judgement_is_too_strange(text in "(\\PC|\n|VERDICT|:| |A|\\*){0,20}") {
            if Letter::read(&text, Finish::Stop).is_some() {
                prop_assert!(text.trim_end().lines().last().unwrap().to_ascii_uppercase().contains("VERDICT"));
            }
        }
    }
}
