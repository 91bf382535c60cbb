//! What evaluators of users' may still ask: the limits of the run, held before each request as they are for its own questions, and noted down so that
//! whoever goes on, and the run itself, knows what was spent.

use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::jiff::Timestamp;
use tokio::sync::Notify;

use super::{count, digest, notes, stopped};
use crate::api::eval_job::Suite;
use crate::evaluator::files::Places;
use crate::evaluator::progress::{Asked, End, Entry, Noted, Progress, Reserved, Stopped};
use crate::evaluator::tally::{Room, Tally, most_of};
use crate::plan::evaluation::report::{Limit, Report};
use crate::plan::evaluation::run::{Evaluation, Target};
use crate::protocol::usage::Tokens;

/// The books of one run.
pub(super) struct Books {
    run: Evaluation,
    clock: fn() -> Timestamp,
    /// In seconds since 1970.
    deadline: i64,
    now: Mutex<Now>,
    /// Told of each request that ends, and of a limit that is reached.
    changed: Notify,
}

struct Now {
    progress: Progress,
    tally: Tally,
    /// What the next request is called.
    next: usize,
    under_way: usize,
    stopped: Option<Limit>,
    /// Whether the limit was reached by this process, and not by one before it.
    is_news: bool,
}

/// Why a request is not sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A limit of the run is reached.
    Limit(Limit),
    /// It could not be noted down.
    Unnoted(String),
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    /// Whether an answer was passed on.
    pub(super) is_answered: bool,
    /// What it used, when known.
    pub(super) tokens: Option<Tokens>,
    /// Whether an answer may have been given, and paid for, that nobody can tell the cost of.
    pub(super) is_lost: bool,
}

impl Books {
    /// Opens the books of `run`, with all that earlier processes and pods of it have spent.
    ///
    /// # Errors
    /// When they cannot be read or written.
    pub(super) fn open(run: Evaluation, places: &Places) -> anyhow::Result<Self> {
        let now = (places.clock)().as_second();
        let (lines, noted) = Progress::open(&notes(&places.progress), &digest(&run), now)?;
        let progress = Progress::Here(lines);
        let own = Progress::read_any(&places.progress)?;
        let asked: Vec<&Target> = run.asked().collect();
        let mut tally = Tally::default();
        count(&noted, &asked, &mut tally);
        count_own(&run, &own, &asked, &mut tally);
        let begun = if own.begun > 0 { noted.begun.min(own.begun) } else { noted.begun };
        let known = noted
            .ended
            .iter()
            .map(|entry| entry.asked)
            .chain(noted.lost.iter().map(|lost| lost.asked));
        let next = known.map(|asked| asked.question + 1).max().unwrap_or(0);
        let deadline = begun.saturating_add(i64::try_from(run.limits.seconds).unwrap_or(i64::MAX));
        Ok(Self {
            run,
            clock: places.clock,
            deadline,
            now: Mutex::new(Now {
                progress,
                tally,
                next,
                under_way: 0,
                stopped: noted.stopped,
                is_news: false,
            }),
            changed: Notify::new(),
        })
    }

    pub(super) fn run(&self) -> &Evaluation {
        &self.run
    }

    /// Whether the cost or the tokens are capped, so that what answers use must be known.
    pub(super) fn is_limited(&self) -> bool {
        self.run.limits.tokens.is_some() || self.run.limits.cost.is_some()
    }

