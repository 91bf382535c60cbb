//! Drives a load: offers each request when it is due, sends it beside those that are under way, and tells of every end.
//!
//! ```text
//! coming ──► due ──► under way ──► ended
//!             │          ▲ at most so many; beyond, it ends unsent
//!             └─ the caller sends it, or stops: what is under way then has until a deadline
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::prompt::Prompts;
use super::schedule::Schedule;
use super::stream::{Ended, Failure, Streams};
use crate::evaluator::prompt::Prompt;

/// Requests that may be under way at once. More than any model answers side by side: who is so far behind does not catch up. Each is a
/// connection, so it is also less than a process may usually have open.
pub const MOST_UNDER_WAY: usize = 2048;
/// What their prompts may take up together, in bytes: an eighth of what a run's pod has.
const MOST_BYTES: u64 = 64 << 20;

/// A load while it is carried out. Whoever has it asks for the [next](Load::next) step until there is none:
///
/// ```ignore
/// while let Some(step) = load.next().await {
///     match step {
///         Step::Due(request) if may_send(&request) => load.send(request),
///         Step::Due(_) => load.stop(GRACE),
///         Step::Ended(ended) => note(ended)?,
///     }
/// }
/// ```
///
/// Guaranteed: a request is offered no sooner than it is due, and not later because others are not answered; of each that was sent there is one end;
/// no more are under way than may be, and one beyond ends at once as [`Failure::NotSent`], never later than it was due.
///
/// Not guaranteed: that it is on time. Timers are good to a millisecond, and whoever asks for the next step may be slow to; how late each request was
/// is in its end.
///
/// Where it is dropped, what is under way is given up, which servers may bill.
pub struct Load {
    schedule: Schedule,
    prompts: Prompts,
    streams: Arc<Streams>,
    begun: Instant,
    /// How many were offered, or are about to be.
    offered: u32,
    coming: Option<Request>,
    under_way: JoinSet<Ended>,
    most: usize,
    ended: VecDeque<Ended>,
    /// Until when what is under way is waited for, once the load is stopped.
    until: Option<Instant>,
    given_up: CancellationToken,
}

/// A request that is due.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Its place, from 0.
    pub index: u32,
    /// What it asks.
    pub prompt: Prompt,
    due: Instant,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// This request is due: now is the time to send it, or to stop. One that is neither counts for nothing.
    Due(Request),
    /// This one has ended.
    Ended(Ended),
}

impl Load {
    /// Begins a load now: its first request is due at once.
    #[must_use]
    pub fn begin(schedule: Schedule, prompts: Prompts, streams: Streams) -> Self {
        let each = prompts.nth(0).most_input().max(1);
        let most = usize::try_from(MOST_BYTES / each).unwrap_or(usize::MAX).clamp(1, MOST_UNDER_WAY);
        Self {
            schedule,
            prompts,
            streams: Arc::new(streams),
            begun: Instant::now(),
            offered: 0,
            coming: None,
            under_way: JoinSet::new(),
            most,
            ended: VecDeque::new(),
            until: None,
            given_up: CancellationToken::new(),
        }
    }

    /// The same, with fewer under way.
    #[must_use]
    pub fn with_at_most(self, under_way: usize) -> Self {
        Self {
            most: self.most.min(under_way),
            ..self
        }
    }

    /// Waits for what comes next; none when all have ended. What is due goes before what has ended. Safe to cancel: nothing is lost by it.
    pub async fn next(&mut self) -> Option<Step> {
        loop {
            // Written before it is due.
            if self.coming.is_none() {
                self.coming = self.write();
            }
            let due = self.coming.as_ref().map(|request| request.due);
            if due.is_some_and(|due| due <= Instant::now()) {
                return self.coming.take().map(Step::Due);
            }
            if let Some(ended) = self.ended.pop_front() {
                return Some(Step::Ended(ended));
            }
            if due.is_none() && self.under_way.is_empty() {
                return None;
            }
            let until = self.until.filter(|_| !self.given_up.is_cancelled());
            tokio::select! {
                biased;
                () = at(due), if due.is_some() => {}
                Some(joined) = self.under_way.join_next() => self.ended.push_back(end(joined)),
                () = at(until), if until.is_some() => self.given_up.cancel(),
            }
        }
    }

    /// Sends a request that is due, and does not wait for its answer.
    pub fn send(&mut self, request: Request) {
        // Those that have ended and were not yet told of are no longer under way.
        while let Some(joined) = self.under_way.try_join_next() {
            self.ended.push_back(end(joined));
        }
        let Request { index, prompt, due } = request;
        if self.under_way.len() >= self.most {
            self.ended.push_back(failed(index, Failure::NotSent(self.under_way.len())));
            return;
        }
        // The prompt ends here: what is under way has its body alone.
        let body = self.streams.body(&prompt);
        let (streams, given_up) = (Arc::clone(&self.streams), self.given_up.clone());
        self.under_way.spawn(async move {
            tokio::select! {
                biased;
                ended = streams.ask(index, body, due) => ended,
                () = given_up.cancelled() => failed(index, Failure::Broken("given up: the load was stopped".to_owned())),
            }
        });
    }

    /// Offers no more requests, and gives up those that have not ended after so long. All the same each has its end.
    pub fn stop(&mut self, grace: Duration) {
        self.offered = self.schedule.requests();
        self.coming = None;
        self.until = Some(Instant::now() + grace);
    }

    fn write(&mut self) -> Option<Request> {
        let index = self.offered;
        if index >= self.schedule.requests() {
            return None;
        }
        self.offered += 1;
        Some(Request {
            index,
            prompt: self.prompts.nth(index),
            due: self.begun + self.schedule.due(index),
        })
    }
}

async fn at(moment: Option<Instant>) {
    if let Some(moment) = moment {
        sleep_until(moment.into()).await;
    }
}

/// A panic there is one here.
fn end(joined: Result<Ended, tokio::task::JoinError>) -> Ended {
    joined.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn failed(index: u32, failure: Failure) -> Ended {
    Ended {
        index,
        late: None,
        outcome: Err(failure),
    }
}
