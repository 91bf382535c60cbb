//! What the objects of some files say about each other. Names that nothing here carries are warnings, because everything may be applied in
//! any order and from several places; two objects that claim the same thing are errors. Secrets are not missed when absent: they belong
//! into no repository. One that is here must have the key that is asked for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::finding::{Finding, Severity};
use super::{Portfolio, Written};
use crate::api::model_deployment::KeyRef;
use crate::plan::Invalid;
use crate::plan::names::{Key, asked_parts};
use crate::plan::routing;

/// Adds the findings about names to `portfolio`.
pub(super) fn check(portfolio: &mut Portfolio) {
    let mut found = Vec::new();
    too_large(portfolio, &mut found);
    twice(portfolio, &mut found);
    one_policy_a_model(portfolio, &mut found);
    names(portfolio, &mut found);
    portfolio.findings.extend(found);
}

/// The API server keeps no ConfigMap and no Secret with more data than this.
const DATA_LIMIT: usize = 1 << 20;

fn too_large(portfolio: &Portfolio, found: &mut Vec<Finding>) {
    for other in portfolio.others.iter().filter(|o| o.kind == "ConfigMap" || o.kind == "Secret") {
        // The values as they will be kept: those of `binaryData`, and of a Secret's `data`, are written in base64.
        let size_of = |member: &str, encoded: bool| -> usize {
            let values = other.value.get(member).and_then(Value::as_object).into_iter().flatten();
            let sizes = values.filter_map(|(_, value)| value.as_str()).map(str::len);
            sizes.map(|size| if encoded { size / 4 * 3 } else { size }).sum()
        };
        let size = size_of("data", other.kind == "Secret") + size_of("stringData", false) + size_of("binaryData", true);
        if size > DATA_LIMIT {
            let problem = format!("holds {size} bytes, and the API server takes {DATA_LIMIT} at most");
            let invalid = Invalid::new("data", problem, "shorten it or spread it over several");
            found.push(other.origin.finding(Severity::Error, invalid));
        }
    }
}

fn twice(portfolio: &Portfolio, found: &mut Vec<Finding>) {
    let origins = (portfolio.models.iter().map(|w| &w.origin))
        .chain(portfolio.policies.iter().map(|w| &w.origin))
        .chain(portfolio.evaluations.iter().map(|w| &w.origin));
    let mut seen = BTreeMap::new();
    for origin in origins {
        if let Some(first) = seen.get(&origin.object) {
            let problem = format!("is defined twice, first at {first}");
            let invalid = Invalid::new("metadata.name", problem, "remove one of them or name it differently");
            found.push(origin.finding(Severity::Error, invalid));
        } else {
            seen.insert(origin.object.clone(), origin.place());
        }
    }
}

fn one_policy_a_model(portfolio: &Portfolio, found: &mut Vec<Finding>) {
    let mut first: BTreeMap<&str, &Written<_>> = BTreeMap::new();
    for policy in &portfolio.policies {
        let model = policy.object.spec.model.as_str();
        match first.get(model) {
            Some(earlier) if earlier.origin.object != policy.origin.object => {
                let problem = format!(
                    "{model} is already the model of {} ({})",
                    earlier.origin.object,
                    earlier.origin.place()
                );
                let invalid = Invalid::new("spec.model", problem, "give one of the two policies another model name");
                found.push(policy.origin.finding(Severity::Error, invalid));
            }
            Some(_) => {}
            None => {
                first.insert(model, policy);
            }
        }
    }
}

