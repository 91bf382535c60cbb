//! What was measured, as a table for people and a list for programs. A ratio is the median of the ratios of rounds: rounds of one run
//! share their disturbances, two runs do not.

use std::fmt::Write as _;

use serde::Serialize;

use super::load::Measured;
use super::memory::Memory;

/// One way to use a subject.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Workload {
    pub(super) name: &'static str,
    pub(super) connections: usize,
    /// The most CPU per request, as a multiple of nginx's.
    pub(super) limit: f64,
}

/// One subject in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    cpu_us: f64,
    p50_us: f64,
    p99_us: f64,
    first_p99_us: f64,
    rps: f64,
    rss_bytes: Option<u64>,
}

impl Round {
    pub(super) fn new(mut measured: Measured, rss_bytes: Option<u64>) -> Self {
        let requests = measured.whole.len().max(1) as f64;
        Self {
            cpu_us: measured.cpu.as_secs_f64() * 1e6 / requests,
            p50_us: quantile(&mut measured.whole, 0.5),
            p99_us: quantile(&mut measured.whole, 0.99),
            first_p99_us: quantile(&mut measured.first, 0.99),
            rps: requests / measured.elapsed.as_secs_f64(),
            rss_bytes,
        }
    }
}

/// All rounds of one subject under one workload.
pub(super) struct Series {
    pub(super) subject: String,
    pub(super) workload: Workload,
    pub(super) rounds: Vec<Round>,
}

/// A line of the list.
#[derive(Serialize)]
struct Entry<'a> {
    subject: &'a str,
    workload: &'a str,
    connections: usize,
    /// Absent where there is no process to measure.
    cpu_us: Option<f64>,
    p50_us: f64,
    p99_us: f64,
    rps: f64,
    rss_bytes: Option<u64>,
}

impl Series {
    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(of).collect())
    }

    /// The median of this one's figure divided by the other's in the same round.
    fn against(&self, other: &Self, of: impl Fn(&Round) -> f64) -> f64 {
        median(
            self.rounds
                .iter()
                .zip(&other.rounds)
                .map(|(own, other)| of(own) / of(other))
                .collect(),
        )
    }

    fn entry(&self) -> Entry<'_> {
        Entry {
            subject: &self.subject,
            workload: self.workload.name,
            connections: self.workload.connections,
            cpu_us: self.rounds.iter().any(|r| r.cpu_us > 0.0).then(|| self.median(|r| r.cpu_us)),
            p50_us: self.median(|r| r.p50_us),
            p99_us: self.median(|r| r.p99_us),
            rps: self.median(|r| r.rps),
            rss_bytes: self.rounds.iter().filter_map(|r| r.rss_bytes).max(),
        }
    }
}

/// The list.
pub(super) fn json(all: &[Series]) -> serde_json::Result<String> {
    let entries: Vec<_> = all.iter().map(Series::entry).collect();
    serde_json::to_string_pretty(&entries)
}

/// The tables.
pub(super) fn table(all: &[Series], memory: &[Memory]) -> String {
    let mut text = String::from(
        "workload      conn  subject                 CPU µs  ×nginx  limit    p50 µs    p99 µs  p99 ×nginx  first p99 +direct     req/s\n",
    );
    for series in all {
        let find = |name: &str| all.iter().find(|s| s.subject == name && s.workload == series.workload);
        let entry = series.entry();
        let ratio = |of: fn(&Round) -> f64| find("nginx").map_or(f64::NAN, |nginx| series.against(nginx, of));
        let added = find("direct").map_or(f64::NAN, |direct| {
            let pairs = series.rounds.iter().zip(&direct.rounds);
            median(pairs.map(|(own, direct)| own.first_p99_us - direct.first_p99_us).collect())
        });
        let cpu = entry.cpu_us.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.1}"));
        let (cpu_ratio, limit) = match entry.cpu_us {
            Some(_) if series.subject != "nginx" => (format!("{:.2}", ratio(|r| r.cpu_us)), format!("{:.1}", series.workload.limit)),
            _ => ("-".to_owned(), "-".to_owned()),
        };
        // Writing into a string cannot fail.
        writeln!(
            text,
            "{:13} {:4}  {:22} {cpu:>7} {cpu_ratio:>7} {limit:>6} {:9.0} {:9.0} {:11.2} {added:18.0} {:9.0}",
            entry.workload,
            entry.connections,
            entry.subject,
            entry.p50_us,
            entry.p99_us,
            ratio(|r| r.p99_us),
            entry.rps,
        )
        .ok();
    }
    text.push_str("\nresident MiB            idle  1,000 streams  1 MB bodies     again  some seconds later\n");
    for line in memory {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(
            text,
            "{:22} {:5.1} {:14.1} {:12.1} {:9.1} {:19.1}",
            line.subject,
            mib(line.idle),
            mib(line.streams),
            mib(line.large[0]),
            mib(line.large[1]),
            mib(line.after)
        )
        .ok();
    }
    text
}

fn quantile(nanoseconds: &mut [u64], at: f64) -> f64 {
    nanoseconds.sort_unstable();
    let last = nanoseconds.len().saturating_sub(1);
    let index = (last as f64 * at).round() as usize;
    nanoseconds.get(index).map_or(f64::NAN, |ns| *ns as f64 / 1e3)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn series(subject: &str, cpus: &[u64]) -> Series {
        let round = |cpu: &u64| {
            let measured = Measured {
                whole: (1..=100).map(|n| n * 1000).collect(),
                first: vec![1000],
                elapsed: Duration::from_secs(1),
                cpu: Duration::from_micros(*cpu * 100),
            };
            Round::new(measured, Some(1 << 20))
        };
        let workload = Workload {
            name: "chat",
            connections: 1,
            limit: 1.3,
        };
        Series {
            subject: subject.to_owned(),
            workload,
            rounds: cpus.iter().map(round).collect(),
        }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_ratios() {
        let (nginx, ours) = (series("nginx", &[10, 20, 100]), series("gateway", &[20, 22, 110]));
        assert!((ours.against(&nginx, |r| r.cpu_us) - 1.1).abs() < 1e-9);
        assert!((ours.median(|r| r.p99_us) - 99.0).abs() < 1e-9);
        let all = [nginx, ours];
        let list: serde_json::Value = serde_json::from_str(&json(&all).unwrap()).unwrap();
        assert_eq!(list[1]["subject"], "gateway");
        assert_eq!(list[1]["cpu_us"], 22.0);
        assert!(table(&all, &[]).contains("1.10"));
    }
}
