//! What may be applied as it is, and cannot do what it looks like: warnings.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::Portfolio;
use super::finding::Severity;
use crate::api::routing_policy::{RouteRule, Strategy, When};
use crate::api::shadow::Shadow;
use crate::api::warmup::WarmupMode;
use crate::api::{ModelDeployment, RoutingPolicy};
use crate::plan::names::Key;
use crate::plan::price::{Book, Pricing};
use crate::plan::routing::Named;
use crate::plan::scaling::schedule;
use crate::plan::{Invalid, backend};

/// Adds them to `portfolio`, with the prices of `book` at `now`.
pub(super) fn check(portfolio: &mut Portfolio, book: &Book, now: Timestamp) {
    let models: BTreeMap<Key, &ModelDeployment> = portfolio.models.iter().map(|w| (Key::of(&w.object), &w.object)).collect();
    let of_models = portfolio.models.iter().flat_map(|written| {
        let doubts = [
            longer_than_it_holds(&written.object),
            readable_key(&written.object),
            ambiguous(&written.object, now),
            for_ever(&written.object),
        ];
        let doubts = doubts.into_iter().flatten();
        doubts.map(move |invalid| written.origin.finding(Severity::Warning, invalid))
    });
    let of_policies = portfolio.policies.iter().flat_map(|written| {
        let policy = &written.object;
        let own = Key::of(policy).namespace;
        let rules = policy
            .spec
            .rules
            .iter()
            .enumerate()
            .flat_map(move |(at, rule)| twice(at, rule, &own));
        let doubts = rules
            .chain(unreachable(&policy.spec.rules))
            .chain(unpriced(policy, &models, book, now))
            .chain(unbounded(policy, &models))
            .chain(asleep(policy, &models))
            .chain(uncopied(policy, &models))
            .chain(spilled(policy, &models));
        doubts.map(move |invalid| written.origin.finding(Severity::Warning, invalid))
    });
    let found: Vec<_> = of_models.chain(of_policies).collect();
    portfolio.findings.extend(found);
}

fn longer_than_it_holds(md: &ModelDeployment) -> Option<Invalid> {
    let capabilities = md.spec.capabilities.as_ref()?;
    let (longest, holds) = (capabilities.max_output_tokens?, capabilities.context_tokens?);
    (longest > holds).then(|| {
        let problem = format!("{longest} is more than contextTokens, {holds}, in which an answer has its place");
        Invalid::new("spec.capabilities.maxOutputTokens", problem, "correct one of the two")
    })
}

fn ambiguous(md: &ModelDeployment, now: Timestamp) -> Option<Invalid> {
    schedule::ambiguous(md.spec.self_hosted.as_ref()?.scaling.as_ref()?, now)
}

fn readable_key(md: &ModelDeployment) -> Option<Invalid> {
    let api = md.spec.api.as_ref()?;
    let url = api.credentials.as_ref().and(api.endpoint.as_deref())?;
    (url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")) && !is_near(url, md)).then(|| {
        let problem = "the key is sent there in the clear, and whoever is on the way can read it and the requests";
        Invalid::new(
            "spec.api.endpoint",
            problem,
            "write https://, with spec.api.caBundle if its certificate is your own",
        )
    })
}

