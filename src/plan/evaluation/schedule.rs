//! When an evaluation runs: at a slot of its schedule, when a person asks for it, or because something changed.

use std::borrow::Cow;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use sha2::{Digest, Sha256};

use super::observe::{Run, State};
use crate::api::EvalJob;
use crate::api::eval_job::{ConcurrencyPolicy, Trigger};
use crate::plan::fingerprint;
use crate::plan::names::{Key, RUN_NOW_ANNOTATION};
use crate::plan::schedule::Schedule;

/// The most of a request's words that is kept.
const MOST_WORDS: usize = 64;

/// What to do about the schedule now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start the run of this slot.
    Start {
        /// The slot, which may lie in the past when it was missed.
        slot: Timestamp,
    },
    /// Nothing to do before this time. `None`: nothing before something else happens.
    Wait {
        /// When to look again.
        until: Option<Timestamp>,
        /// The slot that was left out last because it could not start in time.
        missed: Option<Timestamp>,
    },
    /// No run starts until a person says so.
    Suspended,
}

impl Decision {
    fn wait(until: Option<Timestamp>) -> Self {
        Self::Wait { until, missed: None }
    }
}

/// What decides.
#[derive(Clone, Copy)]
pub struct Due<'a> {
    /// Whose runs.
    pub job: &'a EvalJob,
    /// Its schedule.
    pub schedule: &'a Schedule,
    /// Those that exist.
    pub runs: &'a [Run],
    /// A digest over what all targets are, once all are settled.
    pub settled: Option<&'a str>,
    /// A digest over the images of the targets' pods, where it is known.
    pub images: Option<&'a str>,
    /// Whether a provider answers with a version of its model that no run was started for.
    pub is_another_version: bool,
    /// The slot whose run raised an alarm, if one did.
    pub alarm: Option<Timestamp>,
    /// The time.
    pub now: Timestamp,
}

impl Due<'_> {
    /// What is to be done. Of the slots missed since the latest run or the object's creation only the latest runs; none starts while a run is
    /// going on, and those that fall into it are left out, unless they are allowed to wait for its end.
    #[must_use]
    pub fn decide(&self) -> Decision {
        let is_running = self.runs.iter().any(Run::is_going_on);
        let is_requested = pending(self.job, self.runs).is_some();
        if self.job.spec.suspend && !is_requested {
            return Decision::Suspended;
        }
        if is_running {
            return Decision::wait(None);
        }
        let slot = if self.job.spec.suspend { None } else { self.slot() };
        let offset = offset(self.job);
        let next = self.schedule.next(self.now - offset).map(|slot| slot + offset);
        match slot {
            Some(slot) if is_in_time(self.job, slot, self.now) => Decision::Start { slot },
            _ if is_requested || self.is_another() || self.is_alarmed() => self.at_once(),
            missed => Decision::Wait { until: next, missed },
        }
    }

    /// The slot that is due.
    fn slot(&self) -> Option<Timestamp> {
        let created = self.job.creation_timestamp().map_or(self.now, |time| time.0);
        let offset = offset(self.job);
        // A run that ended before a slot's run would have started did not fall into it.
        let is_left_out = self.job.spec.schedule.concurrency_policy != ConcurrencyPolicy::Allow;
        let ended = |run: &Run| run.end().map(|end| end - offset).filter(|_| is_left_out);
        let ran = self.runs.iter().flat_map(|run| [Some(run.slot), ended(run)]);
        let since = ran.chain([scheduled(self.job)]).flatten().fold(created, Timestamp::max);
        self.schedule.latest_due(since, self.now - offset)
    }

    /// Whether what is evaluated is something else than when a run was last started.
    fn is_another(&self) -> bool {
        self.is_changed() || self.is_another_image() || self.is_another_version
    }

    fn is_changed(&self) -> bool {
        let attempted = attempted(self.job, self.runs);
        self.job.spec.triggers.contains(&Trigger::SpecChange) && self.settled.is_some_and(|settled| attempted.as_deref() != Some(settled))
    }

    /// Whether pods run another image than when a run was last started. What was never known has not changed.
    fn is_another_image(&self) -> bool {
        let attempted = attempted_images(self.job, self.runs);
        let is_other = self.images.zip(attempted.as_deref()).is_some_and(|(now, then)| now != then);
        self.job.spec.triggers.contains(&Trigger::ImageChange) && is_other
    }

    /// Whether the latest run raised an alarm, and is to have a second look.
    fn is_alarmed(&self) -> bool {
        let latest = latest(self.job, self.runs);
        self.job.spec.triggers.contains(&Trigger::DriftAlarm) && self.alarm.is_some() && self.alarm == latest
    }

    /// A run is named by its minute, so one of each is all there can be.
    fn at_once(&self) -> Decision {
        let minute = |seconds: i64| Timestamp::from_second(seconds.div_euclid(60) * 60).unwrap_or(self.now);
        let slot = minute(self.now.as_second());
        let latest = latest(self.job, self.runs);
        match latest {
            Some(latest) if latest >= slot => Decision::wait(Some(latest + SignedDuration::from_mins(1))),
            _ => Decision::Start { slot },
        }
    }
}

