//! `portfolio render`: every object that the operator would apply for these files, made by the operator's own plans. Nothing is contacted.
//! Owner references need the cluster's uids and are left out; credentials are named, never printed.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use http::uri::Authority;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::model_deployment::{KeyRef, ScalingEngine, SelfHosted};
use crate::api::{EvalJob, ModelDeployment, Settings};
use crate::cluster;
use crate::manifest::{Finding, Portfolio, Severity};
use crate::plan::evaluation::check;
use crate::plan::evaluation::job::{self, Runner};
use crate::plan::evaluation::run::Evaluation;
use crate::plan::leader_worker_set::LeaderWorkerSet;
use crate::plan::names::Key;
use crate::plan::price::Book;
use crate::plan::scaling::driver::{self, Driver, Drivers, Keda};
use crate::plan::scaling::schedule;
use crate::plan::serving::{self, Installation, Pods, Serving};
use crate::plan::{Invalid, backend, cache, fingerprint};

use super::files::Files;
use super::{address, out, times};

/// What to render, and for which installation.
#[derive(Args)]
pub struct Render {
    #[command(flatten)]
    files: Files,
    /// The namespace of the gateway, where it finds credentials and from where engines are reached.
    #[arg(long, default_value = "llm-portfolio")]
    gateway_namespace: String,
    /// Where evaluations reach the gateway.
    #[arg(long, default_value = "http://llm-portfolio-gateway.llm-portfolio.svc")]
    gateway_url: String,
    /// The image that evaluations run.
    #[arg(long, env = "PORTFOLIO_IMAGE", default_value = "localhost/portfolio:dev")]
    image: String,
    /// As in a cluster with KEDA, which reaches the operator there, such as llm-portfolio-operator.llm-portfolio.svc:6000. Default: without KEDA.
    #[arg(long, value_name = "HOST:PORT", value_parser = address::host_and_port)]
    scaler_address: Option<Authority>,
    /// The Job of an EvalJob is the one of the first slot after this time, such as 2026-01-01T00:00:00Z, at which schedules of replicas are looked at too.
    /// Default: now.
    #[arg(long, value_name = "TIME", value_parser = times::timestamp)]
    after: Option<Timestamp>,
}

