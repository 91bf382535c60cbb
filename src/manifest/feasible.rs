//! What the operator would refuse although the API server takes it: the same plans, made and thrown away.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::Portfolio;
use super::document::without_place;
use super::doubts;
use super::files;
use super::finding::{Finding, Severity};
use super::possible;
use crate::api::condition::Kind;
use crate::api::data_class::DataClass;
use crate::api::eval_job::Suite;
use crate::api::settings::AcceleratorProfile;
use crate::api::{ModelDeployment, Settings};
use crate::plan::Invalid;
use crate::plan::evaluation::check;
use crate::plan::names::{ENDPOINT_ANNOTATION, Key, endpoints};
use crate::plan::price::Book;
use crate::plan::scaling::{metrics, schedule};
use crate::plan::serving::{self, Installation};
use crate::plan::{backend, cache, quantity, routing};

/// Far more than settings have.
const FILE_LIMIT: u64 = 16 << 20;

/// The installer's settings from a file.
///
/// # Errors
/// A finding with file, line and field, when the file cannot be read or says something that is not a setting.
pub fn settings(path: &Path) -> Result<Settings, Box<Finding>> {
    let file = path.display().to_string();
    let text = files::text_of(path, FILE_LIMIT, "settings", "name the settings file")?;
    // An empty file decides nothing.
    if text
        .lines()
        .all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#'))
    {
        return Ok(Settings::default());
    }
    let options = serde_saphyr::options! { with_snippet: false };
    let settings: Settings = serde_saphyr::from_str_with_options(&text, options).map_err(|error| {
        let line = error.location().map(|at| at.line());
        Box::new(Finding {
            line,
            ..Finding::of_file(&file, without_place(&error), "correct the settings")
        })
    })?;
    if let Some(name) = &settings.default_data_class
        && !settings.data_classes.contains_key(name)
    {
        let known: Vec<&str> = settings.data_classes.keys().map(String::as_str).collect();
        let remedy = match known.as_slice() {
            [] => "add it to dataClasses, or remove it".to_owned(),
            known => format!("write one of {}, or add it to dataClasses", known.join(", ")),
        };
        return Err(Box::new(Finding {
            field: "defaultDataClass".to_owned(),
            ..Finding::of_file(&file, format!("{name:?} is none of the dataClasses"), remedy)
        }));
    }
    if let Some(detection) = &settings.detection {
        let wrong = |field: &str, problem: String, remedy: &str| {
            Err(Box::new(Finding {
                field: format!("detection.{field}"),
                ..Finding::of_file(&file, problem, remedy)
            }))
        };
        if !settings.data_classes.contains_key(&detection.data_class) {
            let problem = format!("{:?} is none of the dataClasses", detection.data_class);
            return wrong("dataClass", problem, "name one of the dataClasses, or add it to them");
        }
        if detection.identifiers.is_empty() {
            return wrong(
                "identifiers",
                "is empty, so that nothing is looked for".to_owned(),
                "write some, such as [Email, Phone, Iban], or remove detection",
            );
        }
    }
    match &settings.load_bytes_per_second {
        Some(Quantity(rate)) if quantity::bytes(rate).is_none_or(|rate| rate == 0) => Err(Box::new(Finding {
            field: "loadBytesPerSecond".to_owned(),
            ..Finding::of_file(&file, format!("{rate:?} is no number of bytes"), "write it like 64Mi")
        })),
        _ => Ok(settings),
    }
}

impl Portfolio {
    /// Adds what the operator, or a gateway without a cluster, would refuse under these settings and prices at `now`. Without settings any
    /// accelerator profile may exist.
    pub fn check_feasible(&mut self, settings: Option<&Settings>, book: &Book, now: Timestamp) {
        let assumed = settings.cloned().unwrap_or_else(|| self.any_profile());
        // Where the gateway is decides nothing about what can be served.
        let installation = Installation {
            settings: &assumed,
            gateway_namespace: "",
            image: "localhost/portfolio:dev",
            mounts_images: assumed.image_volumes.are_used(None),
        };
        let models: Vec<Arc<ModelDeployment>> = self.models.iter().map(|m| Arc::new(m.object.clone())).collect();
        for model in &self.models {
            if let Some(own) = &model.object.spec.self_hosted
                && let Err(invalid) = serving::plan(&model.object, own, installation, None)
            {
                self.findings.push(model.origin.finding(Severity::Error, invalid));
            }
            let scaling = model.object.spec.self_hosted.as_ref().and_then(|own| own.scaling.as_ref());
            if let Some(own) = &model.object.spec.self_hosted
                && let Some(invalid) = settings.and_then(|settings| serving::doubtful(own, settings))
            {
                self.findings.push(model.origin.finding(Severity::Warning, invalid));
            }
            let unreadable = scaling.map(schedule::invalid).unwrap_or_default();
            let no_metrics = scaling.map(metrics::invalid).unwrap_or_default();
            self.findings.extend(
                unreadable
                    .into_iter()
                    .chain(no_metrics)
                    .map(|invalid| model.origin.finding(Severity::Error, invalid)),
            );
            if let Some(own) = &model.object.spec.self_hosted
                && let Some(wanted) = cache::wanted(&model.object, own)
                && let Err(invalid) = wanted.share(&model.object, &models)
            {
                self.findings.push(model.origin.finding(Severity::Error, invalid));
            }
            if let Some(api) = &model.object.spec.api {
                // Where a value is missing, the reference to it has a finding of its own.
                let unusable = self.unusable(api, &Key::of(&model.object)).into_iter();
                let errors = unusable.chain(backend::misplaced(api));
                let doubt = backend::doubtful(api).map(|invalid| model.origin.finding(Severity::Warning, invalid));
                self.findings
                    .extend(errors.map(|invalid| model.origin.finding(Severity::Error, invalid)).chain(doubt));
            }
            if let Some(urls) = model.object.annotations().get(ENDPOINT_ANNOTATION)
                && model.object.spec.self_hosted.is_some()
            {
                self.findings.extend(
                    unfit_addresses(urls)
                        .into_iter()
                        .map(|(severity, invalid)| model.origin.finding(severity, invalid)),
                );
            }
        }
        for written in &self.evaluations {
            let job = &written.object;
            // What is missing is a warning of its own.
            let problem = check::accept(job).and_then(|_| check::resolve(job, &models, None, book, now)).err();
            let refused = problem.filter(|problem| problem.claim == Kind::Accepted);
            self.findings
                .extend(refused.map(|problem| written.origin.finding(Severity::Error, problem.invalid)));
        }
        for written in &self.policies {
            let problems = routing::problems(&written.object.spec, &assumed);
            self.findings
                .extend(problems.into_iter().map(|invalid| written.origin.finding(Severity::Error, invalid)));
        }
        for written in self.policies.iter().filter(|_| !assumed.allow_anonymous) {
            let clients = &written.object.spec.clients;
            if !clients.is_empty() && clients.iter().all(|client| client.anonymous.is_some()) {
                let invalid = Invalid::new(
                    "spec.clients",
                    "admits nobody: anonymous clients are not allowed by these settings",
                    "admit serviceAccounts or apiKeys, or set allowAnonymous in the settings",
                );
                self.findings.push(written.origin.finding(Severity::Error, invalid));
            }
        }
        doubts::check(self, book, now);
        possible::check(self, &assumed, settings.is_some(), book, now);
        self.findings.sort();
    }