/// The slot of the latest run.
#[must_use]
pub fn latest(job: &EvalJob, runs: &[Run]) -> Option<Timestamp> {
    runs.iter().map(|run| run.slot).chain(scheduled(job)).max()
}

/// The slot of the latest run that the status knows.
fn scheduled(job: &EvalJob) -> Option<Timestamp> {
    let slot = job.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
    slot.map(|time| time.0)
}

/// Whether the run of a slot may still start.
fn is_in_time(job: &EvalJob, slot: Timestamp, now: Timestamp) -> bool {
    let deadline = job.spec.schedule.starting_deadline.and_then(signed);
    deadline.is_none_or(|deadline| now <= slot + offset(job) + deadline)
}

/// How long after each slot the runs of `job` start: some part of its jitter, by its name.
#[must_use]
pub fn offset(job: &EvalJob) -> SignedDuration {
    let jitter = job.spec.schedule.jitter.and_then(signed).unwrap_or_default();
    let digest = Sha256::digest(Key::of(job).to_string());
    let part = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    let seconds = i128::from(jitter.as_secs()) * i128::from(part) / (i128::from(u32::MAX) + 1);
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or_default())
}

fn signed(duration: kube::core::Duration) -> Option<SignedDuration> {
    SignedDuration::try_from(std::time::Duration::from(duration)).ok()
}

/// As much of what a person wrote into an annotation as is kept to know it again.
pub(super) fn word(text: &str) -> String {
    text.chars().take(MOST_WORDS).collect()
}

/// The request for a run that none was started for.
#[must_use]
pub fn pending(job: &EvalJob, runs: &[Run]) -> Option<String> {
    let wanted = job.annotations().get(RUN_NOW_ANNOTATION)?;
    let wanted = word(wanted);
    let is_known = answered(job, runs).as_ref() == Some(&wanted) || runs.iter().any(|run| run.requested.as_ref() == Some(&wanted));
    (!is_known).then_some(wanted)
}

/// The request that a run was last started for.
#[must_use]
pub fn answered(job: &EvalJob, runs: &[Run]) -> Option<String> {
    let latest = runs.iter().rev().find_map(|run| run.requested.clone());
    latest.or_else(|| job.status.as_ref()?.last_request.clone())
}

/// A digest over what all targets were when a run was last started.
#[must_use]
pub fn attempted(job: &EvalJob, runs: &[Run]) -> Option<String> {
    let latest = runs.last().map(|run| fingerprint::digest(&run.fingerprints));
    latest.or_else(|| job.status.as_ref()?.attempted.clone())
}

/// A digest over the images of the targets' pods when a run was last started.
#[must_use]
pub fn attempted_images(job: &EvalJob, runs: &[Run]) -> Option<String> {
    let latest = runs.iter().rev().find_map(|run| run.images.clone());
    latest.or_else(|| job.status.as_ref()?.attempted_images.clone())
}

