//! The hub of Hugging Face, as far as fetching a model goes, over one folder: commit, tree, content; large files by a redirect to storage on
//! another port, as the real one does. And it fails as told.
//!
//! - in a test: [`Hub::start`]; [`Hub::set`] changes how it answers, [`Hub::seen`] says what was asked
//! - as a process: `e2e hub --listen ADDR --folder DIR --repo org/name`
//!
//! The unit tests of the product include this file as it is, so it knows nothing else of this crate.

mod answer;
mod snapshot;

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use snapshot::Repository;
use snapshot::Snapshot;

/// How it answers.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The only token that is taken; without one, everybody may read.
    pub token: Option<String>,
    /// Content is refused until its owner grants access.
    pub is_gated: bool,
    /// So many next answers are 429, with these seconds in `Retry-After`.
    pub busy: (usize, u64),
    /// So many next contents break off after so many bytes.
    pub cut: (usize, u64),
    /// So many next contents begin with a wrong byte.
    pub wrong: usize,
}

/// What was asked, and what went out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Requests to the API and for content, those to storage included.
    pub requests: usize,
    /// Bytes of content.
    pub content_bytes: u64,
    /// Storage was sent a token, which only the hub may see.
    pub is_token_leaked: bool,
}

/// A running hub. It ends when dropped.
pub struct Hub {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    repository: Repository,
    /// Where large files are; `None` is here.
    storage: Option<SocketAddr>,
    snapshot: Mutex<Snapshot>,
    script: Mutex<Script>,
    seen: Mutex<Seen>,
}

impl Hub {
    /// Starts one on free ports of 127.0.0.1.
    pub async fn start(repository: Repository) -> Result<Self> {
        let free = || StdListener::bind("127.0.0.1:0");
        Self::on(free()?, Some(free()?), repository).await
    }

    /// Starts one on bound sockets: the hub's, and that of its storage if it is to have its own.
    pub async fn on(listener: StdListener, storage: Option<StdListener>, repository: Repository) -> Result<Self> {
        let address = listener.local_addr()?;
        let snapshot = Snapshot::of(&repository)?;
        let shared = Arc::new(Shared {
            repository,
            storage: storage.as_ref().map(StdListener::local_addr).transpose()?,
            snapshot: Mutex::new(snapshot),
            script: Mutex::default(),
            seen: Mutex::default(),
        });
        let mut tasks = Vec::new();
        for listener in [Some(listener), storage].into_iter().flatten() {
            listener.set_nonblocking(true)?;
            let (listener, app) = (TcpListener::from_std(listener)?, answer::app(Arc::clone(&shared)));
            tasks.push(tokio::spawn(async move { drop(axum::serve(listener, app).await) }));
        }
        Ok(Self { address, shared, tasks })
    }

    /// Its address, as `HF_ENDPOINT` takes it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The commit that `main` is.
    pub fn commit(&self) -> String {
        lock(&self.shared.snapshot).commit.clone()
    }

    /// Makes the folder as it is now the commit that `main` is. The one before is forgotten.
    pub fn commit_again(&self) -> Result<String> {
        let snapshot = Snapshot::of(&self.shared.repository)?;
        *lock(&self.shared.snapshot) = snapshot;
        Ok(self.commit())
    }

    /// Changes how it answers from now on.
    pub fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut lock(&self.shared.script));
    }

    /// What was seen since the last time.
    pub fn seen(&self) -> Seen {
        std::mem::take(&mut lock(&self.shared.seen))
    }

    /// Bytes of content since [`Hub::seen`] was last asked.
    pub fn counted(&self) -> u64 {
        lock(&self.shared.seen).content_bytes
    }

    /// Serves until the process ends.
    pub async fn run(mut self) -> Result<()> {
        let Some(task) = self.tasks.first_mut() else { return Ok(()) };
        task.await.context("the hub ended")
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