    /// Keeps room for a request to the model at that place, of so many bytes and of so many tokens of answers at most, once there is some.
    ///
    /// # Errors
    /// Why it is not to be sent.
    pub(super) async fn reserve(&self, target: usize, bytes: u64, answers: u64) -> Result<Reserved, Refusal> {
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on, so that no request ends unseen between the look and the wait.
            changed.as_mut().enable();
            if let Some(decided) = self.try_reserve(target, bytes, answers) {
                return decided;
            }
            changed.await;
        }
    }

    /// None where a request under way may use less than it might.
    fn try_reserve(&self, target: usize, bytes: u64, answers: u64) -> Option<Result<Reserved, Refusal>> {
        let mut now = self.now();
        if let Some(limit) = now.stopped {
            return Some(Err(Refusal::Limit(limit)));
        }
        let model = self.run.asked().nth(target)?;
        let asked = Asked {
            target,
            suite: self.run.suites.len(),
            question: now.next,
            repeat: 0,
        };
        let most = most_of(asked, model, bytes, answers);
        let room = if (self.clock)().as_second() >= self.deadline {
            Room::No(Limit::Duration)
        } else {
            now.tally.room(&self.run.limits, &most, now.under_way > 0)
        };
        match room {
            Room::Wait => None,
            Room::No(limit) => {
                now.stopped = Some(limit);
                now.is_news = true;
                if let Err(error) = now.progress.note(&Stopped { stopped: limit }) {
                    tracing::warn!("that {} is reached cannot be noted: {error:#}", limit.field());
                }
                self.changed.notify_waiters();
                Some(Err(Refusal::Limit(limit)))
            }
            Room::Yes => Some(match now.progress.note(&most) {
                Ok(()) => {
                    now.tally.reserve(&most);
                    now.next += 1;
                    now.under_way += 1;
                    Ok(most)
                }
                Err(error) => Err(Refusal::Unnoted(format!("{error:#}"))),
            }),
        }
    }

    /// Notes down how a request ended, and gives back the room that it did not use.
    pub(super) fn end(&self, reserved: &Reserved, outcome: Outcome) {
        let mut now = self.now();
        now.under_way = now.under_way.saturating_sub(1);
        now.tally.release(reserved);
        let entry = Entry {
            asked: reserved.asked,
            end: if outcome.is_answered { End::Right } else { End::Error },
            score: 0.0,
            tokens: outcome.tokens.filter(|_| outcome.is_answered),
            lost: u32::from(outcome.is_lost),
            text: None,
            judge: None,
            reason: None,
            timed: None,
        };
        if outcome.is_lost {
            now.tally.lose(reserved);
        }
        if let Some(target) = self.run.asked().nth(reserved.asked.target) {
            now.tally.relay(target, &entry);
        }
        // What is not noted counts at its most, to whoever reads the file.
        if let Err(error) = now.progress.note(&entry) {
            tracing::warn!("what a request used cannot be noted: {error:#}");
        }
        drop(now);
        self.changed.notify_waiters();
    }

    /// The report of the run once a limit is reached, by this process, and nothing is under way any more.
    pub(super) async fn stopped(&self) -> Report {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(report) = self.report() {
                return report;
            }
            changed.await;
        }
    }

    fn report(&self) -> Option<Report> {
        let now = self.now();
        let limit = now.stopped.filter(|_| now.is_news && now.under_way == 0)?;
        Some(stopped(&self.run, &now.tally, limit))
    }

    /// Tokens and cost so far, as a report has them.
    #[cfg(test)]
    pub(super) fn spent(&self) -> Report {
        super::invalid(&self.run, &self.now().tally, String::new())
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts what the run itself has used, in a pod before this one.
fn count_own(run: &Evaluation, noted: &Noted, asked: &[&Target], tally: &mut Tally) {
    let of_questions: Vec<&Suite> = run.suites.iter().filter(|suite| suite.latency.is_none()).collect();
    for entry in &noted.ended {
        let suite = of_questions.get(entry.asked.suite);
        let (Some(target), false) = (asked.get(entry.asked.target), suite.is_some_and(|suite| suite.external.is_some())) else {
            continue;
        };
        let judge = suite.and_then(|suite| suite.judge());
        let judge = judge.and_then(|judge| run.judges.iter().position(|known| known.model == judge.model));
        tally.add(target, judge.map(|place| (asked.len() + place, &run.judges[place])), entry);
    }
    noted.lost.iter().for_each(|lost| tally.lose(lost));
}
