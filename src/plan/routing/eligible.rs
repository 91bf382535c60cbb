//! Whether a model may answer requests, as named checks in the order in which a person would want to hear about them. The first that fails
//! is the reason.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use http::Uri;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::Inputs;
use super::blocklist::Terms;
use super::demand::{Demand, Nature};
use super::grants::Grants;
use super::named::{self, Named};
use super::table::{Backend, Candidate, Expiry, Queue};
use super::warmup::may_wake;
use crate::api::condition::{self, Kind};
use crate::api::eval_job::Verdict;
use crate::api::model_deployment::ApiSource;
use crate::api::routing_policy::{EvaluatedBy, Requirements, RoutingPolicySpec};
use crate::api::{EvalJob, ModelDeployment, Settings};
use crate::plan::ledger::Rates;
use crate::plan::names::{self, Key};
use crate::plan::price::{Book, Pricing};
use crate::plan::{backend, fingerprint, model, serving};

/// Why a model gets no requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// For machines.
    pub reason: Reason,
    /// The ModelDeployment, or `name:adapter` of it.
    pub model: Key,
    /// For a person: a sentence that begins with what the policy calls the model.
    pub message: String,
}

/// The kinds of exclusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The model is of another namespace, which does not permit policies of this one to name it. Whether it exists is not told.
    RefNotPermitted,
    /// The ModelDeployment does not exist.
    TargetNotFound,
    /// The ModelDeployment has no such adapter.
    AdapterNotFound,
    /// A required EvalJob does not exist.
    EvalJobNotFound,
    /// The model's tier is not one that is allowed.
    TierNotAllowed,
    /// The model's class is not one that is allowed.
    ClassNotAllowed,
    /// The model does not surely run in a region that is allowed.
    RegionNotAllowed,
    /// The model's operator is not surely under a law that is allowed.
    JurisdictionNotAllowed,
    /// The request may cost more with the model than one may, or as much as it pleases.
    TooExpensive,
    /// What one may cost is limited, and what the model costs is not known.
    CostNotKnown,
    /// The model has weight 0.
    Unused,
    /// A required evaluation does not say `Pass` about the model as it is now.
    NotEvaluated,
    /// The model does not serve now.
    NotReady,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Reason {
    /// The same as metrics say it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::RefNotPermitted => "ref_not_permitted",
            Self::TargetNotFound => "target_not_found",
            Self::AdapterNotFound => "adapter_not_found",
            Self::EvalJobNotFound => "eval_job_not_found",
            Self::TierNotAllowed => "tier_not_allowed",
            Self::ClassNotAllowed => "class_not_allowed",
            Self::RegionNotAllowed => "region_not_allowed",
            Self::JurisdictionNotAllowed => "jurisdiction_not_allowed",
            Self::TooExpensive => "too_expensive",
            Self::CostNotKnown => "cost_not_known",
            Self::Unused => "unused",
            Self::NotEvaluated => "not_evaluated",
            Self::NotReady => "not_ready",
        }
    }

    /// Whether an object that the policy names is missing.
    #[must_use]
    pub fn is_missing(self) -> bool {
        matches!(self, Self::TargetNotFound | Self::AdapterNotFound | Self::EvalJobNotFound)
    }
}

/// The objects, by key.
pub(super) struct Known<'a> {
    all: &'a [Arc<ModelDeployment>],
    models: BTreeMap<Key, &'a ModelDeployment>,
    evaluations: HashMap<Key, &'a EvalJob>,
    endpoints: &'a BTreeMap<Key, Vec<String>>,
    prices: &'a Book,
    grants: &'a Grants,
    terms: &'a Terms,
    settings: &'a Settings,
}

/// Who requires something, and what.
pub(super) type Required<'a> = (&'a str, &'a Requirements);

impl<'a> Known<'a> {
    pub(super) fn new(inputs: &Inputs<'a>) -> Self {
        Self {
            all: inputs.models,
            models: inputs.models.iter().map(|md| (Key::of(md.as_ref()), md.as_ref())).collect(),
            evaluations: inputs.evaluations.iter().map(|ej| (Key::of(ej.as_ref()), ej.as_ref())).collect(),
            endpoints: inputs.endpoints,
            prices: inputs.prices,
            grants: inputs.grants,
            terms: inputs.terms,
            settings: inputs.settings,
        }
    }

    /// Whether the installer lets policies admit clients without credentials.
    pub(super) fn allows_anonymous(&self) -> bool {
        self.settings.allow_anonymous
    }

