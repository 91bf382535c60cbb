//! How far a fetch is, for a person at a terminal or in a log, or for a program.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::meter::{Phase, Standing};

const BETWEEN_LINES: Duration = Duration::from_secs(5);
const BETWEEN_DRAWINGS: Duration = Duration::from_millis(100);
const BETWEEN_OBJECTS: Duration = Duration::from_secs(1);
/// The rate is that of so long: steady enough to read, soon enough to notice a stall.
const RATE_OF: Duration = Duration::from_secs(10);
const WIDTH: usize = 30;

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One line on stderr that is drawn anew.
    Bar,
    /// Lines on stderr.
    Lines,
    /// JSON objects on stdout, one a line: a [`Standing`] each, with `bytesPerSecond`.
    Json,
    /// Not at all.
    Nothing,
}

impl Style {
    /// A bar on a terminal, else lines.
    #[must_use]
    pub fn of_stderr() -> Self {
        if std::io::stderr().is_terminal() { Self::Bar } else { Self::Lines }
    }
}

/// Tells it, no more often than is good.
pub struct Display {
    style: Style,
    told: Option<(Instant, Phase)>,
    rate: Rate,
}

impl Display {
    /// Has told nothing yet.
    #[must_use]
    pub fn new(style: Style) -> Self {
        Self {
            style,
            told: None,
            rate: Rate::default(),
        }
    }

    /// Tells how far it is, unless it just has.
    pub fn tell(&mut self, standing: &Standing, now: Instant) {
        self.rate.note(now, standing.bytes_fetched);
        let between = match self.style {
            Style::Bar => BETWEEN_DRAWINGS,
            Style::Lines => BETWEEN_LINES,
            Style::Json => BETWEEN_OBJECTS,
            Style::Nothing => return,
        };
        if self
            .told
            .is_some_and(|(at, phase)| phase == standing.phase && now.duration_since(at) < between)
        {
            return;
        }
        self.told = Some((now, standing.phase));
        let rate = self.rate.bytes_per_second();
        // A closed stream is no reason to end a fetch.
        match self.style {
            // Blanks cover what is left of a longer line.
            Style::Bar => std::io::stderr()
                .write_all(format!("\r{:<100}", bar(standing, rate)).as_bytes())
                .ok(),
            Style::Lines => std::io::stderr().write_all(format!("{}\n", line(standing, rate)).as_bytes()).ok(),
            Style::Json => std::io::stdout().write_all(object(standing, rate).as_bytes()).ok(),
            Style::Nothing => None,
        };
    }

    /// Leaves the line of the bar.
    pub fn end(self) {
        if self.style == Style::Bar && self.told.is_some() {
            std::io::stderr().write_all(b"\n").ok();
        }
    }
}

/// Bytes over time.
#[derive(Default)]
struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    fn note(&mut self, now: Instant, bytes: u64) {
        self.0.push_back((now, bytes));
        while self.0.len() > 2 && self.0.front().is_some_and(|(at, _)| now.duration_since(*at) > RATE_OF) {
            self.0.pop_front();
        }
    }

    fn bytes_per_second(&self) -> Option<f64> {
        let ((first, from), (last, to)) = self.0.front().zip(self.0.back())?;
        let seconds = last.duration_since(*first).as_secs_f64();
        (seconds >= 0.5).then(|| to.saturating_sub(*from) as f64 / seconds)
    }
}

fn line(standing: &Standing, rate: Option<f64>) -> String {
    let doing = match standing.phase {
        Phase::Resolving => return format!("asking for {}", standing.source),
        Phase::Waiting => return "waiting: another fetch is at work in the folder".to_owned(),
        Phase::Failed if standing.files == 0 => return "ended before anything was known of it".to_owned(),
        Phase::Failed => return format!("ended with {} of {} there", size(standing.bytes_done), size(standing.bytes_total)),
        Phase::Complete => return format!("complete: {} files, {}", standing.files, size(standing.bytes_total)),
        Phase::Checking => "checking",
        Phase::Fetching => "fetching",
        Phase::Verifying => "verifying",
    };
    let mut line = format!("{doing} {} of {}", size(standing.bytes_done), size(standing.bytes_total));
    if let Some(rate) = rate.filter(|rate| *rate >= 1.0 && standing.phase == Phase::Fetching) {
        let left = standing.bytes_total.saturating_sub(standing.bytes_done) as f64 / rate;
        line += &format!(", {}/s, {} left", size(rate as u64), time(left));
    }
    line
}

fn bar(standing: &Standing, rate: Option<f64>) -> String {
    let share = standing.bytes_done as f64 / standing.bytes_total.max(1) as f64;
    let full = ((share * WIDTH as f64) as usize).min(WIDTH);
    format!("[{}{}] {}", "#".repeat(full), "-".repeat(WIDTH - full), line(standing, rate))
}

fn object(standing: &Standing, rate: Option<f64>) -> String {
    let mut object = serde_json::to_value(standing).unwrap_or_default();
    object["bytesPerSecond"] = rate.map(|rate| rate as u64).into();
    format!("{object}\n")
}

/// Bytes as a person reads them.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Seconds as a person reads them.
fn time(seconds: f64) -> String {
    let seconds = seconds.min(1e9) as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(phase: Phase, bytes_done: u64) -> Standing {
        Standing {
            phase,
            source: "hf://org/name@main".into(),
            revision: Some("abc".into()),
            bytes_total: 10 << 30,
            bytes_done,
            bytes_fetched: bytes_done,
            files: 3,
            files_done: 1,
            started_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_bar_fills_and_says_how_long_it_takes() {
        assert_eq!(
            bar(&standing(Phase::Fetching, 5 << 30), Some(100.0 * 1024.0 * 1024.0)),
            "[###############---------------] fetching 5.0 GiB of 10.0 GiB, 100.0 MiB/s, 51s left"
        );
        assert_eq!(line(&standing(Phase::Fetching, 0), None), "fetching 0 bytes of 10.0 GiB");
        assert_eq!(line(&standing(Phase::Complete, 10 << 30), Some(1.0)), "complete: 3 files, 10.0 GiB");
        assert_eq!(
            (time(59.9), time(61.0), time(7300.0)),
            ("59s".into(), "1m01s".into(), "2h01m".into())
        );
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut rate = Rate::default();
        let begin = Instant::now();
        rate.note(begin, 0);
        assert_eq!(rate.bytes_per_second(), None);
        rate.note(begin + Duration::from_secs(100), 1000);
        rate.note(begin + Duration::from_secs(101), 1000);
        rate.note(begin + Duration::from_secs(102), 3000);
        assert_eq!(rate.bytes_per_second(), Some(1000.0));
    }

    #[test]
    fn a_program_gets_the_names_of_the_status_file() {
        let object: serde_json::Value = serde_json::from_str(&object(&standing(Phase::Fetching, 1), Some(2.5))).unwrap();
        assert_eq!(object["phase"], "Fetching");
        assert_eq!(object["bytesDone"], 1);
        assert_eq!(object["bytesPerSecond"], 2);
        assert_eq!(object["startedAt"], "2026-01-01T00:00:00Z");
    }
}
