//! What may be spent before more is written down where another pod can read it. An object store takes no single lines, so a pod that is lost may
//! take with it what it noted since its last segment. Each segment therefore grants what may be asked after it until the next one is up: a pod that
//! goes on from there counts all of that as spent, and no limit is passed, whatever the lost one did with it.
//!
//! ```text
//! segment 7 is up, and grants A     A bounds what is asked from the cut of 7 on
//! segment 8 is cut, and grants B    until 8 is up, what is asked fits both A and B: nobody knows which of the two the next pod will find
//! segment 8 is up                   B alone
//! ```

use serde::{Deserialize, Serialize};

use super::progress::Reserved;

/// The most that questions are granted ahead, while that lasts for a while.
const FIRST: u32 = 32;
/// The most that they are ever granted ahead.
const LAST: u32 = 1024;

/// Tokens and nano-dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Amount {
    #[serde(rename = "n")]
    pub(super) tokens: u64,
    #[serde(rename = "c")]
    pub(super) cost: u64,
}

impl Amount {
    pub(super) fn of(reserved: &Reserved) -> Self {
        Self {
            tokens: reserved.tokens,
            cost: reserved.cost,
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            cost: self.cost.saturating_add(other.cost),
        }
    }

    fn times(self, count: u32) -> Self {
        Self {
            tokens: self.tokens.saturating_mul(count.into()),
            cost: self.cost.saturating_mul(count.into()),
        }
    }

    fn half(self) -> Self {
        Self {
            tokens: self.tokens / 2,
            cost: self.cost / 2,
        }
    }

    fn min(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.min(other.tokens),
            cost: self.cost.min(other.cost),
        }
    }

    fn max(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.max(other.tokens),
            cost: self.cost.max(other.cost),
        }
    }

    /// What is left of it after `other`; none where that is more.
    fn less(self, other: Self) -> Option<Self> {
        Some(Self {
            tokens: self.tokens.checked_sub(other.tokens)?,
            cost: self.cost.checked_sub(other.cost)?,
        })
    }
}

/// What is known of the questions after one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead {
    /// How many there may be, this one included.
    pub(super) questions: usize,
    /// For how many there is to be room at least: those of a load do not wait.
    pub(super) at_least: u32,
    /// What the limits of the run leave.
    pub(super) left: Amount,
}

/// What may be asked before the next segment is up.
#[derive(Debug)]
pub(super) struct Allowance {
    /// What is left of the grant of the segment that is up.
    granted: Amount,
    /// What is left of the grant of the one that is on its way.
    coming: Option<Amount>,
    /// What the next one is to grant.
    wish: Amount,
    /// Questions that it grants.
    stride: u32,
    /// Whether another grant is wanted before its time.
    pub(super) is_wanted: bool,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            granted: Amount::default(),
            coming: None,
            wish: Amount::default(),
            stride: FIRST,
            is_wanted: false,
        }
    }
}

impl Allowance {
    /// Takes what a question may use; false where it is not granted yet, but will be.
    pub(super) fn take(&mut self, need: Amount, ahead: &Ahead) -> bool {
        let stride = self.stride.max(ahead.at_least);
        let grant = |questions: usize, left| need.times(stride.min(u32::try_from(questions).unwrap_or(u32::MAX))).min(left);
        let after = self.granted.less(need);
        let after_coming = self.coming.map(|coming| coming.less(need));
        let (Some(after), None | Some(Some(_))) = (after, after_coming) else {
            self.wish = grant(ahead.questions, ahead.left).max(need);
            self.is_wanted = true;
            return false;
        };
        // What a pod that goes on counts as spent is to leave it as much as there is.
        let left = ahead.left.less(need).unwrap_or_default();
        self.wish = grant(ahead.questions.saturating_sub(1), left);
        self.granted = after;
        self.coming = after_coming.flatten();
        // Before it is used up, so that nobody waits for it.
        if self.coming.is_none() && after.less(self.wish.half()).is_none() {
            self.is_wanted = true;
        }
        true
    }

