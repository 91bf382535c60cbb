//! How many questions would decide what so many did not.

use super::confidence::Confidence;
use super::interval::{share, wilson};

/// More questions than this are no advice.
const MOST_QUESTIONS: f64 = 10_000_000.0;

/// How many questions it takes, at the share of right answers seen so far, for the two-sided 95 % interval to leave `bound` to one side.
/// `None`: the share is so near the bound that no number worth asking would do.
#[must_use]
pub fn questions_to_decide(right: u32, asked: u32, bound: f64) -> Option<u32> {
    to_decide(share(right, asked)?, bound, Confidence::P95.two_sided_z())
}

/// The ends of the interval are the bounds b at which (share − b)² = z²·b(1 − b)/n, so the question has a closed form.
fn to_decide(share: f64, bound: f64, z: f64) -> Option<u32> {
    let n = z * z * bound * (1.0 - bound) / (share - bound).powi(2);
    // Rounding down first and testing keeps the answer the smallest one in spite of rounding in the last place.
    let clears = |n: &f64| {
        let seen = wilson(share, *n, z);
        seen.lower >= bound || seen.upper < bound
    };
    if !n.is_finite() || n > MOST_QUESTIONS {
        return None;
    }
    let floor = n.floor().max(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and ten million")]
    [floor, floor + 1.0, floor + 2.0].into_iter().find(clears).map(|n| n as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_asked_says_nothing_of_how_many_would_decide() {
        assert_eq!(questions_to_decide(0, 0, 0.5), None);
    }

    #[test]
    fn a_share_on_the_bound_is_never_decided() {
        assert_eq!(questions_to_decide(1, 2, 0.5), None);
    }

    proptest! {
        #[test]
        fn the_number_that_decides_is_the_smallest(right in 0u32..200, wrong in 0u32..200, bound in 0.01..0.99f64) {
            prop_assume!(right + wrong > 0);
            if let Some(n) = questions_to_decide(right, right + wrong, bound) {
                let share = f64::from(right) / f64::from(right + wrong);
                let decides = |n: u32| {
                    let seen = wilson(share, f64::from(n), Confidence::P95.two_sided_z());
                    seen.lower >= bound || seen.upper < bound
                };
                prop_assert!(decides(n));
                prop_assert!(n == 1 || !decides(n - 1));
            }
        }
    }
}
