//! `portfolio explain`: why a model has as many replicas as it has, from its status in the cluster: what is so, what was decided of late and from what, and
//! when the next change can come.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::{out, start};
use crate::api::ModelDeployment;
use crate::api::condition::{self, Kind};
use crate::api::model_deployment::{ModelDeploymentStatus, ScalingStatus, SelfHosted};
use crate::api::scaling::NextBounds;
use crate::cluster;
use crate::plan::names::Key;

/// How long the cluster may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Flags of `portfolio explain`.
#[derive(Args)]
pub struct Explain {
    /// The ModelDeployment.
    name: String,
    /// Its namespace.
    #[arg(long, short, default_value = "default")]
    namespace: String,
}

impl Explain {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let key = Key::new(&self.namespace, &self.name);
        let md = start::runtime()?
            .block_on(tokio::time::timeout(PATIENCE, read(&key)))
            .context("the cluster does not answer within 15s: see whether KUBECONFIG names one that can be reached")??;
        out::write(&explained(&md, cluster::now()))?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn read(key: &Key) -> anyhow::Result<ModelDeployment> {
    let client = cluster::connect()
        .await
        .context("connecting to the cluster: set KUBECONFIG, or run in a pod")?;
    match cluster::model(&client, key)
        .await
        .with_context(|| format!("reading ModelDeployment {key}"))?
    {
        Some(md) => Ok(md),
        None => {
            bail!("there is no ModelDeployment {key}: `kubectl get modeldeployments -A` lists them; --namespace names another namespace")
        }
    }
}

/// What is said of a model, line by line.
fn explained(md: &ModelDeployment, now: Timestamp) -> String {
    let mut text = format!("ModelDeployment {}\n", Key::of(md));
    let mut line = |name: &str, what: &str| {
        // Writing into a string cannot fail.
        writeln!(text, "  {name:<12} {what}").ok();
    };
    let Some(status) = &md.status else {
        line("status", "none yet: does the operator run?");
        return text;
    };
    for kind in [Kind::Ready, Kind::ScalingActive] {
        if let Some(known) = condition::find(&status.conditions, kind) {
            line(&known.type_, &format!("{} {}: {}", known.status, known.reason, known.message));
        }
    }
    match (&md.spec.self_hosted, &status.scaling) {
        (None, _) => line("replicas", "none of ours: a provider answers"),
        (Some(own), None) => line("replicas", &fixed(own, status)),
        (Some(own), Some(scaling)) => {
            line("replicas", &replicas(own, scaling, status));
            line("because", &because(scaling, now));
            if let Some(NextBounds {
                at: from,
                min,
                max,
                from: source,
            }) = scaling.bounds.as_ref().and_then(|bounds| bounds.next.as_ref())
            {
                line("schedule", &format!("{min} to {max} from {}, by {source}", at(from)));
            }
            if let Some(next) = next(scaling, now) {
                line("next", &next);
            }
            if let Some(start) = &scaling.cold_start {
                line("cold start", &format!("{start} from none to the first answer"));
            }
        }
    }
    if let Some(taken) = taken(status) {
        line("taken", &taken);
    }
    if let Some(scaling) = status.scaling.as_ref().filter(|scaling| !scaling.changes.is_empty()) {
        line("changes", "the last one first");
        for change in &scaling.changes {
            writeln!(text, "    {}  {:<8} {}", at(&change.time), change.reason, change.message).ok();
        }
    }
    text
}

/// Where nothing is decided by demand, or nothing yet.
fn fixed(own: &SelfHosted, status: &ModelDeploymentStatus) -> String {
    let is_others = condition::find(&status.conditions, Kind::ScalingActive).is_some();
    match status.replicas {
        _ if own.scaling.is_some() => "nothing has been decided yet".to_owned(),
        Some(replicas) if is_others => format!("{replicas}, by another autoscaler than ours"),
        Some(_) | None => format!("{}, by spec.selfHosted.replicas, whatever the demand", own.replicas),
    }
}

fn replicas(own: &SelfHosted, scaling: &ScalingStatus, status: &ModelDeploymentStatus) -> String {
    let ready = status.ready_replicas.unwrap_or(0);
    let bounds = match (&scaling.bounds, &own.scaling) {
        (Some(bounds), _) => format!(", of {} to {} by {}", bounds.min, bounds.max, bounds.from),
        (None, Some(spec)) => format!(", of {} to {}", spec.min, spec.max),
        (None, None) => String::new(),
    };
    let by = scaling
        .engine
        .as_ref()
        .map(|engine| format!(", by the engine {engine}"))
        .unwrap_or_default();
    format!("{} wanted, {ready} ready{bounds}{by}", scaling.desired_replicas)
}

fn because(scaling: &ScalingStatus, now: Timestamp) -> String {
    let since = scaling
        .last_scale_time
        .as_ref()
        .map(|time| format!(" ({} ago)", ago(time, now)))
        .unwrap_or_default();
    format!("{}: {}{since}", scaling.reason, scaling.message)
}

/// When there can be more, or fewer.
fn next(scaling: &ScalingStatus, now: Timestamp) -> Option<String> {
    scaling.last_scale_time.as_ref()?;
    // A HorizontalPodAutoscaler says that itself.
    if scaling.engine.as_deref() == Some("HPA") {
        return None;
    }
    let from = |time: &Option<Time>, otherwise: &str| match time {
        Some(time) if time.0 > now => format!("from {}", at(time)),
        Some(_) => "as soon as the demand says so".to_owned(),
        None => otherwise.to_owned(),
    };
    let up = from(&scaling.next_up_time, "as soon as the demand says so");
    let down = from(&scaling.next_down_time, "not below these");
    Some(format!("more: {up}; fewer: {down}"))
}

fn taken(status: &ModelDeploymentStatus) -> Option<String> {
    let usage = status.usage.as_ref()?;
    let hours = usage.accelerator_hours.as_ref().map(|hours| format!("{hours} accelerator hours"));
    let cost = usage.cost_usd.as_ref().map(|cost| format!("{cost} USD"));
    let taken: Vec<String> = [hours, cost].into_iter().flatten().collect();
    let since = format!("until {}; {} pods since", at(&usage.since), usage.pods);
    (!taken.is_empty()).then(|| format!("{} {since}", taken.join(", ")))
}

fn at(time: &Time) -> String {
    time.0.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn ago(time: &Time, now: Timestamp) -> String {
    let seconds = (now.as_second() - time.0.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(yaml: &str) -> String {
        explained(&serde_saphyr::from_str(yaml).unwrap(), "2026-01-01T00:04:00Z".parse().unwrap())
    }

    #[test]
    fn a_scaled_model_says_what_was_decided_and_when_the_next_can_be() {
        let text = told(
            "
metadata: {name: llama, namespace: claims}
spec: {selfHosted: {engine: {kind: VLLM}, scaling: {min: 0, max: 4, target: {inFlight: 16}}}}
status:
  readyReplicas: 2
  conditions:
  - {type: ScalingActive, status: 'True', reason: Following, message: replicas follow the demand, lastTransitionTime: '2026-01-01T00:00:00Z'}
  usage: {pods: 3, since: '2026-01-01T00:00:00Z', acceleratorHours: '12.5', costUSD: '10'}
  scaling:
    desiredReplicas: 3
    engine: KEDA
    reason: Up
    message: 'from 1 to 3: inFlight of the latest 60s is what 2.8 replicas bear at 16 each'
    lastScaleTime: '2026-01-01T00:00:00Z'
    nextDownTime: '2026-01-01T00:05:00Z'
    coldStart: 1m35s
    changes:
    - {time: '2026-01-01T00:00:00Z', from: 1, to: 3, reason: Up, message: 'from 1 to 3: inFlight of the latest 60s is what 2.8 replicas bear at 16 each'}
    - {time: '2025-12-31T23:00:00Z', from: 0, to: 1, reason: Wake, message: 'from 0 to 1: somebody wants it'}
",
        );
        assert_eq!(
            text,
            "\
ModelDeployment claims/llama
  ScalingActive True Following: replicas follow the demand
  replicas     3 wanted, 2 ready, of 0 to 4, by the engine KEDA
  because      Up: from 1 to 3: inFlight of the latest 60s is what 2.8 replicas bear at 16 each (4m ago)
  next         more: as soon as the demand says so; fewer: from 2026-01-01 00:05:00Z
  cold start   1m35s from none to the first answer
  taken        12.5 accelerator hours, 10 USD until 2026-01-01 00:00:00Z; 3 pods since
  changes      the last one first
    2026-01-01 00:00:00Z  Up       from 1 to 3: inFlight of the latest 60s is what 2.8 replicas bear at 16 each
    2025-12-31 23:00:00Z  Wake     from 0 to 1: somebody wants it
"
        );
    }

    #[test]
    fn a_schedule_says_what_holds_and_what_comes_next() {
        let text = told(
            "
metadata: {name: llama, namespace: claims}
spec: {selfHosted: {engine: {kind: VLLM}, scaling: {max: 4, target: {inFlight: 16}, schedule: [{cron: 0 8 * * *, min: 2}, {cron: 0 20 * * *, min: 0}]}}}
status:
  scaling:
    desiredReplicas: 2
    reason: Bounds
    message: 'from 0 to 2: scaling allows 2 to 4 now, by schedule[0]'
    bounds: {min: 2, max: 4, from: 'schedule[0]', next: {at: '2026-01-01T20:00:00Z', min: 0, max: 4, from: 'schedule[1]'}}
",
        );
        assert!(text.contains("2 wanted, 0 ready, of 2 to 4 by schedule[0]\n"), "{text}");
        assert!(
            text.contains("  schedule     0 to 4 from 2026-01-01 20:00:00Z, by schedule[1]\n"),
            "{text}"
        );
    }

    #[test]
    fn others_say_why_there_is_nothing_to_decide() {
        assert!(told("{metadata: {name: a, namespace: n}, spec: {}}").contains("does the operator run?"));
        let fixed = told("{metadata: {name: a, namespace: n}, spec: {selfHosted: {replicas: 2, engine: {kind: VLLM}}}, status: {}}");
        assert!(fixed.contains("2, by spec.selfHosted.replicas, whatever the demand"), "{fixed}");
        let api = told("{metadata: {name: a, namespace: n}, spec: {api: {provider: OpenAI, model: x}}, status: {}}");
        assert!(api.contains("a provider answers"), "{api}");
    }
}
