//! The run: every model, every suite, every question, a few of each model at a time, each to a terminal end; then the verdicts.
//!
//! ```text
//! not asked ──► reserved ──► under way ──► Right | Wrong | Graded | Refused | Truncated | Unparsed | Unjudged | Error
//!      ▲                         │            noted down, never asked again
//!      └─────────────────────────┘ the run is killed, or the gateway cannot be reached: a later attempt asks again,
//!                                  and counts what was lost at the most that it may have cost
//!
//! the first sample ──► judged ──► decided, or extended as declared ──► judged once more
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use anyhow::{Context, bail};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::allowance::Ahead;
use super::client::{Answer, Asking, Client, Failure, Finish};
use super::drift::{self, Earlier};
use super::export::{Frame, export};
use super::external::{self, Given};
use super::files::{Flaw, Places};
use super::judge::{Judged, Letter};
use super::loads::{LoadSuite, Loaded, UNTOLD};
use super::numbers::{Against, Sampled, numbers};
use super::outline;
use super::overview;
use super::progress::{Asked, End, Entry, Judgements, Noted, Progress, Reserved};
use super::reports::{self, Outcome, Past};
use super::score::{Score, after_thinking};
use super::scoring::{Judging, Scored, Scorers};
use super::suite::Suite;
use super::tally::{Room, Tally, most};
use crate::api::eval_job::Verdict;
use crate::plan::evaluation::drift::Left;
use crate::plan::evaluation::judge::{Judgement, judge};
use crate::plan::evaluation::measure::Numbers;
use crate::plan::evaluation::report::{self, Limit, Report};
pub use crate::plan::evaluation::run::AT_ONCE;
use crate::plan::evaluation::run::{Evaluation, Target};
use crate::plan::fingerprint;
use crate::plan::price::Rates;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Questions that have ended.
    pub ended: usize,
    /// All questions to all models, as far as it is known that they will be asked.
    pub total: usize,
    /// Those that ended in an error.
    pub errors: u32,
    /// Tokens used.
    pub tokens: u64,
}

