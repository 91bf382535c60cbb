//! Tests of policies: requests, what is given, and which model must answer. They are decided by the very functions that gateways decide by,
//! with models as the case has them.

mod given;
mod spent;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde::Deserialize;

use super::document::without_place;
use super::finding::Finding;
use super::{Portfolio, Standalone};
use crate::api::condition::{Claim, Kind};
use crate::api::eval_job::{EvalJobStatus, TargetResult, Verdict};
use crate::api::model_deployment::ModelDeploymentStatus;
use crate::api::{EvalJob, ModelDeployment, Settings};
use crate::plan::evaluation::check;
use crate::plan::names::{Key, asked_parts};
use crate::plan::price::Book;
use crate::plan::routing::{self, Backend, Client, Content, Draw, Facts, Live, Mirror, Refused, Route, Routing, Texts};
use crate::plan::{backend, fingerprint, fit, model, serving};
use spent::Spent;

/// Rolls that are tried to find every model that a request may go to: weights add up to more only where one of them is rare.
const ROLLS: u64 = 1000;

/// One test.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// What it shows, as a sentence.
    pub name: String,
    request: Ask,
    #[serde(default)]
    given: Given,
    expect: Expected,
}

/// A request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Ask {
    model: String,
    client: Asker,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default = "chat")]
    operation: String,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    input_tokens: u64,
    max_tokens: Option<u64>,
    #[serde(default)]
    tools: bool,
    #[serde(default)]
    images: bool,
    #[serde(default)]
    json_schema: bool,
    /// What it says, for classes of data that depend on it, and for blocked terms.
    text: Option<String>,
}

fn chat() -> String {
    "chat".to_owned()
}

/// Who asks; exactly one.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Asker {
    /// `namespace/name`.
    ServiceAccount(String),
    ApiKey {
        name: String,
        #[serde(default)]
        labels: BTreeMap<String, String>,
    },
    Jwt {
        issuer: String,
        subject: String,
        #[serde(default)]
        audiences: Vec<String>,
        #[serde(default)]
        claims: BTreeMap<String, OneOrMore>,
    },
    Anonymous {},
}

/// The value of a claim.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn all(&self) -> Vec<String> {
        match self {
            Self::One(value) => vec![value.clone()],
            Self::More(values) => values.clone(),
        }
    }
}

/// How the world is; what is not said is well.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Given {
    /// What each EvalJob says, of all models or of each.
    verdicts: BTreeMap<String, Verdicts>,
    /// Models that do not answer, by name, or `namespace/name` where several have it.
    down: BTreeSet<String>,
    /// Models in our own pods that have no replicas, and that a request wakes.
    asleep: BTreeSet<String>,
    /// How much is spent of budgets, by who shares them: `{Policy: "500", Client: "5"}`.
    spent: Spent,
    /// How long answers of models took to begin of late, as `300ms`.
    latency: BTreeMap<String, kube::core::Duration>,
    /// Requests that models have under way.
    busy: BTreeMap<String, usize>,
    /// What the label `llmportfolio.dev/data-class` of each namespace says.
    namespaces: BTreeMap<String, String>,
    /// The moment of the request. Default: now.
    at: Option<Timestamp>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Verdicts {
    OfAll(Verdict),
    OfEach(BTreeMap<String, Verdict>),
}

impl Verdicts {
    fn of(&self, model: &str) -> Option<Verdict> {
        match self {
            Self::OfAll(verdict) => Some(*verdict),
            Self::OfEach(each) => each.get(model).copied(),
        }
    }
}

/// What must come of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Expected {
    /// The model that is asked first, whatever is drawn.
    target: Option<String>,
    /// Every model that may be asked first.
    targets: Option<BTreeSet<String>>,
    /// The models that are asked after it, in order.
    fallback: Option<Vec<String>>,
    /// Whether it waits for a model to wake before any is asked.
    #[serde(default)]
    held: bool,
    /// The rule that decides.
    rule: Option<String>,
    /// The HTTP status that refuses it.
    refused: Option<u16>,
    /// Words of the refusal.
    because: Option<String>,
    /// Every model that may get a copy of it.
    shadow: Option<BTreeSet<String>>,
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The case's name.
    pub name: String,
    /// What was decided, for a person.
    pub decision: String,
    /// What keeps the other models from the request, as sentences.
    pub eliminated: Vec<String>,
    /// How it differs from what is expected; none: it does not.
    pub wrong: Vec<String>,
}

