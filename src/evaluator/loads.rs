//! The loads of a run: one model and one load at a time, each request noted down as questions are. A load that was killed in the middle begins
//! anew, and what it spent counts.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;

use super::allowance::Ahead;
use super::client::Failure;
use super::latency::load::{Load, Request, Step};
use super::latency::prompt::Prompts;
use super::latency::schedule::Schedule;
use super::latency::stream::{Ended, Failure as Lost, Patience, Streams};
use super::latency::summary::Summary;
use super::progress::{Asked, End, Entry, Reserved};
use super::run::{Asker, Standing};
use super::tally::{Room, most};
use crate::api::eval_job as api;
use crate::plan::evaluation::measure::{Measured, SuiteNumbers};
use crate::plan::evaluation::metric::Metric;
use crate::plan::evaluation::report::Counts;
use crate::plan::evaluation::times;
use crate::plan::statistics::Share;

/// For how long requests are noted in the store before they are due.
const AHEAD: Duration = Duration::from_secs(10);
/// How long what is under way has when a limit of the run ends a load.
const GRACE: Duration = Duration::from_secs(60);
/// What an answer that does not say what it used makes of a limit.
pub(super) const UNTOLD: &str = "the answer does not say what it used, so spec.limits cannot be kept";

/// A suite that is a load.
pub(super) struct LoadSuite {
    pub(super) name: String,
    /// Its place behind the suites that ask questions.
    pub(super) place: usize,
    pub(super) spec: api::Latency,
    schedule: Schedule,
}

/// What came of the loads, by the places of the model and of the suite; of none where the model refused the request that goes before.
pub(super) type Loaded = BTreeMap<(usize, usize), Option<Summary>>;

impl LoadSuite {
    /// The load that a suite describes; `place` is its place behind the suites that ask questions.
    pub(super) fn of(suite: &api::Suite, spec: &api::Latency, place: usize) -> Result<Self, String> {
        let rate = spec.rate_per_second.parse().unwrap_or(f64::NAN);
        let schedule = Schedule::new(spec.requests, rate).map_err(|why| format!("suite {}: {why}", suite.name))?;
        Ok(Self {
            name: suite.name.clone(),
            place,
            spec: spec.clone(),
            schedule,
        })
    }

    /// How it is asked.
    pub(super) fn protocol(&self) -> String {
        let api::Latency {
            requests,
            rate_per_second,
            input_tokens,
            output_tokens,
        } = &self.spec;
        format!("open loop, {requests} requests at {rate_per_second}/s, {input_tokens} tokens in, {output_tokens} out")
    }

    /// Its numbers for one model.
    pub(super) fn numbers(&self, summary: Option<&Option<Summary>>) -> SuiteNumbers {
        let counts = match summary {
            Some(Some(summary)) => Counts {
                questions: summary.requests,
                correct: summary.requests - summary.failed,
                errors: summary.failed,
                ..Counts::default()
            },
            // The model did not take even one.
            Some(None) => Counts {
                questions: 1,
                errors: 1,
                ..Counts::default()
            },
            None => Counts::default(),
        };
        let summary = summary.and_then(Option::as_ref);
        let times = summary.into_iter().flat_map(|summary| {
            times::Metric::ALL.map(|metric| (Metric::Time(metric), Measured::Time(summary.times(metric).clone(), metric)))
        });
        let measured = times.filter(|(_, measured)| measured.n() > 0);
        let errors = Share::of(counts.errors, counts.questions).map(|share| (Metric::ErrorRate, Measured::Share(share, "wilson")));
        SuiteNumbers {
            name: self.name.clone(),
            protocol: self.protocol(),
            digest: String::new(),
            wanted: self.spec.requests,
            counts,
            metrics: measured.chain(errors).collect(),
            comparison: None,
            baseline: None,
            flaw: summary.and_then(Summary::invalid),
            baseline_flaw: None,
        }
    }
}