/// Carries out `run`, telling `watch` of every end.
///
/// # Errors
/// What a later attempt may heal: the gateway or a dataset cannot be reached, or the progress file not be written. What it cannot is in the report.
pub async fn run(run: &Evaluation, client: &Client, places: &Places, watch: impl FnMut(Standing)) -> anyhow::Result<Report> {
    if let Some(why) = unpriced(run) {
        return Ok(Report::invalid(why));
    }
    let asked: Vec<&Target> = run.asked().collect();
    let mut tally = Tally::default();
    let relayed = external::noted(run, places)?;
    if let Some(relayed) = &relayed {
        external::count(relayed, &asked, &mut tally);
        if let Some(limit) = relayed.stopped {
            return Ok(external::stopped(run, &external::spent(run, places, &tally)?, limit));
        }
    }
    let refused = |why| external::refused(run, places, &tally, why);
    let (of_questions, of_loads): (Vec<_>, Vec<_>) = run.suites.iter().partition(|suite| suite.latency.is_none());
    let mut suites = Vec::new();
    let mut given = BTreeMap::new();
    for spec in of_questions {
        if let Some(evaluator) = &spec.external {
            match Given::read(run, spec, evaluator, places, relayed.as_ref()) {
                Ok((suite, scores)) => {
                    given.insert(suites.len(), scores);
                    suites.push(suite);
                }
                Err(why) => return refused(why),
            }
            continue;
        }
        match Suite::read(spec, run.extend_to, places).await {
            Ok(suite) => suites.push(suite),
            Err(Flaw::Lasting(why)) => return refused(why),
            Err(Flaw::Passing(why)) => bail!("{why}"),
        }
    }
    let loads = of_loads.into_iter().zip(suites.len()..);
    let loads = loads.filter_map(|(suite, place)| Some(LoadSuite::of(suite, suite.latency.as_ref()?, place)));
    let loads = match loads.collect::<Result<Vec<_>, _>>() {
        Ok(loads) => loads,
        Err(why) => return refused(why),
    };
    if let Some(store) = &places.store {
        match store.bring(run, places).await {
            Ok(()) => {}
            Err(Flaw::Lasting(why)) => return refused(why),
            Err(Flaw::Passing(why)) => bail!("{why}"),
        }
    }
    let past = match past(run, &suites, places) {
        Ok(past) => past,
        Err(why) => return refused(why),
    };
    let digests: Vec<&str> = suites.iter().map(|suite| suite.digest.as_str()).collect();
    let now = (places.clock)().as_second();
    let digest = fingerprint::digest(&(run, digests));
    let scorers = match Scorers::new(run, &suites, client, &digest, places) {
        Ok(scorers) => scorers,
        Err(why) => return refused(why),
    };
    let outlook = outline::outlook(run, &suites);
    outlook.iter().for_each(|line| tracing::info!("{line}"));
    if let Some(why) = external::changed(run, places, &digest)? {
        return refused(why);
    }
    let (progress, noted) = match begin((&run.namespace, &digest), now, places).await? {
        Ok(begun) => begun,
        Err(why) => return refused(why),
    };
    for entry in &noted.ended {
        // What evaluators found is taken over below, as it is now.
        if let (Some(target), false) = (asked.get(entry.asked.target), given.contains_key(&entry.asked.suite)) {
            tally.add(target, scorers.judge(entry.asked.suite), entry);
        }
    }
    noted.lost.iter().for_each(|lost| tally.lose(lost));
    tally.lose_unknown(noted.gone);
    let begun = relayed.map_or(noted.begun, |relayed| relayed.begun.min(noted.begun));
    let deadline = begun.saturating_add(i64::try_from(run.limits.seconds).unwrap_or(i64::MAX));
    let mut asker = Asker {
        run,
        client,
        places,
        asked,
        suites: &suites,
        scorers: &scorers,
        given: &given,
        loads: &loads,
        loaded: Loaded::new(),
        digest: &digest,
        past: past.as_ref(),
        progress,
        tally,
        deadline,
        stopped: None,
        total: 0,
        watch,
    };
    let sampled = asker.ask_all(&noted).await?;
    let judged: Vec<(Numbers, Judgement)> = (0..run.targets.len()).map(|target| asker.judged(target, &sampled)).collect();
    let drift = asker.drift(&judged);
    let baseline = asker.baseline().filter(|place| *place >= run.targets.len());
    let baseline = baseline.map(|place| {
        (
            place,
            numbers(
                &suites,
                &asker.tally,
                place,
                Against::Nobody,
                &sampled,
                run.rules(asker.asked[place]).look(),
            ),
        )
    });
    let report = asker.report(&judged, drift);
    if let Some(folder) = &places.report {
        let mut noted = Progress::read(&places.progress, &digest)?;
        external::keep_latest(&mut noted.ended, &given);
        let outcome = Outcome {
            run,
            asked: &asker.asked,
            suites: &suites,
            loads: &loads,
            entries: &noted.ended,
            report: &report,
            judged: &judged,
            baseline: baseline.as_ref(),
            past: past.as_ref(),
            outlook: &outlook,
            begun,
            ended: (places.clock)().as_second(),
        };
        // First what the verdict is read from: what is kept may be too much for the claim, or for this pod.
        if let Some(message) = &places.message {
            std::fs::write(message, report.encode()).with_context(|| format!("writing the report {}", message.display()))?;
        }
        let kept = match (keep(folder, client, places, &outcome), &places.store) {
            (Ok(()), Some(store)) => store.keep(places).await,
            (kept, _) => kept,
        };
        if let Err(error) = kept {
            tracing::warn!("the report is not kept: {error:#}");
            // No later run can be compared with this one.
            let mut report = report;
            report.targets.iter_mut().for_each(|target| target.drift = None);
            return Ok(report);
        }
    }
    Ok(report)
}

/// Where what ends is noted, and what an earlier attempt noted there; or why that will not be there.
async fn begin((namespace, digest): (&str, &str), now: i64, places: &Places) -> anyhow::Result<Result<(Progress, Noted), String>> {
    let Some(store) = &places.store else {
        let (lines, noted) = Progress::open(&places.progress, digest, now)?;
        return Ok(Ok((Progress::Here(lines), noted)));
    };
    let begun = async {
        let recovered = store.recover((namespace, digest), places).await?;
        let opened = Progress::open(&places.progress, digest, now);
        let (lines, noted) = opened.map_err(|error| Flaw::Passing(format!("{error:#}")))?;
        Ok((store.begin(lines, &recovered, places).await?, noted))
    };
    match begun.await {
        Ok(begun) => Ok(Ok(begun)),
        Err(Flaw::Lasting(why)) => Ok(Err(why)),
        Err(Flaw::Passing(why)) => bail!("{why}"),
    }
}

