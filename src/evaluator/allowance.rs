//! What may be spent before more is written down where another pod can read it. An object store takes no single lines, so a pod that is lost may
//! take with it what it noted since its last segment. Each segment therefore grants what may be asked after it until the next one is up: a pod that
//! goes on from there counts all of that as spent, and no limit is passed, whatever the lost one did with it.
//!
//! ```text
//! segment 7 is up, and grants A     A bounds what is asked from the cut of 7 on
//! segment 8 is cut, and grants B    until 8 is up, what is asked fits both A and B: nobody knows which of the two the next pod will find
//! segment 8 is up                   B alone
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::progress::Reserved;

/// Questions that are granted ahead, where they last for a while.
const FIRST: u32 = 32;
/// The most that they are ever granted ahead.
const LAST: u32 = 1024;
/// A grant of which half is used up in less is too small. So a grant is what is asked in four seconds at most when it grows; it shrinks again where
/// most of it is left when its time is over.
const EARLY: Duration = Duration::from_secs(1);

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

    pub(super) fn times(self, count: u32) -> Self {
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

    /// What is left of it after `other`: nothing where that is more.
    fn without(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            cost: self.cost.saturating_sub(other.cost),
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
    /// What that was when it came up.
    full: Amount,
    /// What is left of the grant of the one that is on its way.
    coming: Option<Amount>,
    /// What the next one is to grant for.
    next: Option<Next>,
    /// Questions that it grants.
    stride: u32,
    /// Whether another grant is wanted before its time.
    pub(super) is_wanted: bool,
    /// Whether a question waits for it.
    pub(super) is_awaited: bool,
}

/// Questions that are not granted yet.
#[derive(Clone, Copy, Debug)]
struct Next {
    /// The most that one of them uses.
    need: Amount,
    /// What is known of them.
    ahead: Ahead,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            granted: Amount::default(),
            full: Amount::default(),
            coming: None,
            next: None,
            stride: FIRST,
            is_wanted: false,
            is_awaited: false,
        }
    }
}

impl Allowance {
    /// Takes what a question may use; false where it is not granted yet, but will be.
    pub(super) fn take(&mut self, need: Amount, ahead: &Ahead) -> bool {
        let after = self.granted.less(need);
        let after_coming = self.coming.map(|coming| coming.less(need));
        let (Some(after), None | Some(Some(_))) = (after, after_coming) else {
            self.next = Some(Next { need, ahead: *ahead });
            self.is_awaited = true;
            return false;
        };
        // What a pod that goes on counts as spent is to leave it as much as there is.
        let left = ahead.left.less(need).unwrap_or_default();
        let questions = ahead.questions.saturating_sub(1);
        let ahead = Ahead { questions, left, ..*ahead };
        self.next = Some(Next { need, ahead });
        self.granted = after;
        self.coming = after_coming.flatten();
        // Before it is used up, so that nobody waits for it; unless it is enough for all that there is.
        let is_low = after.less(self.full.half()).is_none() && after.less(self.wish()).is_none();
        if self.coming.is_none() && is_low {
            self.is_wanted = true;
        }
        true
    }

    /// Takes what answers used that were lost on the way: another one is asked for, which was not granted.
    pub(super) fn lose(&mut self, lost: Amount) {
        self.granted = self.granted.without(lost);
        self.coming = self.coming.map(|coming| coming.without(lost));
    }

    /// What the next segment is to grant.
    fn wish(&self) -> Amount {
        let Some(Next { need, ahead }) = self.next else {
            return Amount::default();
        };
        let stride = self.stride.max(ahead.at_least);
        let questions = u32::try_from(ahead.questions).unwrap_or(u32::MAX);
        let wish = need.times(stride.min(questions)).min(ahead.left);
        // Whether one that waits may be asked at all is for others to say.
        if self.is_awaited { wish.max(need) } else { wish }
    }

    /// A segment is cut: what it grants. The one before it came up `since`.
    pub(super) fn cut(&mut self, since: Duration) -> Amount {
        let is_used = |part: Amount| self.granted.less(self.full.without(part)).is_none();
        let half = self.full.half();
        if self.is_wanted || self.is_awaited {
            if since < EARLY && is_used(half) {
                self.stride = self.stride.saturating_mul(2).min(LAST);
            }
        } else if since >= EARLY && !is_used(half.half()) {
            self.stride = (self.stride / 2).max(FIRST);
        }
        let wish = self.wish();
        (self.is_wanted, self.is_awaited) = (false, false);
        self.coming = Some(wish);
        wish
    }

    /// Nothing more is asked: what the last segment grants.
    pub(super) fn end(&mut self) -> Amount {
        self.next = None;
        self.cut(Duration::MAX)
    }

