//! The containers of evaluators that users bring. They come before the run's own, one after the other, and none of them has a token: what they ask
//! goes through the relay, which holds the run's limits.
//!
//! ```text
//! relay ─────────────────────────────────────────────────────────► until the pod ends; the only one with the gateway's token
//!   evaluator-0-0 ──► evaluator-0-1 ──► evaluator-1-0 ──► … ──► evaluate, which reads what they found
//! ```

use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, EnvFromSource, EnvVar, HTTPGetAction, Probe, ResourceRequirements, SecretEnvSource, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::job::{mount, quantities, variable};
use super::run::Evaluation;
use crate::api::eval_job::{External, Suite};
use crate::plan::restricted;

/// Where the relay listens, on the pod's own loopback alone.
pub const RELAY_PORT: u16 = 8090;
/// Where it says that it does, to the kubelet, which comes from without; nothing else is answered there.
pub const RELAY_HEALTH_PORT: u16 = 8091;
/// How often it is asked, a second apart, until evaluators may start.
const RELAY_STARTS: i32 = 60;

/// The relay's name.
pub(super) const RELAY: &str = "relay";
/// What the names of evaluators begin with.
pub(super) const EVALUATOR: &str = "evaluator-";
/// The variable by which an evaluator, and whoever looks at its container, knows its model.
pub(super) const MODEL: &str = "MODEL";
/// The same of its suite.
pub(super) const SUITE: &str = "SUITE";

/// The volume of what evaluators find, and where each has its own part of it.
const RESULTS_VOLUME: &str = "results";
pub(super) const RESULTS: &str = "/results";
/// Lines of lm-evaluation-harness hold questions, prompts and answers.
const RESULTS_SIZE: &str = "4Gi";

/// The suites of `run` that are of the kind.
pub fn suites(run: &Evaluation) -> impl Iterator<Item = (&Suite, &External)> + Clone {
    run.suites.iter().filter_map(|suite| Some((suite, suite.external.as_ref()?)))
}

/// What belongs to the evaluator of `suite` for the model at that place among those that are asked: its folder below that of all results, and its
/// path at the relay.
#[must_use]
pub fn place(target: usize, suite: &str) -> String {
    format!("{target}/{suite}")
}

/// The containers before the run's own: the relay, made from the run's own container, and then the evaluators. None without such suites.
pub(super) fn containers(run: &Evaluation, own: &Container) -> Vec<Container> {
    if suites(run).next().is_none() {
        return Vec::new();
    }
    let each = run.asked().enumerate().flat_map(|(target, asked)| {
        let suites = suites(run).enumerate();
        suites.map(move |(number, (suite, external))| {
            let name = format!("{EVALUATOR}{target}-{number}");
            evaluator(name, &place(target, &suite.name), &asked.model, suite, external)
        })
    });
    [relay(own)].into_iter().chain(each).collect()
}

/// Where evaluators leave what they find, for the container that reads it.
pub(super) fn results() -> (Volume, VolumeMount) {
    let volume = Volume {
        name: RESULTS_VOLUME.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(RESULTS_SIZE.to_owned())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    };
    (volume, mount(RESULTS_VOLUME, RESULTS, true))
}

/// A sidecar by its restart policy: it starts before the evaluators, stays while they run, and its end does not keep the pod.
fn relay(own: &Container) -> Container {
    let needed = ["EVALUATION", "GATEWAY_URL", "TOKEN_FILE", "PROGRESS_FILE", "REPORT_FILE"];
    let env = own.env.iter().flatten().filter(|variable| needed.contains(&variable.name.as_str()));
    let mounts = own.volume_mounts.iter().flatten();
    Container {
        name: RELAY.to_owned(),
        image: own.image.clone(),
        args: Some(["evaluate", "--relay"].map(str::to_owned).into()),
        env: Some(env.cloned().collect()),
        restart_policy: Some("Always".to_owned()),
        startup_probe: Some(Probe {
            http_get: Some(HTTPGetAction {
                path: Some("/healthz".to_owned()),
                port: IntOrString::Int(RELAY_HEALTH_PORT.into()),
                ..HTTPGetAction::default()
            }),
            period_seconds: Some(1),
            failure_threshold: Some(RELAY_STARTS),
            ..Probe::default()
        }),
        resources: own.resources.clone(),
        security_context: Some(restricted::container()),
        termination_message_policy: Some("File".to_owned()),
        volume_mounts: Some(
            mounts
                .filter(|mount| ["token", "progress"].contains(&mount.name.as_str()))
                .cloned()
                .collect(),
        ),
        ..Container::default()
    }
}

