//! What makes a probe an authorized request: a header, a signature of AWS's, or a token of Google's, which is asked for first.

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use k8s_openapi::jiff::Timestamp;

use super::Requests;
use crate::api::model_deployment::ApiSource;
use crate::plan::backend::{Answer, Authorization, Probe};
use crate::protocol::google::{self, NotGiven, ServiceAccount};
use crate::protocol::root_cause;
use crate::protocol::sigv4::{self, Credentials, Scope};

/// A token is a few kilobytes at most.
const TOKEN_LIMIT: usize = 64 << 10;

/// The headers to add to `probe` at `now`, or what is said where there are none.
pub(super) async fn headers(
    client: &Requests,
    authorization: &Authorization,
    probe: &Probe,
    api: &ApiSource,
    now: Timestamp,
) -> Result<Vec<(&'static str, String)>, Answer> {
    match authorization {
        Authorization::Header(name, value) => Ok(vec![(*name, value.clone())]),
        Authorization::SigV4(keys) => signature(keys, probe, api, now),
        Authorization::ServiceAccount(file) => Ok(vec![("authorization", format!("Bearer {}", token(client, file, api, now).await?))]),
    }
}

fn signature(keys: &str, probe: &Probe, api: &ApiSource, now: Timestamp) -> Result<Vec<(&'static str, String)>, Answer> {
    let keys = Credentials::read(keys).map_err(|why| Answer::Unusable(why.to_string()))?;
    let address: Uri = probe
        .url
        .parse()
        .map_err(|_| Answer::Unreachable("spec.api.endpoint is not a URL that can be asked".to_owned()))?;
    let request = sigv4::Request {
        method: probe.method.as_str(),
        host: address.authority().map_or("", |authority| authority.as_str()),
        path: address.path(),
        query: address.query().unwrap_or_default(),
        headers: &probe.headers,
        body: probe.body.as_bytes(),
    };
    let scope = Scope {
        region: api.region.as_deref().unwrap_or_default(),
        service: "bedrock",
    };
    Ok(sigv4::sign(
        &request,
        &scope,
        &keys,
        u64::try_from(now.as_second()).unwrap_or_default(),
    ))
}

/// That Google gives a token shows that it knows the key.
async fn token(client: &Requests, file: &str, api: &ApiSource, now: Timestamp) -> Result<String, Answer> {
    let account = ServiceAccount::read(file.as_bytes()).map_err(|why| Answer::Unusable(why.to_string()))?;
    let endpoint: Option<Uri> = api.endpoint.as_ref().and_then(|endpoint| endpoint.parse().ok());
    let address = account
        .token_address(endpoint.as_ref())
        .map_err(|why| Answer::Unusable(why.to_string()))?;
    let form = account.form(now.as_second()).map_err(|why| Answer::Unusable(why.to_string()))?;
    let request = Request::post(address)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(form)))
        .map_err(|error| Answer::Unreachable(error.to_string()))?;
    let answer = client
        .request(request)
        .await
        .map_err(|error| Answer::Unreachable(root_cause(&error)))?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), TOKEN_LIMIT).collect().await;
    let body = body.map_err(|error| Answer::Unreachable(root_cause(&*error)))?.to_bytes();
    match google::read_token(status, &body) {
        Ok(token) => Ok(token.secret),
        // It names no secret: an error and its description, such as `invalid_grant: Invalid JWT Signature.`
        Err(NotGiven::Refused(_)) if (400..500).contains(&status) && status != 429 => Err(Answer::Rejected(status)),
        Err(why) => Err(Answer::Unreachable(why.to_string())),
    }
}
