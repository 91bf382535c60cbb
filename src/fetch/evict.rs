//! Removing what fetches have left, and nothing else.

use std::fs;
use std::io;
use std::path::Path;

use super::failure::{Failure, Reason};
use super::folder::{self, Folder};

/// Removes a folder of folders that fetches filled or began to fill, once none is at work there. One that is not there is gone already.
///
/// # Errors
/// `FolderInUse` when something else is in it: then nothing is removed.
pub async fn evict(parent: &Path) -> Result<(), Failure> {
    let entries = match fs::read_dir(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| Failure::io("reading", parent, &error))?,
    };
    let mut held = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| Failure::io("reading", parent, &error))?.path();
        if !folder::is_filled_by_fetches(&path) {
            let problem = format!("{} was not filled by a fetch", path.display());
            return Err(Failure::new(
                Reason::FolderInUse,
                problem,
                "move it elsewhere, or remove the folder by hand",
            ));
        }
        held.push(Folder::new(&path).lock(|| {}).await?);
    }
    fs::remove_dir_all(parent).map_err(|error| Failure::io("removing", parent, &error))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Scratch;
    use super::*;

    #[tokio::test]
    async fn only_what_fetches_filled_is_removed() {
        let scratch = Scratch::new();
        let cache = scratch.path().join("cache-a");
        evict(&cache).await.unwrap();
        fs::create_dir_all(cache.join("rev/weights")).unwrap();
        fs::write(cache.join("rev/.portfolio-fetch.lock"), "").unwrap();
        fs::write(cache.join("notes.txt"), "mine").unwrap();
        assert_eq!(evict(&cache).await.unwrap_err().reason, Reason::FolderInUse);
        assert!(cache.join("rev/weights").exists());
        fs::remove_file(cache.join("notes.txt")).unwrap();
        let at_work = Folder::new(&cache.join("rev")).lock(|| {}).await.unwrap();
        let waits = tokio::time::timeout(std::time::Duration::from_millis(500), evict(&cache)).await;
        assert!(waits.is_err() && cache.exists(), "a fetch is at work there");
        drop(at_work);
        evict(&cache).await.unwrap();
        assert!(!cache.exists() && scratch.path().exists());
    }
}