/// Reads cases from a YAML list.
///
/// # Errors
/// When the file cannot be read, or holds no cases, with its line.
pub fn read(path: &Path) -> Result<Vec<Case>, Box<Finding>> {
    let file = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|error| Box::new(Finding::of_file(&file, error.to_string(), "name the file of cases")))?;
    let options = serde_saphyr::options! { with_snippet: false };
    let cases: Vec<Case> = serde_saphyr::from_str_with_options(&text, options).map_err(|error| {
        let line = error.location().map(|at| at.line());
        let remedy = "write a list of {name: …, request: {model: …, client: …}, given: {…}, expect: {target: …}}";
        Box::new(Finding {
            line,
            ..Finding::of_file(&file, without_place(&error), remedy)
        })
    })?;
    if cases.is_empty() {
        return Err(Box::new(Finding::of_file(&file, "holds no cases", "write at least one")));
    }
    let wrong =
        |case: &Case, problem: String, remedy: &str| Box::new(Finding::of_file(&file, format!("{:?}: {problem}", case.name), remedy));
    for case in &cases {
        if let Some(problem) = case.expect.problem() {
            return Err(wrong(case, problem.to_owned(), "correct its expect"));
        }
        if let Err(problem) = case.request.headers() {
            return Err(wrong(case, problem, "correct its request.headers"));
        }
    }
    Ok(cases)
}

impl Expected {
    /// A case that cannot fail says nothing.
    fn problem(&self) -> Option<&'static str> {
        let answers = self.held || self.target.is_some() || self.targets.is_some() || self.fallback.is_some() || self.shadow.is_some();
        match (self.refused, &self.rule) {
            (None, None) if !answers => Some("expects nothing: say target, targets, fallback, held, rule, shadow or refused"),
            (None, _) if self.because.is_some() => Some("says because without refused"),
            (Some(_), _) if answers => Some("expects an answer and a refusal"),
            _ if self.target.is_some() && self.targets.is_some() => Some("says target and targets"),
            _ if self.held && (self.target.is_some() || self.targets.is_some()) => {
                Some("says held and a target: no model is asked at once; fallback says who is if none wakes")
            }
            _ => None,
        }
    }
}

/// What a case comes to.
#[derive(Default)]
struct Decided {
    rule: Option<String>,
    /// Which models are asked, for everything that may be drawn.
    orders: BTreeSet<Vec<String>>,
    /// The models that it waits for, where it does.
    held: Vec<String>,
    refused: Option<(u16, String)>,
    eliminated: Vec<String>,
    /// The models that may get a copy of it, and how many of 100 such requests they get.
    copied: BTreeMap<String, u32>,
    /// Why the other shadows do not, as sentences.
    not_copied: Vec<String>,
    /// What is wrong with the case itself.
    problems: Vec<String>,
}

/// The objects with every model ready, and with every evaluation that is required passed.
pub(super) fn all_well(portfolio: &Portfolio, now: Timestamp) -> Standalone {
    let jobs = given::evaluations(portfolio).into_iter();
    let given = Given {
        verdicts: jobs.map(|job| (job, Verdicts::OfAll(Verdict::Pass))).collect(),
        ..Given::default()
    };
    portfolio.as_given(&given, now)
}

impl Portfolio {
    /// Decides the request of a case, with these settings and prices.
    #[must_use]
    pub fn outcome(&self, case: &Case, settings: &Settings, book: &Book, now: Timestamp) -> Outcome {
        let now = case.given.at.unwrap_or(now);
        let seen = self.as_given(&case.given, now);
        let routing = seen.routing(settings, book, false, now);
        let decided = decided(case, &routing, now);
        let mut wrong = given::problems(self, case, &seen.models);
        wrong.extend(decided.problems.iter().cloned());
        wrong.extend(decided.differs_from(&case.expect));
        Outcome {
            name: case.name.clone(),
            decision: decided.told(),
            wrong,
            eliminated: decided.eliminated,
        }
    }

    fn as_given(&self, given: &Given, now: Timestamp) -> Standalone {
        let mut seen = Standalone {
            policies: self.policies.iter().map(|p| Arc::new(p.object.clone())).collect(),
            namespaces: self.labelled_namespaces(),
            grants: self.grants(),
            terms: self.terms(),
            ..Standalone::default()
        };
        seen.namespaces.extend(given.namespaces.clone());
        for written in &self.models {
            let mut md = written.object.clone();
            let is_asleep = md.spec.self_hosted.is_some() && has(&given.asleep, &md);
            let is_up = !is_asleep && !has(&given.down, &md);
            if is_up && md.spec.self_hosted.is_some() {
                seen.endpoints.insert(Key::of(&md), vec!["http://model.invalid".to_owned()]);
            }
            let (reason, message) = match (is_up, is_asleep) {
                (true, _) => ("Given", "given as up"),
                (false, true) => ("ScaledToZero", "given as asleep"),
                (false, false) => ("Down", "given as down"),
            };
            md.status = Some(ModelDeploymentStatus {
                confirmed_for: md.spec.api.as_ref().map(backend::destination),
                adapters: md.spec.self_hosted.as_ref().map(serving::adapters::assumed).unwrap_or_default(),
                ..model::described(&md, &[Claim::new(Kind::Ready, is_up, reason, message)], now)
            });
            seen.models.push(Arc::new(md));
        }
        seen.evaluations = self.evaluated(given, &seen.models, now);
        seen
    }

