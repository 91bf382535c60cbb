//! How far a run is, for a person at a terminal or in a log.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::run::Standing;
use crate::api::eval_job::{MetricResult, SuiteResult};
use crate::plan::evaluation::report::Report;

/// Between two lines of a log.
const BETWEEN_LINES: Duration = Duration::from_secs(5);
/// Between two drawings of a bar.
const BETWEEN_DRAWINGS: Duration = Duration::from_millis(100);
const WIDTH: usize = 30;

/// Tells on stderr.
pub struct Display {
    is_terminal: bool,
    told: Option<(Instant, Standing)>,
}

impl Default for Display {
    fn default() -> Self {
        Self {
            is_terminal: std::io::stderr().is_terminal(),
            told: None,
        }
    }
}

impl Display {
    /// Tells how far the run is, unless it just has.
    pub fn tell(&mut self, standing: Standing) {
        let between = if self.is_terminal { BETWEEN_DRAWINGS } else { BETWEEN_LINES };
        let is_end = standing.ended == standing.total;
        let is_soon = |(at, what): (Instant, Standing)| what == standing || (at.elapsed() < between && !is_end);
        if self.told.is_some_and(is_soon) {
            return;
        }
        self.told = Some((Instant::now(), standing));
        write(&if self.is_terminal {
            format!("\r{}", bar(standing))
        } else {
            format!("{}\n", line(standing))
        });
    }

    /// Leaves the line of the bar.
    pub fn end(self) {
        if self.is_terminal && self.told.is_some() {
            write("\n");
        }
    }
}

fn write(text: &str) {
    // A closed stderr is no reason to end a run.
    std::io::stderr().write_all(text.as_bytes()).ok();
}

fn line(standing: Standing) -> String {
    let Standing {
        ended,
        total,
        errors,
        tokens,
    } = standing;
    format!("evaluating: {ended} of {total} questions, {errors} errors, {tokens} tokens")
}

fn bar(standing: Standing) -> String {
    let full = (standing.ended * WIDTH).checked_div(standing.total).unwrap_or(WIDTH).min(WIDTH);
    format!("[{}{}] {}", "#".repeat(full), "-".repeat(WIDTH - full), line(standing))
}

/// The result as a person reads it.
#[must_use]
pub fn summary(report: &Report) -> String {
    if let Some(why) = &report.invalid {
        return format!("the run cannot be judged: {why}\n");
    }
    let mut text = String::new();
    for target in &report.targets {
        text += &format!("{}: {} ({})\n", target.model, target.verdict, target.message);
        for suite in &target.suites {
            let SuiteResult {
                name,
                questions,
                correct,
                refused,
                truncated,
                unparsed,
                unjudged,
                errors,
                metrics,
                protocol,
                digest: _,
            } = suite;
            let measured: Vec<String> = metrics.iter().map(number).collect();
            text += &format!(
                "  {name}, {protocol}: {}; of {questions} answers {correct} right, {refused} refused, {truncated} truncated, {unparsed} unparsed, {unjudged} unjudged, {errors} errors\n",
                measured.join(", ")
            );
        }
    }
    text += &format!("{} tokens\n", report.tokens());
    if let Some(limit) = report.stopped {
        text += &format!("stopped at {}\n", limit.field());
    }
    text
}

fn number(metric: &MetricResult) -> String {
    let MetricResult {
        name, value, lower, upper, ..
    } = metric;
    match (lower, upper) {
        (Some(lower), Some(upper)) => format!("{name} {value} ({lower} to {upper})"),
        _ => format!("{name} {value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_as_questions_end() {
        let standing = |ended, total| Standing {
            ended,
            total,
            errors: 1,
            tokens: 42,
        };
        let half = bar(standing(5, 10));
        assert_eq!(
            half,
            "[###############---------------] evaluating: 5 of 10 questions, 1 errors, 42 tokens"
        );
        assert!(bar(standing(0, 0)).starts_with("[##############################]"));
    }
}
