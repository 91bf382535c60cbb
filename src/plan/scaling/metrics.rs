//! The metrics that a HorizontalPodAutoscaler is to go by, as a specification has them. The CRD lets through what it does not know, and the API server
//! looks at the rest only where the object is made: so they are read and checked here, by the same rules
//! (`pkg/apis/autoscaling/validation` of Kubernetes), and by one of ours: a target says only what its type is for.

use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricSource, CrossVersionObjectReference, ExternalMetricSource, MetricIdentifier, MetricSpec, MetricTarget,
    ObjectMetricSource, PodsMetricSource, ResourceMetricSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::Deserialize;
use serde_json::Value;

use crate::api::scaling::Scaling;
use crate::plan::{Invalid, quantity};

/// Where they are written.
const FIELD: &str = "spec.selfHosted.scaling.metrics";
/// Where Kubernetes describes them.
const DESCRIBED: &str = "kubectl explain hpa.spec.metrics";
/// Each type, and the field that says which metric it is.
const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];
/// What is in percent of what pods request.
const OF_RESOURCES: &[&str] = &["Utilization", "AverageValue"];
/// What is known of all pods together.
const OF_OTHERS: &[&str] = &["Value", "AverageValue"];
/// What is known of each pod.
const OF_PODS: &[&str] = &["AverageValue"];
/// Resources whose names have no prefix; hugepages are of a size each.
const RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// All of them.
///
/// # Errors
/// What is wrong with the first that is none.
pub fn metrics(scaling: &Scaling) -> Result<Vec<MetricSpec>, Invalid> {
    each(scaling).collect()
}

/// What is wrong with each that is none.
#[must_use]
pub fn invalid(scaling: &Scaling) -> Vec<Invalid> {
    each(scaling).filter_map(Result::err).collect()
}

fn each(scaling: &Scaling) -> impl Iterator<Item = Result<MetricSpec, Invalid>> {
    let all = scaling.metrics.iter().flatten().enumerate();
    all.map(|(at, metric)| {
        read(metric).map_err(|wrong| Invalid {
            field: format!("{FIELD}[{at}]{}", wrong.field),
            ..wrong
        })
    })
}

/// One of them; what is wrong is named by its path in it.
fn read(given: &Value) -> Result<MetricSpec, Invalid> {
    let none = |error: serde_json::Error| {
        let problem = format!("is no metric of a HorizontalPodAutoscaler: {error}");
        Invalid::new("", problem, format!("write it as `{DESCRIBED}` says"))
    };
    let metric = MetricSpec::deserialize(given).map_err(none)?;
    if let Some(path) = unknown(given, &serde_json::to_value(&metric).map_err(none)?) {
        let (parent, _) = path.rsplit_once('.').unwrap_or_default();
        let parent = parent.split('[').next().unwrap_or_default();
        let remedy = format!("correct its name, or remove it: `{DESCRIBED}{parent}` lists the fields that there are");
        return Err(Invalid::new(path, "is no field of a HorizontalPodAutoscaler's metric", remedy));
    }
    check(&metric)?;
    Ok(metric)
}

/// The path of the first field that was given and is not kept.
fn unknown(given: &Value, kept: &Value) -> Option<String> {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => {
            given
                .iter()
                .filter(|(_, value)| !value.is_null())
                .find_map(|(name, value)| match kept.get(name) {
                    None => Some(format!(".{name}")),
                    Some(kept) => unknown(value, kept).map(|below| format!(".{name}{below}")),
                })
        }
        (Value::Array(given), Value::Array(kept)) => {
            let mut pairs = given.iter().zip(kept).enumerate();
            pairs.find_map(|(at, (given, kept))| unknown(given, kept).map(|below| format!("[{at}]{below}")))
        }
        _ => None,
    }
}

