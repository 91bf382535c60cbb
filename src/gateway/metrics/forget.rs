//! Which series are forgotten: those of a policy, a name or a model that has been in no route table for an hour. Looked at when metrics are
//! read, so that requests pay nothing for it; where nobody reads them, nothing is forgotten.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::family::Family;
use super::labels::Names;
use super::series::Series;
use crate::plan::names::Key;
use crate::plan::routing::RouteTable;

/// How long the series of what is gone are kept: long enough to be read, and for what is only away for a while.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// When each name that series carry was last in a table.
#[derive(Default)]
pub(super) struct Seen(HashMap<String, Instant>);

impl Seen {
    pub(super) fn forget(&mut self, series: &Series, table: &RouteTable, now: Instant) {
        for name in names(table) {
            self.0.insert(name, now);
        }
        let mut note = |name: &str| {
            if !self.0.contains_key(name) {
                self.0.insert(name.to_owned(), now);
            }
        };
        each_family(series, &mut note);
        let before = self.0.len();
        // Words of ours stay.
        self.0
            .retain(|name, seen| name.starts_with('_') || now.saturating_duration_since(*seen) < KEPT);
        if self.0.len() < before {
            self.retain(series);
        }
    }

    fn retain(&self, series: &Series) {
        let keeps = |name: &str| self.0.contains_key(name);
        let keeps_key = |key: &Key| keeps(&key.to_string());
        series.answered.retain(|model, _| keeps_key(model));
        // What is held of a name that is kept may be of a model that is not.
        series.routes.retain(|name, route| {
            route.models.retain(|model, _| keeps_key(model));
            keeps(name) && route.policy.as_ref().is_none_or(keeps_key)
        });
        retain(&series.requests, keeps);
        retain(&series.duration, keeps);
        retain(&series.first_content, keeps);
        retain(&series.attempts, keeps);
        retain(&series.broken, keeps);
        retain(&series.fallbacks, keeps);
        retain(&series.warmups, keeps);
        retain(&series.cached, keeps);
        retain(&series.held_time, keeps);
        retain(&series.redacted, keeps);
        retain(&series.tokens, keeps);
        retain(&series.cost, keeps);
        retain(&series.unpriced, keeps);
        retain(&series.estimated, keeps);
        series.shadows.retain(keeps_key);
        retain(&series.shadows.requests, keeps);
        retain(&series.shadows.skipped, keeps);
        retain(&series.shadows.duration, keeps);
        retain(&series.shadows.tokens, keeps);
        retain(&series.shadows.cost, keeps);
        retain(&series.shadows.unpriced, keeps);
        retain(&series.shadows.estimated, keeps);
        retain(&series.gen_ai.tokens, keeps);
        retain(&series.gen_ai.duration, keeps);
        retain(&series.gen_ai.first_token, keeps);
        retain(&series.gen_ai.per_token, keeps);
    }
}

/// The names of everything that a table has.
fn names(table: &RouteTable) -> HashSet<String> {
    let mut names = HashSet::new();
    for route in table.routes() {
        names.insert(route.name.clone());
        names.extend(route.policy.as_ref().map(Key::to_string));
        names.extend(route.candidates().map(|candidate| candidate.model.to_string()));
    }
    names
}

fn each_family(series: &Series, note: &mut dyn FnMut(&str)) {
    each(&series.requests, note);
    each(&series.duration, note);
    each(&series.attempts, note);
    each(&series.fallbacks, note);
    each(&series.warmups, note);
    each(&series.cached, note);
    each(&series.redacted, note);
    each(&series.shadows.requests, note);
    each(&series.shadows.skipped, note);
    each(&series.gen_ai.duration, note);
}

fn each<S: Names + Eq + Hash, M: Clone>(family: &Family<S, M>, note: &mut dyn FnMut(&str)) {
    family.each(|labels| labels.names(note));
}

fn retain<S: Names + Eq + Hash, M: Clone>(family: &Family<S, M>, keeps: impl Fn(&str) -> bool) {
    family.retain(|labels| {
        let mut all = true;
        labels.names(&mut |name| all &= keeps(name));
        all
    });
}