fn names(portfolio: &Portfolio, found: &mut Vec<Finding>) {
    // An object with an error has its own finding, and is not missing.
    let refused = |kind: &'static str| portfolio.refused.iter().filter(move |(k, _)| k == kind).map(|(_, key)| key.clone());
    let models = portfolio.models.iter().map(|w| Key::of(&w.object));
    let models: BTreeSet<Key> = models.chain(refused("ModelDeployment")).collect();
    let evaluations = portfolio.evaluations.iter().map(|w| Key::of(&w.object));
    let evaluations: BTreeSet<Key> = evaluations.chain(refused("EvalJob")).collect();
    let grants = portfolio.grants();
    let missing = |known: &BTreeSet<Key>, kind: &str, field: String, key: &Key, crosses: bool| {
        let remedy = format!("apply it too, or correct the name; {}", near(known, key, crosses));
        (!known.contains(key)).then(|| Invalid::new(field, format!("no {kind} {key} is in these files"), remedy.trim_end_matches("; ")))
    };
    // An adapter of a model that is not here is not missed: its model is.
    let lacking = |field: String, key: &Key, adapter: Option<&str>| {
        let adapter = adapter?;
        let here = portfolio.models.iter().find(|w| Key::of(&w.object) == *key)?;
        let custom = here.object.spec.self_hosted.as_ref().and_then(|own| own.custom.as_ref());
        let adapters: Vec<&str> = custom.iter().flat_map(|c| &c.adapters).map(|a| a.name.as_str()).collect();
        let hint = super::words::closest(adapter, &adapters).map(|meant| format!("; did you mean {meant}?"));
        let remedy = format!(
            "add it to spec.selfHosted.custom.adapters, or correct the name{}",
            hint.unwrap_or_default()
        );
        (!adapters.contains(&adapter)).then(|| Invalid::new(field, format!("ModelDeployment {key} has no adapter {adapter}"), remedy))
    };
    // Policies are not put one behind the other.
    let a_policy = |field: String, key: &Key| {
        let is_one = !models.contains(key) && portfolio.policies.iter().any(|w| Key::of(&w.object) == *key);
        let problem = format!("{key} is a RoutingPolicy, and only a ModelDeployment can answer");
        is_one.then(|| Invalid::new(field, problem, format!("name the models of {} instead", key.name)))
    };
    for policy in &portfolio.policies {
        let namespace = Key::of(&policy.object).namespace;
        let spec = &policy.object.spec;
        let of_models = routing::named(spec).into_iter().filter_map(|(field, named)| {
            let key = named.key(&namespace);
            if !grants.permits(&namespace, &key) {
                let problem = format!("no ReferenceGrant in these files permits RoutingPolicies of namespace {namespace} to name {key}");
                let remedy = format!("{}, or name a model of {namespace}", grants.remedy(&namespace, &key));
                return Some(Invalid::new(format!("{field}.namespace"), problem, remedy));
            }
            let missing = || missing(&models, "ModelDeployment", format!("{field}.model"), &key, true);
            let missing = a_policy(format!("{field}.model"), &key).or_else(missing);
            missing.or_else(|| lacking(format!("{field}.adapter"), &key, named.adapter))
        });
        let blocked = spec.guardrails.as_ref().and_then(|guardrails| guardrails.blocked_terms.as_ref());
        let of_terms = blocked.and_then(|blocked| {
            let field = "spec.guardrails.blockedTerms.configMapRef";
            let reference = &blocked.config_map_ref;
            data(portfolio, "ConfigMap", field, &namespace, reference).or_else(|| terms(portfolio, field, &namespace, reference))
        });
        found.extend(of_terms.map(|(severity, invalid)| policy.origin.finding(severity, invalid)));
        let of_rules = spec.rules.iter().enumerate();
        let of_rules = of_rules.map(|(i, rule)| (format!("spec.rules[{i}].require"), rule.require.as_ref()));
        let required = [("spec.require".to_owned(), spec.require.as_ref())].into_iter().chain(of_rules);
        let evaluated = required.flat_map(|(field, require)| {
            let all = require.into_iter().flat_map(|require| require.evaluated.iter().enumerate());
            all.map(move |(i, e)| (format!("{field}.evaluated[{i}].evalJob"), e))
        });
        let of_evaluations =
            evaluated.filter_map(|(field, e)| missing(&evaluations, "EvalJob", field, &Key::new(&namespace, &e.eval_job), false));
        found.extend(
            of_models
                .chain(of_evaluations)
                .map(|invalid| policy.origin.finding(Severity::Warning, invalid)),
        );
    }
    for evaluation in &portfolio.evaluations {
        let namespace = Key::of(&evaluation.object).namespace;
        let spec = &evaluation.object.spec;
        let targets = spec.targets.models.iter().enumerate();
        let of_models = targets.filter_map(|(i, name)| {
            let (field, (model, adapter)) = (format!("spec.targets.models[{i}]"), asked_parts(name));
            let key = Key::new(&namespace, model);
            let missing = missing(&models, "ModelDeployment", field.clone(), &key, false);
            missing.or_else(|| lacking(field, &key, adapter))
        });
        found.extend(of_models.map(|invalid| evaluation.origin.finding(Severity::Warning, invalid)));
        // One of an earlier run is not asked, and may be gone.
        let baseline = spec.baseline.as_ref().filter(|baseline| baseline.run.is_none());
        let of_baseline = baseline.and_then(|baseline| {
            let (field, (model, adapter)) = ("spec.baseline.model".to_owned(), asked_parts(baseline.model.as_ref()?));
            let key = Key::new(&namespace, model);
            let missing = missing(&models, "ModelDeployment", field.clone(), &key, false);
            missing.or_else(|| lacking(field, &key, adapter))
        });
        found.extend(of_baseline.map(|invalid| evaluation.origin.finding(Severity::Warning, invalid)));
        for (i, suite) in spec.suites.iter().enumerate() {
            let of_judge = suite.judge().and_then(|judge| {
                let (field, (model, adapter)) = (format!("spec.suites[{i}].scorer.judge.model"), asked_parts(&judge.model));
                let key = Key::new(&namespace, model);
                let missing = missing(&models, "ModelDeployment", field.clone(), &key, false);
                missing.or_else(|| lacking(field, &key, adapter))
            });
            found.extend(of_judge.map(|invalid| evaluation.origin.finding(Severity::Warning, invalid)));
            let webhook = suite.scorer.as_ref().and_then(|scorer| scorer.webhook.as_ref());
            let token = webhook.and_then(|webhook| webhook.secret_ref.as_ref()).map(|secret| KeyRef {
                name: secret.name.clone(),
                key: "token".to_owned(),
            });
            let of_token = token.and_then(|token| {
                let field = format!("spec.suites[{i}].scorer.webhook.secretRef");
                data(portfolio, "Secret", &field, &namespace, &token)
            });
            let of_token = of_token.filter(|(severity, _)| *severity == Severity::Error);
            found.extend(of_token.map(|(severity, invalid)| evaluation.origin.finding(severity, invalid)));
            for (field, dataset) in suite.datasets() {
                let Some(reference) = &dataset.config_map_ref else { continue };
                let field = format!("spec.suites[{i}].{field}.configMapRef");
                found.extend(data(portfolio, "ConfigMap", &field, &namespace, reference).map(|(s, i)| evaluation.origin.finding(s, i)));
            }
        }
    }
    for model in &portfolio.models {
        let namespace = Key::of(&model.object).namespace;
        let spec = &model.object.spec;
        let bundle = spec.api.as_ref().and_then(|a| a.ca_bundle.as_ref());
        let of_bundle = bundle.and_then(|bundle| {
            let field = "spec.api.caBundle.configMapRef";
            data(portfolio, "ConfigMap", field, &namespace, &bundle.config_map_ref)
        });
        found.extend(of_bundle.map(|(severity, invalid)| model.origin.finding(severity, invalid)));
        let credentials = spec.api.as_ref().and_then(|a| a.credentials.as_ref());
        let of_source = spec
            .self_hosted
            .as_ref()
            .and_then(|s| s.source.as_ref())
            .and_then(|s| s.secret_ref.as_ref())
            .and_then(|s| {
                Some(KeyRef {
                    name: s.name.clone(),
                    key: s.key.clone()?,
                })
            });
        let secrets = (credentials.map(|c| ("spec.api.credentials.secretRef", &c.secret_ref)))
            .into_iter()
            .chain(of_source.as_ref().map(|reference| ("spec.selfHosted.source.secretRef", reference)));
        for (field, reference) in secrets {
            let finding = data(portfolio, "Secret", field, &namespace, reference).filter(|(severity, _)| *severity == Severity::Error);
            found.extend(finding.map(|(severity, invalid)| model.origin.finding(severity, invalid)));
        }
    }
}

