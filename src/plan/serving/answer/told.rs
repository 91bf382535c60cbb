//! What a person is told while an engine has not answered, and by whom requests are answered meanwhile.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use crate::api::ModelDeployment;
use crate::api::condition::{self, Kind};
use crate::api::model_deployment::{Answered, Operation, SelfHosted};
use crate::plan::pods::Trouble;
use crate::plan::serving::startup;
use crate::plan::serving::status::Observed;
use crate::plan::serving::workload::Workload;

use super::{Reply, earlier, explain};

/// The reason of an engine that runs and gives no token.
const REASON: &str = "EngineDoesNotAnswer";

/// What is missing when all pods run.
pub(in crate::plan::serving) fn awaited(reply: &Reply) -> &'static str {
    match reply {
        Reply::Asked => "the engine has been asked for a first token, and has not said anything yet",
        Reply::Answered(_) | Reply::NotYet | Reply::Failed(_) => "the model's endpoints do not list them yet",
    }
}

/// What an engine answers that does not chat.
pub(in crate::plan::serving) fn only(answered: Option<&Answered>) -> &'static str {
    match answered.map(|answered| answered.operation) {
        Some(Operation::Completions) => ", to completions only: they have no chat template",
        Some(Operation::Embeddings) => ", to embeddings only",
        Some(Operation::ChatCompletions) | None => "",
    }
}

/// Who answers while the present specification does not.
pub(in crate::plan::serving) fn meanwhile<W: Workload>(live: &W, pods: &[Arc<Pod>]) -> String {
    match earlier(live, pods) {
        0 => String::new(),
        1 => "; 1 pod of an earlier specification goes on answering".to_owned(),
        more => format!("; {more} pods of an earlier specification go on answering"),
    }
}

/// The trouble of an engine that runs and gives no token. Time may heal it, until it has had as much as a start may take.
pub(in crate::plan::serving) fn trouble<W: Workload>(
    md: &ModelDeployment,
    own: &SelfHosted,
    observed: &Observed<'_, W>,
    now: Timestamp,
) -> Option<Trouble> {
    let Reply::Failed(said) = observed.reply else { return None };
    let conditions = md.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let before = condition::find(conditions, Kind::Ready).filter(|ready| ready.status == "False" && ready.reason == REASON);
    let since = before.map_or(0, |ready| now.as_second() - ready.last_transition_time.0.as_second());
    Some(Trouble {
        reason: REASON,
        message: explain(md, own, said),
        stalled: since >= i64::from(startup::allowed(observed.workload)),
    })
}