impl Render {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let rendered = match self.files.settings() {
            Ok(settings) => self.rendered(&settings.unwrap_or_default()),
            Err(finding) => Err(vec![*finding]),
        };
        match rendered {
            Ok((objects, left_out)) => {
                left_out.iter().for_each(|finding| eprintln!("{finding}"));
                let documents: Result<Vec<String>, _> = objects.iter().map(serde_saphyr::to_string).collect();
                out::write(&documents.context("writing the objects as YAML")?.join("---\n"))?;
                Ok(ExitCode::SUCCESS)
            }
            Err(findings) => {
                findings.iter().for_each(|finding| eprintln!("{finding}"));
                Ok(ExitCode::FAILURE)
            }
        }
    }

    /// The objects, and what is not among them although it is asked for; or what keeps them from being made.
    fn rendered(&self, settings: &Settings) -> Result<(Vec<Value>, Vec<Finding>), Vec<Finding>> {
        let prices = self.files.prices();
        let portfolio = self.files.read(Some(settings), &prices);
        if portfolio.errors() > 0 {
            return Err(portfolio.findings);
        }
        let models: Vec<Arc<ModelDeployment>> = portfolio.models.iter().map(|m| Arc::new(m.object.clone())).collect();
        let of_models = models.iter().flat_map(|md| self.of_model(md, settings));
        // Shared ones once.
        let of_caches: BTreeMap<Key, Vec<Value>> = models.iter().filter_map(|md| self.of_cache(md, &models, settings)).collect();
        let of_evaluations = portfolio
            .evaluations
            .iter()
            .filter_map(|job| self.next_run(&job.object, &portfolio, &prices.book, settings));
        let objects = of_models.chain(of_caches.into_values().flatten()).chain(of_evaluations);
        Ok((objects.collect(), self.left_out(&portfolio)))
    }

    /// What only an operator that KEDA reaches makes, for models that ask for KEDA by name.
    fn left_out(&self, portfolio: &Portfolio) -> Vec<Finding> {
        let is_keda = |md: &ModelDeployment| {
            let scaling = md.spec.self_hosted.as_ref().and_then(|own| own.scaling.as_ref());
            scaling.is_some_and(|scaling| scaling.engine == ScalingEngine::Keda)
        };
        let asking = portfolio.models.iter().filter(|written| is_keda(&written.object));
        let told = asking.filter(|_| self.scaler_address.is_none()).map(|written| {
            let invalid = Invalid::new(
                "spec.selfHosted.scaling.engine",
                "is KEDA, and no ScaledObject is rendered, as in a cluster without KEDA, where the operator sets the number of replicas",
                "give --scaler-address HOST:PORT as the operator has it",
            );
            written.origin.finding(Severity::Warning, invalid)
        });
        told.collect()
    }

    fn installation<'a>(&'a self, settings: &'a Settings) -> Installation<'a> {
        Installation {
            settings,
            gateway_namespace: &self.gateway_namespace,
            image: &self.image,
            mounts_images: settings.image_volumes.are_used(None),
        }
    }

    fn of_model(&self, md: &ModelDeployment, settings: &Settings) -> Vec<Value> {
        match (&md.spec.self_hosted, &md.spec.api) {
            (Some(own), _) => {
                let held = cache::wanted(md, own).map(|wanted| wanted.held(&wanted.unlisted()));
                let installation = self.installation(settings);
                let Ok(Serving {
                    pods,
                    takes,
                    service,
                    claim,
                    network,
                    budget,
                }) = serving::plan(md, own, installation, held.as_ref())
                else {
                    return vec![];
                };
                let rollout = serving::first(own, takes);
                let (workload, drivers) = match pods {
                    Pods::Single(mut deployment) => {
                        rollout.put_on(&mut *deployment);
                        (document(&*deployment), self.drivers::<Deployment>(md, own))
                    }
                    Pods::Grouped(mut set) => {
                        rollout.put_on(&mut *set);
                        (document(&*set), self.drivers::<LeaderWorkerSet>(md, own))
                    }
                };
                let always = [workload, document(&service), document(&network)];
                let at_times = [
                    claim.as_ref().map(document),
                    budget.as_ref().map(document),
                    drivers.autoscaler.as_ref().map(document),
                    drivers.scaled_object.as_ref().map(document),
                ];
                always.into_iter().chain(at_times.into_iter().flatten()).collect()
            }
            (None, Some(api)) => {
                let namespace = Key::of(md).namespace;
                let copied = |kind: &str, from: &KeyRef| format!("(copied from {kind} {namespace}/{}, key {})", from.name, from.key);
                let credential = api
                    .credentials
                    .as_ref()
                    .map(|c| (backend::CREDENTIAL, copied("Secret", &c.secret_ref)));
                let bundle = api.ca_bundle.as_ref();
                let bundle = bundle.map(|b| (backend::AUTHORITIES, copied("ConfigMap", &b.config_map_ref)));
                let values: BTreeMap<String, String> = credential
                    .into_iter()
                    .chain(bundle)
                    .map(|(key, from)| (key.to_owned(), from))
                    .collect();
                let secret = || Secret {
                    string_data: Some(values.clone()),
                    ..backend::empty(md, api, &self.gateway_namespace)
                };
                (!values.is_empty()).then(|| document::<Secret>(&secret())).into_iter().collect()
            }
            (None, None) => vec![],
        }
    }

    /// What moves the number of replicas, where the operator does not itself.
    fn drivers<W: Resource<DynamicType = ()>>(&self, md: &ModelDeployment, own: &SelfHosted) -> Drivers {
        let keda = Keda {
            is_served: self.scaler_address.is_some(),
            address: self.scaler_address.as_ref().map(Authority::as_str),
        };
        let Some(scaling) = &own.scaling else { return Drivers::default() };
        let range = schedule::in_force(scaling, self.after.unwrap_or_else(cluster::now)).range;
        // Metrics that are none have been found before.
        driver::drivers::<W>(md, (scaling, range), Some(Driver::of(scaling, keda)), keda).unwrap_or_default()
    }

    /// The claim and the Jobs of the cache that a model asks for. What only the source knows is told in its place.
    fn of_cache(&self, md: &ModelDeployment, models: &[Arc<ModelDeployment>], settings: &Settings) -> Option<(Key, Vec<Value>)> {
        let own = md.spec.self_hosted.as_ref()?;
        let wanted = cache::wanted(md, own)?;
        let listed = wanted.unlisted();
        let mut claim = wanted.claim(&listed, &wanted.share(md, models).ok()?, None).ok()?;
        let is_sized = models
            .iter()
            .any(|other| cache::name(other).as_ref() == Some(&wanted.key) && cache::size(other).is_some());
        if let Some(resources) = claim
            .as_mut()
            .filter(|_| !is_sized)
            .and_then(|claim| claim.spec.as_mut()?.resources.as_mut())
        {
            let size = Quantity("(what the source's files need, and a twentieth more)".to_owned());
            resources.requests = Some([("storage".to_owned(), size)].into());
        }
        let installation = self.installation(settings);
        let fill = wanted.fill(&listed, &serving::place(own, settings), installation);
        let jobs = [document(&wanted.list(installation)), document(&fill)];
        Some((wanted.key, claim.iter().map(document).chain(jobs).collect()))
    }

    /// The Job of the next run, unless runs are suspended or a target is not in the files.
    fn next_run(&self, evaluation: &EvalJob, portfolio: &Portfolio, book: &Book, settings: &Settings) -> Option<Value> {
        if evaluation.spec.suspend {
            return None;
        }
        let models: Vec<Arc<ModelDeployment>> = portfolio.models.iter().map(|m| Arc::new(m.object.clone())).collect();
        let schedule = check::accept(evaluation).ok()?;
        let slot = schedule.next(self.after.unwrap_or_else(cluster::now))?;
        let check::Models { targets, baseline, judges } = check::resolve(evaluation, &models, None, book, slot).ok()?;
        let fingerprints = targets
            .iter()
            .map(|md| (Key::of(&**md).name, fingerprint::of(md, evaluation, &models)))
            .collect();
        let runner = Runner::new(self.image.clone(), self.gateway_url.clone(), settings);
        let targets: Vec<&ModelDeployment> = targets.iter().map(AsRef::as_ref).collect();
        Some(document(&job::job(
            evaluation,
            &Evaluation::of(evaluation, &targets, baseline.as_deref(), book, slot).judged_by(&judges, book, slot),
            &fingerprints,
            &runner,
            slot,
        )))
    }
}

