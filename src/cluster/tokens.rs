//! Whose token it is: the API server's word on a service-account token.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::plan::names::TOKEN_AUDIENCE;

/// A service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Asks the API server whose token it is; `None` when it is nobody's, expired, or meant for another audience. Needs `create` on `tokenreviews`.
///
/// # Errors
/// When the server refuses or cannot be reached.
pub async fn review(client: &Client, token: &str) -> Result<Option<ServiceAccount>, kube::Error> {
    let spec = TokenReviewSpec {
        token: token.to_owned(),
        audiences: Some(vec![TOKEN_AUDIENCE.to_owned()]),
    };
    let review = TokenReview {
        spec,
        ..TokenReview::default()
    };
    let answer = Api::<TokenReview>::all(client.clone())
        .create(&PostParams::default(), &review)
        .await?;
    let Some(status) = answer.status.filter(|s| s.authenticated == Some(true)) else {
        return Ok(None);
    };
    let for_us = status.audiences.iter().flatten().any(|audience| audience == TOKEN_AUDIENCE);
    let user = status.user.and_then(|user| user.username).filter(|_| for_us);
    let account = user
        .as_deref()
        .and_then(|user| user.strip_prefix("system:serviceaccount:"))
        .and_then(|user| user.split_once(':'));
    Ok(account.map(|(namespace, name)| ServiceAccount {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }))
}
