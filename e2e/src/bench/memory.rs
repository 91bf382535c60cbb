//! What a subject needs in memory: idle, with many open streams, while and after it carries large bodies.

use std::time::Duration;

use anyhow::Result;

use super::load::{Client, Load, in_time};
use super::payload::Mode;
use super::subject::Subject;

/// Streams open at once.
const STREAMS: usize = 1000;
/// A request with an image.
const LARGE: usize = 1 << 20;
/// So many of those at once.
const AT_ONCE: usize = 16;
/// Allocators give memory back after a while.
const SETTLE: Duration = Duration::from_secs(3);

/// Bytes of resident memory.
pub(super) struct Memory {
    pub(super) subject: String,
    pub(super) idle: u64,
    /// With 1,000 open streams.
    pub(super) streams: u64,
    /// After 1 MB bodies for a while, and for as long again: equal when nothing leaks.
    pub(super) large: [u64; 2],
    /// Some seconds after the last.
    pub(super) after: u64,
}

impl Memory {
    /// Measures a subject that has done nothing yet; none for what is no process of its own.
    pub(super) async fn of(subject: &Subject, time: Duration) -> Result<Option<Self>> {
        let Some(idle) = subject.resident()? else { return Ok(None) };
        let streams = with_streams(subject).await?;
        let mut large = [0; 2];
        for resident in &mut large {
            let load = Load {
                address: subject.address,
                request: Mode::Chat.request_of(LARGE),
                connections: AT_ONCE,
                time,
            };
            tokio::task::spawn_blocking(move || load.run(|| Ok(Duration::ZERO))).await??;
            *resident = subject.resident()?.unwrap_or_default();
        }
        tokio::time::sleep(SETTLE).await;
        Ok(Some(Self {
            subject: subject.name.clone(),
            idle,
            streams,
            large,
            after: subject.resident()?.unwrap_or_default(),
        }))
    }
}

async fn with_streams(subject: &Subject) -> Result<u64> {
    let request = Mode::Held.request();
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        let mut client = Client::connect(subject.address).await?;
        in_time(client.begin(&request, 500)).await?;
        open.push(client);
    }
    Ok(subject.resident()?.unwrap_or_default())
}
