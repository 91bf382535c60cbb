//! Waiting for a condition with a deadline: the only place where these tests pass time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at: well below what a person notices, and cheap for an API server.
const POLL: Duration = Duration::from_millis(100);
/// So long a look may take, whatever is waited for.
const LOOK: Duration = Duration::from_secs(30);

/// Polls `probe` until it yields a value, and gives up after `deadline` with what was awaited and what was last seen.
///
/// `Ok(None)` and `Err` both mean "not yet"; the last error is part of the message. One look has half of the time at most,
/// where that is [`LOOK`] or more: a question to a server that was killed may never be answered, and is asked again.
pub async fn until<T>(what: &str, deadline: Duration, mut probe: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    let mut last;
    loop {
        let left = deadline.saturating_sub(start.elapsed());
        match tokio::time::timeout(left.min((deadline / 2).max(LOOK)).max(POLL), probe()).await {
            Ok(Ok(Some(value))) => return Ok(value),
            Ok(Ok(None)) => last = None,
            Ok(Err(error)) => last = Some(format!("{error:#}")),
            Err(_) => last = Some("no answer".to_owned()),
        }
        if start.elapsed() >= deadline {
            let last = last.map(|l| format!("; last: {l}")).unwrap_or_default();
            bail!("waited {deadline:?} in vain: {what}{last}");
        }
        tokio::time::sleep(POLL).await;
    }
}
