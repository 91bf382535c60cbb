//! How a replica is split over accelerators and nodes, and what of it an engine cannot do.

use crate::api::model_deployment::{Accelerator, EngineKind, SelfHosted};
use crate::api::parallelism::Parallelism;
use crate::api::settings::AcceleratorProfile;
use crate::plan::Invalid;

use super::engine;

/// How a replica is split. `tensor` times `pipeline` is the number of its devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// Parts of each layer.
    pub(super) tensor: i32,
    /// Stages of layers.
    pub(super) pipeline: i32,
    /// Pods of one replica.
    pub(super) nodes: i32,
}

/// How many pods one replica is.
#[must_use]
pub fn nodes(own: &SelfHosted) -> i32 {
    own.parallelism.as_ref().map_or(1, |wanted| wanted.nodes)
}

/// Reads `spec.selfHosted.parallelism`.
pub(super) fn of(own: &SelfHosted, profile: &AcceleratorProfile) -> Result<Split, Invalid> {
    let devices = devices(own, profile);
    let Some(wanted) = &own.parallelism else {
        return Ok(Split {
            tensor: devices,
            pipeline: 1,
            nodes: 1,
        });
    };
    is_understood(own.engine.kind, wanted)?;
    let nodes = wanted.nodes;
    let all = i64::from(nodes) * i64::from(devices);
    let split = match (wanted.tensor, wanted.pipeline) {
        (None, None) => Some((devices, nodes)),
        (Some(tensor), None) => rest(all, tensor).map(|pipeline| (tensor, pipeline)),
        (None, Some(pipeline)) => rest(all, pipeline).map(|tensor| (tensor, pipeline)),
        (Some(tensor), Some(pipeline)) => (i64::from(tensor) * i64::from(pipeline) == all).then_some((tensor, pipeline)),
    };
    let Some((tensor, pipeline)) = split else {
        let said = |part: Option<i32>| part.map_or_else(|| "(absent)".to_owned(), |part| part.to_string());
        return Err(Invalid::new(
            "spec.selfHosted.parallelism",
            format!(
                "tensor {} times pipeline {} does not share out the accelerators: nodes {nodes} times {devices} of a pod",
                said(wanted.tensor),
                said(wanted.pipeline)
            ),
            "make tensor times pipeline as many, leave one of them out, or change nodes or the accelerators of a pod",
        ));
    };
    is_done(own.engine.kind, pipeline, wanted)?;
    Ok(Split { tensor, pipeline, nodes })
}

/// The devices of one pod. One without any counts as one.
fn devices(own: &SelfHosted, profile: &AcceleratorProfile) -> i32 {
    match &own.accelerator {
        Some(Accelerator { claim: Some(claim), .. }) => claim.count,
        Some(accelerator) if profile.resource.is_some() => accelerator.count,
        _ => 1,
    }
}

/// What is left of all devices for each of so many parts.
fn rest(all: i64, parts: i32) -> Option<i32> {
    let parts = i64::from(parts);
    (parts > 0 && all % parts == 0).then(|| i32::try_from(all / parts).ok()).flatten()
}

/// Whether the engine can be told what is written: what it is not told, it would not do.
fn is_understood(kind: EngineKind, wanted: &Parallelism) -> Result<(), Invalid> {
    let invalid =
        |field: &str, problem: String, remedy: &str| Err(Invalid::new(format!("spec.selfHosted.parallelism.{field}"), problem, remedy));
    let (tensor, pipeline) = engine::takes_split(kind);
    for (field, is_written, takes) in [
        ("tensor", wanted.tensor.is_some(), tensor),
        ("pipeline", wanted.pipeline.is_some_and(|stages| stages > 1), pipeline),
    ] {
        if is_written && !takes {
            let problem = format!("the operator cannot tell a {kind} engine how it splits a model");
            return invalid(
                field,
                problem,
                "remove it, and put what the engine understands into spec.selfHosted.engine.args",
            );
        }
    }
    if wanted.nodes > 1 && engine::traits(kind).group.is_none() {
        let problem = format!("is {}, and the engine {kind} serves from one node", wanted.nodes);
        return invalid("nodes", problem, "remove it, or use the engine VLLM or SGLang");
    }
    Ok(())
}

