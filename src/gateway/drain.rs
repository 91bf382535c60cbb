//! Serving until told to stop, and then ending without breaking anything that can still end by itself.
//!
//! ```text
//! serving ──stop──► not ready, still accepting ──announce──► not accepting, answers go on ──finish──► told to end ──► over
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Gateway, app};

/// How long answers have to say that they cannot go on.
const FAREWELL: Duration = Duration::from_secs(2);

/// How a gateway stops.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// From not being ready to accepting no more: the time load balancers take to notice.
    pub announce: Duration,
    /// From then on, how long answers may go on. Those still open get an error event.
    pub finish: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            announce: Duration::from_secs(5),
            finish: Duration::from_secs(600),
        }
    }
}

/// Serves on `listener` until `stop` is cancelled, then drains.
///
/// # Errors
/// When the listener fails for good.
pub async fn run(listener: TcpListener, gateway: Arc<Gateway>, stop: CancellationToken, drain: Drain) -> std::io::Result<()> {
    let accepting = CancellationToken::new();
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection cannot send without delay");
        }
    });
    let server = axum::serve(listener, app(gateway.clone())).with_graceful_shutdown(accepting.clone().cancelled_owned());
    let mut server = std::pin::pin!(server.into_future());
    tokio::select! {
        ended = &mut server => return ended,
        () = stop.cancelled() => {}
    }
    tracing::info!("stopping: not ready any more");
    gateway.draining.store(true, Ordering::Relaxed);
    if let Ok(ended) = timeout(drain.announce, &mut server).await {
        return ended;
    }
    accepting.cancel();
    if let Ok(ended) = timeout(drain.finish, &mut server).await {
        return ended;
    }
    tracing::warn!("ending the answers that are still open");
    gateway.closing.cancel();
    timeout(FAREWELL, server).await.unwrap_or(Ok(()))
}