/// Keeps the report and the answers.
fn keep(folder: &Path, client: &Client, places: &Places, outcome: &Outcome<'_>) -> anyhow::Result<()> {
    if reports::is_written(folder) {
        return Ok(());
    }
    external::keep(folder, outcome.run, places)?;
    let frame = Frame {
        namespace: &outcome.run.namespace,
        url: client.url(),
        begun: outcome.begun,
        ended: outcome.ended,
    };
    export(&frame, outcome.asked, outcome.suites, outcome.entries, |files| {
        reports::put_export(folder, files)
    })?;
    reports::put_page(folder, &overview::page(folder, outcome))?;
    reports::write(folder, outcome)
}

/// The earlier run that targets are compared with, if one is.
fn past(run: &Evaluation, suites: &[Suite], places: &Places) -> Result<Option<Past>, String> {
    let Some(wanted) = &run.past else { return Ok(None) };
    let nowhere = "spec.baseline.run needs spec.reports".to_owned();
    let remedy = "name a run in spec.baseline.run whose report is there, that asked the same and whose verdict is not Invalid";
    let past = Past::read(places.report.as_ref().ok_or(nowhere)?, &wanted.run, &run.namespace)
        .map_err(|unread| format!("{}; {remedy}", unread.why()))?;
    if let Some(model) = wanted.model.as_ref().filter(|model| !past.knows(model)) {
        return Err(format!("the run {} did not ask {model}; {remedy}", wanted.run));
    }
    let is_compared = |suite: &&Suite| {
        let mut criteria = run.targets.iter().flat_map(|target| &target.criteria);
        criteria.any(|criterion| criterion.not_worse_than_baseline_by.is_some() && criterion.suite.as_ref() == Some(&suite.name))
    };
    for suite in suites.iter().filter(is_compared) {
        let flawed = |why: String| format!("the run {} cannot be compared with: {why}; {remedy}", wanted.run);
        let spec = run.suites.iter().find(|spec| spec.name == suite.name);
        spec.map_or(Ok(()), |spec| past.is_like(suite, spec, &run.judges)).map_err(flawed)?;
        let models = run.targets.iter().map(|target| wanted.model.as_ref().unwrap_or(&target.model));
        // A target that was not asked then is judged by itself: others may well be compared.
        for model in models.filter(|model| past.knows(model)) {
            if past.is_invalid(model) {
                return Err(flawed(format!("its verdict about {model} is Invalid")));
            }
            let (lacking, all) = (past.lacks(model, suite, suite.asked(false)), suite.asked(false).len());
            if lacking > 0 {
                return Err(flawed(format!(
                    "{model} has no answer in it to {lacking} of the {all} questions of suite {}",
                    suite.name
                )));
            }
        }
    }
    Ok(Some(past))
}

/// A cost without a price cannot be capped.
pub(super) fn unpriced(run: &Evaluation) -> Option<String> {
    let is_priced = |target: &&Target| target.price.as_ref().is_some_and(Rates::price_text);
    let unpriced = run
        .asked()
        .chain(&run.judges)
        .find(|target| run.limits.cost.is_some() && !is_priced(target))?;
    Some(format!(
        "the price of {} is unknown, so spec.limits.maxCostUSD cannot be kept; set its price",
        unpriced.model
    ))
}

/// A run while it asks.
pub(super) struct Asker<'a, W> {
    pub(super) run: &'a Evaluation,
    pub(super) client: &'a Client,
    places: &'a Places,
    /// Everybody who is asked; the targets first, in their order.
    pub(super) asked: Vec<&'a Target>,
    pub(super) suites: &'a [Suite],
    /// Who scores what no rule can.
    scorers: &'a Scorers<'a>,
    /// The scores of what other programs asked, by the places of suites.
    pub(super) given: &'a BTreeMap<usize, Given>,
    pub(super) loads: &'a [LoadSuite],
    /// What came of the loads.
    pub(super) loaded: Loaded,
    /// What tells this run from others.
    pub(super) digest: &'a str,
    /// The earlier run that targets are compared with.
    past: Option<&'a Past>,
    pub(super) progress: Progress,
    pub(super) tally: Tally,
    /// In seconds since 1970.
    deadline: i64,
    pub(super) stopped: Option<Limit>,
    pub(super) total: usize,
    watch: W,
}

