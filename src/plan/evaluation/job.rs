//! The Job of one run: a pod that asks the gateway, has no rights in the cluster, and leaves its report in the termination message.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, EmptyDirVolumeSource, EnvVar, KeyToPath, PersistentVolumeClaimVolumeSource, PodSpec, PodTemplateSpec,
    ProjectedVolumeSource, ResourceRequirements, SecretVolumeSource, ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use super::external::{self, RELAY, RESULTS};
use super::run::{Evaluation, Place, place};
use crate::api::eval_job::Reports;
use crate::api::{EvalJob, Settings};
use crate::plan::names::{self, Key};
use crate::plan::{fingerprint, restricted};

/// Beyond what the run may take: for its pod to start, its files to come, and its last answers. What is not done by then is stuck; with the retries
/// below it is Kubernetes that ends it.
const BEYOND: Duration = Duration::from_secs(30 * 60);
/// Restarts of the container, each of which goes on where the last one stopped. Kubernetes would also replace a lost pod so often, and the
/// new one would start from nothing: `observe` ends such a run, because a policy for failed pods cannot be had with `OnFailure`.
const RETRIES: i32 = 3;
/// The kubelet renews the token at 80 % of this; an hour is what it does by itself.
const TOKEN_SECONDS: i64 = 3600;

/// The name of the container.
pub(super) const CONTAINER: &str = "evaluate";

const DATASETS: &str = "/datasets";
const TOKEN_FOLDER: &str = "/var/run/secrets/llmportfolio.dev";
const PROGRESS_FOLDER: &str = "/progress";
const CLAIMS: &str = "/claims";
const REPORTS: &str = "/reports";
/// The answers of one suite and their prompts are written as one file.
const KEEPING: &str = "1Gi";
/// What a run keeps and reads of earlier ones, on its way to and from a bucket.
const KEPT_HERE: &str = "8Gi";
/// The variable by which a Job is known to go on in another pod.
const REPORT_FOLDER: &str = "REPORT_FOLDER";
/// The variable that names the bucket, where reports go to one.
const REPORT_STORE: &str = "REPORT_STORE";
const CREDENTIALS: &str = "/credentials";

/// What the installer decides about the pods of evaluations.
#[derive(Clone, Debug, PartialEq)]
pub struct Runner {
    /// The image of `portfolio`; its entry point is the command itself.
    pub image: String,
    /// The base URL of the gateway inside the cluster, such as `http://llm-portfolio-gateway.llm-portfolio:8080`.
    pub gateway_url: String,
    /// The service account of the namespace that pods run as; none: Kubernetes' default.
    pub service_account: Option<String>,
}

impl Runner {
    /// Pods that may call models directly under these settings.
    #[must_use]
    pub fn new(image: String, gateway_url: String, settings: &Settings) -> Self {
        Self {
            image,
            gateway_url,
            service_account: settings.direct_callers.first().cloned(),
        }
    }
}

/// The Job that carries out `run` for `slot`. `fingerprints` say what each target is at this moment, so that the result is attributed to
/// what was evaluated, whatever the objects say when it arrives.
#[must_use]
pub fn job(owner: &EvalJob, run: &Evaluation, fingerprints: &BTreeMap<String, String>, runner: &Runner, slot: Timestamp) -> Job {
    let name = Key::of(owner).name;
    let labels = names::labels("evaluation", names::EVAL_JOB_LABEL, &name);
    let evaluated = json(fingerprints);
    let asked = run.asked().chain(&run.judges).map(|target| names::asked_parts(&target.model).0);
    let asks = json(&asked.collect::<BTreeSet<_>>());
    Job {
        metadata: ObjectMeta {
            annotations: Some(BTreeMap::from([
                (names::EVALUATED_ANNOTATION.to_owned(), evaluated),
                (names::ASKS_ANNOTATION.to_owned(), asks),
            ])),
            ..names::child(owner, names::evaluation(&name, slot), labels.clone())
        },
        spec: Some(JobSpec {
            backoff_limit: Some(RETRIES),
            active_deadline_seconds: i64::try_from((Duration::from_secs(run.limits.seconds) + BEYOND).as_secs()).ok(),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    ..ObjectMeta::default()
                }),
                spec: Some(kept(pod(run, runner), owner, &names::evaluation(&name, slot))),
            },
            ..JobSpec::default()
        }),
        ..Job::default()
    }
}