    /// The EvalJobs of the files, and those that only the case names, with what it says of them.
    fn evaluated(&self, given: &Given, models: &[Arc<ModelDeployment>], now: Timestamp) -> Vec<Arc<EvalJob>> {
        let mut jobs: Vec<EvalJob> = self.evaluations.iter().map(|written| written.object.clone()).collect();
        let namespaces: BTreeSet<String> = models.iter().filter_map(|md| md.namespace()).collect();
        for name in given
            .verdicts
            .keys()
            .filter(|name| self.evaluations.iter().all(|written| written.object.name_any() != **name))
        {
            jobs.extend(namespaces.iter().map(|namespace| assumed(name, namespace, models)));
        }
        for job in &mut jobs {
            let Some(verdicts) = given.verdicts.get(&job.name_any()) else {
                continue;
            };
            let targets = check::targets(job, models);
            let results = targets.iter().filter_map(|name| {
                let key = Key::new(job.namespace().unwrap_or_default(), asked_parts(name).0);
                let md = models.iter().find(|md| Key::of(md.as_ref()) == key)?;
                let asked = model::asked(md, asked_parts(name).1)?;
                Some(TargetResult {
                    model: name.clone(),
                    verdict: verdicts.of(name)?,
                    message: "as the case has it".to_owned(),
                    fingerprint: fingerprint::of(&asked, job, models),
                    slot: Some(Time(now)),
                    suites: Vec::new(),
                })
            });
            job.status = Some(EvalJobStatus {
                targets: results.collect(),
                ..EvalJobStatus::default()
            });
        }
        jobs.into_iter().map(Arc::new).collect()
    }
}

/// Whether a case means this model by a name.
fn is_called(md: &ModelDeployment, name: &str) -> bool {
    md.name_any() == name || Key::of(md).to_string() == name
}

fn has(names: &BTreeSet<String>, md: &ModelDeployment) -> bool {
    names.iter().any(|name| is_called(md, name))
}

/// An EvalJob that is not among the files: of every model of its namespace.
fn assumed(name: &str, namespace: &str, models: &[Arc<ModelDeployment>]) -> EvalJob {
    let within = models.iter().filter(|md| md.namespace().as_deref() == Some(namespace));
    let names = within.flat_map(|md| {
        let custom = md.spec.self_hosted.iter().filter_map(|own| own.custom.as_ref());
        let adapters = custom
            .flat_map(|custom| &custom.adapters)
            .map(|adapter| format!("{}:{}", md.name_any(), adapter.name));
        std::iter::once(md.name_any()).chain(adapters).collect::<Vec<_>>()
    });
    let value = serde_json::json!({
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"targets": {"models": names.collect::<Vec<_>>()}, "schedule": {"cron": "0 0 * * *"}, "suites": [], "criteria": []},
    });
    serde_json::from_value(value).expect("it has every field that an EvalJob must have")
}

/// The models as the case has them.
struct AsGiven<'a>(&'a Given);

impl Live for AsGiven<'_> {
    fn latency(&self, model: &Backend, _: bool) -> Option<Duration> {
        self.0.latency.get(&model.called).map(|latency| Duration::from(*latency))
    }

    fn load(&self, model: &Backend) -> usize {
        self.0.busy.get(&model.called).map_or(0, |requests| requests * 1000)
    }
}

