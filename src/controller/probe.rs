//! Asking a provider whether it accepts a credential: one small request, bounded in time, that costs no tokens.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Semaphore;

use crate::api::model_deployment::ApiSource;
use crate::plan::backend::{self, Answer};
use crate::protocol::root_cause;

/// How long a provider may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// How many are asked at once.
const AT_ONCE: usize = 8;

/// Asks providers.
pub struct Prober {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    permits: Semaphore,
}

impl Prober {
    /// With the machine's certificate authorities (`SSL_CERT_FILE` names others).
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn new() -> std::io::Result<Self> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(DEADLINE));
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()?
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            permits: Semaphore::new(AT_ONCE),
        })
    }

    /// What the provider of `api` says to `credential`; `None` at once when too many are being asked.
    pub async fn ask(&self, api: &ApiSource, credential: &str) -> Option<Answer> {
        let _permit = self.permits.try_acquire().ok()?;
        Some(self.ask_now(api, credential).await)
    }

    async fn ask_now(&self, api: &ApiSource, credential: &str) -> Answer {
        let (url, headers) = backend::probe(api, credential);
        let request = headers
            .into_iter()
            .fold(Request::get(url), |request, (name, value)| request.header(name, value));
        let Ok(request) = request.body(Empty::new()) else {
            return Answer::Unreachable("spec.api.endpoint is not a URL that can be asked".to_owned());
        };
        match tokio::time::timeout(DEADLINE, self.client.request(request)).await {
            Err(_) => Answer::Unreachable(format!("no answer within {} s", DEADLINE.as_secs())),
            Ok(Err(error)) => Answer::Unreachable(root_cause(&error)),
            Ok(Ok(answer)) => match answer.status() {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Answer::Rejected(answer.status().as_u16()),
                // A compatible server need not list models; that it answers without refusing the key is what counts.
                status if status.is_success() || status == StatusCode::NOT_FOUND || status == StatusCode::METHOD_NOT_ALLOWED => {
                    Answer::Accepted
                }
                // It is there and busy: the key was not refused.
                StatusCode::TOO_MANY_REQUESTS => Answer::Accepted,
                status => Answer::Unreachable(format!("it answers HTTP {}", status.as_u16())),
            },
        }
    }
}