    /// A segment is cut: what it grants. `is_early`: the one before it was cut a moment ago.
    pub(super) fn cut(&mut self, is_early: bool) -> Amount {
        if is_early && self.is_wanted {
            self.stride = self.stride.saturating_mul(2).min(LAST);
        }
        self.is_wanted = false;
        self.coming = Some(self.wish);
        self.wish
    }

    /// Nothing more is asked: what the last segment grants.
    pub(super) fn end(&mut self) -> Amount {
        self.wish = Amount::default();
        self.cut(false)
    }

    /// The segment that was cut is up.
    pub(super) fn up(&mut self) {
        if let Some(coming) = self.coming.take() {
            self.granted = coming;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(tokens: u64) -> Amount {
        Amount { tokens, cost: 0 }
    }

    fn ahead(questions: usize, left: u64) -> Ahead {
        Ahead {
            questions,
            at_least: 0,
            left: tokens(left),
        }
    }

    #[test]
    fn nothing_is_asked_that_is_not_granted() {
        let mut allowance = Allowance::default();
        assert!(!allowance.take(tokens(10), &ahead(100, 1_000_000)) && allowance.is_wanted);
        assert_eq!(allowance.cut(false), tokens(10 * 32));
        assert!(!allowance.take(tokens(10), &ahead(100, 1_000_000)), "it is not up");
        allowance.up();
        let taken = (0..100).take_while(|_| allowance.take(tokens(10), &ahead(100, 1_000_000))).count();
        assert_eq!(taken, 32);
    }

    #[test]
    fn no_more_is_granted_than_may_be_asked() {
        let grant = |ahead: &Ahead| {
            let mut allowance = Allowance::default();
            allowance.take(tokens(10), ahead);
            allowance.cut(false)
        };
        assert_eq!(grant(&ahead(3, 1_000_000)), tokens(30), "so many questions are left");
        assert_eq!(grant(&ahead(100, 45)), tokens(45), "so much is left");
        assert_eq!(grant(&ahead(100, 0)), tokens(10), "whether it may be asked is for others to say");
        let load = Ahead {
            at_least: 500,
            ..ahead(1000, 1_000_000)
        };
        assert_eq!(grant(&load), tokens(5000));
    }

    #[test]
    fn a_grant_is_renewed_before_it_ends_and_grows_where_it_ends_soon() {
        let mut allowance = Allowance::default();
        let much = ahead(10_000, 1_000_000);
        allowance.take(tokens(10), &much);
        allowance.cut(false);
        allowance.up();
        (0..16).for_each(|_| assert!(allowance.take(tokens(10), &much)));
        assert!(!allowance.is_wanted);
        assert!(allowance.take(tokens(10), &much) && allowance.is_wanted);
        assert_eq!(allowance.cut(true), tokens(10 * 32), "what was wished before");
        allowance.up();
        allowance.take(tokens(10), &much);
        assert_eq!(allowance.cut(false), tokens(10 * 64));
        assert_eq!(allowance.end(), tokens(0));
    }

    proptest! {
        /// Whenever the pod is lost, what it spent since the cut of the segment that is up is no more than that granted.
        #[test]
        fn what_a_lost_pod_spent_is_bounded_by_what_is_written_down(steps in prop::collection::vec((0u8..4, 1u64..50), 1..200)) {
            let mut allowance = Allowance::default();
            let (mut up, mut coming): ((u64, u64), Option<(u64, u64)>) = ((0, 0), None);
            for (step, size) in steps {
                match step {
                    0 | 1 => {
                        if allowance.take(tokens(size), &ahead(10, 300)) {
                            up.1 += size;
                            if let Some(coming) = &mut coming { coming.1 += size }
                        }
                    }
                    2 if coming.is_none() => coming = Some((allowance.cut(false).tokens, 0)),
                    _ => {
                        if let Some(new) = coming.take() { up = new; allowance.up() }
                    }
                }
                prop_assert!(up.1 <= up.0 && coming.is_none_or(|coming| coming.1 <= coming.0));
            }
        }
    }
}
