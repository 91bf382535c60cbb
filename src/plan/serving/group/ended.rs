//! Why a group is made anew. Its pods go as soon as one of their containers has been restarted, so what that container died of is seen only
//! while they are being deleted.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

/// Those of `pods` that go because a container ended, as they were when it had.
pub(in crate::plan::serving) fn as_they_ended(pods: &[Arc<Pod>]) -> Vec<Pod> {
    let went = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some());
    went.filter_map(|pod| {
        let mut pod = (**pod).clone();
        let status = pod.status.as_mut()?;
        let init = status.init_container_statuses.iter_mut().flatten();
        let restarted = init
            .chain(status.container_statuses.iter_mut().flatten())
            .map(at_its_end)
            .fold(false, |a, b| a | b);
        pod.metadata.deletion_timestamp = None;
        restarted.then_some(pod)
    })
    .collect()
}

/// Shows a container that was restarted as it was before; whether it was.
fn at_its_end(container: &mut ContainerStatus) -> bool {
    let ended = container.last_state.clone().filter(|state| state.terminated.is_some());
    let is_restarted = container.restart_count > 0 && ended.is_some();
    if is_restarted {
        container.state = ended;
        container.ready = false;
    }
    is_restarted
}