    /// The segment that was cut is up.
    pub(super) fn up(&mut self) {
        if let Some(coming) = self.coming.take() {
            (self.granted, self.full) = (coming, coming);
        }
        // Whoever waited looks again.
        (self.is_wanted, self.is_awaited) = (false, false);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHORT: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_secs(5);

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
        assert!(!allowance.take(tokens(10), &ahead(100, 1_000_000)) && allowance.is_awaited);
        assert_eq!(allowance.cut(LONG), tokens(10 * 32));
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
            allowance.cut(LONG)
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
        assert_eq!(
            allowance.cut(SHORT),
            tokens(10 * 32),
            "nothing was granted that could have been used up"
        );
        allowance.up();
        (0..16).for_each(|_| assert!(allowance.take(tokens(10), &much)));
        assert!(!allowance.is_wanted);
        assert!(allowance.take(tokens(10), &much) && allowance.is_wanted);
        assert_eq!(allowance.cut(SHORT), tokens(10 * 64));
        allowance.up();
        assert!(allowance.take(tokens(10), &much) && !allowance.is_wanted, "most of it is there");
        assert_eq!(allowance.cut(SHORT), tokens(10 * 64), "it had no time to be used");
        allowance.up();
        allowance.take(tokens(10), &much);
        assert_eq!(allowance.cut(LONG), tokens(10 * 32), "it was not used");
        assert_eq!(allowance.end(), tokens(0));
    }

    #[test]
    fn nothing_more_is_wanted_where_all_is_granted() {
        let mut allowance = Allowance::default();
        allowance.take(tokens(10), &ahead(20, 1_000_000));
        assert_eq!(allowance.cut(LONG), tokens(200));
        allowance.up();
        (0..20).for_each(|nth| assert!(allowance.take(tokens(10), &ahead(20 - nth, 1_000_000)) && !allowance.is_wanted));
    }

    #[test]
    fn answers_that_are_lost_on_the_way_are_taken_from_what_is_granted() {
        let mut allowance = Allowance::default();
        let much = ahead(10_000, 1_000_000);
        allowance.take(tokens(10), &much);
        allowance.cut(LONG);
        allowance.up();
        allowance.lose(tokens(10 * 30));
        let taken = (0..100).take_while(|_| allowance.take(tokens(10), &much)).count();
        assert_eq!((taken, allowance.cut(LONG)), (2, tokens(10 * 32)));
        allowance.lose(tokens(10 * 31));
        allowance.up();
        let taken = (0..100).take_while(|_| allowance.take(tokens(10), &much)).count();
        assert_eq!(taken, 1);
        allowance.lose(tokens(10 * 100));
        assert!(!allowance.take(tokens(10), &much));
    }

    /// What segments granted, in questions, while so many are asked each second for so many seconds: each is cut as a run does it, and up 50 ms later.
    fn granted(allowance: &mut Allowance, each_second: u32, seconds: u32) -> Vec<u64> {
        const TICK: u32 = 5;
        let much = ahead(1_000_000, u64::MAX);
        let (mut since_cut, mut since_up, mut debt, mut grants) = (0, 0, 0, Vec::new());
        for _ in 0..seconds * 1000 / TICK {
            (since_cut, since_up) = (since_cut + TICK, since_up + TICK);
            if allowance.coming.is_some() && since_cut >= 50 {
                allowance.up();
                since_up = 0;
            }
            debt += each_second * TICK;
            while debt >= 1000 && allowance.take(tokens(10), &much) {
                debt -= 1000;
            }
            let is_due = since_cut >= 5000 || (allowance.is_wanted && since_cut >= 1000);
            if allowance.coming.is_none() && (is_due || allowance.is_awaited) {
                grants.push(allowance.cut(Duration::from_millis(since_up.into())).tokens / 10);
                since_cut = 0;
            }
        }
        grants
    }

    #[test]
    fn a_grant_grows_with_the_pace_of_the_models_and_falls_back_with_it() {
        let mut allowance = Allowance::default();
        let slow = granted(&mut allowance, 2, 600);
        assert!(slow.iter().all(|grant| *grant == 32), "{slow:?}");
        assert!((100..=130).contains(&slow.len()), "one in 5 seconds: {}", slow.len());
        for (each_second, most) in [(20, 64), (100, 256), (2000, 1024)] {
            let fast = granted(&mut allowance, each_second, 60);
            let last = *fast.last().unwrap();
            assert_eq!(fast.iter().max(), Some(&last), "it stays: {fast:?}");
            assert_eq!(last, most, "{each_second} a second: {fast:?}");
        }
        let slow = granted(&mut allowance, 2, 60);
        assert_eq!(slow.last(), Some(&32), "{slow:?}");
    }

    proptest! {
        /// Whenever the pod is lost, what it spent since the cut of the segment that is up is no more than that granted.
        #[test]
        fn what_a_lost_pod_spent_is_bounded_by_what_is_written_down(steps in prop::collection::vec((0u8..4, 1u64..50), 1..200)) {
            let mut allowance = Allowance::default();
            let (mut up, mut coming): ((u64, u64), Option<(u64, u64)>) = ((0, 0), None);
            for (step, size) in steps {
                match step {
                    0 if size < 10 => {
                        // It was asked, and nobody knew that before: bounded from here on.
                        allowance.lose(tokens(size));
                        up.1 = up.0.min(up.1 + size);
                        if let Some(coming) = &mut coming { coming.1 = coming.0.min(coming.1 + size) }
                    }
                    0 | 1 => {
                        if allowance.take(tokens(size), &ahead(10, 300)) {
                            up.1 += size;
                            if let Some(coming) = &mut coming { coming.1 += size }
                        }
                    }
                    2 if coming.is_none() => coming = Some((allowance.cut(LONG).tokens, 0)),
                    _ => {
                        if let Some(new) = coming.take() { up = new; allowance.up() }
                    }
                }
                prop_assert!(up.1 <= up.0 && coming.is_none_or(|coming| coming.1 <= coming.0));
            }
        }
    }
}