/// The pod, keeping what it has where reports go, if anywhere: in a claim all of it as it comes; into a bucket the pod brings it from its own folder.
fn kept(mut pod: PodSpec, owner: &EvalJob, run: &str) -> PodSpec {
    let Some(reports) = &owner.spec.reports else { return pod };
    let Some((claim, folder)) = reports.claim() else {
        return kept_in_bucket(pod, reports, run);
    };
    let folder = [REPORTS, folder, run].map(|part| part.trim_end_matches('/'));
    let folder = folder.join("/").replace("//", "/");
    pod.volumes.get_or_insert_default().push(Volume {
        name: "reports".to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim.to_owned(),
            read_only: None,
        }),
        ..Volume::default()
    });
    let relays = pod.init_containers.iter_mut().flatten().filter(|container| container.name == RELAY);
    for container in pod.containers.iter_mut().chain(relays) {
        let mounts = container.volume_mounts.get_or_insert_default();
        mounts.push(mount("reports", REPORTS, false));
        let env = container.env.get_or_insert_default();
        env.retain(|variable| variable.name != "PROGRESS_FILE");
        env.push(variable("PROGRESS_FILE", format!("{folder}/progress.jsonl")));
    }
    with_report(pod, &folder)
}

/// Likewise, where it is brought to a bucket.
fn kept_in_bucket(mut pod: PodSpec, reports: &Reports, run: &str) -> PodSpec {
    let secret = reports.secret_ref.as_ref().map(|secret| secret.name.as_str());
    let volumes = pod.volumes.get_or_insert_default();
    let its_own = secret.filter(|name| volumes.iter().all(|volume| volume.name != volume_name("secret", name)));
    volumes.extend(its_own.map(self::secret));
    if let Some(progress) = volumes.iter_mut().find(|volume| volume.name == "progress") {
        progress.empty_dir.get_or_insert_default().size_limit = Some(Quantity(KEPT_HERE.to_owned()));
    }
    for container in &mut pod.containers {
        let mounts = container.volume_mounts.get_or_insert_default();
        mounts.extend(its_own.map(credentials));
        let env = container.env.get_or_insert_default();
        env.push(variable(REPORT_STORE, reports.uri.clone()));
        env.extend(secret.map(|name| variable("REPORT_STORE_SECRET", name)));
    }
    with_report(pod, &format!("{PROGRESS_FOLDER}/reports/{run}"))
}

fn with_report(mut pod: PodSpec, folder: &str) -> PodSpec {
    for container in &mut pod.containers {
        if let Some(limits) = container.resources.as_mut().and_then(|resources| resources.limits.as_mut()) {
            limits.extend(quantities(&[("memory", KEEPING)]));
        }
        container.env.get_or_insert_default().push(variable(REPORT_FOLDER, folder));
    }
    pod
}

/// Whether another pod of the Job goes on where one stopped.
pub(super) fn is_kept(job: &Job) -> bool {
    let Some(pod) = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()) else {
        return false;
    };
    let has = |name: &str| {
        let mut env = pod.containers.iter().flat_map(|container| container.env.iter().flatten());
        env.any(|variable| variable.name == name)
    };
    // What an evaluator asked is noted beside the relay, which knows no bucket: another pod would not count it.
    let relays = pod.init_containers.iter().flatten().any(|container| container.name == RELAY);
    has(REPORT_FOLDER) && !(relays && has(REPORT_STORE))
}