impl<W: FnMut(Standing)> Asker<'_, W> {
    /// Asks the first sample of every suite, carries out the loads, and asks the rest of the samples that decide nothing.
    async fn ask_all(&mut self, noted: &Noted) -> anyhow::Result<Sampled> {
        let mut sampled = Sampled::default();
        self.take_over(&noted.ended)?;
        let of_own = |(_, suite): &(usize, usize)| !self.suites[*suite].is_external();
        let everywhere = (0..self.asked.len()).flat_map(|target| (0..self.suites.len()).map(move |suite| (target, suite)));
        let everywhere = everywhere.filter(of_own);
        self.ask(
            everywhere
                .flat_map(|(target, suite)| questions(self.suites, target, suite, false))
                .collect(),
        )
        .await?;
        self.load_all(&noted.ended, &noted.lost).await?;
        if self.run.extend_to.is_none() || self.stopped.is_some() {
            return Ok(sampled);
        }
        let undecided: BTreeMap<usize, BTreeSet<usize>> = (0..self.run.targets.len())
            .map(|target| (target, self.undecided(target, &sampled)))
            .filter(|(_, suites)| !suites.is_empty())
            .collect();
        sampled.extended = undecided;
        let mut beyond: BTreeSet<(usize, usize)> = BTreeSet::new();
        for (target, suites) in &sampled.extended {
            beyond.extend(suites.iter().map(|suite| (*target, *suite)));
            // The baseline is asked whatever any target is compared with it on; what was decided about it stands.
            beyond.extend(
                self.baseline()
                    .into_iter()
                    .flat_map(|baseline| suites.iter().map(move |suite| (baseline, *suite))),
            );
        }
        let beyond = beyond.into_iter();
        self.ask(
            beyond
                .flat_map(|(target, suite)| questions(self.suites, target, suite, true))
                .collect(),
        )
        .await?;
        Ok(sampled)
    }

    /// The suites of which more questions may decide about a target.
    fn undecided(&self, target: usize, sampled: &Sampled) -> BTreeSet<usize> {
        let (_, judged) = self.judged(target, sampled);
        // What an earlier run was not asked cannot be compared with it.
        let is_known = |suite: &Suite| match self.against(target) {
            Against::Past(past, model) => past.lacks(model, suite, suite.asked(true)) == 0,
            Against::Nobody | Against::Itself | Against::Asked(_) => true,
        };
        let is_open = |suite: &Suite| judged.undecided.contains(&suite.name) && !suite.asked(true).is_empty() && is_known(suite);
        let suites = self.suites.iter().enumerate();
        suites.filter(|(_, suite)| is_open(suite)).map(|(place, _)| place).collect()
    }

    fn judged(&self, target: usize, sampled: &Sampled) -> (Numbers, Judgement) {
        let rules = self.run.rules(self.asked[target]);
        let mut numbers = numbers(self.suites, &self.tally, target, self.against(target), sampled, rules.look());
        let of_loads = self.loads.iter().map(|load| load.numbers(self.loaded.get(&(target, load.place))));
        numbers.suites.extend(of_loads);
        let judged = judge(&rules, &numbers, self.stopped, self.tally.error());
        (numbers, judged)
    }

    /// With whom a target is compared.
    fn against(&self, target: usize) -> Against<'_> {
        let own = || self.asked[target].model.as_str();
        let then = self.run.past.as_ref().and_then(|past| past.model.as_deref());
        match (self.past, self.baseline()) {
            (Some(past), _) => Against::Past(past, then.unwrap_or_else(own)),
            (None, Some(place)) if place == target => Against::Itself,
            (None, Some(place)) => Against::Asked(place),
            (None, None) => Against::Nobody,
        }
    }

    /// The place of the baseline among those that are asked.
    fn baseline(&self) -> Option<usize> {
        let baseline = self.run.baseline.as_ref()?;
        self.asked.iter().position(|target| target.model == baseline.model)
    }

    /// Asks what has not ended yet, until there is no room.
    async fn ask(&mut self, questions: Vec<Asked>) -> anyhow::Result<()> {
        let mut lanes: Vec<VecDeque<Asked>> = vec![VecDeque::new(); self.asked.len()];
        for asked in questions {
            self.total += 1;
            if self.tally.ended(&asked).is_none() {
                lanes[asked.target].push_back(asked);
            }
        }
        let mut busy = vec![0; lanes.len()];
        let mut under_way = FuturesUnordered::new();
        loop {
            self.tell();
            // For the store, which is to know of a question before it is asked.
            let mut is_waiting = false;
            for target in 0..lanes.len() {
                while busy[target] < AT_ONCE && self.stopped.is_none() {
                    let Some(asked) = lanes[target].front().copied() else { break };
                    if self.tally.is_given_up(target) {
                        lanes[target].pop_front();
                        self.fail(asked, 0)?;
                        continue;
                    }
                    let prompt = self.suites[asked.suite].prompt(asked.question);
                    let most = self.scorers.most(most(asked, self.asked[target], &prompt), &prompt);
                    match self.room(&most, !under_way.is_empty()) {
                        Room::Yes => {}
                        Room::Wait => break,
                        Room::No(limit) => {
                            self.stopped = Some(limit);
                            break;
                        }
                    }
                    let ahead = Ahead {
                        questions: lanes.iter().map(VecDeque::len).sum(),
                        at_least: 0,
                        left: self.tally.left(&self.run.limits),
                    };
                    if !self.progress.try_reserve(&most, &ahead)? {
                        is_waiting = true;
                        break;
                    }
                    lanes[target].pop_front();
                    self.tally.reserve(&most);
                    busy[target] += 1;
                    let name = self.asked[target].model.as_str();
                    let model = format!("{}/{name}", self.run.namespace);
                    let (client, scorers, is_limited) = (self.client, self.scorers, self.is_limited());
                    under_way.push(async move {
                        let Asking { answered, mut lost } = client.ask(&model, &prompt).await;
                        let answered = match answered {
                            Ok(answer) if is_limited && answer.tokens.is_none() => {
                                // It was paid for all the same, and is not to cost a judgement as well.
                                lost += 1;
                                Err(Failure::Refused(UNTOLD.to_owned()))
                            }
                            Ok(answer) => {
                                let scored = scorers.score(asked, name, &prompt, &answer).await;
                                Ok((answer, scored))
                            }
                            Err(failure) => Err(failure),
                        };
                        (most, answered, lost)
                    });
                }
            }
            if under_way.is_empty() && !is_waiting {
                break;
            }
            let (most, answered, lost) = tokio::select! {
                Some(ended) = under_way.next() => ended,
                () = self.progress.changed(), if is_waiting => continue,
            };
            busy[most.asked.target] -= 1;
            self.tally.release(&most);
            self.take(&most, answered, lost)?;
        }
        self.tell();
        Ok(())
    }

    pub(super) fn room(&self, most: &Reserved, is_busy: bool) -> Room {
        if (self.places.clock)().as_second() >= self.deadline {
            return Room::No(Limit::Duration);
        }
        self.tally.room(&self.run.limits, most, is_busy)
    }

    /// What came of a question, after so many answers were lost.
    fn take(&mut self, most: &Reserved, answered: Result<(Answer, Scored), Failure>, lost: u32) -> anyhow::Result<()> {
        self.lose_beside(most, lost);
        let asked = most.asked;
        let suite = &self.suites[asked.suite];
        let model = self.asked[asked.target].model.as_str();
        let (answer, scored) = match answered {
            Ok(answered) => answered,
            Err(Failure::Refused(why)) => {
                let (suite, id) = (&suite.name, suite.id(asked.question));
                tracing::warn!(model, suite, id, "no answer: {why}");
                self.tally.failed(model, &why);
                return self.fail(asked, lost);
            }
            Err(Failure::Unreachable(why)) => {
                self.note_lost(most, lost)?;
                bail!("{why}");
            }
        };
        let keeps = self.places.report.is_some();
        let text = keeps.then(|| after_thinking(&answer.text).to_owned());
        let mut entry = Entry {
            asked,
            end: End::Error,
            score: 0.0,
            tokens: answer.tokens,
            lost,
            text: None,
            judge: None,
            reason: None,
            timed: None,
        };
        match scored {
            Scored::Here(score) => {
                (entry.end, entry.score) = end(score, answer.finish);
                entry.text = text;
            }
            Scored::Judged(judging) => {
                let judgements = self.judgements(most, &mut entry, judging)?;
                entry.judge = Some(Box::new(judgements));
                entry.text = text.filter(|_| entry.end != End::Error);
            }
            Scored::Webhook(Ok(graded)) => {
                (entry.end, entry.score) = match graded.score {
                    // Whatever it thinks of an answer that was withheld or cut off.
                    Some(score) => (End::Graded, score),
                    // It is a refusal, and there is nothing in it that could be unsafe.
                    None if suite.is_about_safety() && answer.finish == Finish::Withheld => (End::Refused, 1.0),
                    None => end(Score::Unparsed, answer.finish),
                };
                entry.text = text;
                entry.reason = graded.reason.filter(|_| keeps).map(Into::into);
            }
            // The answer was paid for, and nobody knows how good it is.
            Scored::Webhook(Err(why)) => {
                let (suite, id) = (&suite.name, suite.id(asked.question));
                tracing::warn!(model, suite, id, "no score: {why}");
                self.tally.failed(model, &why);
            }
        }
        self.end(&entry)
    }

    /// Notes down answers that were lost before the gateway could not be reached, for whoever goes on.
    fn note_lost(&mut self, most: &Reserved, lost: u32) -> anyhow::Result<()> {
        (0..lost).try_for_each(|_| self.progress.note(most))
    }

    /// What a judge said, and how the answer ends by it.
    fn judgements(&mut self, most: &Reserved, entry: &mut Entry, judging: Judging) -> anyhow::Result<Judgements> {
        let Judging { given, failure, mut lost } = judging;
        let mut failure = match failure {
            Some(Failure::Unreachable(why)) => {
                self.note_lost(most, entry.lost + lost)?;
                bail!("{why}");
            }
            Some(Failure::Refused(why)) => Some(why),
            None => None,
        };
        let mut judgements = Judgements {
            verdicts: None,
            tokens: given.iter().map(|judgement| judgement.tokens).collect(),
            texts: Vec::new(),
        };
        if self.is_limited() {
            // They were paid for all the same, and count at the most that they may have been.
            let untold = judgements.tokens.extract_if(.., |tokens| tokens.is_none()).count();
            lost += u32::try_from(untold).unwrap_or(u32::MAX);
            failure = failure.or_else(|| (untold > 0).then(|| UNTOLD.to_owned()));
        }
        entry.lost += lost;
        self.lose_beside(most, lost);
        if let Some(why) = failure {
            let judge = self.scorers.judge(entry.asked.suite).map_or("", |(_, judge)| judge.model.as_str());
            let model = self.asked[entry.asked.target].model.as_str();
            let suite = &self.suites[entry.asked.suite];
            let (suite, id) = (&suite.name, suite.id(entry.asked.question));
            tracing::warn!(model, judge, suite, id, "no judgement: {why}");
            self.tally.failed(model, &format!("judge {judge}: {why}"));
            return Ok(judgements);
        }
        let letter = |which: usize| given.get(which).and_then(|said| Letter::read(&said.text, said.finish));
        judgements.verdicts = Judged::of([letter(0), letter(1)]);
        (entry.end, entry.score) = match judgements.verdicts {
            Some(judged) => (End::Graded, judged.score()),
            None => (End::Unjudged, 0.0),
        };
        if self.places.report.is_some() {
            judgements.texts = given.into_iter().map(|said| said.text).collect();
        }
        Ok(judgements)
    }

    /// Whether what answers use must be known.
    pub(super) fn is_limited(&self) -> bool {
        self.run.limits.tokens.is_some() || self.run.limits.cost.is_some()
    }

    /// Counts answers that were paid for and never came.
    pub(super) fn lose(&mut self, most: &Reserved, times: u32) {
        (0..times).for_each(|_| self.tally.lose(most));
    }

    /// The same, of a question that was asked again each time: none of that was granted.
    fn lose_beside(&mut self, most: &Reserved, times: u32) {
        self.lose(most, times);
        self.progress.lose(most, times);
    }

    /// Notes down how a question ended that nobody answered, after so many answers were lost.
    pub(super) fn fail(&mut self, asked: Asked, lost: u32) -> anyhow::Result<()> {
        self.end(&Entry {
            asked,
            end: End::Error,
            score: 0.0,
            tokens: None,
            lost,
            text: None,
            judge: None,
            reason: None,
            timed: None,
        })
    }

    pub(super) fn end(&mut self, entry: &Entry) -> anyhow::Result<()> {
        self.progress.note(entry)?;
        let judge = self.scorers.judge(entry.asked.suite);
        self.tally.add(self.asked[entry.asked.target], judge, entry);
        Ok(())
    }

    pub(super) fn tell(&mut self) {
        let (ended, errors) = self.tally.counts();
        (self.watch)(Standing {
            ended,
            // A load has a request that goes before it, and one that was killed has more.
            total: self.total.max(ended),
            errors,
            tokens: self.tally.tokens().iter().sum(),
        });
    }

    fn report(&self, judged: &[(Numbers, Judgement)], drift: Vec<Option<Left>>) -> Report {
        let confidence = |target: &Target| self.run.rules(target).confidence;
        let target = |((place, target), drift): ((usize, &Target), Option<Left>)| {
            let (numbers, judged) = &judged[place];
            report::Target {
                model: target.model.clone(),
                verdict: judged.verdict,
                message: judged.message.clone(),
                drift,
                suites: numbers.suites.iter().map(|suite| suite.result(confidence(target))).collect(),
            }
        };
        let targets: Vec<report::Target> = self.run.targets.iter().enumerate().zip(drift).map(target).collect();
        let is_cut = targets.iter().any(|target| target.verdict == Verdict::Invalid);
        Report {
            invalid: None,
            // Where every model was decided before a limit was met, it cut nothing off.
            stopped: self.stopped.filter(|_| is_cut),
            targets,
            tokens: self.tally.tokens(),
            cost: self.tally.cost().filter(|_| self.run.is_priced()),
        }
    }
}

