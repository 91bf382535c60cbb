//! Who moves the number of replicas: the operator itself, KEDA, or a HorizontalPodAutoscaler of its own. One of them at a time, and none while somebody
//! else does.

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler, HorizontalPodAutoscalerBehavior,
    HorizontalPodAutoscalerSpec,
};
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::schedule::Range;
use super::{Bounds, Pace, metrics};
use crate::api::ModelDeployment;
use crate::api::condition::{Claim, Kind, Status};
use crate::api::scaling::{Scaling, ScalingEngine, ScalingPace};
use crate::plan::fingerprint::digest;
use crate::plan::scaled_object::{Advanced, AutoscalerConfig, ScaleTarget, ScaledObject, ScaledObjectCondition, ScaledObjectSpec, Trigger};
use crate::plan::{Invalid, names};

/// What KEDA is told and asked for: one metric, which is the number of replicas itself.
pub const METRIC: &str = "replicas";
/// Seconds between two questions of KEDA; what cannot wait is pushed to it.
const POLLED_EVERY: i32 = 10;
/// The longest name of a HorizontalPodAutoscaler that KEDA takes, and how it calls one that has none.
const NAME_LIMIT: usize = 63;
const NAMED: &str = "keda-hpa-";
/// In a quarter of a minute as many come or go as were decided.
const AT_ONCE: (i32, i32) = (1000, 15);

/// Who moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The operator.
    Builtin,
    /// KEDA, which asks the operator.
    Keda,
    /// A HorizontalPodAutoscaler, which asks the metrics that it names.
    Hpa,
}

/// What there is of KEDA.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keda<'a> {
    /// Whether the cluster has it.
    pub is_served: bool,
    /// Where it reaches the operator, as `host:port`; `None` where the installer did not say.
    pub address: Option<&'a str>,
}

/// The objects by which others move it; at most one is wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drivers {
    /// With [`Driver::Hpa`].
    pub autoscaler: Option<HorizontalPodAutoscaler>,
    /// With [`Driver::Keda`].
    pub scaled_object: Option<ScaledObject>,
}

impl Driver {
    /// The one that a specification asks for, as far as it is there.
    #[must_use]
    pub fn of(scaling: &Scaling, keda: Keda) -> Self {
        let has_keda = keda.is_served && keda.address.is_some();
        match scaling.engine {
            ScalingEngine::Hpa => Self::Hpa,
            ScalingEngine::Auto | ScalingEngine::Keda if has_keda => Self::Keda,
            ScalingEngine::Auto | ScalingEngine::Builtin | ScalingEngine::Keda => Self::Builtin,
        }
    }

    /// As `spec` and `status` spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Builtin => "Builtin",
            Self::Keda => "KEDA",
            Self::Hpa => "HPA",
        }
    }
}

impl Keda<'_> {
    /// What is said where a specification wants it by name, and it is not there.
    #[must_use]
    pub fn missing(&self, scaling: &Scaling) -> Option<Claim> {
        let told = |problem: &str, remedy: &str| {
            let message = format!("{problem}: the operator sets the number of replicas until then; {remedy}, or set engine to Auto");
            Some(Claim::new(Kind::ScalingActive, false, "KedaMissing", message))
        };
        match self {
            _ if scaling.engine != ScalingEngine::Keda => None,
            Self { is_served: false, .. } => told(
                "spec.selfHosted.scaling.engine is KEDA, and the cluster does not have it (keda.sh/v1alpha1), or the operator may not list ScaledObjects",
                "install it (https://keda.sh), which is noticed within a minute",
            ),
            Self { address: None, .. } => told(
                "spec.selfHosted.scaling.engine is KEDA, and the operator was not told where KEDA reaches it",
                "give it --scaler-address",
            ),
            Self { .. } => None,
        }
    }
}