/// Whether it is this machine, or a Service of the cluster.
fn is_near(url: &str, md: &ModelDeployment) -> bool {
    let uri = backend::server(url).ok();
    let Some(host) = uri.as_ref().and_then(|uri| uri.host()) else {
        return true;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let is_loopback = host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    let is_local = host == "localhost" || host.ends_with(".localhost");
    let of_namespace = md
        .namespace()
        .is_some_and(|namespace| host.strip_suffix(&format!(".{namespace}")).is_some());
    let is_service = !host.contains(['.', ':']) || of_namespace || host.ends_with(".svc") || host.ends_with(".svc.cluster.local");
    is_loopback || is_local || is_service
}

/// Models that a rule names again, where that changes nothing.
fn twice(at: usize, rule: &RouteRule, own: &str) -> Vec<Invalid> {
    let targets: Vec<String> = rule.targets.iter().map(|t| Named::from(t).called(own)).collect();
    let fallback: Vec<String> = rule.fallback.iter().map(|f| Named::from(f).called(own)).collect();
    // Of several by weight one is asked, and the others only as fallbacks.
    let asks_all = targets.len() == 1 || rule.strategy != Strategy::Weighted;
    let again = |list: &str, index: usize, problem: String| {
        Invalid::new(
            format!("spec.rules[{at}].{list}[{index}]"),
            problem,
            "remove it, or name another model",
        )
    };
    let mut found = Vec::new();
    for (index, name) in targets.iter().enumerate() {
        if targets[..index].contains(name) {
            found.push(again("targets", index, format!("{name} is a target of this rule already")));
        }
    }
    for (index, name) in fallback.iter().enumerate() {
        if fallback[..index].contains(name) {
            found.push(again("fallback", index, format!("{name} is a fallback of this rule already")));
        } else if asks_all && targets.contains(name) {
            found.push(again(
                "fallback",
                index,
                format!("{name} is a target of this rule, and is not asked again when it has failed"),
            ));
        }
    }
    found
}

/// Rules after one that is for every request.
fn unreachable(rules: &[RouteRule]) -> Vec<Invalid> {
    let is_for_all = |rule: &RouteRule| rule.when.as_ref().is_none_or(|when| *when == When::default());
    let Some(last) = rules.iter().position(is_for_all) else {
        return Vec::new();
    };
    let never = |at: usize| {
        let problem = format!("no request comes to it, because spec.rules[{last}] before it is for all of them");
        Invalid::new(
            format!("spec.rules[{at}]"),
            problem,
            format!("move it up, or give spec.rules[{last}] a when"),
        )
    };
    (last + 1..rules.len()).map(never).collect()
}

/// Rules whose requests are refused whenever nobody has asked for a while: what they are for is to be there, or to be waited for.
fn asleep(policy: &RoutingPolicy, models: &BTreeMap<Key, &ModelDeployment>) -> Vec<Invalid> {
    let namespace = Key::of(policy).namespace;
    let rests = |named: Named<'_>| may_sleep(&named.key(&namespace), models);
    let doubt = |(at, rule): (usize, &RouteRule)| {
        let those = if rule.fallback.is_empty() {
            "each of them"
        } else {
            "each of them, and of fallback,"
        };
        let problem = format!(
            "{those} may have no replica (min: 0 in scaling, or in its schedule), and without spec.warmup requests are refused until one is awake"
        );
        let remedy = "add spec.warmup, such as {mode: Hold}, or a fallback that always answers, or give a model min: 1";
        Invalid::new(format!("spec.rules[{at}].targets"), problem, remedy)
    };
    let rules = policy.spec.rules.iter().enumerate().filter(|_| policy.spec.warmup.is_none());
    let sleeps = |rule: &RouteRule| {
        // One of no weight is never asked.
        let mut asked = rule.targets.iter().filter(|target| target.weight > 0).peekable();
        asked.peek().is_some() && asked.all(|target| rests(Named::from(target))) && rule.fallback.iter().all(|one| rests(Named::from(one)))
    };
    rules.filter(|(_, rule)| sleeps(rule)).map(doubt).collect()
}

/// Copies for a model that may have no replica: nothing wakes it for them.
fn uncopied(policy: &RoutingPolicy, models: &BTreeMap<Key, &ModelDeployment>) -> Vec<Invalid> {
    let namespace = Key::of(policy).namespace;
    let doubt = |(at, shadow): (usize, &Shadow)| {
        let problem = format!(
            "{} may have no replica (min: 0 in scaling, or in its schedule), and copies of requests neither wake it nor keep it awake",
            Named::from(shadow).called(&namespace)
        );
        Invalid::new(
            format!("spec.shadow[{at}].model"),
            problem,
            "give it min: 1 for as long as it is to be measured",
        )
    };
    let shadows = policy.spec.shadow.iter().enumerate();
    let rests = |shadow: &Shadow| may_sleep(&Named::from(shadow).key(&namespace), models);
    shadows.filter(|(_, shadow)| rests(shadow)).map(doubt).collect()
}

/// A schedule whose one entry holds for ever once its time has come.
fn for_ever(md: &ModelDeployment) -> Option<Invalid> {
    let scaling = md.spec.self_hosted.as_ref()?.scaling.as_ref()?;
    let [only] = scaling.schedule.as_deref()? else { return None };
    let is_other = only.min.is_some_and(|min| min != scaling.min) || only.max.is_some_and(|max| max != scaling.max);
    (is_other && schedule::invalid(scaling).is_empty()).then(|| {
        let problem = format!(
            "its one entry holds from each of its times until the next, and so min: {} and max: {} of scaling never hold again after the first",
            scaling.min, scaling.max
        );
        Invalid::new(
            "spec.selfHosted.scaling.schedule",
            problem,
            "add an entry for when it ends, such as one with a later cron and these numbers, or change scaling itself",
        )
    })
}

/// Models that are to answer while another one wakes, and wake themselves then.
fn spilled(policy: &RoutingPolicy, models: &BTreeMap<Key, &ModelDeployment>) -> Vec<Invalid> {
    let Some(warmup) = policy.spec.warmup.as_ref().filter(|warmup| warmup.mode == WarmupMode::Spill) else {
        return Vec::new();
    };
    let namespace = Key::of(policy).namespace;
    let targets = |rule: &RouteRule| -> Vec<Key> { rule.targets.iter().map(|target| Named::from(target).key(&namespace)).collect() };
    let spill: Vec<Key> = warmup.targets.iter().map(|target| Named::from(target).key(&namespace)).collect();
    // A rule that has a target behind an API waits for nobody.
    let is_own = |key: &Key| models.get(key).is_none_or(|md| md.spec.self_hosted.is_some());
    let rules = policy.spec.rules.iter().enumerate().map(|(at, rule)| (at, rule, targets(rule)));
    let waiting: Vec<_> = rules
        .filter(|(_, _, targets)| !targets.is_empty() && targets.iter().all(is_own))
        .collect();
    let is_among_all = |key: &Key| !waiting.is_empty() && waiting.iter().all(|(_, _, targets)| targets.contains(key));
    let again = spill.iter().enumerate().filter(|(_, key)| is_among_all(key)).map(|(index, key)| {
        let problem = format!(
            "{} is a target of each rule that waits for its models, and models to spill to are asked only while no target answers",
            key.called_in(&namespace)
        );
        Invalid::new(
            format!("spec.warmup.targets[{index}]"),
            problem,
            "name another model, or remove it; mode: Hold has requests wait",
        )
    });
    let others: Vec<&Key> = spill.iter().filter(|key| !is_among_all(key)).collect();
    let is_of_no_use = |targets: &[Key]| {
        let rests = |key: &&Key| targets.contains(key) || may_sleep(key, models);
        !others.is_empty() && targets.iter().all(|key| may_sleep(key, models)) && others.iter().all(rests)
    };
    let all_rest = waiting
        .iter()
        .filter(|(_, rule, targets)| rule.fallback.is_empty() && is_of_no_use(targets))
        .map(|(at, _, _)| {
            let problem = format!(
                "each of them may have no replica when the targets of spec.rules[{at}] have none, and requests are refused until one of these is awake"
            );
            Invalid::new(
                "spec.warmup.targets",
                problem,
                "name a model that always has a replica or is behind an API, or set mode: Hold",
            )
        });
    again.chain(all_rest).collect()
}

/// Whether a model of these files may have no replica.
fn may_sleep(model: &Key, models: &BTreeMap<Key, &ModelDeployment>) -> bool {
    let own = models.get(model).and_then(|md| md.spec.self_hosted.as_ref());
    own.and_then(|own| own.scaling.as_ref()).is_some_and(schedule::may_rest)
}

/// Copies of requests that cost money, as much as it pleases.
fn unbounded(policy: &RoutingPolicy, models: &BTreeMap<Key, &ModelDeployment>) -> Vec<Invalid> {
    let namespace = Key::of(policy).namespace;
    let is_paid = |shadow: &Shadow| {
        let md = models.get(&Named::from(shadow).key(&namespace));
        md.is_some_and(|md| md.spec.api.is_some()) && shadow.budget.is_none()
    };
    let doubt = |(at, shadow): (usize, &Shadow)| {
        let problem = format!(
            "{} is behind an API, and nothing bounds what copies of requests cost there: the policy's budgets do not count them",
            Named::from(shadow).called(&namespace)
        );
        let remedy = r#"add one, such as budget: {usd: "20", window: Day}"#;
        Invalid::new(format!("spec.shadow[{at}].budget"), problem, remedy)
    };
    let shadows = policy.spec.shadow.iter().enumerate();
    shadows.filter(|(_, shadow)| is_paid(shadow)).map(doubt).collect()
}

/// Models behind an API that get no request, because what is limited in US dollars cannot be reckoned for them.
fn unpriced(policy: &RoutingPolicy, models: &BTreeMap<Key, &ModelDeployment>, book: &Book, now: Timestamp) -> Vec<Invalid> {
    let namespace = Key::of(policy).namespace;
    let spec = &policy.spec;
    let has_no_price = |named: Named<'_>| {
        let key = named.key(&namespace);
        let md = models.get(&key)?;
        (md.spec.api.is_some() && Pricing::of(md, book).at(now).is_none()).then(|| key.called_in(&namespace))
    };
    let of_rule = |rule: &RouteRule| -> Vec<String> {
        let targets = rule.targets.iter().map(Named::from);
        targets
            .chain(rule.fallback.iter().map(Named::from))
            .filter_map(has_no_price)
            .collect()
    };
    let copied = || spec.shadow.iter().map(Named::from).filter_map(has_no_price);
    let mut limits: Vec<(String, Vec<String>)> = Vec::new();
    for (at, budget) in spec.budgets.iter().enumerate().filter(|(_, budget)| budget.usd.is_some()) {
        let instead = budget.on_exhausted.targets.iter().map(Named::from).filter_map(has_no_price);
        let names = spec.rules.iter().flat_map(of_rule).chain(instead);
        limits.push((format!("spec.budgets[{at}].usd"), names.collect()));
    }
    if spec
        .require
        .as_ref()
        .is_some_and(|require| require.max_cost_per_request_usd.is_some())
    {
        let names = spec.rules.iter().flat_map(of_rule).chain(copied()).collect();
        limits.push(("spec.require.maxCostPerRequestUSD".to_owned(), names));
    }
    for (at, rule) in spec.rules.iter().enumerate() {
        if rule
            .require
            .as_ref()
            .is_some_and(|require| require.max_cost_per_request_usd.is_some())
        {
            limits.push((format!("spec.rules[{at}].require.maxCostPerRequestUSD"), of_rule(rule)));
        }
    }
    let in_dollars = |shadow: &Shadow| shadow.budget.as_ref().is_some_and(|budget| budget.usd.is_some());
    for (at, shadow) in spec.shadow.iter().enumerate().filter(|(_, shadow)| in_dollars(shadow)) {
        let names = has_no_price(shadow.into()).into_iter().collect();
        limits.push((format!("spec.shadow[{at}].budget.usd"), names));
    }
    let limits = limits.into_iter().filter_map(|(field, mut names)| {
        names.sort_unstable();
        names.dedup();
        let (name, verb) = match names.as_slice() {
            [] => return None,
            [one] => (one.clone(), "has"),
            several => (several.join(", "), "have"),
        };
        let problem = format!("{name} {verb} no known price, and so no request under this limit in US dollars is answered there");
        let remedy = "set spec.price of the ModelDeployment, or have a price book that lists it (portfolio check --prices FILE)";
        Some(Invalid::new(field, problem, remedy))
    });
    limits.collect()
}
