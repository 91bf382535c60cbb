//! A text in a ConfigMap that several processes change: each change is made to what is there at that moment, or made again. Needs the rights to
//! get and update the ConfigMap, and to create it where it is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use super::Connection;

/// How often a change is made again because somebody else was quicker.
const ATTEMPTS: u64 = 12;
/// What is waited for at most before that, times the number of attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// Why a text was not changed.
#[derive(Debug, thiserror::Error)]
pub enum NotChanged {
    /// The API server could not do it, or its answer was lost: then it may have been changed.
    #[error(transparent)]
    Failed(#[from] kube::Error),
    /// Others were quicker, again and again.
    #[error("the ConfigMap {0} is changed by others all the time")]
    Contended(String),
    /// What is there cannot be changed.
    #[error("the ConfigMap {name} is damaged ({cause}): restore it, or remove its data to begin anew")]
    Damaged {
        /// Its name.
        name: String,
        /// What is wrong with it.
        cause: String,
    },
    /// There is no room for what would be added.
    #[error("the ConfigMap {name} has no room for {what}")]
    Full {
        /// Its name.
        name: String,
        /// What there is no room for, and what to do.
        what: String,
    },
}

/// Why a text is left as it is.
#[derive(Debug)]
pub enum Refused {
    /// It is not what it should be.
    Damaged(String),
    /// There is no room in it for this.
    Full(String),
}

/// Changes the text under `key` of a ConfigMap, as `change` says of what is there; `None` where nothing is yet.
///
/// # Errors
/// When it was not changed, as far as that is known.
pub async fn change<T>(
    client: &Connection,
    namespace: &str,
    name: &str,
    key: &str,
    change: impl Fn(Option<&str>) -> Result<(String, T), Refused>,
) -> Result<T, NotChanged> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    for attempt in 0..ATTEMPTS {
        // No version is named, so that it is read from what the servers have agreed on, and not from a cache.
        let found = api.get_opt(name).await?;
        let text = found.as_ref().and_then(|map| map.data.as_ref()?.get(key));
        let refused = |refused| {
            let name = name.to_owned();
            match refused {
                Refused::Damaged(cause) => NotChanged::Damaged { name, cause },
                Refused::Full(what) => NotChanged::Full { name, what },
            }
        };
        let (text, result) = change(text.map(String::as_str)).map_err(refused)?;
        let data = BTreeMap::from([(key.to_owned(), text)]);
        let written = match found {
            Some(mut map) => {
                map.data.get_or_insert_default().extend(data);
                api.replace(name, &PostParams::default(), &map).await
            }
            None => {
                let map = ConfigMap {
                    metadata: ObjectMeta {
                        name: Some(name.to_owned()),
                        ..ObjectMeta::default()
                    },
                    data: Some(data),
                    ..ConfigMap::default()
                };
                api.create(&PostParams::default(), &map).await
            }
        };
        match written {
            Ok(_) => return Ok(result),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                tokio::time::sleep(PAUSE.mul_f64(fastrand::f64() * (attempt + 1) as f64)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(NotChanged::Contended(name.to_owned()))
}
