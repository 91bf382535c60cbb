//! The pods of a group beside its leader: the same, but that nobody asks them.

use k8s_openapi::api::core::v1::{Container, Lifecycle, LifecycleHandler, PodSpec, PodTemplateSpec, SleepAction};

use crate::api::model_deployment::EngineKind;
use crate::plan::names::{self, PORT_NAME};

use super::super::engine;
use super::super::pod::CONTAINER;

/// What a worker gets, in seconds, to end once its leader has.
const AFTER_LEADER: i64 = 5;

/// A worker beside `leader`, which already has what a person adds to pods.
pub(super) fn template(leader: &PodTemplateSpec, kind: EngineKind) -> PodTemplateSpec {
    let mut worker = leader.clone();
    let labels = worker.metadata.get_or_insert_default().labels.get_or_insert_default();
    // The Service and the budget of the leaders must not see it.
    labels.insert(names::COMPONENT_LABEL.to_owned(), names::WORKER.to_owned());
    let Some(pod) = &mut worker.spec else { return worker };
    // Groups are spread by their leaders; a worker belongs near its own.
    pod.topology_spread_constraints = None;
    outlive_leader(pod, kind);
    let engine = pod.containers.iter_mut().find(|container| container.name == CONTAINER);
    if let Some(container) = engine {
        serve_nobody(container, kind);
    }
    worker
}

/// It has no server to probe: it is ready when it runs, and its group is made anew when it ends.
fn serve_nobody(container: &mut Container, kind: EngineKind) {
    let flags = engine::traits(kind).group.map_or(&[][..], |group| group.worker);
    container
        .args
        .get_or_insert_default()
        .extend(flags.iter().map(|&flag| flag.to_owned()));
    let ports = container.ports.take().unwrap_or_default();
    let others: Vec<_> = ports.into_iter().filter(|port| port.name.as_deref() != Some(PORT_NAME)).collect();
    container.ports = (!others.is_empty()).then_some(others);
    container.startup_probe = None;
    container.readiness_probe = None;
    container.liveness_probe = None;
}

/// A worker that is deleted alone, as when its node is drained, takes its leader with it, and stays until that one has ended its answers.
/// The price: a group of which one pod failed is made anew only as long after. A preStop that a person wrote is theirs.
fn outlive_leader(pod: &mut PodSpec, kind: EngineKind) {
    let drain = engine::traits(kind).drain;
    let ours = LifecycleHandler {
        sleep: Some(SleepAction {
            seconds: drain.before_stop,
        }),
        ..LifecycleHandler::default()
    };
    let of_leader = drain.before_stop + drain.after_stop;
    let Some(Lifecycle { pre_stop: Some(hook), .. }) = pod
        .containers
        .iter_mut()
        .find(|container| container.name == CONTAINER)
        .and_then(|container| container.lifecycle.as_mut())
    else {
        return;
    };
    if *hook == ours {
        hook.sleep = Some(SleepAction { seconds: of_leader });
        let grace = pod.termination_grace_period_seconds.unwrap_or(0);
        pod.termination_grace_period_seconds = Some(grace.max(of_leader + AFTER_LEADER));
    }
}