fn check(metric: &MetricSpec) -> Result<(), Invalid> {
    let MetricSpec {
        type_,
        container_resource,
        external,
        object,
        pods,
        resource,
    } = metric;
    let is_given = [
        container_resource.is_some(),
        external.is_some(),
        object.is_some(),
        pods.is_some(),
        resource.is_some(),
    ];
    only(type_, is_given)?;
    if let Some(ContainerResourceMetricSource { container, name, target }) = container_resource {
        let path = ".containerResource";
        filled(
            &format!("{path}.container"),
            container,
            "name a container of the pods, such as engine",
        )?;
        if !is_label(container) {
            let remedy = "write it as the pods do, such as engine";
            return Err(Invalid::new(
                format!("{path}.container"),
                format!("{container:?} is no name of a container"),
                remedy,
            ));
        }
        filled(&format!("{path}.name"), name, "name a resource of it, such as cpu")?;
        if !RESOURCES.contains(&name.as_str()) && !name.starts_with("hugepages-") && !name.contains('/') {
            let problem = format!("{name:?} is no resource of a container");
            let remedy = format!("write {}, or one with its prefix, such as example.com/device", RESOURCES.join(", "));
            return Err(Invalid::new(format!("{path}.name"), problem, remedy));
        }
        aimed(path, type_, target, OF_RESOURCES)?;
    }
    if let Some(ExternalMetricSource { metric, target }) = external {
        identified(".external", metric)?;
        aimed(".external", type_, target, OF_OTHERS)?;
    }
    if let Some(ObjectMetricSource {
        described_object,
        metric,
        target,
    }) = object
    {
        let CrossVersionObjectReference {
            api_version: _,
            kind,
            name,
        } = described_object;
        let remedy = "name the object that the metric is about, such as describedObject: {apiVersion: v1, kind: Service, name: llama}";
        for (field, text) in [("kind", kind), ("name", name)] {
            segment(&format!(".object.describedObject.{field}"), text, remedy)?;
        }
        identified(".object", metric)?;
        aimed(".object", type_, target, OF_OTHERS)?;
    }
    if let Some(PodsMetricSource { metric, target }) = pods {
        identified(".pods", metric)?;
        aimed(".pods", type_, target, OF_PODS)?;
    }
    if let Some(ResourceMetricSource { name, target }) = resource {
        filled(".resource.name", name, "name a resource of the pods, such as cpu")?;
        aimed(".resource", type_, target, OF_RESOURCES)?;
    }
    Ok(())
}

/// The field of its type must be there, and none of another one.
fn only(type_: &str, is_given: [bool; 5]) -> Result<(), Invalid> {
    let types: Vec<&str> = SOURCES.iter().map(|(type_, _)| *type_).collect();
    let Some((_, own)) = SOURCES.iter().find(|(known, _)| *known == type_) else {
        let problem = if type_.is_empty() {
            "is missing".to_owned()
        } else {
            format!("{type_:?} is no type of a metric")
        };
        return Err(Invalid::new(".type", problem, format!("write one of {}", types.join(", "))));
    };
    let mut given = SOURCES.iter().zip(is_given).filter(|(_, is_given)| *is_given);
    let has_own = given.clone().any(|((_, field), _)| field == own);
    let other = given.find(|((_, field), _)| field != own).map(|(source, _)| source);
    match (has_own, other) {
        (true, None) => Ok(()),
        (true, Some((other, field))) => Err(Invalid::new(
            format!(".{field}"),
            format!("is there beside {own}, and type is {type_}"),
            format!("remove it, or make it a metric of its own, of type {other}"),
        )),
        (false, Some((other, field))) => Err(Invalid::new(
            format!(".{field}"),
            format!("is not for type {type_}"),
            format!("set type to {other}, or write {own} instead of it"),
        )),
        (false, None) => Err(Invalid::new(
            format!(".{own}"),
            format!("is missing, and type is {type_}"),
            format!("add it: `{DESCRIBED}.{own}` says what is in it"),
        )),
    }
}