/// What moves the number of replicas of `md` within `range`, whose workload is of that version and kind; `driver` is `None` while nobody of ours does.
///
/// # Errors
/// When the metrics of a HorizontalPodAutoscaler are none.
pub fn drivers<W: Resource<DynamicType = ()>>(
    md: &ModelDeployment,
    (scaling, range): (&Scaling, Range),
    driver: Option<Driver>,
    keda: Keda,
) -> Result<Drivers, Invalid> {
    let name = names::engine(&md.name_any());
    let meta = || names::child(md, name.clone(), names::labels("autoscaler", names::MODEL_LABEL, &md.name_any()));
    let (api_version, kind) = (W::api_version(&()).into_owned(), W::kind(&()).into_owned());
    Ok(match (driver, keda.address) {
        (Some(Driver::Hpa), _) => Drivers {
            autoscaler: Some(HorizontalPodAutoscaler {
                metadata: meta(),
                spec: HorizontalPodAutoscalerSpec {
                    scale_target_ref: CrossVersionObjectReference {
                        api_version: Some(api_version),
                        kind,
                        name,
                    },
                    min_replicas: Some(count(range.min.max(1))),
                    max_replicas: count(range.max.max(range.min).max(1)),
                    metrics: Some(metrics::metrics(scaling)?),
                    behavior: behavior(scaling, range),
                },
                ..HorizontalPodAutoscaler::default()
            }),
            scaled_object: None,
        },
        (Some(Driver::Keda), Some(address)) => Drivers {
            autoscaler: None,
            scaled_object: Some(ScaledObject {
                metadata: meta(),
                spec: ScaledObjectSpec {
                    scale_target_ref: ScaleTarget {
                        api_version,
                        kind,
                        name: name.clone(),
                    },
                    min_replica_count: Some(count(range.min)),
                    max_replica_count: Some(count(Bounds::of(scaling, range).max)),
                    polling_interval: Some(POLLED_EVERY),
                    // The wait is in the decision.
                    cooldown_period: Some(0),
                    advanced: Some(Advanced {
                        horizontal_pod_autoscaler_config: Some(AutoscalerConfig {
                            name: short_name(&name),
                            behavior: Some(HorizontalPodAutoscalerBehavior {
                                scale_up: Some(obedient()),
                                scale_down: Some(obedient()),
                            }),
                        }),
                    }),
                    triggers: vec![Trigger {
                        type_: "external-push".to_owned(),
                        metadata: BTreeMap::from([("scalerAddress".to_owned(), address.to_owned())]),
                    }],
                },
                status: None,
            }),
        },
        (Some(Driver::Builtin | Driver::Keda) | None, _) => Drivers::default(),
    })
}

/// The name of the HorizontalPodAutoscaler that KEDA makes, where its own would be too long.
fn short_name(scaled_object: &str) -> Option<String> {
    let digest = digest(&json!(scaled_object));
    let is_too_long = scaled_object.len() + NAMED.len() > NAME_LIMIT;
    is_too_long.then(|| format!("{NAMED}{}", digest.get(..16).unwrap_or(&digest)))
}

/// Moves by what was decided, at once. A tenth more or less counts as no difference in a HorizontalPodAutoscaler; what it overlooks is brought by the
/// operator. (Its `tolerance` would say otherwise: Kubernetes has it from 1.35 on, and KEDA before 2.18 refuses it.)
fn obedient() -> HPAScalingRules {
    let (value, period_seconds) = AT_ONCE;
    HPAScalingRules {
        policies: Some(vec![HPAScalingPolicy {
            type_: "Pods".to_owned(),
            value,
            period_seconds,
        }]),
        select_policy: Some("Max".to_owned()),
        stabilization_window_seconds: Some(0),
        tolerance: None,
    }
}

/// What a specification says of the pace, for a HorizontalPodAutoscaler.
fn behavior(scaling: &Scaling, range: Range) -> Option<HorizontalPodAutoscalerBehavior> {
    let bounds = Bounds::of(scaling, range);
    let given = scaling.behavior.as_ref()?;
    let rules = |given: &ScalingPace, pace: Pace| HPAScalingRules {
        policies: pace.per_minute.map(|most| {
            vec![HPAScalingPolicy {
                type_: "Pods".to_owned(),
                value: count(most),
                period_seconds: 60,
            }]
        }),
        select_policy: None,
        stabilization_window_seconds: given.stabilisation.map(|_| pace.stabilisation.as_secs() as i32),
        tolerance: None,
    };
    Some(HorizontalPodAutoscalerBehavior {
        scale_up: given.up.as_ref().map(|given| rules(given, bounds.up)),
        scale_down: given.down.as_ref().map(|given| rules(given, bounds.down)),
    })
}

fn count(replicas: u32) -> i32 {
    i32::try_from(replicas).unwrap_or(i32::MAX)
}

/// Whether a person has KEDA leave the number as it is, or set another one.
#[must_use]
pub fn is_paused(live: &ScaledObject) -> bool {
    let is_said = |(name, value): (&String, &String)| name.starts_with("autoscaling.keda.sh/paused") && value != "false";
    live.annotations().iter().any(is_said) || says(live, "Paused", "True").is_some()
}

/// Whether so many are within what KEDA was told last.
#[must_use]
pub fn may_be(live: &ScaledObject, replicas: u32) -> bool {
    let (min, max) = (
        live.spec.min_replica_count.unwrap_or(0),
        live.spec.max_replica_count.unwrap_or(i32::MAX),
    );
    (min..=max).contains(&count(replicas))
}

