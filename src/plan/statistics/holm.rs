//! Several looks at once. S. Holm, "A simple sequentially rejective multiple test procedure" (1979): the chance that any of them is a false alarm
//! stays what it was for one, whatever they have to do with each other.

/// Each p adjusted for that there are several, in their order: what is below α then is found, with a chance of α of even one false find among all.
/// What is no number counts as 1.
#[must_use]
pub fn holm(ps: &[f64]) -> Vec<f64> {
    let known = |p: f64| if p.is_nan() { 1.0 } else { p };
    let mut order: Vec<(usize, f64)> = ps.iter().copied().map(known).enumerate().collect();
    order.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    let mut adjusted = vec![1.0; ps.len()];
    let mut largest: f64 = 0.0;
    for (left, (at, p)) in (1..=ps.len()).rev().zip(order) {
        // What a smaller p has not found, no larger one does.
        largest = largest.max(p * left as f64).min(1.0);
        if let Some(place) = adjusted.get_mut(at) {
            *place = largest;
        }
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::statistics::near;
    use proptest::prelude::*;

    /// By statsmodels 0.15.0: `multipletests(ps, method="holm")[1]`.
    #[test]
    fn adjusted_ps_are_as_statsmodels_has_them() {
        for (ps, expected) in [
            (vec![0.01, 0.04, 0.03, 0.005], vec![0.03, 0.06, 0.06, 0.02]),
            (vec![0.5], vec![0.5]),
            (vec![0.02, 0.02, 0.02], vec![0.06, 0.06, 0.06]),
            (vec![1e-9, 0.9, 0.049, 0.051, 0.2], vec![5e-9, 0.9, 0.196, 0.196, 0.4]),
        ] {
            for (seen, expected) in holm(&ps).into_iter().zip(expected) {
                near(seen, expected, 1e-12);
            }
        }
        assert!(holm(&[]).is_empty());
        assert_eq!(holm(&[f64::NAN, 0.01]), [1.0, 0.02]);
    }

    proptest! {
        #[test]
        fn no_p_becomes_smaller_none_passes_another_and_none_more_than_their_number_of_times_larger(ps in prop::collection::vec(0.0..=1.0f64, 1..20)) {
            let seen = holm(&ps);
            prop_assert_eq!(seen.len(), ps.len());
            for (p, adjusted) in ps.iter().zip(&seen) {
                prop_assert!(p <= adjusted && *adjusted <= 1.0 && *adjusted <= p * ps.len() as f64 + 1e-12);
                prop_assert!(ps.iter().zip(&seen).all(|(other, other_adjusted)| p > other || adjusted <= other_adjusted));
            }
        }
    }
}