/// The runs, with those given up that the slot of another one takes the place of.
#[must_use]
pub fn overtaken<'a>(job: &EvalJob, schedule: &Schedule, runs: &'a [Run], now: Timestamp) -> Cow<'a, [Run]> {
    // One whose report is on its way has ended, and one whose place nothing could take goes on.
    let is_overtaken = |run: &Run| {
        let next = schedule.latest_due(run.slot, now - offset(job));
        let is_ending = matches!(run.state, State::Ending(_));
        run.is_going_on() && !is_ending && next.is_some_and(|next| is_in_time(job, next, now))
    };
    let replaces = job.spec.schedule.concurrency_policy == ConcurrencyPolicy::Replace && !job.spec.suspend;
    if !replaces || !runs.iter().any(is_overtaken) {
        return Cow::Borrowed(runs);
    }
    let why = "the next run took its place before it had ended (spec.schedule.concurrencyPolicy is Replace); run less often, or ask less";
    let given_up = |run: &Run| {
        let mut run = run.clone();
        if is_overtaken(&run) {
            run.state = State::Stuck(run.slot, why.to_owned());
        }
        run
    };
    Cow::Owned(runs.iter().map(given_up).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::evaluation::fixtures;

    fn daily() -> Schedule {
        Schedule::parse("0 2 * * *", None, "spec.schedule").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn start(slot: &str) -> Decision {
        Decision::Start { slot: at(slot) }
    }

    fn run(slot: &str, state: State) -> Run {
        Run {
            name: "quality-1".to_owned(),
            slot: at(slot),
            fingerprints: [].into(),
            requested: None,
            images: None,
            versions: None,
            state,
        }
    }

    fn decided(job: &EvalJob, runs: &[Run], settled: Option<&str>, now: &str) -> Decision {
        Due {
            job,
            schedule: &daily(),
            runs,
            settled,
            images: None,
            is_another_version: false,
            alarm: None,
            now: at(now),
        }
        .decide()
    }

    #[test]
    fn of_the_slots_missed_only_the_latest_runs() {
        let ended = [run("2026-05-01T02:00:00Z", State::Stuck(at("2026-05-01T02:05:00Z"), String::new()))];
        assert_eq!(
            decided(&fixtures::job(), &ended, None, "2026-05-04T09:00:00Z"),
            start("2026-05-04T02:00:00Z")
        );
    }

    #[test]
    fn a_slot_is_due_from_its_first_moment() {
        let wait = Decision::wait(Some(at("2026-05-02T02:00:00Z")));
        assert_eq!(decided(&fixtures::job(), &[], None, "2026-05-02T01:59:59.999Z"), wait);
        assert_eq!(
            decided(&fixtures::job(), &[], None, "2026-05-02T02:00:00Z"),
            start("2026-05-02T02:00:00Z")
        );
    }

    #[test]
    fn nothing_starts_while_a_run_is_going_on_or_while_suspended() {
        let going_on = [run("2026-05-02T02:00:00Z", State::Running)];
        assert_eq!(
            decided(&fixtures::job(), &going_on, None, "2026-05-04T09:00:00Z"),
            Decision::wait(None)
        );
        let mut job = fixtures::job();
        job.spec.suspend = true;
        assert_eq!(decided(&job, &[], None, "2026-05-04T09:00:00Z"), Decision::Suspended);
    }

    #[test]
    fn a_slot_whose_deadline_is_over_is_left_out_and_told() {
        let mut job = fixtures::job();
        job.spec.schedule.starting_deadline = Some(fixtures::read("1h"));
        assert_eq!(decided(&job, &[], None, "2026-05-02T03:00:00Z"), start("2026-05-02T02:00:00Z"));
        let missed = Decision::Wait {
            until: Some(at("2026-05-03T02:00:00Z")),
            missed: Some(at("2026-05-02T02:00:00Z")),
        };
        assert_eq!(decided(&job, &[], None, "2026-05-02T03:00:01Z"), missed);
    }

    #[test]
    fn a_slot_that_falls_into_a_run_waits_for_its_end_where_that_is_allowed() {
        let mut job = fixtures::job();
        let long = |until| [run("2026-05-02T02:00:00Z", State::Stuck(at(until), String::new()))];
        let left_out = Decision::wait(Some(at("2026-05-05T02:00:00Z")));
        assert_eq!(decided(&job, &long("2026-05-04T07:00:00Z"), None, "2026-05-04T07:00:01Z"), left_out);
        job.spec.schedule.concurrency_policy = ConcurrencyPolicy::Allow;
        let going_on = [run("2026-05-02T02:00:00Z", State::Running)];
        assert_eq!(decided(&job, &going_on, None, "2026-05-04T07:00:00Z"), Decision::wait(None));
        assert_eq!(
            decided(&job, &long("2026-05-04T07:00:00Z"), None, "2026-05-04T07:00:01Z"),
            start("2026-05-04T02:00:00Z"),
            "of two slots only the latest"
        );
        assert_eq!(
            decided(&job, &long("2026-05-02T03:00:00Z"), None, "2026-05-02T04:00:00Z"),
            Decision::wait(Some(at("2026-05-03T02:00:00Z")))
        );
        job.spec.schedule.starting_deadline = Some(fixtures::read("1h"));
        let missed = Decision::Wait {
            until: Some(at("2026-05-05T02:00:00Z")),
            missed: Some(at("2026-05-04T02:00:00Z")),
        };
        assert_eq!(decided(&job, &long("2026-05-04T07:00:00Z"), None, "2026-05-04T07:00:01Z"), missed);
    }

    #[test]
    fn jitter_moves_the_start_of_each_slot_and_leaves_its_name() {
        let mut job = fixtures::job();
        job.spec.schedule.jitter = Some(fixtures::read("10m"));
        let offset = offset(&job);
        assert!((0..600).contains(&offset.as_secs()) && offset.as_secs() > 0, "{offset}");
        let slot = at("2026-05-02T02:00:00Z");
        let before = (slot + offset - SignedDuration::from_secs(1)).to_string();
        assert_eq!(decided(&job, &[], None, &before), Decision::wait(Some(slot + offset)));
        assert_eq!(decided(&job, &[], None, &(slot + offset).to_string()), Decision::Start { slot });
        // Once it has run, it is over.
        let ended = [run(
            "2026-05-02T02:00:00Z",
            State::Stuck(slot + offset + SignedDuration::from_secs(9), String::new()),
        )];
        let next = Decision::wait(Some(at("2026-05-03T02:00:00Z") + offset));
        assert_eq!(decided(&job, &ended, None, "2026-05-02T03:00:00Z"), next);
    }

    #[test]
    fn a_person_may_ask_for_a_run_once_with_each_word_even_while_suspended() {
        let mut job = fixtures::job();
        job.spec.suspend = true;
        job.annotations_mut().insert(RUN_NOW_ANNOTATION.to_owned(), "please".to_owned());
        assert_eq!(decided(&job, &[], None, "2026-05-01T12:34:56Z"), start("2026-05-01T12:34:00Z"));
        let mut answering = run("2026-05-01T12:34:00Z", State::Running);
        answering.requested = Some("please".to_owned());
        assert_eq!(
            decided(&job, std::slice::from_ref(&answering), None, "2026-05-01T12:35:56Z"),
            Decision::Suspended
        );
        job.annotations_mut().insert(RUN_NOW_ANNOTATION.to_owned(), "again".to_owned());
        answering.state = State::Stuck(at("2026-05-01T12:34:40Z"), String::new());
        let wait = Decision::wait(Some(at("2026-05-01T12:35:00Z")));
        assert_eq!(
            decided(&job, std::slice::from_ref(&answering), None, "2026-05-01T12:34:57Z"),
            wait,
            "its name is taken for a minute"
        );
        assert_eq!(
            decided(&job, &[answering], None, "2026-05-01T12:35:00Z"),
            start("2026-05-01T12:35:00Z")
        );
    }

    #[test]
    fn a_change_starts_a_run_once_when_all_targets_are_settled() {
        let mut job = fixtures::job();
        assert_eq!(
            decided(&job, &[], Some("a"), "2026-05-01T12:34:56Z"),
            Decision::wait(Some(at("2026-05-02T02:00:00Z")))
        );
        job.spec.triggers = vec![Trigger::SpecChange];
        assert_eq!(decided(&job, &[], Some("a"), "2026-05-01T12:34:56Z"), start("2026-05-01T12:34:00Z"));
        let wait = Decision::wait(Some(at("2026-05-02T02:00:00Z")));
        assert_eq!(decided(&job, &[], None, "2026-05-01T12:34:56Z"), wait);
        job.status = Some(fixtures::read("{attempted: a}"));
        assert_eq!(decided(&job, &[], Some("a"), "2026-05-01T12:34:56Z"), wait);
        assert_eq!(decided(&job, &[], Some("b"), "2026-05-01T12:34:56Z"), start("2026-05-01T12:34:00Z"));
    }

    #[test]
    fn another_image_starts_a_run_once_where_that_is_wanted() {
        let mut job = fixtures::job();
        job.spec.triggers = vec![Trigger::ImageChange];
        let decided = |job: &EvalJob, then: Option<&str>, now: &str| {
            let mut ended = run("2026-05-02T02:00:00Z", State::Stuck(at("2026-05-02T02:00:00Z"), String::new()));
            ended.images = then.map(str::to_owned);
            Due {
                job,
                schedule: &daily(),
                runs: &[ended],
                settled: None,
                images: Some(now),
                is_another_version: false,
                alarm: None,
                now: at("2026-05-02T02:20:30Z"),
            }
            .decide()
        };
        let wait = Decision::wait(Some(at("2026-05-03T02:00:00Z")));
        assert_eq!(decided(&job, Some("a"), "b"), start("2026-05-02T02:20:00Z"));
        assert_eq!(decided(&job, Some("a"), "a"), wait);
        assert_eq!(decided(&job, None, "b"), wait, "nothing is known of before");
        job.spec.triggers.clear();
        assert_eq!(decided(&job, Some("a"), "b"), wait);
    }

    #[test]
    fn an_alarm_has_one_second_look() {
        let mut job = fixtures::job();
        job.spec.triggers = vec![Trigger::DriftAlarm];
        let decided = |latest: &str| {
            let runs = [run(latest, State::Stuck(at(latest), String::new()))];
            Due {
                job: &job,
                schedule: &daily(),
                runs: &runs,
                settled: None,
                images: None,
                is_another_version: false,
                alarm: Some(at("2026-05-02T02:00:00Z")),
                now: at("2026-05-02T02:20:30Z"),
            }
            .decide()
        };
        assert_eq!(decided("2026-05-02T02:00:00Z"), start("2026-05-02T02:20:00Z"));
        assert_eq!(decided("2026-05-02T02:10:00Z"), Decision::wait(Some(at("2026-05-03T02:00:00Z"))));
    }

    #[test]
    fn a_run_gives_way_to_the_next_slot_where_that_is_wanted() {
        let mut job = fixtures::job();
        let going_on = [run("2026-05-02T02:00:00Z", State::Running)];
        let next = at("2026-05-03T02:00:00Z");
        assert!(matches!(overtaken(&job, &daily(), &going_on, next), Cow::Borrowed(_)));
        job.spec.schedule.concurrency_policy = ConcurrencyPolicy::Replace;
        assert!(matches!(
            overtaken(&job, &daily(), &going_on, next - SignedDuration::from_secs(1)),
            Cow::Borrowed(_)
        ));
        let ending = [run("2026-05-02T02:00:00Z", State::Ending(next))];
        assert!(matches!(overtaken(&job, &daily(), &ending, next), Cow::Borrowed(_)));
        job.spec.schedule.starting_deadline = Some(fixtures::read("1h"));
        let too_late = next + SignedDuration::from_hours(2);
        assert!(matches!(overtaken(&job, &daily(), &going_on, too_late), Cow::Borrowed(_)));
        let runs = overtaken(&job, &daily(), &going_on, next);
        assert!(!runs[0].is_going_on());
        assert_eq!(decided(&job, &runs, None, "2026-05-03T02:00:00Z"), start("2026-05-03T02:00:00Z"));
    }
}
