//! How long pods may take until they answer, and how far on that way they are.
//!
//! ```text
//!   scheduled ──► Pulling ──────────────► Loading ─────────────► Warming ────────────► Serving
//!                 image, and weights      the engine runs and    it is healthy, and
//!                 fetched into the pod    reads the weights      asked for a token
//!                 └──────────────────── whole ───────────────────────────┘
//!                                         └──────── engine ──────────────┘
//! ```

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::api::Settings;
use crate::api::model_deployment::SelfHosted;
use crate::plan::cache::Held;
use crate::plan::quantity;

use super::pod::CONTAINER;
use super::status::is_made_from;
use super::workload::Workload;

/// Where nobody knows how large the weights are: they are large, and a pod that downloads them is not broken.
const UNKNOWN: Duration = Duration::from_secs(30 * 60);
/// What pulling an image may take. Those of engines are some GiB.
const PULLING: Duration = Duration::from_secs(10 * 60);
/// What an engine may do besides reading its weights, such as compiling kernels.
const PREPARING: Duration = Duration::from_secs(10 * 60);
/// What any storage gives, in bytes per second, unless the installer knows better.
const READING: u64 = 64 << 20;

/// How long it may take, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadlines {
    /// The engine, from its start until it answers: then it is restarted.
    pub(super) engine: i32,
    /// Pods, from when they are made until they answer: then the rollout is stuck.
    pub(super) whole: i32,
}

impl Deadlines {
    /// The user's, or what the size of the weights asks for. What is no time holds nobody up: the CRD refuses it.
    pub(super) fn of(own: &SelfHosted, held: Option<&Held>, settings: &Settings) -> Self {
        let given = own.startup_deadline.filter(|deadline| !deadline.is_negative()).map(Duration::from);
        if let Some(given) = given.filter(|deadline| !deadline.is_zero()) {
            return Self::both(given, given);
        }
        let Some(held) = held else { return Self::both(UNKNOWN, UNKNOWN) };
        let configured = settings
            .load_bytes_per_second
            .as_ref()
            .and_then(|Quantity(rate)| quantity::bytes(rate));
        let rate = configured.filter(|rate| *rate > 0).unwrap_or(READING);
        let engine = PREPARING + Duration::from_secs(held.listed.bytes.div_ceil(rate));
        Self::both(engine, PULLING + engine)
    }

    fn both(engine: Duration, whole: Duration) -> Self {
        // Saturates, as `as` does for floats.
        let seconds = |time: Duration| time.as_secs_f64().ceil() as i32;
        Self {
            engine: seconds(engine),
            whole: seconds(whole),
        }
    }
}

/// How long the pods of a workload of ours may take until they answer, in seconds.
pub(super) fn allowed<W: Workload>(live: &W) -> i32 {
    live.deadline().unwrap_or_else(|| Deadlines::both(UNKNOWN, UNKNOWN).whole)
}

/// How far a pod that does not answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Starting,
    Pulling,
    Loading,
}

impl Phase {
    /// Of a pod, unless it is ready or going.
    fn of(pod: &Pod) -> Option<Self> {
        let status = pod.status.as_ref().filter(|_| pod.metadata.deletion_timestamp.is_none())?;
        let holds = |status: &PodStatus, kind: &str| status.conditions.iter().flatten().any(|c| c.type_ == kind && c.status == "True");
        let mut containers = status.container_statuses.iter().flatten();
        let runs = containers
            .any(|container| container.name == CONTAINER && container.state.as_ref().is_some_and(|state| state.running.is_some()));
        match () {
            () if holds(status, "Ready") => None,
            () if runs => Some(Self::Loading),
            () if holds(status, "PodScheduled") => Some(Self::Pulling),
            () => Some(Self::Starting),
        }
    }
}

/// The reason that the slowest pod of the present specification gives, and what all of them do, in words.
pub(super) fn progress<W: Workload>(live: &W, pods: &[Arc<Pod>]) -> (&'static str, String) {
    let mut phases: Vec<Phase> = pods
        .iter()
        .filter(|pod| is_made_from(pod, live))
        .filter_map(|pod| Phase::of(pod))
        .collect();
    phases.sort_unstable();
    let count = |phase: Phase| phases.iter().filter(|found| **found == phase).count();
    let told = |phase: Phase, doing: &str| match count(phase) {
        0 => String::new(),
        count => format!("; {count} {doing}"),
    };
    let reason = match phases.first() {
        Some(Phase::Loading) => "Loading",
        Some(Phase::Pulling) => "Pulling",
        Some(Phase::Starting) | None => "Starting",
    };
    let words = told(Phase::Pulling, "pulling the image or weights") + &told(Phase::Loading, "loading the weights");
    (reason, words)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;

    use super::super::tests::md;
    use super::*;
    use crate::plan::cache::{self, Listed};

    fn deadlines(more: &str, bytes: Option<u64>, settings: &str) -> (i32, i32) {
        let md = md(&format!(
            "{{selfHosted: {{source: {{uri: 'hf://org/llama'}}, engine: {{kind: VLLM}}, cache: {{}}{more}}}}}"
        ));
        let own = md.spec.self_hosted.as_ref().unwrap();
        let held = bytes.map(|bytes| {
            cache::wanted(&md, own).unwrap().held(&Listed {
                revision: "r".to_owned(),
                bytes,
            })
        });
        let Deadlines { engine, whole } = Deadlines::of(own, held.as_ref(), &serde_saphyr::from_str(settings).unwrap());
        (engine, whole)
    }

    #[test]
    fn large_weights_get_more_time_and_the_users_word_counts() {
        assert_eq!(deadlines("", None, "{}"), (1800, 1800));
        assert_eq!(deadlines("", Some(16 << 30), "{}"), (600 + 256, 1200 + 256));
        assert_eq!(deadlines("", Some(140 << 30), "{}"), (600 + 2240, 1200 + 2240));
        assert_eq!(deadlines("", Some(140 << 30), "{loadBytesPerSecond: 1Gi}"), (740, 1340));
        assert_eq!(deadlines(", startupDeadline: 2h", Some(140 << 30), "{}"), (7200, 7200));
    }

    #[test]
    fn the_slowest_pod_gives_the_reason() {
        let live: Deployment =
            serde_saphyr::from_str("{metadata: {}, spec: {selector: {}, template: {spec: {containers: [{name: engine}]}}}}").unwrap();
        let pod = |status: &str| -> Arc<Pod> {
            Arc::new(
                serde_saphyr::from_str(&format!(
                    "{{metadata: {{}}, spec: {{containers: [{{name: engine}}]}}, status: {status}}}"
                ))
                .unwrap(),
            )
        };
        let pulling = pod("{conditions: [{type: PodScheduled, status: 'True'}]}");
        let loading = pod(
            "{conditions: [{type: PodScheduled, status: 'True'}], containerStatuses: [{name: engine, image: '', imageID: '', ready: false, restartCount: 0, state: {running: {}}}]}",
        );
        let ready = pod("{conditions: [{type: Ready, status: 'True'}]}");
        let told = |pods: &[&Arc<Pod>]| progress(&live, &pods.iter().map(|pod| Arc::clone(pod)).collect::<Vec<_>>());
        assert_eq!(told(&[]), ("Starting", String::new()));
        assert_eq!(told(&[&pod("{}")]).0, "Starting");
        assert_eq!(
            told(&[&loading, &pulling, &ready]),
            ("Pulling", "; 1 pulling the image or weights; 1 loading the weights".to_owned())
        );
        assert_eq!(told(&[&loading, &loading]), ("Loading", "; 2 loading the weights".to_owned()));
    }
}
