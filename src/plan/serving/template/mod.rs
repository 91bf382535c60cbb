//! `spec.selfHosted.podTemplate`: what a person adds to the pods of an engine, and what must hold all the same.
//!
//! A strategic merge: lists with a key (containers, their variables, ports and mounts, volumes) merge entry by entry, other lists are
//! replaced. It only adds and overrides; nothing of ours is removed by it, and what keeps the pod selected, routed to and confined is
//! checked afterwards.

mod read;

use k8s_openapi::DeepMerge;
use k8s_openapi::api::core::v1::{Container, EnvVar, LifecycleHandler, PodSpec, PodTemplateSpec, Probe, Volume};
use serde_json::Value;

use crate::plan::names::PORT_NAME;
use crate::plan::restricted::check::{self, Breach};
use crate::plan::{Invalid, restricted};

use super::pod::CONTAINER;

const FIELD: &str = "spec.selfHosted.podTemplate";

/// Annotations by which AppArmor's profile was chosen before it had a field.
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// `ours` with what `written` adds and overrides.
///
/// # Errors
/// What in it Kubernetes does not know, and what would break the pod's promises.
pub(super) fn merge(ours: &PodTemplateSpec, written: &Value) -> Result<PodTemplateSpec, Invalid> {
    let theirs = read::template(written, FIELD)?;
    let mut merged = ours.clone();
    let mut addition = theirs.clone();
    if let (Some(base), Some(added)) = (&mut merged.spec, &mut addition.spec) {
        make_room(base, added);
        confine(added);
    }
    merged.merge_from(addition);
    let (base, theirs) = (ours.spec.clone().unwrap_or_default(), theirs.spec.unwrap_or_default());
    labels_are_kept(ours, &merged)?;
    let pod = merged.spec.clone().unwrap_or_default();
    is_served(&base, &pod, &theirs)?;
    is_confined(&pod, &theirs)?;
    has_no_token_by_accident(&theirs)?;
    may_drain(ours, &theirs)?;
    Ok(merged)
}

