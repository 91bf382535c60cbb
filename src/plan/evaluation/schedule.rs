//! When an evaluation runs: which slot of its schedule is due.

use k8s_openapi::jiff::Timestamp;

use crate::plan::schedule::Schedule;

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
        /// The next slot.
        until: Option<Timestamp>,
    },
    /// No run starts until a person says so.
    Suspended,
}

/// What the schedule asks for now. Of the slots missed since `since` (the latest run's end or slot, or the object's creation) only the
/// latest runs; none starts while a run is going on, and those that fall into it are left out because `since` then is its end.
#[must_use]
pub fn due(schedule: &Schedule, suspended: bool, running: bool, since: Timestamp, now: Timestamp) -> Decision {
    if suspended {
        return Decision::Suspended;
    }
    if running {
        return Decision::Wait { until: None };
    }
    match schedule.latest_due(since, now) {
        Some(slot) => Decision::Start { slot },
        None => Decision::Wait { until: schedule.next(now) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daily() -> Schedule {
        Schedule::parse("0 2 * * *", None, "spec.schedule").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn of_the_slots_missed_only_the_latest_runs() {
        let daily = daily();
        let decision = due(&daily, false, false, at("2026-05-01T02:00:00Z"), at("2026-05-04T09:00:00Z"));
        assert_eq!(
            decision,
            Decision::Start {
                slot: at("2026-05-04T02:00:00Z")
            }
        );
    }

    #[test]
    fn a_slot_is_due_from_its_first_moment() {
        let daily = daily();
        let since = at("2026-05-01T02:00:00Z");
        let before = due(&daily, false, false, since, at("2026-05-02T01:59:59.999Z"));
        assert_eq!(
            before,
            Decision::Wait {
                until: Some(at("2026-05-02T02:00:00Z"))
            }
        );
        let then = due(&daily, false, false, since, at("2026-05-02T02:00:00Z"));
        assert_eq!(
            then,
            Decision::Start {
                slot: at("2026-05-02T02:00:00Z")
            }
        );
    }

    #[test]
    fn nothing_starts_while_a_run_is_going_on_or_while_suspended() {
        let daily = daily();
        let (since, now) = (at("2026-05-01T02:00:00Z"), at("2026-05-04T09:00:00Z"));
        assert_eq!(due(&daily, false, true, since, now), Decision::Wait { until: None });
        assert_eq!(due(&daily, true, false, since, now), Decision::Suspended);
    }
}
