//! How far two judges agree beyond what chance alone would make them: J. Cohen, "A coefficient of agreement for nominal scales" (1960), with the
//! large-sample standard error of J. L. Fleiss, J. Cohen and B. S. Everitt, "Large sample standard errors of kappa and weighted kappa" (1969),
//! which is the one for intervals; that for a test of no agreement is another.

use super::estimate::Estimate;

/// Cohen's kappa of the counts in `table`: how often the first judge said what the row stands for and the second what the column does, of pairs
/// that have nothing to do with each other. 1 is full agreement, 0 that of chance. `None` without counts, and where both always said the same
/// one thing: chance alone would have made them agree.
#[must_use]
pub fn kappa<const K: usize>(table: &[[u32; K]; K]) -> Option<Estimate> {
    let n: f64 = table.iter().flatten().map(|count| f64::from(*count)).sum();
    let share = |row: usize, column: usize| f64::from(table[row][column]) / n;
    let rows: [f64; K] = std::array::from_fn(|row| (0..K).map(|column| share(row, column)).sum());
    let columns: [f64; K] = std::array::from_fn(|column| (0..K).map(|row| share(row, column)).sum());
    let observed: f64 = (0..K).map(|i| share(i, i)).sum();
    let expected: f64 = (0..K).map(|i| rows[i] * columns[i]).sum();
    let beyond = 1.0 - expected;
    // Of no counts all of these are no numbers.
    if n == 0.0 || beyond <= 0.0 {
        return None;
    }
    let value = (observed - expected) / beyond;
    let disagreement = 1.0 - value;
    let on: f64 = (0..K)
        .map(|i| share(i, i) * (1.0 - (rows[i] + columns[i]) * disagreement).powi(2))
        .sum();
    let cells = (0..K).flat_map(|row| (0..K).map(move |column| (row, column)));
    let off: f64 = cells
        .filter(|(row, column)| row != column)
        .map(|(row, column)| share(row, column) * (columns[row] + rows[column]).powi(2))
        .sum();
    let chance = (value - expected * disagreement).powi(2);
    let variance = (on + disagreement.powi(2) * off - chance) / (beyond.powi(2) * n);
    Some(Estimate {
        value,
        // Rounding may leave less than nothing of none.
        standard_error: variance.max(0.0).sqrt(),
        degrees: f64::INFINITY,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::statistics::{Bounds, Confidence, near};
    use proptest::prelude::*;

    /// By statsmodels 0.15.0: `r = statsmodels.stats.inter_rater.cohens_kappa(table)`, then `r.kappa`, `r.std_kappa`, `r.kappa_low`, `r.kappa_upp`.
    #[test]
    fn kappa_is_as_statsmodels_has_it() {
        for (table, value, error, lower, upper) in [
            (
                [[40, 3, 7], [9, 25, 4], [2, 5, 5]],
                0.5003331112591605,
                0.07163831296497236,
                0.3599245979346058,
                0.6407416245837152,
            ),
            (
                [[12, 0, 1], [0, 30, 0], [2, 3, 0]],
                0.7444543034605147,
                0.08583280850466073,
                0.5762250900994563,
                0.912683516821573,
            ),
            (
                [[1, 9, 0], [8, 2, 0], [0, 0, 0]],
                -0.7,
                0.15888675212238476,
                -1.011412311780417,
                -0.3885876882195828,
            ),
            (
                [[300, 40, 22], [35, 410, 18], [30, 25, 120]],
                0.7257821258337432,
                0.018910877860799282,
                0.6887174863105407,
                0.7628467653569457,
            ),
            ([[7, 0, 0], [0, 5, 0], [0, 0, 2]], 1.0, 0.0, 1.0, 1.0),
        ] {
            let seen = kappa(&table).unwrap();
            near(seen.value, value, 1e-12);
            near(seen.standard_error, error, 1e-7);
            let Bounds { lower: low, upper: high } = seen.interval(Confidence::P95);
            near(low, lower, 1e-7);
            near(high, upper, 1e-7);
        }
        let two = kappa(&[[20, 5], [10, 15]]).unwrap();
        near(two.value, 0.3999999999999999, 1e-12);
        near(two.standard_error, 0.12699606293110033, 1e-12);
    }

    /// J. L. Fleiss, "Statistical methods for rates and proportions" (2nd edition, 1981), chapter 13: two diagnoses of 100 subjects.
    #[test]
    fn kappa_matches_the_published_example() {
        let seen = kappa(&[[75, 1, 4], [5, 4, 1], [0, 0, 10]]).unwrap();
        near(seen.value, 0.68, 0.005);
        near(seen.standard_error, 0.087, 0.001);
    }

    #[test]
    fn where_chance_alone_agrees_there_is_no_kappa() {
        assert_eq!(kappa(&[[0; 3]; 3]), None);
        assert_eq!(kappa(&[[9, 0, 0], [0; 3], [0; 3]]), None);
    }

    proptest! {
        #[test]
        fn kappa_does_not_mind_who_is_first_and_never_passes_one(counts in prop::array::uniform9(0u32..200)) {
            let table: [[u32; 3]; 3] = std::array::from_fn(|row| std::array::from_fn(|column| counts[3 * row + column]));
            let turned: [[u32; 3]; 3] = std::array::from_fn(|row| std::array::from_fn(|column| table[column][row]));
            match (kappa(&table), kappa(&turned)) {
                (Some(one), Some(other)) => {
                    prop_assert!((one.value - other.value).abs() < 1e-9 && (one.standard_error - other.standard_error).abs() < 1e-6);
                    prop_assert!((-1.0 - 1e-9..=1.0 + 1e-9).contains(&one.value) && one.standard_error.is_finite());
                }
                (one, other) => prop_assert_eq!(one, other),
            }
        }
    }
}
