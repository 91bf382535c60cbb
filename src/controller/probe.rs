//! Asking a provider whether it accepts a credential: one small request, bounded in time, that costs no tokens.

mod authorized;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::jiff::Timestamp;
use rustls::ClientConfig;
use tokio::sync::Semaphore;

use crate::api::model_deployment::ApiSource;
use crate::plan::backend::{self, Answer, Authorization, Materials};
use crate::protocol::root_cause;
use crate::tls;

/// How long a provider may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// How many are asked at once.
const AT_ONCE: usize = 8;

type Requests = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Asks providers.
pub struct Prober {
    /// Trusts the machine's authorities.
    client: Requests,
    permits: Semaphore,
}

impl Prober {
    /// With the machine's certificate authorities (`SSL_CERT_FILE` names others).
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn new() -> std::io::Result<Self> {
        let https = HttpsConnectorBuilder::new().with_native_roots()?;
        Ok(Self {
            client: client(https.https_or_http().enable_http1().wrap_connector(tcp())),
            permits: Semaphore::new(AT_ONCE),
        })
    }

    /// What the provider of `api` says to what it is shown; `None` at once when too many are being asked.
    pub async fn ask(&self, api: &ApiSource, materials: &Materials, now: Timestamp) -> Option<Answer> {
        let _permit = self.permits.try_acquire().ok()?;
        let own = match materials.authorities.found().map(tls::authorities) {
            None => None,
            Some(Ok(roots)) => Some(trusting(tls::trusting_only(roots))),
            Some(Err(why)) => return Some(Answer::Unreachable(format!("spec.api.caBundle: {why}"))),
        };
        let credential = materials.credential.found().map(String::from_utf8_lossy);
        let authorization = credential.map(|credential| backend::authorization(api.provider, &credential));
        let asked = ask(own.as_ref().unwrap_or(&self.client), api, authorization.as_ref(), now);
        let answer = tokio::time::timeout(DEADLINE, asked).await;
        Some(answer.unwrap_or_else(|_| Answer::Unreachable(format!("no answer within {} s", DEADLINE.as_secs()))))
    }
}

fn tcp() -> HttpConnector {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(DEADLINE));
    http
}

/// For one request: a bundle that is replaced must not live on in a pool of connections.
fn trusting(config: ClientConfig) -> Requests {
    let https = HttpsConnectorBuilder::new().with_tls_config(config);
    client(https.https_or_http().enable_http1().wrap_connector(tcp()))
}

fn client(connector: HttpsConnector<HttpConnector>) -> Requests {
    Client::builder(TokioExecutor::new()).build(connector)
}

async fn ask(client: &Requests, api: &ApiSource, authorization: Option<&Authorization>, now: Timestamp) -> Answer {
    let probe = backend::probe(api);
    let shown = match authorization {
        None => vec![],
        Some(authorization) => match authorized::headers(client, authorization, &probe, api, now).await {
            Ok(shown) => shown,
            Err(answer) => return answer,
        },
    };
    let mut request = Request::builder().method(probe.method).uri(probe.url);
    for (name, value) in &probe.headers {
        request = request.header(*name, *value);
    }
    for (name, value) in shown {
        request = request.header(name, value);
    }
    let Ok(request) = request.body(Full::new(Bytes::from_static(probe.body.as_bytes()))) else {
        return Answer::Unreachable("spec.api.endpoint is not a URL that can be asked".to_owned());
    };
    match client.request(request).await {
        Err(error) => Answer::Unreachable(root_cause(&error)),
        Ok(answer) => backend::judge(api.provider, answer.status().as_u16()),
    }
}

#[cfg(test)]
mod tests;
