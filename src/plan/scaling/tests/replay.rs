//! Traces through our rule and through those of two others, side by side.

use super::super::simulate::Replicas;
use super::*;

/// From a decision to a replica that answers.
const STARTS: f64 = 60.0;

/// How much is in flight at each second.
type Trace = fn(f64) -> f64;

/// What came of a trace.
#[derive(Debug, Default)]
struct Outcome {
    replica_hours: f64,
    /// Which part of all requests met more than their replicas are to bear.
    over: f64,
    changes: usize,
}

/// A rule: what it knows of the past, and how many it wants.
trait Rule {
    fn wants(&mut self, seconds: f64, in_flight: f64, replicas: u32) -> u32;
}

struct Ours(World);

impl Rule for Ours {
    fn wants(&mut self, _: f64, in_flight: f64, _: u32) -> u32 {
        self.0.tick(Some(in_flight)).replicas
    }
}

/// KubeAI's: the mean of ten minutes of samples, one every ten seconds, which begins with zeros; down only when it has said so for a while
/// (`internal/modelautoscaler`, defaults of its chart).
struct KubeAi {
    samples: Vec<f64>,
    below_since: Option<f64>,
}

impl KubeAi {
    fn new() -> Self {
        Self {
            samples: vec![0.0; 60],
            below_since: None,
        }
    }
}

impl Rule for KubeAi {
    fn wants(&mut self, seconds: f64, in_flight: f64, replicas: u32) -> u32 {
        if seconds % 10.0 != 0.0 {
            return replicas;
        }
        self.samples.remove(0);
        self.samples.push(in_flight);
        let mean = self.samples.iter().sum::<f64>() / 60.0;
        let wanted = whole(mean / 16.0).max(1);
        if wanted >= replicas {
            self.below_since = None;
            return wanted;
        }
        let since = *self.below_since.get_or_insert(seconds);
        if seconds - since >= 30.0 { wanted } else { replicas }
    }
}

/// Knative's: means of a minute and of six seconds, the shorter one for a minute after it was twice what there is; a tenth more than a thousand times
/// up and by half down at most.
struct Knative {
    samples: Vec<f64>,
    panics_until: f64,
    most: u32,
}

impl Rule for Knative {
    fn wants(&mut self, seconds: f64, in_flight: f64, replicas: u32) -> u32 {
        self.samples.push(in_flight);
        let mean = |ticks: usize| {
            let recent = &self.samples[self.samples.len().saturating_sub(ticks)..];
            recent.iter().sum::<f64>() / recent.len() as f64
        };
        // It aims at 70 of 100 of what a replica bears.
        let (stable, panic) = (whole(mean(30) / (16.0 * 0.7)).max(1), whole(mean(3) / (16.0 * 0.7)).max(1));
        if f64::from(panic) >= 2.0 * f64::from(replicas.max(1)) {
            self.panics_until = seconds + 60.0;
        }
        if seconds < self.panics_until {
            self.most = self.most.max(panic).max(replicas);
            return self.most;
        }
        self.most = 0;
        stable.max(replicas / 2)
    }
}

fn replay(mut rule: impl Rule, hours: f64, demand: impl Fn(f64) -> f64) -> Outcome {
    let mut replicas = Replicas::new(1);
    let (mut outcome, mut all, mut over) = (Outcome::default(), 0.0, 0.0);
    let mut seconds = 0.0;
    while seconds < hours * 3_600.0 {
        seconds += 2.0;
        let in_flight = demand(seconds);
        all += in_flight;
        over += (in_flight - 16.0 * f64::from(replicas.ready(seconds))).max(0.0);
        let next = rule.wants(seconds, in_flight, replicas.wanted).min(20);
        if next != replicas.wanted {
            outcome.changes += 1;
            replicas.become_so_many(next, seconds + STARTS);
        }
        outcome.replica_hours += f64::from(replicas.wanted) * 2.0 / 3_600.0;
    }
    outcome.over = over / all;
    outcome
}

fn bursty(seconds: f64) -> f64 {
    // Two minutes of much in every twenty.
    if seconds % 1_200.0 < 120.0 { 150.0 } else { 6.0 }
}

fn diurnal(seconds: f64) -> f64 {
    // A day in half the time.
    let hour = seconds / 1_800.0 % 24.0;
    (80.0 * (1.0 - ((hour - 14.0) / 24.0 * std::f64::consts::TAU).cos().mul_add(-1.0, 1.0) / 2.0)).floor() + 2.0
}

fn adversarial(seconds: f64) -> f64 {
    // Up as soon as a short window has forgotten, over and over.
    if seconds % 420.0 < 90.0 { 100.0 } else { 20.0 }
}

#[test]
fn traces_cost_less_or_wait_less_than_with_the_rules_of_others() {
    // The most hours of replicas that may come of each.
    let traces: [(&str, f64, Trace, f64); 3] = [
        ("bursty", 4.0, bursty, 20.0),
        ("diurnal", 12.0, diurnal, 42.0),
        ("adversarial", 4.0, adversarial, 30.0),
    ];
    let always = Bounds {
        to_zero_after: None,
        ..bounds(1, 20)
    };
    let mut table = String::from("trace        rule     replica-hours  over target  changes\n");
    for (name, hours, trace, most) in traces {
        let ours = replay(Ours(World::new(always, 1)), hours, trace);
        let kubeai = replay(KubeAi::new(), hours, trace);
        let knative = Knative {
            samples: Vec::new(),
            panics_until: 0.0,
            most: 0,
        };
        let knative = replay(knative, hours, trace);
        for (rule, outcome) in [("ours", &ours), ("KubeAI", &kubeai), ("Knative", &knative)] {
            let Outcome {
                replica_hours,
                over,
                changes,
            } = outcome;
            table += &format!("{name:12} {rule:8} {replica_hours:13.1} {:10.1} % {changes:8}\n", over * 100.0);
        }
        assert!(ours.replica_hours <= most, "{table}");
        assert!(ours.over <= kubeai.over, "{table}");
        assert!(ours.over <= knative.over + 0.05, "{table}");
        assert!(ours.changes <= knative.changes, "{table}");
    }
    println!("{table}");
}