fn says<'a>(live: &'a ScaledObject, type_: &str, status: &str) -> Option<&'a ScaledObjectCondition> {
    let mut conditions = live.status.iter().flat_map(|status| &status.conditions);
    conditions.find(|condition| condition.type_ == type_ && condition.status == status)
}

/// What KEDA says of why it does not scale, if it does not.
#[must_use]
pub fn keda_says(live: &ScaledObject) -> Option<Claim> {
    let name = live.name_any();
    let told = |reason, message| Some(Claim::new(Kind::ScalingActive, false, reason, message));
    if is_paused(live) {
        let message = format!(
            "ScaledObject {name} is paused, and KEDA leaves replicas as they are: remove its annotations autoscaling.keda.sh/paused*"
        );
        return told("Paused", message);
    }
    let unready = says(live, "Ready", "False")?;
    let words = if unready.message.is_empty() {
        &unready.reason
    } else {
        &unready.message
    };
    let message = format!(
        "KEDA does not scale by ScaledObject {name} ({words}), and replicas stay as they are: see its events and the log of KEDA's operator"
    );
    told("KedaNotReady", message)
}

/// What a HorizontalPodAutoscaler of ours says of whether it scales.
#[must_use]
pub fn autoscaler_says(live: &HorizontalPodAutoscaler) -> Claim {
    let name = live.name_any();
    let conditions = live
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let find = |type_: &str, status: &str| {
        conditions
            .iter()
            .find(|condition| condition.type_ == type_ && condition.status == status)
    };
    let told = |holds: bool, reason, message| Claim::new(Kind::ScalingActive, holds, reason, message);
    let unknown = |reason, message| Claim {
        kind: Kind::ScalingActive,
        status: Status::Unknown,
        reason,
        message,
    };
    if let Some(failing) = find("AbleToScale", "False").or_else(|| find("ScalingActive", "False")) {
        let [reason, message] = [&failing.reason, &failing.message].map(|text| text.clone().unwrap_or_default());
        return match reason.as_str() {
            "ScalingDisabled" => unknown(
                "Starting",
                format!("HorizontalPodAutoscaler {name} decides once there is a replica, which is on its way"),
            ),
            // FailedGetExternalMetric and the like, FailedComputeMetricsReplicas, InvalidMetricSourceType.
            reason if reason.contains("Metric") => told(
                false,
                "MetricsMissing",
                format!(
                    "HorizontalPodAutoscaler {name} leaves replicas as they are ({reason}: {message}): see whether whoever serves \
                     spec.selfHosted.scaling.metrics is installed"
                ),
            ),
            reason => told(
                false,
                "NotScaled",
                format!(
                    "HorizontalPodAutoscaler {name} leaves replicas as they are ({reason}: {message}): see kubectl describe hpa {name}"
                ),
            ),
        };
    }
    match (find("ScalingActive", "True"), find("ScalingLimited", "True")) {
        (None, _) => unknown("Starting", format!("HorizontalPodAutoscaler {name} has not said anything yet")),
        (Some(_), Some(limited)) if limited.reason.as_deref() == Some("TooManyReplicas") => told(
            true,
            "AtMax",
            "more than spec.selfHosted.scaling.max would be needed: raise it, or let policies fall back".to_owned(),
        ),
        (Some(_), _) => told(true, "Following", format!("HorizontalPodAutoscaler {name} decides by its metrics")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::leader_worker_set::LeaderWorkerSet;
    use k8s_openapi::api::apps::v1::Deployment;

    const KEDA: Keda = Keda {
        is_served: true,
        address: Some("llm-portfolio-operator.llm-portfolio.svc:6000"),
    };

    fn model(scaling: &str) -> (ModelDeployment, Scaling) {
        let yaml = format!(
            "{{metadata: {{name: llama, namespace: claims, uid: u}}, spec: {{selfHosted: {{engine: {{kind: VLLM}}, scaling: {scaling}}}}}}}"
        );
        let md: ModelDeployment = serde_saphyr::from_str(&yaml).unwrap();
        let scaling = md.spec.self_hosted.clone().unwrap().scaling.unwrap();
        (md, scaling)
    }

    #[test]
    fn keda_moves_it_where_it_is_there_unless_another_is_named() {
        let driver = |engine: &str, keda| Driver::of(&model(&format!("{{max: 2, engine: {engine}}}")).1, keda).word();
        let nowhere = Keda {
            is_served: true,
            address: None,
        };
        for (engine, with, without) in [
            ("Auto", "KEDA", "Builtin"),
            ("Builtin", "Builtin", "Builtin"),
            ("KEDA", "KEDA", "Builtin"),
            ("HPA", "HPA", "HPA"),
        ] {
            assert_eq!(
                (driver(engine, KEDA), driver(engine, Keda::default()), driver(engine, nowhere)),
                (with, without, without)
            );
        }
        let missing = |engine: &str, keda: Keda| {
            keda.missing(&model(&format!("{{max: 2, engine: {engine}}}")).1)
                .map(|claim| claim.message)
        };
        assert!(missing("KEDA", Keda::default()).unwrap().contains("install it (https://keda.sh)"));
        assert!(missing("KEDA", nowhere).unwrap().contains("--scaler-address"));
        assert_eq!((missing("KEDA", KEDA), missing("Auto", Keda::default())), (None, None));
    }

    #[test]
    fn what_moves_it_for_us_is_one_object_that_goes_with_the_model() {
        let (md, scaling) = model("{min: 0, max: 4, target: {inFlight: 16}, scaleToZeroAfter: 1h, behavior: {down: {perMinute: 1}}}");
        let all = drivers::<Deployment>(&md, (&scaling, Range::own(&scaling)), Some(Driver::Keda), KEDA).unwrap();
        assert_eq!(all.autoscaler, None);
        insta::assert_yaml_snapshot!("scaled_object", all.scaled_object.unwrap());
        let (md, scaling) = model(
            "{min: 2, max: 8, engine: HPA, behavior: {up: {stabilisation: 30s}, down: {perMinute: 1}},
              metrics: [{type: External, external: {metric: {name: queue_depth}, target: {type: AverageValue, averageValue: '4'}}}]}",
        );
        let all = drivers::<LeaderWorkerSet>(&md, (&scaling, Range::own(&scaling)), Some(Driver::Hpa), KEDA).unwrap();
        assert_eq!(all.scaled_object, None);
        insta::assert_yaml_snapshot!("autoscaler", all.autoscaler.unwrap());
        for nobody in [Some(Driver::Builtin), None] {
            assert_eq!(
                drivers::<Deployment>(&md, (&scaling, Range::own(&scaling)), nobody, KEDA),
                Ok(Drivers::default())
            );
        }
    }

    #[test]
    fn a_name_that_would_be_too_long_for_keda_is_shortened_and_another_stays() {
        let name = |length: usize| short_name(&names::engine(&"m".repeat(length)));
        assert_eq!(name(47), None);
        let longest = name(52).unwrap();
        assert!(
            longest.len() <= 63 && longest.starts_with("keda-hpa-") && Some(&longest) != name(51).as_ref(),
            "{longest}"
        );
    }

    #[test]
    fn what_others_say_of_themselves_is_told_with_what_to_do() {
        let keda = |conditions: &str| {
            let yaml = format!(
                "{{metadata: {{name: llama-engine}}, spec: {{scaleTargetRef: {{apiVersion: a, kind: b, name: c}}, triggers: []}}, status: {{conditions: [{conditions}]}}}}"
            );
            keda_says(&serde_saphyr::from_str(&yaml).unwrap()).map(|claim| claim.reason)
        };
        assert_eq!(keda(""), None);
        assert_eq!(keda("{type: Ready, status: 'True'}, {type: Paused, status: 'False'}"), None);
        assert_eq!(keda("{type: Ready, status: 'False', reason: TriggerError}"), Some("KedaNotReady"));
        assert_eq!(
            keda("{type: Ready, status: 'False'}, {type: Paused, status: 'True', message: by hand}"),
            Some("Paused")
        );
        let autoscaler = |conditions: &str| {
            let yaml = format!(
                "{{metadata: {{name: llama-engine}}, spec: {{maxReplicas: 2, scaleTargetRef: {{kind: b, name: c}}}}, status: {{desiredReplicas: 1, currentMetrics: [], conditions: [{conditions}]}}}}"
            );
            let claim = autoscaler_says(&serde_saphyr::from_str(&yaml).unwrap());
            format!("{} {}", claim.status, claim.reason)
        };
        assert_eq!(autoscaler(""), "Unknown Starting");
        let active = "{type: AbleToScale, status: 'True'}, {type: ScalingActive, status: 'True'}";
        assert_eq!(autoscaler(active), "True Following");
        assert_eq!(
            autoscaler(&format!(
                "{active}, {{type: ScalingLimited, status: 'True', reason: TooManyReplicas}}"
            )),
            "True AtMax"
        );
        let inactive = |reason: &str| {
            autoscaler(&format!(
                "{{type: ScalingActive, status: 'False', reason: {reason}, message: none}}"
            ))
        };
        assert_eq!(inactive("FailedGetExternalMetric"), "False MetricsMissing");
        assert_eq!(inactive("AmbiguousSelector"), "False NotScaled");
        assert_eq!(inactive("ScalingDisabled"), "Unknown Starting");
    }
}