fn evaluator(name: String, place: &str, model: &str, suite: &Suite, external: &External) -> Container {
    let own = [
        variable(MODEL, model),
        variable("OPENAI_BASE_URL", format!("http://127.0.0.1:{RELAY_PORT}/{place}/v1")),
        variable("OPENAI_API_KEY", "unused"),
        variable(SUITE, &*suite.name),
        variable("RESULTS", RESULTS),
        // Nobody's user has no home, and libraries keep what they fetch there. One who knows better says so.
        variable("HOME", "/tmp"),
    ];
    let is_theirs = |own: &EnvVar| external.env.iter().any(|theirs| theirs.name == own.name);
    // As they are written: what is replaced in them is what `kubectl explain` says.
    let theirs = external.env.iter().map(|theirs| EnvVar {
        name: theirs.name.clone(),
        value: Some(theirs.value.clone()),
        ..EnvVar::default()
    });
    let secret = external.secret_ref.as_ref().map(|secret| EnvFromSource {
        secret_ref: Some(SecretEnvSource {
            name: secret.name.clone(),
            optional: None,
        }),
        ..EnvFromSource::default()
    });
    let words = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    Container {
        name,
        image: Some(external.image.clone()),
        command: words(&external.command),
        args: words(&external.args),
        env: Some(own.into_iter().filter(|own| !is_theirs(own)).chain(theirs).collect()),
        env_from: secret.map(|secret| vec![secret]),
        resources: Some(resources(external.resources.as_ref())),
        security_context: Some(restricted::sidecar()),
        // Its last words are the reason of a run that fails.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(vec![VolumeMount {
            sub_path: Some(place.to_owned()),
            ..mount(RESULTS_VOLUME, RESULTS, false)
        }]),
        ..Container::default()
    }
}

