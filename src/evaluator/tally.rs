//! Counting what has ended, and deciding whether the limits leave room for one more question.

use super::dataset::Dataset;
use super::progress::{End, Entry};
use super::run::Standing;
use crate::plan::evaluation::report::{Counts, Limit, Report, Suite, Target};
use crate::plan::evaluation::run::{self, Evaluation};
use crate::plan::price::Exact;
use crate::protocol::usage::Tokens;

/// After so many failures in a row a model is given up: the rest would fail likewise, each after its own wait.
const GIVE_UP: u32 = 3;

/// The counts of a run.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    targets: Vec<Counted>,
    /// The most that one question used so far.
    largest: Use,
    error: Option<String>,
    ended: usize,
}

#[derive(Clone, Debug, Default)]
struct Counted {
    counts: Vec<Counts>,
    tokens: [u64; 2],
    /// What they cost, as far as it is known: by question, as the price may depend on how long a prompt is.
    cost: Exact,
    /// Failures in a row, up to now.
    failures: u32,
    /// Whether an answer did not say what it used, or its cost is not known.
    unknown: bool,
}

/// What was used.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    tokens: u64,
    cost: Exact,
}

/// Whether one more question may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Yes.
    Yes,
    /// Not before a question under way has ended.
    Wait,
    /// No: this limit is reached.
    No(Limit),
}

impl Tally {
    pub(super) fn new(run: &Evaluation) -> Self {
        let counted = Counted {
            counts: vec![Counts::default(); run.suites.len()],
            ..Counted::default()
        };
        Self {
            targets: vec![counted; run.targets.len()],
            largest: Use::default(),
            error: None,
            ended: 0,
        }
    }

    /// Counts one end.
    pub(super) fn add(&mut self, run: &Evaluation, entry: &Entry) {
        let (Some(target), Some(asked)) = (self.targets.get_mut(entry.target), run.targets.get(entry.target)) else {
            return;
        };
        let Some(counts) = target.counts.get_mut(entry.suite) else { return };
        counts.questions += 1;
        match entry.end {
            End::Right => counts.correct += 1,
            End::Wrong => {}
            End::Unparsed => counts.unparsed += 1,
            End::Error => counts.errors += 1,
        }
        target.failures = if entry.end == End::Error { target.failures + 1 } else { 0 };
        match entry.tokens {
            Some(tokens) => {
                let (prompt, answer) = (tokens.prompt(), tokens.answer());
                target.tokens[0] = target.tokens[0].saturating_add(prompt);
                target.tokens[1] = target.tokens[1].saturating_add(answer);
                self.largest.tokens = self.largest.tokens.max(prompt.saturating_add(answer));
                let (cost, is_known) = cost(asked, &tokens);
                target.cost = target.cost.plus(cost);
                target.unknown |= !is_known;
                self.largest.cost = self.largest.cost.max(cost);
            }
            None => target.unknown |= entry.end != End::Error,
        }
        self.ended += 1;
    }

    /// Remembers the first failure's words.
    pub(super) fn failed(&mut self, model: &str, why: &str) {
        self.error.get_or_insert_with(|| format!("{model}: {why}"));
    }

    /// How far the run of so many questions is.
    pub(super) fn standing(&self, total: usize) -> Standing {
        Standing {
            ended: self.ended,
            total,
            errors: self.errors(),
            tokens: self.tokens(),
        }
    }

    fn errors(&self) -> u32 {
        self.targets
            .iter()
            .flat_map(|target| &target.counts)
            .map(|counts| counts.errors)
            .sum()
    }

    fn tokens(&self) -> u64 {
        self.targets.iter().flat_map(|target| target.tokens).sum()
    }

    /// Whether the model failed too often in a row to be asked again.
    pub(super) fn is_given_up(&self, target: usize) -> bool {
        self.targets.get(target).is_some_and(|target| target.failures >= GIVE_UP)
    }

    /// Whether the limits leave room for one more question beside those under way, each taken to use as much as the largest so far. Until
    /// one has ended nothing is known, so then they are asked one by one. A run can pass a limit only by what one question uses more than
    /// all before it.
    pub(super) fn room(&self, run: &Evaluation, under_way: usize) -> Room {
        let limits = run.limits;
        let is_known = self.largest.tokens > 0;
        if limits.tokens.is_none() && limits.cost.is_none() {
            return Room::Yes;
        }
        if !is_known && under_way > 0 {
            return Room::Wait;
        }
        let more = u64::try_from(under_way + 1).unwrap_or(u64::MAX);
        let tokens = self.tokens().saturating_add(self.largest.tokens.saturating_mul(more));
        let cost = self.cost().plus(self.largest.cost.times(more));
        let full = if limits.cost.is_some_and(|limit| cost > Exact::of_nanos(limit)) {
            Limit::Cost
        } else if limits.tokens.is_some_and(|limit| tokens > limit) {
            Limit::Tokens
        } else {
            return Room::Yes;
        };
        if under_way > 0 { Room::Wait } else { Room::No(full) }
    }

    fn cost(&self) -> Exact {
        self.targets.iter().fold(Exact::default(), |sum, target| sum.plus(target.cost))
    }

    /// The report of what was counted.
    pub(super) fn report(&self, run: &Evaluation, datasets: &[Dataset], stopped: Option<Limit>) -> Report {
        let is_priced = run.targets.iter().all(|target| target.price.is_some()) && !self.targets.iter().any(|target| target.unknown);
        let target = |(target, counted): (&run::Target, &Counted)| Target {
            model: target.model.clone(),
            tokens: counted.tokens,
            counts: counted.counts.clone(),
        };
        Report {
            invalid: None,
            stopped,
            error: self
                .error
                .clone()
                .or_else(|| (self.errors() > 0).then(|| "the pod's log has the reasons".to_owned())),
            suites: run
                .suites
                .iter()
                .zip(datasets)
                .map(|(suite, dataset)| Suite {
                    name: suite.name.clone(),
                    size: u32::try_from(dataset.exemplars.len()).unwrap_or(u32::MAX),
                    digest: dataset.digest.clone(),
                })
                .collect(),
            targets: run.targets.iter().zip(&self.targets).map(target).collect(),
            // Rounded up: a cost is never understated.
            cost: is_priced.then(|| self.cost().nanos_up()),
        }
    }
}

/// What one question cost, and whether that is known. Where it is not, all of it counts as plain text, for the sake of the limits.
fn cost(target: &run::Target, tokens: &Tokens) -> (Exact, bool) {
    let Some(price) = &target.price else {
        return (Exact::default(), false);
    };
    let text = Tokens {
        input: tokens.prompt(),
        output: tokens.answer(),
        ..Tokens::default()
    };
    match price.exact(tokens) {
        Ok(cost) => (cost, true),
        Err(_) => (price.exact(&text).unwrap_or_default(), false),
    }
}
