//! Asking a fetch how far it is. It says so to whoever asks; without an answer its size is all that is said.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::plan::cache::{PROGRESS_PORT, Progress};

/// A pod of ours answers at once, or something is in between.
const DEADLINE: Duration = Duration::from_secs(1);
const LIMIT: usize = 16 << 10;

/// Asks fetches.
pub struct Progresses(Client<HttpConnector, Empty<Bytes>>);

impl Progresses {
    /// Has asked none yet.
    #[must_use]
    pub fn new() -> Self {
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(DEADLINE));
        Self(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(http))
    }

    /// What the pod at `address` says.
    pub(super) async fn of(&self, address: &str) -> Option<Progress> {
        let host = if address.contains(':') {
            format!("[{address}]")
        } else {
            address.to_owned()
        };
        let request = Request::get(format!("http://{host}:{PROGRESS_PORT}/")).body(Empty::new()).ok()?;
        let answer = async {
            let answer = self.0.request(request).await.ok()?;
            let answer = Some(answer).filter(|answer| answer.status() == StatusCode::OK)?;
            let body = Limited::new(answer.into_body(), LIMIT).collect().await.ok()?;
            serde_json::from_slice(&body.to_bytes()).ok()
        };
        tokio::time::timeout(DEADLINE, answer).await.ok()?
    }
}