impl<W: FnMut(Standing)> Asker<'_, W> {
    /// Carries out every load that an earlier attempt did not carry out whole.
    pub(super) async fn load_all(&mut self, noted: &[Entry], lost: &[Reserved]) -> anyhow::Result<()> {
        let loads = self.loads;
        for target in 0..self.run.targets.len() {
            for load in loads {
                let key = (target, load.place);
                let of_this = |asked: &Asked| (asked.target, asked.suite) == key;
                let tried = noted.iter().map(|entry| entry.asked).chain(lost.iter().map(|lost| lost.asked));
                let latest = tried.filter(of_this).map(|asked| asked.repeat).max();
                let ends = noted
                    .iter()
                    .filter(|entry| of_this(&entry.asked) && Some(entry.asked.repeat) == latest)
                    .filter_map(|entry| entry.timed.as_deref().cloned());
                let mut ends: Vec<Ended> = ends.collect();
                self.total += load.spec.requests as usize;
                if ends.len() < load.spec.requests as usize {
                    if self.stopped.is_some() {
                        continue;
                    }
                    let attempt = latest.map_or(0, |latest| latest + 1);
                    match self.carry_out(load, target, attempt).await? {
                        Some(new) => ends = new,
                        None => {
                            self.loaded.insert(key, None);
                            continue;
                        }
                    }
                }
                let summary = Summary::of(&ends, load.spec.output_tokens);
                let model = self.asked[target].model.as_str();
                tracing::info!(model, suite = load.name, "{}", summary.text());
                if let Some(error) = &summary.error {
                    self.tally.failed(model, error);
                }
                self.loaded.insert(key, Some(summary));
            }
        }
        Ok(())
    }

    /// One load on one model; none where the model refuses the request that goes before.
    async fn carry_out(&mut self, load: &LoadSuite, target: usize, attempt: u32) -> anyhow::Result<Option<Vec<Ended>>> {
        let api::Latency {
            requests,
            input_tokens,
            output_tokens,
            ..
        } = load.spec;
        let asked = |index: u32| Asked {
            target,
            suite: load.place,
            question: index as usize,
            repeat: attempt,
        };
        let model = format!("{}/{}", self.run.namespace, self.asked[target].model);
        let prompts = Prompts::new(
            0,
            &format!("{}/{attempt}/{model}/{}", self.digest, load.name),
            input_tokens,
            output_tokens,
        );
        let warm_up = prompts.warm_up();
        let reserved = most(asked(requests), self.asked[target], &warm_up);
        match self.room(&reserved, false) {
            Room::Yes => {}
            Room::Wait => return Ok(Some(Vec::new())),
            Room::No(limit) => {
                self.stopped = Some(limit);
                return Ok(Some(Vec::new()));
            }
        }
        let ahead = self.ahead(load, 0);
        self.progress.reserve(&reserved, &ahead).await?;
        self.tally.reserve(&reserved);
        // Another pod is to know of this attempt: no prompt is sent twice.
        self.progress.settle().await?;
        let warmed = self.client.ask(&model, &warm_up).await;
        self.tally.release(&reserved);
        self.lose(&reserved, warmed.lost);
        match warmed.answered {
            Ok(answer) => {
                let untold = u32::from(answer.tokens.is_none() && self.is_limited());
                self.lose(&reserved, untold);
                self.end(&Entry {
                    asked: reserved.asked,
                    end: End::Right,
                    score: 1.0,
                    tokens: answer.tokens,
                    lost: warmed.lost + untold,
                    text: None,
                    judge: None,
                    reason: None,
                    timed: None,
                })?;
            }
            Err(Failure::Unreachable(why)) => bail!("{why}"),
            Err(Failure::Refused(why)) => {
                self.tally.failed(&self.asked[target].model, &why);
                self.fail(reserved.asked, warmed.lost)?;
                return Ok(None);
            }
        }
        let streams = Streams::of(self.client, &model, Patience::default());
        let mut going = Load::begin(load.schedule, prompts, streams);
        let mut reserved = BTreeMap::new();
        let mut ends = Vec::new();
        while let Some(step) = going.next().await {
            match step {
                Step::Due(request) => self.due(&mut going, request, &mut reserved, asked, (load, target)).await?,
                Step::Ended(ended) => {
                    let Some(most) = reserved.remove(&ended.index) else { continue };
                    self.tally.release(&most);
                    ends.push(self.timed(&most, ended)?);
                }
            }
            self.tell();
        }
        Ok(Some(ends))
    }

    /// What is known of the requests of a load after so many.
    fn ahead(&self, load: &LoadSuite, offered: u32) -> Ahead {
        let rate: f64 = load.spec.rate_per_second.parse().unwrap_or(0.0);
        // At most 10000: no load has more than 1000 a second.
        let at_least = (rate * AHEAD.as_secs_f64()).ceil() as u32;
        Ahead {
            questions: load.spec.requests.saturating_sub(offered).saturating_add(1) as usize,
            at_least,
            left: self.tally.left(&self.run.limits),
        }
    }

    /// Sends a request that is due, or ends the load at the limit that leaves no room for it.
    async fn due(
        &mut self,
        load: &mut Load,
        request: Request,
        reserved: &mut BTreeMap<u32, Reserved>,
        asked: impl Fn(u32) -> Asked,
        (of, target): (&LoadSuite, usize),
    ) -> anyhow::Result<()> {
        let most = most(asked(request.index), self.asked[target], &request.prompt);
        if let Room::No(limit) = self.room(&most, false) {
            self.stopped = Some(limit);
            load.stop(GRACE);
            return Ok(());
        }
        // There is room for it long before it is due, as a rule; how late a request is sent is measured.
        let ahead = self.ahead(of, request.index);
        self.progress.reserve(&most, &ahead).await?;
        self.tally.reserve(&most);
        reserved.insert(request.index, most);
        load.send(request);
        Ok(())
    }

    /// Notes down how a request ended.
    fn timed(&mut self, most: &Reserved, mut ended: Ended) -> anyhow::Result<Ended> {
        let tokens = ended.outcome.as_ref().ok().and_then(|timing| timing.tokens);
        let is_untold = self.is_limited() && ended.outcome.is_ok() && tokens.is_none();
        if is_untold {
            ended.outcome = Err(Lost::Refused(UNTOLD.to_owned()));
        }
        let lost = u32::from(is_untold || ended.outcome.as_ref().is_err_and(Lost::is_lost));
        self.lose(most, lost);
        let is_answered = ended.outcome.is_ok();
        self.end(&Entry {
            asked: most.asked,
            end: if is_answered { End::Right } else { End::Error },
            score: f64::from(u8::from(is_answered)),
            tokens,
            lost,
            text: None,
            judge: None,
            reason: None,
            timed: Some(Box::new(ended.clone())),
        })?;
        Ok(ended)
    }
}