/// Whether the engine can do what follows from what is written.
fn is_done(kind: EngineKind, pipeline: i32, wanted: &Parallelism) -> Result<(), Invalid> {
    let (takes_tensor, takes_pipeline) = engine::takes_split(kind);
    match wanted.tensor {
        Some(tensor) if takes_tensor && !takes_pipeline && pipeline > 1 => Err(Invalid::new(
            "spec.selfHosted.parallelism.tensor",
            format!("is {tensor}, which leaves accelerators over, and the engine {kind} has no stages for them"),
            "make it the number of accelerators of a pod, or use the engine VLLM or SGLang",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(engine: &str, count: i32, parallelism: &str) -> Result<(i32, i32, i32), String> {
        let own: SelfHosted = serde_saphyr::from_str(&format!(
            "{{engine: {{kind: {engine}, image: i, port: 9000}}, accelerator: {{profile: p, count: {count}}}, parallelism: {parallelism}}}"
        ))
        .unwrap();
        let profile: AcceleratorProfile = serde_saphyr::from_str("{resource: nvidia.com/gpu}").unwrap();
        let split = of(&own, &profile).map_err(|invalid| invalid.to_string())?;
        Ok((split.tensor, split.pipeline, split.nodes))
    }

    #[test]
    fn what_is_not_said_follows_from_what_is() {
        for (engine, count, parallelism, expected) in [
            ("VLLM", 8, "null", (8, 1, 1)),
            ("VLLM", 8, "{}", (8, 1, 1)),
            ("VLLM", 8, "{nodes: 2}", (8, 2, 2)),
            ("VLLM", 8, "{nodes: 2, tensor: 16}", (16, 1, 2)),
            ("SGLang", 8, "{nodes: 2, pipeline: 4}", (4, 4, 2)),
            ("SGLang", 4, "{tensor: 2}", (2, 2, 1)),
            ("VLLM", 1, "{nodes: 2, tensor: 1, pipeline: 2}", (1, 2, 2)),
            ("TGI", 2, "{tensor: 2}", (2, 1, 1)),
            ("Custom", 1, "{nodes: 3}", (1, 3, 3)),
            ("LlamaCpp", 2, "{nodes: 1}", (2, 1, 1)),
        ] {
            assert_eq!(split(engine, count, parallelism), Ok(expected), "{engine} {parallelism}");
        }
    }

    #[test]
    fn what_cannot_be_split_so_is_refused_with_its_numbers_and_a_remedy() {
        for (engine, count, parallelism, words) in [
            (
                "VLLM",
                2,
                "{nodes: 2, tensor: 4, pipeline: 2}",
                "spec.selfHosted.parallelism: tensor 4 times pipeline 2 does not share out the accelerators: nodes 2 times 2 of a pod; make tensor times pipeline as many,",
            ),
            (
                "VLLM",
                2,
                "{nodes: 2, tensor: 3}",
                "tensor 3 times pipeline (absent) does not share out the accelerators: nodes 2 times 2 of a pod",
            ),
            (
                "VLLM",
                2,
                "{pipeline: 4}",
                "tensor (absent) times pipeline 4 does not share out the accelerators: nodes 1 times 2 of a pod",
            ),
            (
                "LlamaCpp",
                1,
                "{nodes: 2}",
                "spec.selfHosted.parallelism.nodes: is 2, and the engine LlamaCpp serves from one node; remove it, or use the engine VLLM",
            ),
            ("TGI", 1, "{nodes: 2}", "the engine TGI serves from one node"),
            (
                "LlamaCpp",
                2,
                "{tensor: 2}",
                "spec.selfHosted.parallelism.tensor: the operator cannot tell a LlamaCpp engine how it splits",
            ),
            (
                "TGI",
                2,
                "{pipeline: 2}",
                "spec.selfHosted.parallelism.pipeline: the operator cannot tell a TGI engine",
            ),
            (
                "TGI",
                4,
                "{tensor: 2}",
                "spec.selfHosted.parallelism.tensor: is 2, which leaves accelerators over, and the engine TGI has no stages",
            ),
            (
                "Custom",
                2,
                "{tensor: 2, nodes: 2}",
                "cannot tell a Custom engine how it splits a model; remove it, and put what",
            ),
        ] {
            let refused = split(engine, count, parallelism).unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
    }
}
