//! The kind ReferenceGrant of the Gateway API, as far as we read it: who may name objects of its namespace. There are two versions, which say
//! the same; older releases of the Gateway API have only the second.
//! Source: <https://gateway-api.sigs.k8s.io/api-types/referencegrant/>

use serde::{Deserialize, Serialize};

/// The group of the Gateway API.
pub const GROUP: &str = "gateway.networking.k8s.io";
/// Its kind.
pub const KIND: &str = "ReferenceGrant";

/// Objects that may name others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrantFrom {
    /// The group of their kind.
    pub group: String,
    /// Their kind.
    pub kind: String,
    /// Their namespace.
    pub namespace: String,
}

/// Objects that may be named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrantTo {
    /// The group of their kind.
    pub group: String,
    /// Their kind.
    pub kind: String,
    /// Which; absent: all of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

macro_rules! version {
    ($module:ident, $version:literal) => {
        #[doc = concat!("Version ", $version, ".")]
        pub mod $module {
            use kube::CustomResource;
            use serde::{Deserialize, Serialize};

            use super::{GrantFrom, GrantTo};

            /// Who may name what: any of `from` each of `to`.
            #[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize)]
            #[kube(group = "gateway.networking.k8s.io", version = $version, kind = "ReferenceGrant", namespaced)]
            #[kube(schema = "disabled", derive = "PartialEq", doc = "Who may name objects of its namespace.")]
            pub struct ReferenceGrantSpec {
                /// Who.
                pub from: Vec<GrantFrom>,
                /// What.
                pub to: Vec<GrantTo>,
            }
        }
    };
}

version!(v1, "v1");
version!(v1beta1, "v1beta1");