/// What is wrong with a reference to one key of a ConfigMap or Secret.
fn data(portfolio: &Portfolio, kind: &str, field: &str, namespace: &str, reference: &KeyRef) -> Option<(Severity, Invalid)> {
    let key = Key::new(namespace, reference.name.as_str());
    let Some(other) = portfolio.others.iter().find(|o| o.kind == kind && o.key == key) else {
        let known = portfolio.others.iter().filter(|o| o.kind == kind).map(|o| o.key.clone()).collect();
        let remedy = format!("apply it too, or correct the name; {}", near(&known, &key, false));
        let invalid = Invalid::new(
            format!("{field}.name"),
            format!("no {kind} {key} is in these files"),
            remedy.trim_end_matches("; "),
        );
        return Some((Severity::Warning, invalid));
    };
    let keys: Vec<&str> = ["data", "stringData", "binaryData"]
        .into_iter()
        .filter_map(|member| other.value.get(member).and_then(Value::as_object))
        .flat_map(|members| members.keys().map(String::as_str))
        .collect();
    (!keys.contains(&reference.key.as_str())).then(|| {
        let remedy = format!("add the key, or use {}", super::words::one_of(&keys, "or"));
        let invalid = Invalid::new(format!("{field}.key"), format!("{kind} {key} has no key {}", reference.key), remedy);
        (Severity::Error, invalid)
    })
}

/// Why a list of terms that is here cannot be used.
fn terms(portfolio: &Portfolio, field: &str, namespace: &str, reference: &KeyRef) -> Option<(Severity, Invalid)> {
    let map = Key::new(namespace, reference.name.as_str());
    let problem = portfolio.terms().find(&map, &reference.key).err()?;
    Some((
        Severity::Error,
        Invalid::new(field, problem, "until then the policy answers nothing"),
    ))
}

/// A hint at what was probably meant: the same name in another namespace, which the reference may be able to say, or nearly the same name in
/// this one.
fn near(known: &BTreeSet<Key>, key: &Key, crosses: bool) -> String {
    if let Some(elsewhere) = known.iter().find(|k| k.name == key.name) {
        return match crosses {
            true => format!("there is {elsewhere}, which namespace: {} would name", elsewhere.namespace),
            false => format!("there is {elsewhere}, but names refer to the same namespace"),
        };
    }
    let here: Vec<&str> = known
        .iter()
        .filter(|k| k.namespace == key.namespace)
        .map(|k| k.name.as_str())
        .collect();
    super::words::closest(&key.name, &here)
        .map(|meant| format!("did you mean {meant}?"))
        .unwrap_or_default()
}
