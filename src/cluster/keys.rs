//! Clients' API keys, for the person who makes and revokes them: by that person's own rights.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt};

use super::apply::{Error, failed, refusal};
use crate::plan::api_key;
use crate::plan::names::{API_KEY_LABEL, FIELD_MANAGER, Key};

/// Makes the Secret of a key, which must not be there yet. Needs `create` on secrets of its namespace.
///
/// # Errors
/// When the name is taken, or the server refuses or cannot be reached.
pub async fn create(client: &Client, secret: &Secret) -> Result<(), Error> {
    let key = Key::of(secret);
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let made = Api::<Secret>::namespaced(client.clone(), &key.namespace)
        .create(&parameters, secret)
        .await;
    match made {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Err(Error::NameTaken {
            kind: "Secret".to_owned(),
            key,
        }),
        Err(error) => Err(refusal::<Secret>("making", &key)(error)),
    }
}

/// The Secrets of all keys of a namespace, by name. Needs `list` on its secrets.
///
/// # Errors
/// When the server refuses or cannot be reached.
pub async fn list(client: &Client, namespace: &str) -> Result<Vec<Secret>, Error> {
    let keys = ListParams::default().labels(&format!("{API_KEY_LABEL}=true"));
    let listed = Api::<Secret>::namespaced(client.clone(), namespace).list(&keys).await;
    let mut secrets = listed.map_err(failed::<Secret>("listing", &Key::new(namespace, "")))?.items;
    secrets.sort_by_key(Secret::name_any);
    Ok(secrets)
}

/// Removes the Secret of a key; `false` when there is none of that name, or it is no key's. Needs `get` and `delete` on it.
///
/// # Errors
/// When the server refuses or cannot be reached.
pub async fn delete(client: &Client, key: &Key) -> Result<bool, Error> {
    let api = Api::<Secret>::namespaced(client.clone(), &key.namespace);
    let found = api.get_opt(&key.name).await.map_err(failed::<Secret>("reading", key))?;
    let Some(secret) = found.filter(api_key::is_one) else {
        return Ok(false);
    };
    let exactly_this = Preconditions {
        uid: secret.uid(),
        resource_version: None,
    };
    let parameters = DeleteParams {
        preconditions: Some(exactly_this),
        ..DeleteParams::default()
    };
    match api.delete(&key.name, &parameters).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(failed::<Secret>("removing", key)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::api_key::ApiKey;
    use crate::testing::Server;

    #[tokio::test]
    async fn a_key_is_made_once_listed_and_revoked() {
        let server = Server::default();
        let client = server.connection();
        let secret = |name: &str| {
            let holder = ApiKey {
                name: name.to_owned(),
                ..ApiKey::default()
            };
            api_key::secret("llm-portfolio", holder, api_key::hash("k"))
        };
        create(&client, &secret("web")).await.unwrap();
        create(&client, &secret("ci")).await.unwrap();
        let taken = create(&client, &secret("ci")).await.unwrap_err().to_string();
        assert_eq!(
            taken,
            "Secret llm-portfolio/ci exists and does not belong to this object; rename or delete it"
        );
        let names = async || {
            list(&client, "llm-portfolio")
                .await
                .unwrap()
                .iter()
                .map(Secret::name_any)
                .collect::<Vec<_>>()
        };
        assert_eq!(names().await, ["ci", "web"]);
        assert!(delete(&client, &Key::new("llm-portfolio", "ci")).await.unwrap());
        assert!(!delete(&client, &Key::new("llm-portfolio", "ci")).await.unwrap());
        assert_eq!(names().await, ["web"]);
    }

    #[tokio::test]
    async fn no_other_secret_is_removed() {
        let server = Server::default();
        server.put("{apiVersion: v1, kind: Secret, metadata: {name: database, namespace: llm-portfolio}}");
        assert!(!delete(&server.connection(), &Key::new("llm-portfolio", "database")).await.unwrap());
        assert_eq!(server.contents().len(), 1);
    }
}
