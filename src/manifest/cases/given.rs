//! What a case says of things that are not there: it would pass for another reason than it seems to.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt;

use super::super::words::closest;
use super::{Asker, Case, Given, Portfolio, Verdicts, is_called};
use crate::api::ModelDeployment;
use crate::plan::names::{Key, asked};

/// What is wrong with the names in `given`, as sentences that go on after the case.
pub(super) fn problems(portfolio: &Portfolio, case: &Case, models: &[Arc<ModelDeployment>]) -> Vec<String> {
    let Given {
        verdicts,
        down,
        asleep,
        spent: _,
        latency,
        busy,
        namespaces,
        at: _,
    } = &case.given;
    let plain: BTreeSet<String> = models
        .iter()
        .flat_map(|md| [md.name_any(), Key::of(md.as_ref()).to_string()])
        .collect();
    let with_adapters: BTreeSet<String> = models.iter().flat_map(|md| names(md)).collect();
    let mut problems = unknown("down", down, &plain, "no model here");
    problems.extend(unknown("asleep", asleep, &plain, "no model here"));
    let no_pods = asleep.iter().filter(|name| {
        let mut its = models.iter().filter(|md| is_called(md, name)).peekable();
        its.peek().is_some() && its.all(|md| md.spec.self_hosted.is_none())
    });
    problems.extend(no_pods.map(|name| format!("says that {name} is asleep, which is no selfHosted model here")));
    problems.extend(unknown("latency", latency.keys(), &with_adapters, "no model here"));
    problems.extend(unknown("busy", busy.keys(), &with_adapters, "no model here"));
    problems.extend(unknown("verdicts", verdicts.keys(), &evaluations(portfolio), "no EvalJob here"));
    for (job, verdicts) in verdicts {
        if let Verdicts::OfEach(each) = verdicts {
            problems.extend(unknown(&format!("verdicts.{job}"), each.keys(), &with_adapters, "no model here"));
        }
    }
    let known = namespaces_of(portfolio, case, models);
    problems.extend(unknown("namespaces", namespaces.keys(), &known, "no namespace here"));
    problems
}

/// Those of the names that nothing carries.
fn unknown<'a>(field: &str, names: impl IntoIterator<Item = &'a String>, known: &BTreeSet<String>, what: &str) -> Vec<String> {
    let all: Vec<&str> = known.iter().map(String::as_str).collect();
    let strangers = names.into_iter().filter(|name| !known.contains(*name));
    let told = |name: &String| {
        let meant = closest(name, &all).map(|meant| format!("; did you mean {meant}?"));
        format!("says given.{field}: {name}, which is {what}{}", meant.unwrap_or_default())
    };
    strangers.map(told).collect()
}

/// What a policy may call a model and its adapters.
fn names(md: &ModelDeployment) -> Vec<String> {
    let custom = md.spec.self_hosted.iter().filter_map(|own| own.custom.as_ref());
    let adapters: Vec<Option<&str>> = custom
        .flat_map(|custom| &custom.adapters)
        .map(|adapter| Some(adapter.name.as_str()))
        .chain([None])
        .collect();
    let calls = [md.name_any(), Key::of(md).to_string()];
    calls
        .iter()
        .flat_map(|name| adapters.iter().map(move |adapter| asked(name, *adapter)))
        .collect()
}

/// The EvalJobs of the files, and those that policies require.
pub(super) fn evaluations(portfolio: &Portfolio) -> BTreeSet<String> {
    let specs = portfolio.policies.iter().map(|written| &written.object.spec);
    let required = specs.flat_map(|spec| {
        spec.require
            .iter()
            .chain(spec.rules.iter().filter_map(|rule| rule.require.as_ref()))
    });
    let required = required
        .flat_map(|require| &require.evaluated)
        .map(|evaluated| evaluated.eval_job.clone());
    let written = portfolio.evaluations.iter().map(|written| written.object.name_any());
    written.chain(required).collect()
}

/// The namespaces that something in the files is in, or whoever asks.
fn namespaces_of(portfolio: &Portfolio, case: &Case, models: &[Arc<ModelDeployment>]) -> BTreeSet<String> {
    let of_policies = portfolio.policies.iter().map(|written| Key::of(&written.object).namespace);
    let of_models = models.iter().map(|md| Key::of(md.as_ref()).namespace);
    let own = portfolio.others.iter().filter(|other| other.kind == "Namespace");
    let asker = match &case.request.client {
        Asker::ServiceAccount(account) => Some(account.split_once('/').map_or("default", |(namespace, _)| namespace).to_owned()),
        Asker::ApiKey { .. } | Asker::Jwt { .. } | Asker::Anonymous {} => None,
    };
    let admitted = portfolio.policies.iter().flat_map(|written| &written.object.spec.clients);
    let admitted = admitted.filter_map(|client| client.service_accounts.as_ref());
    of_policies
        .chain(of_models)
        .chain(own.map(|other| other.key.name.clone()))
        .chain(asker)
        .chain(admitted.flat_map(|accounts| accounts.namespaces.iter().cloned()))
        .collect()
}