    /// How many models name an accelerator profile, which only the installer's settings can confirm.
    #[must_use]
    pub fn profiles_named(&self) -> usize {
        self.profiles().count()
    }

    fn profiles(&self) -> impl Iterator<Item = &str> {
        let accelerators = (self.models.iter()).filter_map(|m| m.object.spec.self_hosted.as_ref()?.accelerator.as_ref());
        accelerators.filter_map(|accelerator| accelerator.profile.as_deref())
    }

    /// Adds what `read` says against the questions of each suite, as far as they are in these files.
    pub fn check_datasets(&mut self, read: impl Fn(&Suite, &str, &str, &str, &[u8]) -> Result<(), String>) {
        for written in &self.evaluations {
            let namespace = Key::of(&written.object).namespace;
            for (index, suite) in written.object.spec.suites.iter().enumerate() {
                for (field, dataset) in suite.datasets() {
                    let Some(reference) = &dataset.config_map_ref else { continue };
                    let Some(bytes) = self.config(&Key::new(&namespace, &reference.name), &reference.key) else {
                        continue;
                    };
                    let name = format!("ConfigMap {namespace}/{}, key {},", reference.name, reference.key);
                    if let Err(problem) = read(suite, field, &name, &reference.key, &bytes) {
                        let invalid = Invalid::new(format!("spec.suites[{index}].{field}"), problem, "");
                        self.findings.push(written.origin.finding(Severity::Error, invalid));
                    }
                }
            }
        }
        self.findings.sort();
    }

    /// The classes of data that policies name.
    fn data_classes(&self) -> impl Iterator<Item = &str> {
        let rules = self.policies.iter().flat_map(|policy| &policy.object.spec.rules);
        rules
            .filter_map(|rule| rule.when.as_ref())
            .flat_map(|when| &when.data_classes)
            .map(String::as_str)
    }

    /// How many classes of data policies name, which only the installer's settings can confirm.
    #[must_use]
    pub fn data_classes_named(&self) -> usize {
        self.data_classes().count()
    }

    fn any_profile(&self) -> Settings {
        // One of devices, or a model could not be split over several.
        let any = AcceleratorProfile {
            resource: Some("example.com/accelerator".to_owned()),
            ..AcceleratorProfile::default()
        };
        Settings {
            accelerator_profiles: self.profiles().map(|p| (p.to_owned(), any.clone())).collect(),
            data_classes: self.data_classes().map(|name| (name.to_owned(), DataClass::default())).collect(),
            allow_anonymous: true,
            ..Settings::default()
        }
    }
}

/// What is wrong with the addresses that an annotation lists.
fn unfit_addresses(urls: &str) -> Option<(Severity, Invalid)> {
    let field = format!("metadata.annotations[{ENDPOINT_ANNOTATION}]");
    if let Some(problem) = endpoints(urls).find_map(no_endpoint) {
        let remedy = "write where the engine answers, without a path, such as \"http://127.0.0.1:8081\", and several with commas between";
        return Some((Severity::Error, Invalid::new(field, problem, remedy)));
    }
    let mut seen = BTreeSet::new();
    let twice = endpoints(urls).find(|url| !seen.insert(url.trim_end_matches('/').to_lowercase()))?;
    let problem = format!("{twice:?} is there twice, and would get the requests of two");
    Some((Severity::Warning, Invalid::new(field, problem, "remove one of them")))
}

/// Why the paths of the API cannot be put behind `url`.
fn no_endpoint(url: &str) -> Option<String> {
    if url.is_empty() {
        return Some("an address between two commas is missing".to_owned());
    }
    match backend::server(url) {
        Err(why) => Some(format!("{url:?} {why}")),
        Ok(uri) => {
            let more = uri.path_and_query().is_some_and(|rest| rest.as_str() != "/");
            more.then(|| format!("{url:?} has a path, and the gateway adds /v1/chat/completions itself"))
        }
    }
}
