//! The only door to the API server. Reads come from stores that watches keep; writes are server-side apply by one field manager, and none is
//! sent for what is already so: a settled object costs no requests.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this is the door that the others are kept from"
)]

mod apply;
pub mod config_map;
pub mod followed;
mod gate;
mod grants;
pub mod keys;
mod known;
pub mod lease;
mod look;
mod optional;
mod scale;
pub mod tokens;
pub mod watch;

pub use apply::{Cluster, Error, Owned, Stores};
pub use grants::Grants;
pub use known::Known;
pub use look::Look;
pub use optional::Optional;

use k8s_openapi::jiff::Timestamp;

use crate::api::ModelDeployment;
use crate::plan::names::Key;

/// A connection to a cluster; the others only carry it to this door.
pub type Connection = kube::Client;

/// The clock.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Whether the API server has the kind; discovery is allowed to everybody.
///
/// # Errors
/// When it cannot be asked.
pub async fn serves<K: kube::Resource<DynamicType = ()>>(client: &Connection) -> Result<bool, kube::Error> {
    match client.list_api_group_resources(&K::api_version(&())).await {
        Ok(known) => Ok(known.resources.iter().any(|resource| resource.kind == K::kind(&()))),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

/// One ModelDeployment, by the rights of whoever asks.
///
/// # Errors
/// When the server refuses or cannot be reached.
pub async fn model(client: &Connection, key: &Key) -> Result<Option<ModelDeployment>, kube::Error> {
    kube::Api::namespaced(client.clone(), &key.namespace).get_opt(&key.name).await
}

/// The version of the API server, such as `(1, 36)`.
///
/// # Errors
/// When it cannot be asked, or says what is no version.
pub async fn version(client: &Connection) -> Result<(u32, u32), kube::Error> {
    let said = client.apiserver_version().await?;
    // Some vendors add a sign: `36+`.
    let number = |text: &str| text.trim_end_matches('+').parse().ok();
    let version = number(&said.major).zip(number(&said.minor));
    version.ok_or_else(|| kube::Error::Service(format!("{}.{} is no version", said.major, said.minor).into()))
}

/// A client for the cluster that the environment names: `KUBECONFIG`, or the pod's own service account.
///
/// # Errors
/// When neither names a cluster.
pub async fn connect() -> Result<Connection, kube::Error> {
    let config = kube::Config::infer().await.map_err(kube::Error::InferConfig)?;
    kube::Client::try_from(config)
}
