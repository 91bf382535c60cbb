//! Asking a fetch how far it is. It says so to whoever asks; without an answer its size is all that is said.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::plan::cache::{PROGRESS_PORT, Progress};

use super::ask::Ask;

/// A pod of ours answers at once, or something is in between.
const DEADLINE: Duration = Duration::from_secs(1);
const LIMIT: usize = 16 << 10;

/// Asks fetches.
pub struct Progresses(Ask);

impl Progresses {
    /// Has asked none yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Ask::new(Some(DEADLINE)))
    }

    /// What the pod at `address` says.
    pub(super) async fn of(&self, address: &str) -> Option<Progress> {
        let host = if address.contains(':') {
            format!("[{address}]")
        } else {
            address.to_owned()
        };
        let url = format!("http://{host}:{PROGRESS_PORT}/");
        let answer = tokio::time::timeout(DEADLINE, self.0.ask(Method::GET, &url, Bytes::new(), LIMIT));
        let (status, body) = answer.await.ok()?.ok()?;
        serde_json::from_slice(&body).ok().filter(|_| status == StatusCode::OK)
    }
}