fn decided(case: &Case, routing: &Routing, now: Timestamp) -> Decided {
    let ask = &case.request;
    let mut decided = Decided::default();
    let client = ask.client();
    let table = &routing.table;
    let route = match table.open_to(&client, &ask.model) {
        Ok(route) => route,
        Err(refused) => return Decided::refused(refused),
    };
    // Cases with others were refused when they were read.
    let headers = ask.headers().unwrap_or_default();
    let data_class = match table.class_of_request(route, &client, &headers) {
        Ok(class) => class,
        Err(refused) => return Decided::refused(refused),
    };
    let said = serde_json::Value::from(ask.text.as_deref().unwrap_or_default()).to_string();
    let texts = Texts {
        body: said.as_bytes(),
        may_be_tokens: false,
    };
    if let Err(stopped) = route.check(texts) {
        return Decided::refused(stopped.refused);
    }
    let raised = table.raised(route, data_class, texts);
    let facts = Facts {
        client: &client,
        headers: &headers,
        model: &ask.model,
        operation: &ask.operation,
        is_streamed: ask.stream,
        data_class: raised.map(|raised| raised.to).or(data_class),
        raised,
        content: &|| Ok(ask.content()),
        now,
    };
    decided.problems = spent::problems(&case.given.spent, route);
    let live = AsGiven(&case.given);
    for roll in 0..rolls(route) {
        match routing::decide(route, &table.classes, &facts, &live, Draw { roll, ..Draw::default() }) {
            Ok(decision) => {
                decided.rule = Some(decision.rule.name.clone());
                let out = routing::eliminated(decision.rule, &table.classes, &facts);
                let unfit = decision
                    .rule
                    .usable()
                    .filter(|(candidate, _)| out.iter().all(|one| one.model != candidate.model));
                let mut unfit: Vec<String> = unfit.filter_map(|(_, model)| ask.unfit(model)).collect();
                unfit.dedup();
                decided.eliminated = out.into_iter().map(|exclusion| exclusion.message).chain(unfit).collect();
                decided.copies(&routing::mirrors(route, decision.rule, &table.classes, &facts), ask);
                if decision.hold.is_some() {
                    let own = route.policy.as_ref().map_or("", |policy| &policy.namespace);
                    decided.held = decision.wakes.iter().map(|model| model.called_in(own)).collect();
                }
                match spent::asked(&decision, route, &case.given.spent, ask, now) {
                    Ok(models) => {
                        decided.orders.insert(models.iter().map(|model| model.called.clone()).collect());
                    }
                    Err(refused) => {
                        decided.refused = Some(refused);
                        return decided;
                    }
                }
            }
            Err(refused) => return Decided::refused(refused),
        }
    }
    decided
}

/// As many as make every share of the weights seen.
fn rolls(route: &Route) -> u64 {
    let sums = route
        .rules
        .iter()
        .map(|rule| rule.targets.iter().map(|target| u64::from(target.weight)).sum::<u64>());
    sums.max().unwrap_or(1).clamp(1, ROLLS)
}

impl Ask {
    fn client(&self) -> Client {
        match &self.client {
            Asker::ServiceAccount(account) => {
                let (namespace, name) = account.split_once('/').unwrap_or(("default", account));
                Client::ServiceAccount {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                }
            }
            Asker::ApiKey { name, labels } => Client::ApiKey {
                name: name.clone(),
                labels: labels.clone(),
            },
            Asker::Jwt {
                issuer,
                subject,
                audiences,
                claims,
            } => Client::Jwt {
                issuer: issuer.clone(),
                subject: subject.clone(),
                audiences: audiences.clone(),
                claims: claims.iter().map(|(name, value)| (name.clone(), value.all())).collect(),
                team: claims.get("team").and_then(|team| team.all().into_iter().next()),
            },
            Asker::Anonymous {} => Client::Anonymous,
        }
    }

    /// Its headers, or which of them is none.
    fn headers(&self) -> Result<HeaderMap, String> {
        let header = |(name, value): (&String, &String)| match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => Ok((name, value)),
            (Err(_), _) => Err(format!("{name:?} is not the name of a header")),
            (_, Err(_)) => Err(format!("the header {name} cannot have the value {value:?}")),
        };
        self.headers.iter().map(header).collect()
    }

    fn content(&self) -> Content {
        Content {
            input_tokens: self.input_tokens,
            max_tokens: self.max_tokens,
            answers: 1,
            tools: self.tools,
            images: self.images,
            json_schema: self.json_schema,
            is_wordless: self.operation == "embeddings",
            ..Content::default()
        }
    }

    /// What a model cannot do of it, as a gateway would find out, with the model's name.
    fn unfit(&self, model: &Backend) -> Option<String> {
        let needs = match self.operation.as_str() {
            "embeddings" => fit::Needs {
                embeddings: true,
                ..fit::Needs::default()
            },
            _ => fit::Needs {
                tools: self.tools,
                images: self.images,
                json_schema: self.json_schema,
                output_tokens: self.max_tokens,
                ..fit::Needs::of_prompt(self.input_tokens)
            },
        };
        let unfit = fit::check(&needs, &model.capabilities).err()?;
        Some(format!("{}: {unfit}", model.called))
    }
}