fn pod(run: &Evaluation, runner: &Runner) -> PodSpec {
    let Files { datasets, claims, secrets } = Files::of(run);
    let claimed = claims
        .iter()
        .map(|claim| mount(&volume_name("claim", claim), &format!("{CLAIMS}/{claim}"), true));
    let credentials = secrets.iter().map(|name| credentials(name));
    let mut pod = PodSpec {
        restart_policy: Some("OnFailure".to_owned()),
        service_account_name: runner.service_account.clone(),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(restricted::pod()),
        containers: vec![Container {
            name: CONTAINER.to_owned(),
            image: Some(runner.image.clone()),
            args: Some(vec!["evaluate".to_owned()]),
            env: Some(vec![
                variable("EVALUATION", json(run)),
                variable("GATEWAY_URL", runner.gateway_url.clone()),
                variable("TOKEN_FILE", format!("{TOKEN_FOLDER}/token")),
                variable("DATASETS", DATASETS),
                variable("CLAIMS", CLAIMS),
                variable("CREDENTIALS", CREDENTIALS),
                variable("FETCHED", format!("{PROGRESS_FOLDER}/fetched")),
                variable("PROGRESS_FILE", format!("{PROGRESS_FOLDER}/progress.jsonl")),
                variable("REPORT_FILE", "/dev/termination-log"),
            ]),
            resources: Some(ResourceRequirements {
                requests: Some(quantities(&[("cpu", "50m"), ("memory", "64Mi")])),
                limits: Some(quantities(&[("memory", "512Mi")])),
                ..ResourceRequirements::default()
            }),
            security_context: Some(restricted::container()),
            termination_message_policy: Some("File".to_owned()),
            volume_mounts: Some(
                [
                    mount("datasets", DATASETS, true),
                    mount("token", TOKEN_FOLDER, true),
                    mount("progress", PROGRESS_FOLDER, false),
                ]
                .into_iter()
                .chain(claimed)
                .chain(credentials)
                .collect(),
            ),
            ..Container::default()
        }],
        volumes: Some(
            [
                projected("datasets", datasets),
                projected("token", vec![token()]),
                Volume {
                    name: "progress".to_owned(),
                    empty_dir: Some(EmptyDirVolumeSource {
                        size_limit: Some(Quantity("1Gi".to_owned())),
                        ..EmptyDirVolumeSource::default()
                    }),
                    ..Volume::default()
                },
            ]
            .into_iter()
            .chain(claims.iter().map(|claim| claimed_volume(claim)))
            .chain(secrets.iter().map(|name| secret(name)))
            .collect(),
        ),
        ..PodSpec::default()
    };
    let before = external::containers(run, &pod.containers[0]);
    if !before.is_empty() {
        let (volume, mount) = external::results();
        pod.init_containers = Some(before);
        pod.volumes.get_or_insert_default().push(volume);
        pod.containers[0].volume_mounts.get_or_insert_default().push(mount);
        pod.containers[0].env.get_or_insert_default().push(variable("RESULTS", RESULTS));
    }
    pod
}

/// What a run reads.
struct Files {
    datasets: Vec<VolumeProjection>,
    claims: BTreeSet<String>,
    secrets: BTreeSet<String>,
}

impl Files {
    fn of(run: &Evaluation) -> Self {
        let mut files = Self {
            datasets: Vec::new(),
            claims: BTreeSet::new(),
            secrets: BTreeSet::new(),
        };
        let named = run
            .suites
            .iter()
            .flat_map(|suite| suite.datasets().map(move |(field, dataset)| (suite, field, dataset)));
        for (suite, field, dataset) in named {
            match place(suite, field, dataset) {
                Some(Place::Mounted { path, from: (map, key) }) => files.datasets.push(of_config_map(map, key, path)),
                Some(Place::Claimed { claim, .. }) => {
                    files.claims.insert(claim.to_owned());
                }
                Some(Place::Fetched { secret, .. }) => files.secrets.extend(secret.map(str::to_owned)),
                None => {}
            }
        }
        let webhooks = run.suites.iter().filter_map(|suite| suite.scorer.as_ref()?.webhook.as_ref());
        let tokens = webhooks.filter_map(|webhook| webhook.secret_ref.as_ref());
        files.secrets.extend(tokens.map(|secret| secret.name.clone()));
        files
    }
}

/// Optional, because a missing key would keep the pod from starting with nothing but an event to say so; the evaluator names what is
/// missing in its report.
fn of_config_map(name: &str, key: &str, path: String) -> VolumeProjection {
    VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name: name.to_owned(),
            items: Some(vec![KeyToPath {
                key: key.to_owned(),
                path,
                ..KeyToPath::default()
            }]),
            optional: Some(true),
        }),
        ..VolumeProjection::default()
    }
}

