//! What the operator's metrics say, made anew for whoever asks. Of models: how many replicas each has and is to have, how often that was changed,
//! and what its pods took of the cluster. Of evaluations: what they say.

mod evaluations;

use std::fmt::Error;
use std::sync::{Arc, OnceLock};

use kube::ResourceExt;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::context::Context;
use crate::api::ModelDeployment;
use crate::api::condition::{self, Kind};
use crate::plan::names::Key;
use crate::plan::serving::usage;

/// What an amount is kept in, as a part of one.
const NANO: f64 = 1e-9;

/// What there is to say; nothing before the controllers run, as in a replica that waits.
#[derive(Clone, Default)]
pub struct Metrics(Arc<OnceLock<Arc<Context>>>);

impl Metrics {
    pub(super) fn are_of(&self, cx: &Arc<Context>) {
        self.0.set(cx.clone()).ok();
    }

    /// In the text form of OpenMetrics.
    #[must_use]
    pub fn text(&self) -> String {
        let mut registry = Registry::with_prefix("portfolio");
        if let Some(cx) = self.0.get() {
            registry.register_collector(Box::new(Models(cx.clone())));
            registry.register_collector(Box::new(evaluations::Evaluations(cx.clone())));
        }
        let mut text = String::new();
        // Writing into a string cannot fail.
        text::encode(&mut text, &registry).map(|()| text).unwrap_or_default()
    }
}

struct Models(Arc<Context>);

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Models")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Model {
    namespace: String,
    model: String,
}

impl Model {
    fn of(md: &ModelDeployment) -> Self {
        Self {
            namespace: md.namespace().unwrap_or_default(),
            model: md.name_any(),
        }
    }
}

/// What one model is told with.
type Reading = (Model, f64);

impl Collector for Models {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let cx = &self.0;
        let mut models = cx.cluster.stores.models.all();
        models.retain(|md| md.spec.self_hosted.is_some());
        models.sort_by_key(|md| Key::of(&**md));
        let of_each = |reading: &dyn Fn(&ModelDeployment) -> Option<f64>| -> Vec<Reading> {
            models.iter().filter_map(|md| Some((Model::of(md), reading(md)?))).collect()
        };
        let wanted = |md: &ModelDeployment| {
            let scaled = md
                .status
                .as_ref()
                .and_then(|status| status.scaling.as_ref())
                .map(|scaling| scaling.desired_replicas);
            Some(f64::from(scaled.or(md.spec.self_hosted.as_ref().map(|own| own.replicas))?))
        };
        let ready = |md: &ModelDeployment| Some(f64::from(md.status.as_ref()?.ready_replicas?));
        let active = |md: &ModelDeployment| {
            let active = condition::find(&md.status.as_ref()?.conditions, Kind::ScalingActive)?;
            Some(f64::from(u8::from(active.status == "True")))
        };
        let used = |md: &ModelDeployment| Some(usage::until(md.status.as_ref()?.usage.as_ref()?, cx.now()));
        let changes = |md: &ModelDeployment| cx.autoscaler.changes(&Key::of(md)).map(|changes| changes as f64);
        gauge(
            &mut encoder,
            "model_replicas_wanted",
            "Replicas that a model is to have",
            &of_each(&wanted),
        )?;
        gauge(
            &mut encoder,
            "model_replicas_ready",
            "Replicas of a model that answer",
            &of_each(&ready),
        )?;
        gauge(
            &mut encoder,
            "model_scaling_active",
            "Whether the replicas of a model follow the demand: its condition ScalingActive",
            &of_each(&active),
        )?;
        counter(
            &mut encoder,
            "model_scaling_changes",
            "How often the number of replicas of a model was changed since the operator began",
            None,
            &of_each(&changes),
        )?;
        counter(
            &mut encoder,
            "model_accelerator",
            "Hours of accelerators that the pods of a model held",
            Some(&Unit::Other("hours".to_owned())),
            &of_each(&|md| used(md)?.0.map(|hours| hours as f64 * NANO)),
        )?;
        counter(
            &mut encoder,
            "model_accelerator_cost",
            "What the pods of a model cost, by the prices of accelerator profiles",
            Some(&Unit::Other("usd".to_owned())),
            &of_each(&|md| used(md)?.1.map(|cost| cost as f64 * NANO)),
        )
    }
}

fn gauge<L: EncodeLabelSet>(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, readings: &[(L, f64)]) -> Result<(), Error> {
    let mut family = encoder.encode_descriptor(name, help, None, ConstGauge::new(0.0).metric_type())?;
    for (of, reading) in readings {
        ConstGauge::new(*reading).encode(family.encode_family(of)?)?;
    }
    Ok(())
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, unit: Option<&Unit>, readings: &[Reading]) -> Result<(), Error> {
    let mut family = encoder.encode_descriptor(name, help, unit, ConstCounter::new(0.0).metric_type())?;
    for (model, reading) in readings {
        ConstCounter::new(*reading).encode(family.encode_family(model)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controller::tests::{MODELS, model, server, started};

    #[tokio::test]
    async fn the_metrics_say_what_each_model_has_and_took() {
        let waiting = Metrics::default();
        assert_eq!(waiting.text(), "# EOF\n", "a replica that waits says nothing");
        let server = server();
        let own = json!({ "replicas": 1, "scaling": { "min": 1, "max": 4, "target": { "inFlight": 16 } } });
        server.change(&format!("{MODELS}/triage"), json!({ "spec": { "selfHosted": own } }));
        model(server.clone(), "triage", started(&server)).await.unwrap();
        let usage = json!({ "pods": 0, "since": "2026-01-01T00:00:00Z", "acceleratorHours": "12.5", "costUSD": "10" });
        server.change(&format!("{MODELS}/triage"), json!({ "status": { "usage": usage } }));
        let metrics = Metrics::default();
        metrics.are_of(&started(&server));
        let text = metrics.text();
        for line in [
            r#"portfolio_model_replicas_wanted{namespace="claims",model="triage"} 1.0"#,
            r#"portfolio_model_accelerator_hours_total{namespace="claims",model="triage"} 12.5"#,
            r#"portfolio_model_accelerator_cost_usd_total{namespace="claims",model="triage"} 10.0"#,
            r#"portfolio_model_scaling_active{namespace="claims",model="triage"} 0.0"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("model=\"gpt\""), "an API model has no pods:\n{text}");
    }
}
