//! The numbers of tasks and of their group, by the harness' own rules.

use super::{Metric, Task};

/// A task's numbers, or the group's.
pub(super) struct Row {
    pub(super) samples: usize,
    /// The metric's name, its filter, the mean, and the standard error where there is one.
    pub(super) measured: Vec<Measured>,
}

pub(super) struct Measured {
    pub(super) metric: String,
    pub(super) filter: String,
    pub(super) samples: usize,
    pub(super) mean: f64,
    pub(super) error: Option<f64>,
}

/// The means of a task, and their standard errors: the samples' standard deviation over the root of their number; of one sample there is none.
pub(super) fn row(task: &Task) -> Row {
    let samples = task.samples.len();
    let measured = |(place, metric): (usize, &Metric)| {
        let values: Vec<f64> = task.samples.iter().filter_map(|sample| sample.values.get(place).copied()).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Measured {
            metric: metric.name.clone(),
            filter: task.filter.name.clone(),
            samples,
            mean,
            error: (samples > 1).then(|| (squares / (n - 1.0)).sqrt() / n.sqrt()),
        }
    };
    Row {
        samples,
        measured: task.metrics.iter().enumerate().map(measured).collect(),
    }
}

/// The means of all samples of tasks that have the metric, and their pooled standard errors: as if each task's spread were of one kind.
pub(super) fn pooled(rows: &[Row]) -> Row {
    let mut measured: Vec<Measured> = Vec::new();
    for one in rows.iter().flat_map(|row| &row.measured) {
        let is_same = |other: &Measured| other.metric == one.metric && other.filter == one.filter;
        if measured.iter().any(is_same) {
            continue;
        }
        let all: Vec<&Measured> = rows.iter().flat_map(|row| &row.measured).filter(|other| is_same(other)).collect();
        let samples: usize = all.iter().map(|task| task.samples).sum();
        let n = samples as f64;
        let sum: f64 = all.iter().map(|task| task.mean * task.samples as f64).sum();
        let squares: Option<f64> = all
            .iter()
            .map(|task| {
                let size = task.samples as f64;
                Some((size - 1.0) * task.error?.powi(2) * size)
            })
            .sum();
        measured.push(Measured {
            metric: one.metric.clone(),
            filter: one.filter.clone(),
            samples,
            mean: sum / n,
            error: squares.map(|squares| (squares / (n - all.len() as f64) / n).sqrt()),
        });
    }
    Row {
        samples: rows.iter().map(|row| row.samples).sum(),
        measured,
    }
}