/// What is asked for, and beside it what is given where nothing is said. No request is above the limit that goes with it.
fn resources(own: Option<&ResourceRequirements>) -> ResourceRequirements {
    let own = own.cloned().unwrap_or_default();
    let (mut requests, mut limits) = (
        quantities(&[("cpu", "100m"), ("memory", "256Mi")]),
        quantities(&[("cpu", "2"), ("memory", "2Gi")]),
    );
    let (asked, capped) = (own.requests.unwrap_or_default(), own.limits.unwrap_or_default());
    // A limit alone is the request too, as everywhere in Kubernetes, and a request alone has no limit that might be below it.
    requests.retain(|name, _| !capped.contains_key(name));
    limits.retain(|name, _| !asked.contains_key(name));
    requests.extend(asked);
    limits.extend(capped);
    ResourceRequirements {
        requests: Some(requests),
        limits: Some(limits),
        ..ResourceRequirements::default()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::plan::evaluation::fixtures;
    use crate::plan::evaluation::job::job;
    use crate::plan::price::Book;

    /// The pod of a run with two models and, beside questions of its own, a suite that is evaluated by an image.
    fn pod(external: &str, reports: &str) -> k8s_openapi::api::core::v1::PodSpec {
        let mut owner = fixtures::job();
        owner
            .spec
            .suites
            .push(fixtures::read(&format!("{{name: gsm8k, external: {external}}}")));
        owner.spec.reports = fixtures::read(reports);
        let (llama, gpt) = (fixtures::model("llama"), fixtures::model("gpt"));
        let run = Evaluation::of(&owner, &[&llama], Some(&gpt), &Book::default(), Timestamp::UNIX_EPOCH);
        let slot = "2026-05-02T02:00:00Z".parse().unwrap();
        let job = job(&owner, &run, &[].into(), &fixtures::runner(), slot);
        job.spec.unwrap().template.spec.unwrap()
    }

    #[test]
    fn a_pod_with_evaluators() {
        let mut pod = pod(
            r#"{image: 'example.com/lm-eval:1', command: [lm_eval], args: [--model_args, 'model=$(MODEL)', --output_path, $(RESULTS)],
                metric: exact_match, env: [{name: HF_HOME, value: /tmp/hub}], secretRef: {name: hub}}"#,
            "null",
        );
        let is_json = |variable: &mut EnvVar| variable.name == "EVALUATION";
        for container in pod.init_containers.iter_mut().flatten().chain(&mut pod.containers) {
            container
                .env
                .iter_mut()
                .flatten()
                .filter_map(|v| is_json(v).then_some(v))
                .for_each(|v| v.value = Some("…".to_owned()));
        }
        insta::assert_yaml_snapshot!(pod);
    }

    #[test]
    fn only_the_relay_and_the_run_have_a_token_and_evaluators_see_nothing_but_their_own_results() {
        let pod = pod("{image: 'example.com/e:1'}", "null");
        let (relays, evaluators): (Vec<&Container>, Vec<_>) = pod.init_containers.iter().flatten().partition(|c| c.name == RELAY);
        assert_eq!((relays.len(), evaluators.len()), (1, 2));
        for evaluator in evaluators {
            let mounts = evaluator.volume_mounts.as_ref().unwrap();
            assert_eq!(mounts.len(), 1);
            assert_eq!(mounts[0].name, RESULTS_VOLUME);
            assert!(mounts[0].sub_path.as_ref().unwrap().ends_with("/gsm8k"));
            let names: Vec<&str> = evaluator.env.iter().flatten().map(|v| v.name.as_str()).collect();
            assert!(
                !names.iter().any(|name| name.contains("TOKEN") || name.contains("GATEWAY")),
                "{names:?}"
            );
        }
        assert_eq!(pod.automount_service_account_token, Some(false));
        assert_eq!(crate::plan::restricted::check::of_pod(&pod), None);
    }

    #[test]
    fn a_relay_whose_run_is_kept_notes_down_beside_it() {
        let pod = pod("{image: 'example.com/e:1'}", "{uri: 'pvc://reports'}");
        let relay = &pod.init_containers.as_ref().unwrap()[0];
        let progress = relay.env.iter().flatten().find(|v| v.name == "PROGRESS_FILE").unwrap();
        assert_eq!(progress.value.as_deref(), Some("/reports/quality-29628120/progress.jsonl"));
        assert!(relay.volume_mounts.iter().flatten().any(|mount| mount.name == "reports"));
        assert!(!relay.env.iter().flatten().any(|v| v.name == "REPORT_FOLDER"));
    }

    #[test]
    fn what_is_given_is_never_more_than_what_is_allowed() {
        let of = |own: &str| resources(Some(&fixtures::read::<ResourceRequirements>(own)));
        let read = fixtures::read::<ResourceRequirements>;
        assert_eq!(
            of("{limits: {memory: 128Mi}}"),
            read("{requests: {cpu: 100m}, limits: {cpu: '2', memory: 128Mi}}")
        );
        assert_eq!(
            of("{requests: {memory: 4Gi}}"),
            read("{requests: {cpu: 100m, memory: 4Gi}, limits: {cpu: '2'}}")
        );
    }

    #[test]
    fn a_variable_of_the_users_replaces_a_default() {
        let pod = pod("{image: 'example.com/e:1', env: [{name: HOME, value: /work}]}", "null");
        let env = pod.init_containers.unwrap()[1].env.clone().unwrap();
        let homes: Vec<_> = env.iter().filter(|v| v.name == "HOME").map(|v| v.value.as_deref()).collect();
        assert_eq!(homes, [Some("/work")]);
    }
}