fn identified(path: &str, MetricIdentifier { name, selector: _ }: &MetricIdentifier) -> Result<(), Invalid> {
    segment(
        &format!("{path}.metric.name"),
        name,
        "name the metric as whoever serves it does, such as queue_depth",
    )
}

/// What is a part of the path at which it is asked for.
fn segment(field: &str, text: &str, remedy: &str) -> Result<(), Invalid> {
    filled(field, text, remedy)?;
    if text == "." || text == ".." || text.contains(['/', '%']) {
        let problem = format!("{text:?} is no part of a path, in which there is no / and no %");
        return Err(Invalid::new(field, problem, remedy));
    }
    Ok(())
}

fn filled(field: &str, text: &str, remedy: &str) -> Result<(), Invalid> {
    if text.is_empty() {
        return Err(Invalid::new(field, "is missing", remedy));
    }
    Ok(())
}

/// As names of containers are.
fn is_label(text: &str) -> bool {
    let is_inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    text.len() <= 63 && text.bytes().all(is_inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// The target of a metric of that type, which may be of the types in `allowed`.
fn aimed(source: &str, metric: &str, target: &MetricTarget, allowed: &[&str]) -> Result<(), Invalid> {
    let MetricTarget {
        average_utilization,
        average_value,
        type_,
        value,
    } = target;
    let path = |field: &str| format!("{source}.target.{field}");
    let known = |field: &str| allowed.contains(&field);
    if !known(type_) {
        let problem = if type_.is_empty() {
            "is missing".to_owned()
        } else {
            format!("{type_:?} is no target of a metric of type {metric}")
        };
        return Err(Invalid::new(path("type"), problem, format!("write {}", allowed.join(" or "))));
    }
    let fields = [
        ("Utilization", "averageUtilization", average_utilization.is_some()),
        ("AverageValue", "averageValue", average_value.is_some()),
        ("Value", "value", value.is_some()),
    ];
    let other = fields.iter().find(|(other, _, is_given)| *is_given && other != type_);
    if let Some((other, field, _)) = other {
        let remedy = match known(other) {
            true => format!("remove it, or set type to {other} and remove what that does not have"),
            false => "remove it".to_owned(),
        };
        return Err(Invalid::new(path(field), format!("is not for a target of type {type_}"), remedy));
    }
    let missing = fields.iter().find(|(own, _, is_given)| !is_given && own == type_);
    if let Some((_, field, _)) = missing {
        let remedy = if type_ == "Utilization" {
            "add it, such as averageUtilization: 80"
        } else {
            "add it, such as \"4\""
        };
        return Err(Invalid::new(
            path(field),
            format!("is missing, and the target is of type {type_}"),
            remedy,
        ));
    }
    if let Some(percent) = average_utilization.filter(|percent| *percent < 1) {
        let problem = format!("{percent} is not above 0");
        return Err(Invalid::new(
            path("averageUtilization"),
            problem,
            "write it in percent of what pods request, such as 80",
        ));
    }
    for (field, given) in [("averageValue", average_value), ("value", value)] {
        let Some(Quantity(text)) = given else { continue };
        let problem = match quantity::sign(text) {
            Some(sign) if sign.is_gt() => continue,
            Some(_) => format!("{text:?} is not above 0"),
            None => format!("{text:?} is no quantity"),
        };
        let remedy = "write a number above 0, with a suffix or without, such as \"4\", \"500m\" or \"1k\"";
        return Err(Invalid::new(path(field), problem, remedy));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scaling(metrics: &str) -> Scaling {
        serde_saphyr::from_str(&format!("{{min: 1, max: 4, engine: HPA, metrics: [{metrics}]}}")).unwrap()
    }

    fn wrong(metric: &str) -> Option<String> {
        metrics(&scaling(metric)).err().map(|invalid| invalid.to_string())
    }

    const QUEUE: &str = "metric: {name: queue_depth}";
    const FOUR: &str = "target: {type: AverageValue, averageValue: '4'}";

    #[test]
    fn every_type_of_metric_is_taken_as_it_is_written() {
        for metric in [
            format!(
                "{{type: External, external: {{metric: {{name: queue_depth, selector: {{matchLabels: {{a.b/c: d}}, matchExpressions: [{{key: k, operator: In, values: [v]}}]}}}}, {FOUR}}}}}"
            ),
            format!("{{type: External, external: {{{QUEUE}, target: {{type: Value, value: 1e3}}}}}}"),
            format!("{{type: External, external: {{{QUEUE}, target: {{type: Value, value: 30, averageValue: null}}}}, pods: null}}"),
            format!("{{type: Object, object: {{describedObject: {{kind: Service, name: llama}}, {QUEUE}, target: {{type: Value, value: 500m}}}}}}"),
            format!("{{type: Pods, pods: {{{QUEUE}, {FOUR}}}}}"),
            "{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}".to_owned(),
            format!("{{type: Resource, resource: {{name: memory, {FOUR}}}}}"),
            "{type: ContainerResource, containerResource: {container: engine, name: cpu, target: {type: Utilization, averageUtilization: 1}}}"
                .to_owned(),
        ] {
            assert_eq!(wrong(&metric), None, "{metric}");
        }
    }

    #[test]
    fn what_the_api_server_would_refuse_or_drop_is_named_with_its_field() {
        let external = |inner: &str| format!("{{type: External, external: {{{inner}}}}}");
        let aimed = |target: &str| external(&format!("{QUEUE}, target: {{{target}}}"));
        for (metric, expected) in [
            ("{type: External}".to_owned(), ".external: is missing, and type is External; add it"),
            (
                format!("{{type: External, externl: {{{QUEUE}, {FOUR}}}}}"),
                ".externl: is no field of a HorizontalPodAutoscaler's metric; correct its name, or remove it: `kubectl explain hpa.spec.metrics` lists",
            ),
            (
                external(&format!("{QUEUE}, target: {{type: AverageValue, averagevalue: '4'}}")),
                ".external.target.averagevalue: is no field of a HorizontalPodAutoscaler's metric; correct its name, or remove it: `kubectl explain hpa.spec.metrics.external.target` lists",
            ),
            (
                external(&format!(
                    "metric: {{name: q, selector: {{matchExpressions: [{{key: k, operater: In}}]}}}}, {FOUR}"
                )),
                ".external.metric.selector.matchExpressions[0].operater: is no field",
            ),
            (
                format!("{{type: External, pods: {{{QUEUE}, {FOUR}}}}}"),
                ".pods: is not for type External; set type to Pods, or write external instead of it",
            ),
            (
                format!("{{type: External, external: {{{QUEUE}, {FOUR}}}, pods: {{{QUEUE}, {FOUR}}}}}"),
                ".pods: is there beside external, and type is External; remove it, or make it a metric of its own, of type Pods",
            ),
            (
                "{type: Extern}".to_owned(),
                ".type: \"Extern\" is no type of a metric; write one of ContainerResource, External, Object, Pods, Resource",
            ),
            (
                "{external: {}}".to_owned(),
                ".type: is missing; write one of ContainerResource, External, Object, Pods, Resource",
            ),
            (external(FOUR), ".external.metric.name: is missing; name the metric"),
            (
                external(&format!("metric: {{name: a/b}}, {FOUR}")),
                ".external.metric.name: \"a/b\" is no part of a path",
            ),
            (external(QUEUE), ".external.target.type: is missing; write Value or AverageValue"),
            (
                aimed("type: Average, averageValue: '4'"),
                ".external.target.type: \"Average\" is no target of a metric of type External; write Value or AverageValue",
            ),
            (
                aimed("type: Utilization, averageUtilization: 80"),
                ".external.target.type: \"Utilization\" is no target of a metric of type External; write Value or AverageValue",
            ),
            (
                aimed("type: AverageValue"),
                ".external.target.averageValue: is missing, and the target is of type AverageValue; add it, such as \"4\"",
            ),
            (
                aimed("type: AverageValue, averageValue: '4', value: '8'"),
                ".external.target.value: is not for a target of type AverageValue; remove it, or set type to Value",
            ),
            (
                aimed("type: Value, value: 4 requests"),
                ".external.target.value: \"4 requests\" is no quantity; write a number above 0",
            ),
            (aimed("type: Value, value: '0'"), ".external.target.value: \"0\" is not above 0"),
            (aimed("type: Value, value: -1"), ".external.target.value: \"-1\" is not above 0"),
            (
                format!("{{type: Pods, pods: {{{QUEUE}, target: {{type: Value, value: '4'}}}}}}"),
                ".pods.target.type: \"Value\" is no target of a metric of type Pods; write AverageValue",
            ),
            (
                format!("{{type: Object, object: {{{QUEUE}, {FOUR}}}}}"),
                ".object.describedObject.kind: is missing; name the object",
            ),
            (
                format!("{{type: Object, object: {{describedObject: {{kind: Service}}, {QUEUE}, {FOUR}}}}}"),
                ".object.describedObject.name: is missing; name the object",
            ),
            (
                format!("{{type: Resource, resource: {{{FOUR}}}}}"),
                ".resource.name: is missing; name a resource",
            ),
            (
                "{type: Resource, resource: {name: cpu, target: {type: Utilization}}}".to_owned(),
                ".resource.target.averageUtilization: is missing, and the target is of type Utilization; add it, such as averageUtilization: 80",
            ),
            (
                "{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 0}}}".to_owned(),
                ".resource.target.averageUtilization: 0 is not above 0",
            ),
            (
                "{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80%}}}".to_owned(),
                ": is no metric of a HorizontalPodAutoscaler: invalid type: string \"80%\"",
            ),
            (
                format!("{{type: ContainerResource, containerResource: {{name: cpu, {FOUR}}}}}"),
                ".containerResource.container: is missing; name a container",
            ),
            (
                format!("{{type: ContainerResource, containerResource: {{container: engine, name: gpu, {FOUR}}}}}"),
                ".containerResource.name: \"gpu\" is no resource of a container; write cpu, memory, ephemeral-storage, or one with its prefix",
            ),
        ] {
            let said = wrong(&metric).unwrap_or_default();
            assert!(said.starts_with(&format!("{FIELD}[0]{expected}")), "{metric}: {said}");
        }
    }

    #[test]
    fn each_that_is_none_is_told_by_its_place() {
        let both = scaling(&format!(
            "{{type: External}}, {{type: Pods, pods: {{{QUEUE}, {FOUR}}}}}, {{type: Resource}}"
        ));
        let fields: Vec<String> = invalid(&both).into_iter().map(|invalid| invalid.field).collect();
        assert_eq!(fields, [format!("{FIELD}[0].external"), format!("{FIELD}[2].resource")]);
    }

    proptest! {
        #[test]
        fn what_is_taken_is_kept_whole(type_ in "Value|AverageValue", value in "[0-9]{1,3}(\\.[0-9])?(m|k|Ki|e2)?", field in "value|averageValue|average") {
            let metric = format!("{{type: External, external: {{{QUEUE}, target: {{type: {type_}, {field}: '{value}'}}}}}}");
            if let Ok(read) = metrics(&scaling(&metric)) {
                let kept = serde_json::to_value(&read[0]).unwrap();
                prop_assert_eq!(&kept, &scaling(&metric).metrics.unwrap()[0]);
                prop_assert_eq!(field.to_lowercase(), type_.to_lowercase());
                prop_assert!(value.contains(|c: char| ('1'..='9').contains(&c)));
            }
        }
    }
}
