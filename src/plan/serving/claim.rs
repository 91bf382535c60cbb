//! Devices by Dynamic Resource Allocation: what each pod claims, and the template its claim is made from.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{self as core, Pod, PodResourceClaim};
use k8s_openapi::api::resource::v1::{
    CELDeviceSelector, DeviceClaim, DeviceRequest, DeviceSelector, ExactDeviceRequest, ResourceClaimSpec, ResourceClaimTemplate,
    ResourceClaimTemplateSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use crate::api::ModelDeployment;
use crate::api::placement::Claim;
use crate::plan::fingerprint::digest;
use crate::plan::names;

/// What the pod calls its claim, and the claim its one request.
const NAME: &str = "accelerator";

/// The template of the claims. A template never changes, so another claim is another template, which new pods name.
pub(super) fn template(md: &ModelDeployment, claim: &Claim) -> ResourceClaimTemplate {
    let labels = names::labels(names::ENGINE, names::MODEL_LABEL, &md.name_any());
    let selector = |expression: &String| DeviceSelector {
        cel: Some(CELDeviceSelector {
            expression: expression.clone(),
        }),
    };
    let selectors: Vec<_> = claim.selectors.iter().map(selector).collect();
    let spec = ResourceClaimTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels.clone()),
            ..ObjectMeta::default()
        }),
        spec: ResourceClaimSpec {
            devices: Some(DeviceClaim {
                requests: Some(vec![DeviceRequest {
                    name: NAME.to_owned(),
                    exactly: Some(ExactDeviceRequest {
                        device_class_name: claim.device_class_name.clone(),
                        allocation_mode: Some("ExactCount".to_owned()),
                        count: Some(claim.count.into()),
                        selectors: (!selectors.is_empty()).then_some(selectors),
                        ..ExactDeviceRequest::default()
                    }),
                    ..DeviceRequest::default()
                }]),
                ..DeviceClaim::default()
            }),
        },
    };
    ResourceClaimTemplate {
        metadata: names::child(md, names::claim(&md.name_any(), &digest(claim)), labels),
        spec,
    }
}

/// What makes a pod have a claim of its own.
pub(super) fn of_pod(template: &ResourceClaimTemplate) -> PodResourceClaim {
    PodResourceClaim {
        name: NAME.to_owned(),
        resource_claim_template_name: Some(template.name_any()),
        ..PodResourceClaim::default()
    }
}

/// What makes a container use the pod's claim.
pub(super) fn of_container() -> core::ResourceClaim {
    core::ResourceClaim {
        name: NAME.to_owned(),
        ..core::ResourceClaim::default()
    }
}

/// Of the templates of one model, those that are neither wanted nor named by one of its pods, which may have to be made again.
pub fn outdated<'a>(
    templates: &'a [Arc<ResourceClaimTemplate>],
    pods: &'a [Arc<Pod>],
    wanted: Option<&'a ResourceClaimTemplate>,
) -> impl Iterator<Item = &'a Arc<ResourceClaimTemplate>> {
    let wanted = wanted.and_then(|template| template.metadata.name.as_deref());
    let named: Vec<&str> = pods
        .iter()
        .filter_map(|pod| pod.spec.as_ref())
        .flat_map(|spec| spec.resource_claims.iter().flatten())
        .filter_map(|claim| claim.resource_claim_template_name.as_deref())
        .chain(wanted)
        .collect();
    templates
        .iter()
        .filter(move |template| template.metadata.name.as_deref().is_some_and(|name| !named.contains(&name)))
}