fn token() -> VolumeProjection {
    VolumeProjection {
        service_account_token: Some(ServiceAccountTokenProjection {
            audience: Some(names::TOKEN_AUDIENCE.to_owned()),
            expiration_seconds: Some(TOKEN_SECONDS),
            path: "token".to_owned(),
        }),
        ..VolumeProjection::default()
    }
}

fn projected(name: &str, sources: Vec<VolumeProjection>) -> Volume {
    Volume {
        name: name.to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(sources),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn claimed_volume(claim: &str) -> Volume {
    Volume {
        name: volume_name("claim", claim),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim.to_owned(),
            read_only: Some(true),
        }),
        ..Volume::default()
    }
}

/// Optional like a ConfigMap.
fn secret(name: &str) -> Volume {
    Volume {
        name: volume_name("secret", name),
        secret: Some(SecretVolumeSource {
            secret_name: Some(name.to_owned()),
            optional: Some(true),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn credentials(name: &str) -> VolumeMount {
    mount(&volume_name("secret", name), &format!("{CREDENTIALS}/{name}"), true)
}

/// Names of volumes are shorter than those of objects.
fn volume_name(kind: &str, object: &str) -> String {
    format!("{kind}-{}", fingerprint::digest(&object))
}

/// Kubernetes replaces `$(NAME)` in values and `$$` by `$`; a pattern of a scorer must arrive as it was written.
pub(super) fn variable(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.into().replace('$', "$$")),
        ..EnvVar::default()
    }
}

pub(super) fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

pub(super) fn quantities(pairs: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    pairs
        .iter()
        .map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned())))
        .collect()
}

