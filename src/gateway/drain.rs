//! Serving until told to stop, and then ending without breaking anything that can still end by itself.
//!
//! ```text
//! serving ──stop──► not ready, still accepting ──announce──► not accepting, answers go on ──finish──► told to end ──► over
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::connections::{Connections, Patience};
use super::{Front, Gateway};

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
pub async fn run(listener: TcpListener, gateway: Arc<Gateway>, stop: CancellationToken, drain: Drain) {
    serve(listener, gateway, stop, drain, Patience::default()).await;
}

pub(super) async fn serve(listener: TcpListener, gateway: Arc<Gateway>, stop: CancellationToken, drain: Drain, patience: Patience) {
    let connections = match Connections::new(Front::new(gateway.clone()), patience) {
        Ok(connections) => connections,
        Err(error) => {
            tracing::error!(%error, "the system gives no threads to serve with");
            return;
        }
    };
    tokio::select! {
        () = connections.accept(&listener) => {}
        () = stop.cancelled() => {}
    }
    tracing::info!("stopping: not ready any more");
    gateway.draining.store(true, Ordering::Relaxed);
    tokio::select! {
        () = connections.accept(&listener) => {}
        () = sleep(drain.announce) => {}
    }
    drop(listener);
    let mut finished = std::pin::pin!(connections.finish());
    if timeout(drain.finish, &mut finished).await.is_ok() {
        return;
    }
    tracing::warn!("ending the answers that are still open");
    gateway.closing.cancel();
    if timeout(FAREWELL, finished).await.is_err() {
        tracing::warn!("some clients did not take the end of their answers");
    }
}
