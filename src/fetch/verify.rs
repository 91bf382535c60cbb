//! Whether a file is what its revision says.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use ring::digest;
use tokio_util::sync::CancellationToken;

use super::blocking;
use super::failure::Failure;
use super::listing::{Check, hex};

/// Read at once: large enough for disks, small enough to stop soon.
const BLOCK: usize = 1 << 20;

/// Whether the file at `path` is there, has its size and its checksum. Dropping the future ends the reading.
pub(super) async fn is_right(path: PathBuf, size: u64, check: Check) -> Result<bool, Failure> {
    let stop = CancellationToken::new();
    let _guard = stop.clone().drop_guard();
    let shown = path.clone();
    let read = blocking(move || matches(&path, size, &check, &stop)).await?;
    read.map_err(|error| Failure::io("reading", &shown, &error))
}

fn matches(path: &PathBuf, size: u64, check: &Check, stop: &CancellationToken) -> io::Result<bool> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    if file.metadata()?.len() != size {
        return Ok(false);
    }
    let (mut digest, expected) = match check {
        Check::Size => return Ok(true),
        Check::Sha256(expected) => (digest::Context::new(&digest::SHA256), expected),
        Check::GitBlob(expected) => {
            let mut digest = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
            digest.update(format!("blob {size}\0").as_bytes());
            (digest, expected)
        }
    };
    let mut block = vec![0; BLOCK];
    loop {
        if stop.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match file.read(&mut block)? {
            0 => return Ok(hex(digest.finish().as_ref()) == *expected),
            read => digest.update(&block[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::tests::Scratch;

    #[tokio::test]
    async fn known_checksums_are_recognised() {
        let scratch = Scratch::new();
        let path = scratch.path().join("hello");
        std::fs::write(&path, "hello\n").unwrap();
        // Of `sha256sum` and `git hash-object`.
        let sha256 = Check::Sha256("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03".into());
        let blob = Check::GitBlob("ce013625030ba8dba906f756967f9e9ca394464a".into());
        let is_right = async |size, check: &Check| is_right(path.clone(), size, check.clone()).await.unwrap();
        assert!(is_right(6, &sha256).await);
        assert!(is_right(6, &blob).await);
        assert!(is_right(6, &Check::Size).await);
        assert!(!is_right(7, &Check::Size).await);
        std::fs::write(&path, "Hello\n").unwrap();
        assert!(!is_right(6, &sha256).await);
        assert!(!is_right(6, &blob).await);
        std::fs::remove_file(&path).unwrap();
        assert!(!is_right(6, &Check::Size).await);
    }
}