pub(super) fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data with string keys is always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::evaluation::fixtures;
    use crate::plan::price::Book;

    #[test]
    fn the_job_of_a_run() {
        let mut owner = fixtures::job();
        owner.spec.suites[0].scorer = Some(fixtures::read(r#"regex: {pattern: '(\d+)$'}"#));
        owner.spec.limits = Some(fixtures::read(r#"{maxCostUSD: "25", maxTokens: 20000}"#));
        let run = Evaluation::of(&owner, &[&fixtures::model("llama")], None, &Book::default(), Timestamp::UNIX_EPOCH);
        let fingerprints = [("llama".to_owned(), "0123456789abcdef".to_owned())].into();
        let slot = "2026-05-02T02:00:00Z".parse().unwrap();
        insta::assert_yaml_snapshot!(job(&owner, &run, &fingerprints, &fixtures::runner(), slot));
    }

    #[test]
    fn a_run_that_keeps_its_report_keeps_its_progress_beside_it() {
        let slot = "2026-05-02T02:00:00Z".parse().unwrap();
        for (uri, folder) in [
            ("pvc://reports/claims/nightly/", "/reports/claims/nightly/quality-29628120"),
            ("pvc://reports", "/reports/quality-29628120"),
        ] {
            let mut owner = fixtures::job();
            owner.spec.reports = Some(fixtures::read(&format!("{{uri: '{uri}'}}")));
            let run = Evaluation::of(&owner, &[&fixtures::model("llama")], None, &Book::default(), slot);
            let pod = job(&owner, &run, &BTreeMap::new(), &fixtures::runner(), slot)
                .spec
                .unwrap()
                .template
                .spec
                .unwrap();
            let env = pod.containers[0].env.clone().unwrap();
            let of = |name: &str| {
                env.iter()
                    .filter(|v| v.name == name)
                    .map(|v| v.value.clone().unwrap())
                    .collect::<Vec<_>>()
            };
            assert_eq!(of("REPORT_FOLDER"), [folder]);
            assert_eq!(of("PROGRESS_FILE"), [format!("{folder}/progress.jsonl")]);
            let claim = pod.volumes.unwrap().pop().unwrap().persistent_volume_claim.unwrap();
            assert_eq!((claim.claim_name.as_str(), claim.read_only), ("reports", None));
        }
    }

    #[test]
    fn the_job_of_a_run_that_is_kept_in_a_bucket() {
        let mut owner = fixtures::job();
        owner.spec.reports = Some(fixtures::read("{uri: 's3://evaluations/claims/', secretRef: {name: reports-s3}}"));
        let slot = "2026-05-02T02:00:00Z".parse().unwrap();
        let run = Evaluation::of(&owner, &[&fixtures::model("llama")], None, &Book::default(), slot);
        let built = |owner: &EvalJob, run: &Evaluation| job(owner, run, &BTreeMap::new(), &fixtures::runner(), slot);
        insta::assert_yaml_snapshot!(built(&owner, &run));

        let dataset = "{uri: 's3://datasets/a.jsonl', secretRef: {name: reports-s3}}";
        owner.spec.suites[0].exemplars = Some(fixtures::read(&format!("dataset: {dataset}")));
        let run = Evaluation::of(&owner, &[&fixtures::model("llama")], None, &Book::default(), slot);
        let pod = built(&owner, &run).spec.unwrap().template.spec.unwrap();
        let secrets = pod.volumes.unwrap().into_iter().filter(|volume| volume.secret.is_some()).count();
        assert_eq!(secrets, 1, "one Secret is one volume");
        owner.spec.reports = Some(fixtures::read("{uri: 'gs://evaluations'}"));
        let job = built(&owner, &run);
        let env = job.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0].env.clone();
        assert!(is_kept(&job) && env.unwrap().iter().all(|variable| variable.name != "REPORT_STORE_SECRET"));
        owner.spec.reports = None;
        assert!(!is_kept(&built(&owner, &run)));
    }

    #[test]
    fn what_evaluators_asked_is_known_to_another_pod_in_a_claim_and_not_in_a_bucket() {
        let mut owner = fixtures::job();
        owner
            .spec
            .suites
            .push(fixtures::read("{name: gsm8k, external: {image: 'example.com/e:1'}}"));
        let slot = "2026-05-02T02:00:00Z".parse().unwrap();
        let mut kept = |uri: &str| {
            owner.spec.reports = Some(fixtures::read(&format!("{{uri: '{uri}'}}")));
            let run = Evaluation::of(&owner, &[&fixtures::model("llama")], None, &Book::default(), slot);
            is_kept(&job(&owner, &run, &BTreeMap::new(), &fixtures::runner(), slot))
        };
        assert!(kept("pvc://reports"));
        assert!(!kept("s3://evaluations"));
    }

    #[test]
    fn the_token_of_a_webhook_is_mounted_and_may_be_missing() {
        let mut owner = fixtures::job();
        owner.spec.suites[0].scorer = Some(fixtures::read("webhook: {url: 'https://scorer/', secretRef: {name: scorer-token}}"));
        let run = Evaluation::of(&owner, &[&fixtures::model("llama")], None, &Book::default(), Timestamp::UNIX_EPOCH);
        let job = job(&owner, &run, &BTreeMap::new(), &fixtures::runner(), Timestamp::UNIX_EPOCH);
        let pod = job.spec.unwrap().template.spec.unwrap();
        let secret = pod.volumes.unwrap().pop().unwrap().secret.unwrap();
        assert_eq!((secret.secret_name.as_deref(), secret.optional), (Some("scorer-token"), Some(true)));
        let mounts = pod.containers[0].volume_mounts.clone().unwrap();
        assert_eq!(mounts.last().unwrap().mount_path, "/credentials/scorer-token");
    }

    #[test]
    fn pods_run_as_whom_the_installer_lets_call_models_directly() {
        let (owner, slot) = (fixtures::job(), Timestamp::UNIX_EPOCH);
        let run = Evaluation::of(&owner, &[&fixtures::model("llama")], None, &Book::default(), slot);
        let account = |settings: &Settings| {
            let job = job(&owner, &run, &BTreeMap::new(), &fixtures::runner_under(settings), slot);
            job.spec.unwrap().template.spec.unwrap().service_account_name
        };
        assert_eq!(account(&Settings::default()), None);
        let settings: Settings = fixtures::read("{directCallers: [evaluations, support]}");
        assert_eq!(account(&settings).as_deref(), Some("evaluations"));
    }

    #[test]
    fn the_evaluator_reads_back_what_the_operator_wrote() {
        let run = Evaluation::of(
            &fixtures::job(),
            &[&fixtures::model("llama")],
            None,
            &Book::default(),
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(serde_json::from_str::<Evaluation>(&json(&run)).unwrap(), run);
    }
}