    /// The terms that policies may block.
    pub(super) fn terms(&self) -> &Terms {
        self.terms
    }

    /// The keys of all models, sorted.
    pub(super) fn models(&self) -> impl Iterator<Item = &Key> {
        self.models.keys()
    }

    /// The adapters of a model.
    pub(super) fn adapters(&self, key: &Key) -> impl Iterator<Item = &str> {
        let own = self.models.get(key).and_then(|md| md.spec.self_hosted.as_ref());
        let custom = own.and_then(|own| own.custom.as_ref()).into_iter();
        custom.flat_map(|custom| &custom.adapters).map(|adapter| adapter.name.as_str())
    }

    /// The models of other namespaces that a policy of the namespace `own` names though nothing permits it: for each a sentence with its fields,
    /// the first with the grant that is missing. One at a time, since conditions have room for one: when it is made, the next is told.
    pub(super) fn unpermitted(&self, own: &str, spec: &RoutingPolicySpec) -> Vec<String> {
        let mut fields: BTreeMap<Key, Vec<String>> = BTreeMap::new();
        for (field, named) in named::named(spec) {
            let key = named.key(own);
            if !self.grants.permits(own, &key) {
                fields.entry(key).or_default().push(format!("{field}.namespace"));
            }
        }
        let sentence = |(at, (key, fields)): (usize, (Key, Vec<String>))| {
            let places = match fields.as_slice() {
                [first, second, _, ..] => format!("{first}, {second} and {} more", fields.len() - 2),
                few => few.join(", "),
            };
            let namespace = &key.namespace;
            match at {
                0 => format!(
                    "{places}: no ReferenceGrant of namespace {namespace} permits RoutingPolicies of namespace {own} to name {key}; {}",
                    self.grants.remedy(own, &key)
                ),
                _ => format!("{places}: nor is there one to name {key}"),
            }
        };
        fields.into_iter().enumerate().map(sentence).collect()
    }