impl<W> Asker<'_, W> {
    /// What the run leaves behind for the question whether targets become worse. Nothing of a target whose questions were not all answered, which
    /// says nothing about the model; that answers cannot be read does.
    fn drift(&self, judged: &[(Numbers, Judgement)]) -> Vec<Option<Left>> {
        let Some(wanted) = &self.run.drift else {
            return vec![None; judged.len()];
        };
        let is_whole = |numbers: &Numbers| {
            let of_questions = numbers.suites.iter().take(self.suites.len());
            of_questions.into_iter().all(|suite| {
                let errors = f64::from(suite.counts.errors) / f64::from(suite.wanted.max(1));
                suite.counts.questions >= suite.wanted && errors <= self.run.limits.errors
            })
        };
        let mut earlier = Earlier::default();
        let mut left = |(place, (numbers, _)): (usize, &(Numbers, Judgement))| {
            let model = &self.asked[place].model;
            let track = wanted.targets.get(model).filter(|_| is_whole(numbers))?;
            let scores = drift::scores(self.suites, &self.tally, place);
            drift::left(self.run, wanted, track, model, self.suites, &scores, self.places, &mut earlier)
        };
        judged.iter().enumerate().map(&mut left).collect()
    }
}

/// The questions of a suite to a model, in the order of the sample, each as often as it is repeated.
pub(super) fn questions(suites: &[Suite], target: usize, suite: usize, beyond: bool) -> impl Iterator<Item = Asked> {
    let of = &suites[suite];
    let questions = of.asked(beyond).iter();
    questions.flat_map(move |question| {
        (0..of.repeats).map(move |repeat| Asked {
            target,
            suite,
            question: *question,
            repeat,
        })
    })
}

/// How an answer ends, and its score. One that was cut off or withheld and still has a right or wrong answer in it has that.
fn end(score: Score, finish: Finish) -> (End, f64) {
    match (score, finish) {
        (Score::Right, _) => (End::Right, 1.0),
        (_, Finish::Withheld) => (End::Refused, 0.0),
        (Score::Wrong, _) => (End::Wrong, 0.0),
        (Score::Graded(score), _) => (End::Graded, score),
        (Score::Unparsed, Finish::Length) => (End::Truncated, 0.0),
        (Score::Unparsed, Finish::Stop) => (End::Unparsed, 0.0),
    }
}
