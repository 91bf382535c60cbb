//! The store of one gateway alone, in a file: written whole before anything of it is spent, so that no crash forgets what was taken.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;

use super::store::{Store, Unavailable};
use crate::plan::ledger::{Account, Accounts, Ask, Grant};

/// What has been taken, in a file. Clones are the same store.
#[derive(Clone, Debug)]
pub struct InFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    taken: Mutex<Accounts>,
    /// Held for as long as this lives: two processes would each spend the whole of a budget.
    _lock: File,
}

/// A file that cannot be a ledger. It is never begun anew by itself: that would forget what was spent.
#[derive(Debug, thiserror::Error)]
pub enum BadLedger {
    /// It cannot be read or written.
    #[error("the ledger {} cannot be used: {cause}; name a file in a folder that is there and can be written", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Another process has it.
    #[error("the ledger {} is used by another process: end that, or name another file", .0.display())]
    InUse(PathBuf),
    /// It says something else.
    #[error("the ledger {} is damaged ({cause}): restore it, or remove it to begin all budgets anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
}

impl InFile {
    /// The ledger in the file at `path`, which is made where there is none.
    ///
    /// # Errors
    /// When it cannot be used; see [`BadLedger`].
    pub fn open(path: &Path) -> Result<Self, BadLedger> {
        let unusable = |cause| BadLedger::Unusable {
            path: path.to_owned(),
            cause,
        };
        // A file of its own, because the ledger itself is replaced at each change.
        let lock = File::create(beside(path, "lock")).map_err(unusable)?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => BadLedger::InUse(path.to_owned()),
            fs::TryLockError::Error(cause) => unusable(cause),
        })?;
        let taken = match fs::read(path) {
            Ok(bytes) => Accounts::read(&bytes).map_err(|cause| BadLedger::Damaged {
                path: path.to_owned(),
                cause,
            })?,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Accounts::default(),
            Err(cause) => return Err(unusable(cause)),
        };
        // What cannot be written later would refuse every request.
        write(path, &taken).map_err(unusable)?;
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            taken: Mutex::new(taken),
            _lock: lock,
        })))
    }

    /// Makes a change once it is on disk, or not at all.
    fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Accounts) -> T + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Unavailable>> {
        let inner = self.0.clone();
        let changed = tokio::task::spawn_blocking(move || {
            let mut taken = inner.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let mut next = taken.clone();
            let result = change(&mut next);
            write(&inner.path, &next).map_err(|error| Unavailable::Away(format!("{}: {error}", inner.path.display())))?;
            *taken = next;
            Ok(result)
        });
        async move { changed.await.unwrap_or_else(|error| Err(Unavailable::Away(error.to_string()))) }.boxed()
    }
}

impl Store for InFile {
    fn take(&self, account: Account, limit: u64, ask: Ask) -> BoxFuture<'static, Result<Grant, Unavailable>> {
        self.change(move |taken| taken.take(&account, limit, ask))
    }

    fn give_back(&self, account: Account, amount: u64) -> BoxFuture<'static, Result<(), Unavailable>> {
        self.change(move |taken| taken.give_back(&account, amount))
    }
}

/// Replaces the file whole, so that a crash leaves either what was before or what is now.
fn write(path: &Path, taken: &Accounts) -> io::Result<()> {
    let fresh = beside(path, "new");
    let mut file = File::create(&fresh)?;
    file.write_all(taken.written().as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}