    /// A model that a policy of the namespace `own` names, or an adapter of it, as a candidate: with its backend if it may answer, else with
    /// the reason why not.
    pub(super) fn candidate(&self, own: &str, named: Named<'_>, required: &[Required<'_>]) -> Candidate {
        let asked = named.asked(own);
        let (mut passed_until, mut waking) = (None, None);
        let backend = self.eligible(own, named, &asked, required, &mut passed_until, &mut waking);
        Candidate {
            called: named.called(own),
            model: asked,
            backend: backend.map(Arc::new),
            waking: waking.map(Arc::new),
            passed_until,
        }
    }

    fn eligible(
        &self,
        own: &str,
        named: Named<'_>,
        asked: &Key,
        required: &[Required<'_>],
        passed_until: &mut Option<Expiry>,
        waking: &mut Option<Backend>,
    ) -> Result<Backend, Exclusion> {
        let (key, adapter) = (&named.key(own), named.adapter);
        let called = named.called(own);
        let exclude = |reason, why: String| Exclusion {
            reason,
            model: asked.clone(),
            message: format!("{called} {why}"),
        };
        // Before anything else: what is there is the business of those who may name it.
        if !self.grants.permits(own, key) {
            let why = "is of another namespace, which has no ReferenceGrant for it: the policy's condition ResolvedRefs says which";
            return Err(exclude(Reason::RefNotPermitted, why.to_owned()));
        }
        let Some(md) = self.models.get(key) else {
            let why = format!("does not exist: create ModelDeployment {key}, or take it out of the policy");
            return Err(exclude(Reason::TargetNotFound, why));
        };
        if let Some(adapter) = adapter.filter(|adapter| self.adapters(key).all(|known| known != *adapter)) {
            let remedy = "add it to spec.selfHosted.custom.adapters, or take it out of the policy";
            let why = format!("does not exist: ModelDeployment {key} has no adapter {adapter:?}; {remedy}");
            return Err(exclude(Reason::AdapterNotFound, why));
        }
        let nature = Nature::of(md, self.settings);
        for (whose, require) in required {
            if let Some((reason, why)) = Demand::from(*require).unmet(&nature, whose) {
                return Err(exclude(reason, why));
            }
            for evaluated in &require.evaluated {
                let Some(ej) = self.evaluations.get(&Key::new(own, &evaluated.eval_job)) else {
                    let why = format!("must pass EvalJob {}, which does not exist: create it", evaluated.eval_job);
                    return Err(exclude(Reason::EvalJobNotFound, why));
                };
                if key.namespace != own {
                    let job = &evaluated.eval_job;
                    let why = format!("must pass EvalJob {job}, which evaluates models of its own namespace only: name a model of {own}");
                    return Err(exclude(Reason::NotEvaluated, why));
                }
                let expiry = has_passed(self.all, md, &asked.name, ej, evaluated).map_err(|why| exclude(Reason::NotEvaluated, why))?;
                if let Some(expiry) = expiry
                    && passed_until.as_ref().is_none_or(|known| expiry.at < known.at)
                {
                    *passed_until = Some(expiry);
                }
            }
        }
        let model = self.backend(key, md, nature, called.clone());
        let model = match adapter {
            Some(adapter) => of_adapter(md, adapter, asked, model),
            None => model,
        };
        let is_loaded = adapter.is_none_or(|adapter| is_loaded(md, adapter));
        let bases = self.bases(key, md).and_then(|bases| match is_loaded {
            true => Ok(bases),
            false => Err("is not loaded yet".to_owned()),
        });
        match bases {
            Ok(bases) => Ok(Backend { bases, ..model }),
            Err(why) => {
                *waking = may_wake(md).then_some(model);
                Err(exclude(Reason::NotReady, why))
            }
        }
    }

    /// Where the model answers now.
    fn bases(&self, key: &Key, md: &ModelDeployment) -> Result<Vec<Uri>, String> {
        let bases = match md.spec.api.as_ref() {
            Some(api) => {
                provider_is_confirmed(md, api)?;
                vec![backend::base_url(api)]
            }
            None => pods(self.endpoints.get(key), md)?
                .iter()
                .map(|url| format!("{}/v1", url.trim_end_matches('/')))
                .collect(),
        };
        let bases: Result<Vec<Uri>, _> = bases.iter().map(|url| url.parse()).collect();
        bases.map_err(|e| format!("has an endpoint that is not a URL ({e}): correct it"))
    }

    /// What the model is, without where it answers.
    fn backend(&self, key: &Key, md: &ModelDeployment, nature: Nature, called: String) -> Backend {
        let (api, own) = (md.spec.api.as_ref(), md.spec.self_hosted.as_ref());
        Backend {
            model: key.clone(),
            called,
            provider: api.map(|api| api.provider),
            engine: own.map(|own| own.engine.kind),
            region: api.and_then(|api| api.region.clone()),
            bases: Vec::new(),
            version: (md.metadata.uid.clone(), md.metadata.generation),
            upstream_model: served_name(md),
            capabilities: md.spec.capabilities.clone().unwrap_or_default(),
            may_be_lacking: false,
            destination: api.filter(|api| api.credentials.is_some()).map(backend::destination),
            authorities: api.filter(|api| api.ca_bundle.is_some()).map(backend::destination),
            queue: own.and_then(|own| own.queue.as_ref()).map(Queue::of),
            limits: api.and_then(|api| api.limits.as_ref()).map(Rates::from),
            pricing: Pricing::of(md, self.prices),
            nature,
        }
    }
}

/// An adapter answers where its model does, once a pod has it. Which pods have it, each says to who asks: a table would know it late.
fn of_adapter(md: &ModelDeployment, adapter: &str, asked: &Key, backend: Backend) -> Backend {
    let own = md.spec.self_hosted.as_ref();
    Backend {
        model: asked.clone(),
        upstream_model: own.map_or_else(|| adapter.to_owned(), |own| serving::adapter_name(md, own, adapter)),
        may_be_lacking: true,
        ..backend
    }
}

/// Whether a pod answers to the name of an adapter.
fn is_loaded(md: &ModelDeployment, adapter: &str) -> bool {
    let mut known = md.status.iter().flat_map(|status| &status.adapters);
    known.any(|known| known.name == adapter && known.answers)
}

/// What the provider or engine calls the model.
#[must_use]
pub fn served_name(md: &ModelDeployment) -> String {
    match (&md.spec.api, &md.spec.self_hosted) {
        (Some(api), _) => api.model.clone(),
        (None, Some(own)) => serving::model_name(md, own),
        (None, None) => md.metadata.name.clone().unwrap_or_default(),
    }
}

