//! Where weights are kept so that they are fetched once.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::placement::NAME;
use super::resources;

/// A volume that the weights are fetched into once, for every pod and every ModelDeployment of the namespace that names the same source with
/// the same credentials and the same cache. A Job fills it before pods start. A branch or tag stays at the commit that it was then, for all who
/// name it: name a commit to move on. It goes when no ModelDeployment and no pod uses it any more.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.claim) || (!has(self.storageClassName) && !has(self.size) && !has(self.accessMode))")
    .message("claim names a volume that is there: remove storageClassName, size and accessMode, or remove claim to have one made").field_path(".claim"))]
pub struct Cache {
    /// A PersistentVolumeClaim of this namespace that is there already; the weights get a folder in it. Default: one is made, for this source
    /// alone. Example: `models`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME))]
    pub claim: Option<String>,
    /// The StorageClass of the claim that is made. Default: the cluster's own. Example: `shared`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME))]
    pub storage_class_name: Option<String>,
    /// The size of the claim that is made. Where several ModelDeployments share it, the largest counts; it only grows, where its StorageClass
    /// lets it. Default: what the source's files need, and a twentieth more. Example: `40Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "resources::bytes")]
    pub size: Option<Quantity>,
    /// See [`AccessMode`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_mode: Option<AccessMode>,
}

/// Whether pods on several nodes can use the claim that is made (ReadWriteMany, which its StorageClass must offer) or only those on one
/// (ReadWriteOnce, not for models over several nodes). All ModelDeployments that share it say the same, and it cannot be changed later: delete
/// the claim for that, and it is made and filled again. Default: ReadWriteMany.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessMode {
    /// From any number.
    #[default]
    ReadWriteMany,
    /// From one.
    ReadWriteOnce,
}