impl Decided {
    /// What becomes of copies of the request. Of what only counts tokens there are none.
    fn copies(&mut self, mirrors: &[Mirror<'_>], ask: &Ask) {
        self.not_copied.clear();
        for Mirror { shadow, to } in mirrors.iter().filter(|_| ask.operation != "count_tokens") {
            let to = to.as_ref().map_err(|skipped| skipped.message.clone());
            match to.and_then(|(_, model)| ask.unfit(model).map_or(Ok(()), Err)) {
                Ok(()) => {
                    self.copied.insert(shadow.called.clone(), shadow.percent);
                }
                Err(why) => self.not_copied.push(why),
            }
        }
    }

    fn refused(refused: Refused<'_>) -> Self {
        Self {
            rule: refused.rule.map(|rule| rule.name.clone()),
            refused: Some((refused.reason.status(), refused.message)),
            ..Self::default()
        }
    }

    fn told(&self) -> String {
        let mut told = String::new();
        if let Some(rule) = &self.rule {
            let _ = write!(told, "rule {rule}: ");
        }
        match &self.refused {
            Some((status, why)) => {
                let _ = write!(told, "{status} {why}");
            }
            None => {
                let orders = self
                    .orders
                    .iter()
                    .filter(|order| !order.is_empty())
                    .map(|order| order.join(", then "));
                let orders = orders.collect::<Vec<String>>().join(" | ");
                told.push_str(&match (self.held.join(" or "), orders) {
                    (held, orders) if held.is_empty() => orders,
                    (held, orders) if orders.is_empty() => format!("waits for {held}"),
                    (held, orders) => format!("waits for {held}, then {orders}"),
                });
                for (name, percent) in &self.copied {
                    let _ = write!(told, "; {percent} of 100 are copied to {name}");
                }
                for why in &self.not_copied {
                    let _ = write!(told, "; not copied: {why}");
                }
            }
        }
        told
    }

    fn differs_from(&self, expected: &Expected) -> Vec<String> {
        let Expected {
            target,
            targets,
            fallback,
            held,
            rule,
            refused,
            because,
            shadow,
        } = expected;
        let mut wrong = Vec::new();
        let is_held = !self.held.is_empty();
        let first: BTreeSet<String> = match is_held {
            true => BTreeSet::new(),
            false => self.orders.iter().filter_map(|order| order.first().cloned()).collect(),
        };
        let all = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        let wanted = targets.clone().or(target.clone().map(|target| BTreeSet::from([target])));
        match (refused, &self.refused) {
            (Some(status), Some((got, why))) => {
                if status != got {
                    wrong.push(format!("is refused with {got}, not with {status}"));
                }
                if let Some(words) = because.as_ref().filter(|words| !self.told().contains(*words)) {
                    wrong.push(format!("is refused for another reason than {words:?}: {why}"));
                }
            }
            (Some(status), None) => wrong.push(format!("is answered by {}, and should be refused with {status}", all(&first))),
            (None, Some((got, _))) => wrong.push(format!("is refused with {got}, and should be answered")),
            (None, None) => {}
        }
        if let Some(rule) = rule.as_ref().filter(|rule| self.rule.as_ref() != Some(*rule)) {
            let got = self.rule.as_ref().map_or("no rule".to_owned(), |got| format!("rule {got}"));
            wrong.push(format!("{got} decides, not rule {rule}"));
        }
        if self.refused.is_some() {
            return wrong;
        }
        if *held != is_held {
            wrong.push(match is_held {
                true => format!("waits for {}, and should not", self.held.join(" or ")),
                false => format!("goes to {} at once, and should wait", all(&first)),
            });
        }
        if let Some(wanted) = wanted.filter(|wanted| *wanted != first) {
            wrong.push(format!("goes to {}, not to {}", all(&first), all(&wanted)));
        }
        let copied: BTreeSet<String> = self.copied.keys().cloned().collect();
        if let Some(wanted) = shadow.as_ref().filter(|wanted| **wanted != copied) {
            let why = match self.not_copied.as_slice() {
                [] => String::new(),
                why => format!(" ({})", why.join("; ")),
            };
            wrong.push(format!("is copied to [{}], not to [{}]{why}", all(&copied), all(wanted)));
        }
        if let Some(fallback) = fallback {
            let others = self
                .orders
                .iter()
                .map(|order| order.get(usize::from(!is_held)..).unwrap_or_default());
            if let Some(got) = others.into_iter().find(|got| got != fallback) {
                wrong.push(format!("falls back to [{}], not to [{}]", got.join(", "), fallback.join(", ")));
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests;