/// Whether the model has passed an evaluation, and until when that counts. Its judges, if it has some, are among `all`.
fn has_passed(
    all: &[Arc<ModelDeployment>],
    md: &ModelDeployment,
    name: &str,
    ej: &EvalJob,
    evaluated: &EvaluatedBy,
) -> Result<Option<Expiry>, String> {
    let job = evaluated.eval_job.as_str();
    let targets = &ej.spec.targets;
    let is_selected = || targets.selector.as_ref().is_some_and(|selector| selector.matches(md.labels())) && md.name_any() == name;
    if !targets.models.iter().any(|model| model == name) && !is_selected() {
        return Err(format!(
            "is not among the models that EvalJob {job} evaluates: add it to the EvalJob's spec.targets.models"
        ));
    }
    let status = ej.status.as_ref();
    let Some(result) = status.and_then(|s| s.targets.iter().find(|t| t.model == name)) else {
        return Err(format!("has not been evaluated by EvalJob {job} yet; {}", next_run(ej)));
    };
    let asked = model::asked(md, names::asked_parts(name).1);
    if asked.is_none_or(|asked| result.fingerprint != fingerprint::of(&asked, ej, all)) {
        return Err(format!(
            "or EvalJob {job} was changed since the latest evaluation, which said {}; {}",
            result.verdict,
            next_run(ej)
        ));
    }
    match result.verdict {
        Verdict::Pass => expiry(ej, evaluated, result.slot.as_ref().map(|slot| slot.0)),
        verdict @ (Verdict::Fail | Verdict::Inconclusive | Verdict::Invalid) => Err(format!(
            "must pass EvalJob {job}, which says {verdict} ({}); {}",
            result.message,
            next_run(ej)
        )),
    }
}

/// When a verdict of the run at `slot` becomes too old.
fn expiry(ej: &EvalJob, evaluated: &EvaluatedBy, slot: Option<Timestamp>) -> Result<Option<Expiry>, String> {
    let Some(max_age) = evaluated.max_age else {
        return Ok(None);
    };
    let job = &evaluated.eval_job;
    let age = std::time::Duration::from(max_age);
    let at = slot.and_then(|slot| slot.checked_add(SignedDuration::try_from(age).ok()?).ok());
    let Some(at) = at else {
        return Err(format!(
            "has passed EvalJob {job}, and nobody knows when: a verdict may be {} old; {}",
            written(age),
            next_run(ej)
        ));
    };
    let message = format!(
        "passed EvalJob {job} more than {} ago, as long as a verdict may count; {}",
        written(age),
        next_run(ej)
    );
    Ok(Some(Expiry { at, message }))
}

/// In whole hours or minutes where it is some, as people write it.
fn written(duration: std::time::Duration) -> String {
    match duration.as_secs() {
        hours if hours >= 3600 && hours % 3600 == 0 => format!("{}h", hours / 3600),
        minutes if minutes >= 60 && minutes % 60 == 0 => format!("{}m", minutes / 60),
        _ => format!("{duration:?}"),
    }
}

fn next_run(ej: &EvalJob) -> String {
    let status = ej.status.as_ref();
    if ej.spec.suspend {
        return "it is suspended, so no run is due".to_owned();
    }
    match status.and_then(|s| s.active.as_ref()) {
        Some(_) => "a run is under way".to_owned(),
        None => match status.and_then(|s| s.next_schedule_time.as_ref()) {
            Some(time) => format!("the next run is at {}", time.0),
            None => "its next run is not planned yet".to_owned(),
        },
    }
}

/// The words say no more than the reason: they are shown to clients, who need not know names of Secrets and images.
fn provider_is_confirmed(md: &ModelDeployment, api: &ApiSource) -> Result<(), String> {
    let ready = md.status.as_ref().and_then(|s| condition::find(&s.conditions, Kind::Ready));
    match ready {
        Some(ready) if ready.status == "True" && backend::is_confirmed(md, api) => Ok(()),
        Some(ready) if ready.status == "True" => Err("was pointed elsewhere and is being checked with its provider".to_owned()),
        Some(ready) => Err(format!("is not ready ({})", ready.reason)),
        None => Err("has not been checked with its provider yet".to_owned()),
    }
}

fn pods<'a>(found: Option<&'a Vec<String>>, md: &ModelDeployment) -> Result<&'a [String], String> {
    if let Some(urls) = found.filter(|urls| !urls.is_empty()) {
        return Ok(urls);
    }
    let ready = md.status.as_ref().and_then(|s| condition::find(&s.conditions, Kind::Ready));
    Err(match ready {
        Some(ready) if ready.status != "True" => format!("has no ready pod ({})", ready.reason),
        _ => "has no ready pod".to_owned(),
    })
}