/// An object with its kind, which typed ones leave out.
fn document<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Value {
    let mut value = json!({ "apiVersion": K::api_version(&()), "kind": K::kind(&()) });
    if let (Value::Object(members), Ok(Value::Object(own))) = (&mut value, serde_json::to_value(object)) {
        members.extend(own);
    }
    value
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::fetch::tests::Scratch;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        render: Render,
    }

    fn render(args: &[&str]) -> Result<Vec<Value>, Vec<Finding>> {
        let Arguments { render } = Arguments::parse_from(std::iter::once(&"render").chain(args));
        let rendered = render.rendered(&render.files.settings().unwrap().unwrap_or_default());
        rendered.map(|(objects, _)| objects)
    }

    #[test]
    fn keda_that_is_asked_for_by_name_and_not_rendered_is_told() {
        let scratch = Scratch::new();
        let file = scratch.path().join("models.yaml");
        let models = ["KEDA", "Auto"].map(|engine| {
            format!(
                "---\napiVersion: llmportfolio.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {{name: m-{}}}\nspec: {{selfHosted: {{engine: {{kind: LlamaCpp}}, scaling: {{max: 2, engine: {engine}, target: {{inFlight: 2}}}}}}}}\n",
                engine.to_lowercase()
            )
        });
        std::fs::write(&file, models.concat()).unwrap();
        let told = |args: &[&str]| -> Vec<String> {
            let given = [&["render", "-f", file.to_str().unwrap()], args].concat();
            let Arguments { render } = Arguments::parse_from(given);
            let (_, left_out) = render.rendered(&Settings::default()).unwrap();
            left_out.iter().map(ToString::to_string).collect()
        };
        let (without, with) = (told(&[]), told(&["--scaler-address", "operator:6000"]));
        assert_eq!(without.len(), 1, "{without:?}");
        assert!(
            without[0].contains("models.yaml:5: warning: ModelDeployment") && without[0].contains("m-keda"),
            "{without:?}"
        );
        assert!(
            without[0].ends_with("give --scaler-address HOST:PORT as the operator has it"),
            "{without:?}"
        );
        assert!(with.is_empty(), "{with:?}");
        assert!(Arguments::try_parse_from(["render", "-f", "x", "--scaler-address", "operator"]).is_err());
    }

    #[test]
    fn what_moves_replicas_is_rendered_as_in_a_cluster_with_keda_or_without() {
        let scratch = Scratch::new();
        let file = scratch.path().join("models.yaml");
        let model = |name: &str, scaling: &str| {
            format!(
                "---\napiVersion: llmportfolio.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {{name: {name}}}\nspec: {{selfHosted: {{engine: {{kind: LlamaCpp}}, scaling: {scaling}}}}}\n"
            )
        };
        let cpu = "[{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]";
        let models = [
            model("own", &format!("{{max: 2, engine: HPA, metrics: {cpu}}}")),
            model("any", "{max: 2, target: {inFlight: 2}}"),
        ];
        std::fs::write(&file, models.concat()).unwrap();
        let kinds = |args: &[&str]| -> Vec<String> {
            let given = [&["-f", file.to_str().unwrap()], args].concat();
            let moving = ["HorizontalPodAutoscaler", "ScaledObject"];
            let all = render(&given).unwrap();
            let kinds = all.iter().filter_map(|object| object["kind"].as_str().map(str::to_owned));
            kinds.filter(|kind| moving.contains(&kind.as_str())).collect()
        };
        let (without, with) = (kinds(&[]), kinds(&["--scaler-address", "operator:6000"]));
        assert_eq!(without, ["HorizontalPodAutoscaler"]);
        assert_eq!(with, ["HorizontalPodAutoscaler", "ScaledObject"]);
    }

    fn example(name: &str) -> String {
        format!("{}/deploy/examples/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    #[test]
    fn every_object_of_the_demo_is_rendered_and_no_credential() {
        let (demo, settings) = (example("demo.yaml"), example("settings.yaml"));
        let objects = render(&["-f", &demo, "--settings", &settings, "--after", "2026-01-01T00:00:30Z"]).unwrap();
        let names: Vec<String> = objects
            .iter()
            .map(|o| format!("{} {}/{}", o["kind"], o["metadata"]["namespace"], o["metadata"]["name"]).replace('"', ""))
            .collect();
        assert_eq!(
            names,
            [
                "Deployment demo/llama-engine",
                "Service demo/llama-engine",
                "NetworkPolicy demo/llama-engine",
                "Secret llm-portfolio/backend.demo.gpt",
                "Job demo/capital-29453761",
            ]
        );
        assert_eq!(
            objects[3]["stringData"]["credential"],
            "(copied from Secret demo/provider, key api-key)"
        );
        assert!(!serde_json::to_string(&objects).unwrap().contains("sk-demo"));
    }

    #[test]
    fn a_backend_secret_is_rendered_with_where_its_values_come_from() {
        let objects = render(&["-f", &example("providers.yaml")]).unwrap();
        assert_eq!(objects.len(), 8);
        let of = |model: &str| {
            let name = format!("backend.models.{model}");
            objects.iter().find(|object| object["metadata"]["name"] == name.as_str()).unwrap()
        };
        let copied = json!({ "ca.crt": "(copied from ConfigMap models/corporate-ca, key ca.crt)" });
        assert_eq!(of("in-house")["stringData"], copied);
        let copied = json!({ "credential": "(copied from Secret models/vertex, key key.json)" });
        assert_eq!(of("gemini-vertex")["stringData"], copied);
        assert_eq!(
            of("gemini-vertex")["metadata"]["annotations"]["llmportfolio.dev/provider"],
            "VertexAI"
        );
    }

    #[test]
    fn the_cache_of_two_models_is_rendered_once_with_what_only_the_source_knows_in_words() {
        let scratch = crate::fetch::tests::Scratch::new();
        let file = scratch.path().join("models.yaml");
        let model = |name: &str| {
            format!(
                "---\napiVersion: llmportfolio.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {{name: {name}, namespace: a}}\n\
                 spec: {{selfHosted: {{source: {{uri: 'hf://org/smol/m.gguf'}}, engine: {{kind: LlamaCpp}}, cache: {{}}}}}}\n"
            )
        };
        std::fs::write(&file, model("one") + &model("two")).unwrap();
        let objects = render(&["-f", file.to_str().unwrap()]).unwrap();
        let of = |kind: &str| objects.iter().filter(|o| o["kind"] == kind).collect::<Vec<_>>();
        assert_eq!(
            (of("Deployment").len(), of("PersistentVolumeClaim").len(), of("Job").len()),
            (2, 1, 2)
        );
        let storage = &of("PersistentVolumeClaim")[0]["spec"]["resources"]["requests"]["storage"];
        assert_eq!(storage, "(what the source's files need, and a twentieth more)");
    }

    #[test]
    fn a_slice_of_a_device_is_a_profile_like_any_other() {
        let (models, settings) = (example("accelerators.yaml"), example("accelerators.settings.yaml"));
        let objects = render(&["-f", &models, "--settings", &settings]).unwrap();
        let deployments: Vec<&Value> = objects.iter().filter(|object| object["kind"] == "Deployment").collect();
        let limits = |deployment: &Value| deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"].clone();
        assert_eq!(limits(deployments[0]), json!({ "memory": "8Gi", "nvidia.com/mig-1g.10gb": "1" }));
        assert_eq!(limits(deployments[1]), json!({ "memory": "16Gi", "nvidia.com/gpu": "2" }));
        let environment = deployments[0]["spec"]["template"]["spec"]["containers"][0]["env"].to_string();
        assert!(environment.contains("https://hub.example.com"), "{environment}");
    }

    #[test]
    fn a_model_over_several_nodes_is_rendered_in_groups() {
        let file = std::env::temp_dir().join(format!("llm-portfolio-groups-{}.yaml", std::process::id()));
        let own = "{engine: {kind: VLLM}, parallelism: {nodes: 2}, replicas: 2}";
        let md = "{apiVersion: llmportfolio.dev/v1alpha1, kind: ModelDeployment, metadata: {name: big, namespace: demo}, spec: {selfHosted: OWN}}";
        std::fs::write(&file, md.replace("OWN", own)).unwrap();
        let objects = render(&["-f", file.to_str().unwrap()]);
        std::fs::remove_file(file).unwrap();
        let objects = objects.unwrap();
        let kinds: Vec<&str> = objects.iter().filter_map(|o| o["kind"].as_str()).collect();
        assert_eq!(kinds, ["LeaderWorkerSet", "Service", "NetworkPolicy", "PodDisruptionBudget"]);
        let limits = &objects[0]["spec"]["rolloutStrategy"]["rollingUpdateConfiguration"];
        assert_eq!(*limits, json!({ "maxSurge": 1, "maxUnavailable": 0 }));
        assert_eq!(objects[0]["apiVersion"], "leaderworkerset.x-k8s.io/v1");
    }

    #[test]
    fn what_check_refuses_is_not_rendered() {
        let findings = render(&["-f", &example("demo.yaml")]).unwrap_err();
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert_eq!(findings[0].field, "spec.selfHosted.accelerator.profile");
        assert!(findings[0].remedy.contains("--settings FILE"), "{}", findings[0].remedy);
    }
}