/// Takes out of `base` what would contradict `added` when both are there, and into `added` what merging would lose of `base`.
fn make_room(base: &mut PodSpec, added: &mut PodSpec) {
    // These two replace as a whole, and without the profile's own the pod would wait for ever or start where it must not.
    if let (Some(ours), Some(theirs)) = (&base.node_selector, &mut added.node_selector) {
        for (name, value) in ours {
            theirs.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    if let (Some(ours), Some(theirs)) = (&base.tolerations, &mut added.tolerations) {
        let missing: Vec<_> = ours.iter().filter(|one| !theirs.contains(one)).cloned().collect();
        theirs.splice(0..0, missing);
    }
    for theirs in added.volumes.iter().flatten() {
        let ours = base.volumes.iter_mut().flatten().find(|volume| volume.name == theirs.name);
        if let Some(ours) = ours.filter(|ours| is_other_source(ours, theirs)) {
            *ours = Volume {
                name: theirs.name.clone(),
                ..Volume::default()
            };
        }
    }
    for theirs in &added.containers {
        let Some(ours) = base.containers.iter_mut().find(|container| container.name == theirs.name) else {
            continue;
        };
        for variable in theirs.env.iter().flatten() {
            if let Some(ours) = ours.env.iter_mut().flatten().find(|env| env.name == variable.name) {
                *ours = EnvVar {
                    name: variable.name.clone(),
                    ..EnvVar::default()
                };
            }
        }
        replace_probe(&mut ours.startup_probe, &theirs.startup_probe);
        replace_probe(&mut ours.readiness_probe, &theirs.readiness_probe);
        replace_probe(&mut ours.liveness_probe, &theirs.liveness_probe);
        let hook = theirs.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        if let (Some(ours), Some(LifecycleHandler { sleep: None, .. })) = (&mut ours.lifecycle, hook) {
            ours.pre_stop = None;
        }
    }
}

/// Whether `theirs` says where a volume comes from, and not from where `ours` does.
fn is_other_source(ours: &Volume, theirs: &Volume) -> bool {
    let source = |volume: &Volume| match serde_json::to_value(volume) {
        Ok(Value::Object(mut members)) => {
            members.remove("name");
            members.keys().cloned().collect::<Vec<_>>()
        }
        _ => vec![],
    };
    let theirs = source(theirs);
    !theirs.is_empty() && theirs != source(ours)
}

/// A probe asks in one way only.
fn replace_probe(ours: &mut Option<Probe>, theirs: &Option<Probe>) {
    if let (Some(ours), Some(theirs)) = (ours, theirs)
        && (theirs.exec.is_some() || theirs.grpc.is_some() || theirs.tcp_socket.is_some())
    {
        ours.http_get = None;
    }
}

/// Containers that say nothing about it get what the restricted profile asks.
fn confine(added: &mut PodSpec) {
    let sidecars = added.containers.iter_mut().filter(|container| container.name != CONTAINER);
    for container in sidecars.chain(added.init_containers.iter_mut().flatten()) {
        let mut context = restricted::sidecar();
        context.merge_from(container.security_context.take().unwrap_or_default());
        container.security_context = Some(context);
    }
}

fn invalid(field: impl AsRef<str>, problem: impl Into<String>, remedy: &str) -> Invalid {
    Invalid::new(format!("{FIELD}.{}", field.as_ref()), problem, remedy)
}

/// What selects the pods, and what others find them by.
fn labels_are_kept(ours: &PodTemplateSpec, merged: &PodTemplateSpec) -> Result<(), Invalid> {
    let (ours, merged) = (
        ours.metadata.clone().unwrap_or_default(),
        merged.metadata.clone().unwrap_or_default(),
    );
    let now = merged.labels.unwrap_or_default();
    for (name, value) in ours.labels.iter().flatten() {
        if now.get(name) != Some(value) {
            let problem = format!("is the operator's, which needs it to be {value:?}");
            return Err(invalid(
                format!("metadata.labels[{name}]"),
                problem,
                "remove it, or use another name",
            ));
        }
    }
    let unconfined = merged.annotations.into_iter().flatten().find(|(name, value)| {
        let fits = value == "runtime/default" || value.starts_with("localhost/");
        name.starts_with(APP_ARMOR) && !fits
    });
    match unconfined {
        Some((name, _)) => Err(invalid(
            format!("metadata.annotations[{name}]"),
            "does not confine the container",
            "remove it, or use runtime/default",
        )),
        None => Ok(()),
    }
}

/// The Service, the probes and the gateways find the engine by the name of its port.
fn is_served(ours: &PodSpec, merged: &PodSpec, theirs: &PodSpec) -> Result<(), Invalid> {
    let port = |pod: &PodSpec| -> Vec<(String, i32)> {
        let of = |container: &Container| {
            let ports = container
                .ports
                .iter()
                .flatten()
                .filter(|port| port.name.as_deref() == Some(PORT_NAME));
            ports.map(|port| (container.name.clone(), port.container_port)).collect::<Vec<_>>()
        };
        pod.containers.iter().flat_map(of).collect()
    };
    let lists = [
        ("containers", Some(&theirs.containers)),
        ("initContainers", theirs.init_containers.as_ref()),
    ];
    for (list, containers) in lists {
        let nameless = containers.into_iter().flatten().position(|container| container.name.is_empty());
        if let Some(index) = nameless {
            let remedy = format!("name it; {CONTAINER} is the operator's own, any other name adds a container");
            return Err(invalid(format!("spec.{list}[{index}].name"), "is required", &remedy));
        }
    }
    if port(merged) == port(ours) {
        return Ok(());
    }
    let changed = theirs
        .containers
        .iter()
        .position(|container| container.ports.is_some())
        .unwrap_or_default();
    Err(invalid(
        format!("spec.containers[{changed}].ports"),
        format!("the engine's port must stay the only one named {PORT_NAME:?}"),
        "give other ports other names and numbers; spec.selfHosted.engine.port moves the engine's own",
    ))
}

fn is_confined(merged: &PodSpec, theirs: &PodSpec) -> Result<(), Invalid> {
    let found = |at: &str, breach: Option<Breach>| match breach {
        Some(Breach { field, problem, remedy }) if field.is_empty() => Err(invalid(at, problem, remedy)),
        Some(Breach { field, problem, remedy }) => Err(invalid(format!("{at}.{field}"), problem, remedy)),
        None => Ok(()),
    };
    found("spec", check::of_pod(merged))?;
    for (index, volume) in theirs.volumes.iter().flatten().enumerate() {
        let merged = merged
            .volumes
            .iter()
            .flatten()
            .find(|other| other.name == volume.name)
            .unwrap_or(volume);
        found(&format!("spec.volumes[{index}]"), check::of_volume(merged))?;
    }
    let lists = [
        ("containers", Some(&merged.containers), Some(&theirs.containers)),
        ("initContainers", merged.init_containers.as_ref(), theirs.init_containers.as_ref()),
    ];
    for (list, merged, theirs) in lists {
        for container in merged.into_iter().flatten() {
            // Only what was written can be wrong, so it is named where it was written.
            let index = theirs.into_iter().flatten().position(|other| other.name == container.name);
            let at = format!("spec.{list}[{}]", index.unwrap_or_default());
            found(&at, check::of_container(container))?;
        }
    }
    Ok(())
}

/// An engine runs code that came with a model. It gets a token for the API server only from who also names the account, and so says which
/// rights it gets; the namespace's default account is never handed out by the way.
fn has_no_token_by_accident(theirs: &PodSpec) -> Result<(), Invalid> {
    let names_account = theirs.service_account_name.as_ref().or(theirs.service_account.as_ref()).is_some();
    if theirs.automount_service_account_token == Some(true) && !names_account {
        return Err(invalid(
            "spec.automountServiceAccountToken",
            "would give the engine the token of the namespace's default account",
            "remove it, or also set serviceAccountName to an account made for this",
        ));
    }
    let has_token = |volume: &Volume| {
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        sources.into_iter().any(|source| source.service_account_token.is_some())
    };
    if let Some(index) = theirs.volumes.iter().flatten().position(has_token).filter(|_| !names_account) {
        return Err(invalid(
            format!("spec.volumes[{index}].projected"),
            "would give the engine a token of the namespace's default account",
            "remove serviceAccountToken, or also set serviceAccountName to an account made for this",
        ));
    }
    Ok(())
}

/// Pods leave routing before they stop, and get the time that their engine needs to end its answers.
fn may_drain(ours: &PodTemplateSpec, theirs: &PodSpec) -> Result<(), Invalid> {
    let needed = ours
        .spec
        .as_ref()
        .and_then(|spec| spec.termination_grace_period_seconds)
        .unwrap_or(0);
    match theirs.termination_grace_period_seconds {
        Some(given) if given < needed => Err(invalid(
            "spec.terminationGracePeriodSeconds",
            format!("is {given}, and open answers get {needed} s to end"),
            "remove it, or give more",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
