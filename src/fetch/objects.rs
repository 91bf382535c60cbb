//! A place in a bucket that is written too: objects that are created once and never again, and what is read back of them.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::{Path as Key, PathPart};
use object_store::{Error, ObjectStoreExt, PutMode, PutOptions, PutPayload, WriteMultipart};
use tokio::io::AsyncReadExt;

use super::Environment;
use super::bucket::{Bucket, Named, status};
use super::failure::{Failure, Reason};
use super::location::Location;
use super::pace::{Pace, Patience};
use super::wire::words;

/// Larger objects are put in parts of this size, of which none takes long enough to be taken for a dead connection.
const PART: usize = 8 << 20;
/// Parts under way at once.
const PARTS: usize = 2;
/// For the names of what is in a folder: one that holds too much to be listed in it is no folder of ours.
const LIST_TIME: Duration = Duration::from_secs(60);

/// The objects below a prefix.
pub struct Objects {
    bucket: Bucket,
    pace: Pace,
    uri: String,
    /// The store is asked what is there before anything is created: it does not heed conditions.
    asks: AtomicBool,
}

/// What became of an object that was to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is there now, as it was to be; whoever put it.
    There,
    /// One of another content was there before, and is as it was.
    Otherwise,
}

impl Objects {
    /// Those below the prefix that `uri` names.
    ///
    /// # Errors
    /// That it names none, or credentials that are not enough to try.
    pub fn new(uri: &str, environment: &Environment, pace: Pace) -> Result<Self, Failure> {
        match Location::parse(uri)? {
            Location::Bucket { store, name, prefix } => Ok(Self {
                bucket: Bucket::new(store, &name, &prefix, environment, None)?,
                pace,
                uri: uri.to_owned(),
                asks: AtomicBool::new(false),
            }),
            Location::Hub { .. } | Location::Web { .. } => Err(Failure::new(
                Reason::InvalidSource,
                format!("{uri:?} is no place in a bucket"),
                "use s3://, gs:// or az://",
            )),
        }
    }

    /// The URI that messages call it by.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Creates an object; one that is there is left as it is. Stores that know no conditions are asked before.
    ///
    /// # Errors
    /// When the store refuses, or cannot be reached for as long as there is patience.
    pub async fn create(&self, path: &str, content: &Bytes) -> Result<Created, Failure> {
        let key = self.key(path)?;
        let mut patience = Patience::new(&self.pace);
        loop {
            match self.try_create(&key, content).await {
                Ok(created) => return Ok(created),
                Err(failure) => patience.after(failure).await?,
            }
        }
    }

    /// Finds out whether the store heeds conditions, of which some know nothing and say nothing: it is to create an object that is there, with
    /// `other` as its content. Where it does, the object has its `content` again at once, and from here on the store is asked before anything is
    /// created. Meanwhile readers may find `other`.
    ///
    /// # Errors
    /// As of [`Self::create`].
    pub async fn learn(&self, path: &str, content: &Bytes, other: &Bytes) -> Result<(), Failure> {
        let key = self.key(path)?;
        let mut patience = Patience::new(&self.pace);
        loop {
            match self.put_new(&key, other).await {
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => return Ok(()),
                Ok(()) => {
                    tracing::warn!(
                        uri = self.uri,
                        "the store heeds no conditions, and is asked what is there before each object"
                    );
                    self.asks.store(true, Ordering::Relaxed);
                    return self.put(&key, content).await;
                }
                Err(error) if knows_no_conditions(&error) => {
                    self.asks.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                Err(error) => patience.after(self.named().failure(&error)).await?,
            }
        }
    }

    /// Puts an object there, whatever was there before.
    async fn put(&self, key: &Key, content: &Bytes) -> Result<(), Failure> {
        let mut patience = Patience::new(&self.pace);
        loop {
            match self.try_put(key, content).await {
                Ok(()) => return Ok(()),
                Err(failure) => patience.after(failure).await?,
            }
        }
    }

    /// Puts a file there in parts, whatever was there before. Characters of its path that no key may have are written as `%0A`.
    ///
    /// # Errors
    /// As of [`Self::create`], and that the file cannot be read.
    pub async fn put_file(&self, path: &str, file: &Path) -> Result<(), Failure> {
        let key = self.any_key(path);
        let mut patience = Patience::new(&self.pace);
        loop {
            match self.try_put_file(&key, file).await {
                Ok(()) => return Ok(()),
                Err(failure) => patience.after(failure).await?,
            }
        }
    }

    /// Whether an object is there.
    ///
    /// # Errors
    /// As of [`Self::create`].
    pub async fn has(&self, path: &str) -> Result<bool, Failure> {
        let key = self.key(path)?;
        let mut patience = Patience::new(&self.pace);
        loop {
            match self.bucket.store.head(&key).await {
                Ok(_) => return Ok(true),
                Err(Error::NotFound { .. }) => return Ok(false),
                Err(error) => patience.after(self.named().failure(&error)).await?,
            }
        }
    }

    /// The content of an object of at most so many bytes, if it is there.
    ///
    /// # Errors
    /// As of [`Self::create`], and that it is larger.
    pub async fn get(&self, path: &str, most: u64) -> Result<Option<Bytes>, Failure> {
        let key = self.key(path)?;
        let mut patience = Patience::new(&self.pace);
        loop {
            match self.try_get(&key, most).await {
                Ok(content) => return Ok(content),
                Err(failure) => patience.after(failure).await?,
            }
        }
    }

    /// The objects in the folder `below` and all folders in it, by their paths in it, with their sizes.
    ///
    /// # Errors
    /// As of [`Self::create`], and that there are more than so many.
    pub async fn list(&self, below: &str, most: usize) -> Result<Vec<(String, u64)>, Failure> {
        let prefix = self.key(below)?;
        let start = prefix.as_ref().len() + 1;
        let mut patience = Patience::new(&self.pace);
        loop {
            let listed: Result<Vec<_>, _> = self.bucket.store.list(Some(&prefix)).take(most + 1).try_collect().await;
            match listed {
                Ok(listed) if listed.len() > most => {
                    let problem = format!("there are more than {most} objects below {prefix}");
                    return Err(Failure::new(
                        Reason::InvalidSource,
                        problem,
                        "name another folder, or remove what does not belong there",
                    ));
                }
                Ok(listed) => {
                    let named = listed
                        .into_iter()
                        .filter_map(|object| Some((object.location.as_ref().get(start..)?.to_owned(), object.size)));
                    return Ok(named.collect());
                }
                Err(error) => patience.after(self.named().failure(&error)).await?,
            }
        }
    }

    /// The names of the folders right below the prefix.
    ///
    /// # Errors
    /// As of [`Self::create`], and that it takes too long.
    pub async fn folders(&self) -> Result<Vec<String>, Failure> {
        let prefix = Some(&self.bucket.prefix).filter(|prefix| !prefix.as_ref().is_empty());
        let mut patience = Patience::new(&self.pace);
        loop {
            let listed = tokio::time::timeout(LIST_TIME, self.bucket.store.list_with_delimiter(prefix)).await;
            match listed {
                Ok(Ok(listed)) => {
                    let names = listed
                        .common_prefixes
                        .iter()
                        .filter_map(|folder| folder.filename().map(str::to_owned));
                    return Ok(names.collect());
                }
                Ok(Err(error)) => patience.after(self.named().failure(&error)).await?,
                Err(_) => {
                    let problem = format!("listing {} took more than {} s", self.uri, LIST_TIME.as_secs());
                    return Err(Failure::unreachable(problem));
                }
            }
        }
    }

    fn named(&self) -> &Named {
        &self.bucket.named
    }

    fn key(&self, path: &str) -> Result<Key, Failure> {
        let key = match self.bucket.prefix.as_ref() {
            "" => Key::parse(path),
            prefix => Key::parse(format!("{prefix}/{path}")),
        };
        key.map_err(|error| Failure::new(Reason::UnsafeName, words(&error), "correct the URI"))
    }

    /// The key of a path that others named. No two paths have the same, so one with a per cent sign is never taken as it is.
    fn any_key(&self, path: &str) -> Key {
        match self.key(path) {
            Ok(key) if !path.contains('%') => key,
            _ => path
                .split('/')
                .fold(self.bucket.prefix.clone(), |key, part| key.join(PathPart::from(part))),
        }
    }

    async fn try_create(&self, key: &Key, content: &Bytes) -> Result<Created, Failure> {
        // An upload in parts has no condition.
        if content.len() > PART || self.asks.load(Ordering::Relaxed) {
            return self.create_if_absent(key, content).await;
        }
        match self.put_new(key, content).await {
            Ok(()) => Ok(Created::There),
            // It may be our own, if the answer to an earlier attempt was lost.
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => match self.compare(key, content).await? {
                Some(created) => Ok(created),
                None => Err(Failure::unreachable(format!("{key} is being written by somebody else"))),
            },
            Err(error) if knows_no_conditions(&error) => self.create_if_absent(key, content).await,
            Err(error) => Err(self.named().failure(&error)),
        }
    }

    async fn put_new(&self, key: &Key, content: &Bytes) -> Result<(), Error> {
        let options = PutOptions::from(PutMode::Create);
        let payload = PutPayload::from_bytes(content.clone());
        self.bucket.store.put_opts(key, payload, options).await.map(drop)
    }

    async fn create_if_absent(&self, key: &Key, content: &Bytes) -> Result<Created, Failure> {
        match self.compare(key, content).await? {
            Some(created) => Ok(created),
            None => self.try_put(key, content).await.map(|()| Created::There),
        }
    }

    /// Whether what is there has this content; none where nothing is.
    async fn compare(&self, key: &Key, content: &Bytes) -> Result<Option<Created>, Failure> {
        let result = match self.bucket.store.get(key).await {
            Ok(result) => result,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.named().failure(&error)),
        };
        if result.meta.size != content.len() as u64 {
            return Ok(Some(Created::Otherwise));
        }
        let there = result.bytes().await.map_err(|error| self.named().failure(&error))?;
        Ok(Some(if there == *content { Created::There } else { Created::Otherwise }))
    }

    async fn try_put(&self, key: &Key, content: &Bytes) -> Result<(), Failure> {
        let failed = |error: Error| self.named().failure(&error);
        if content.len() <= PART {
            let payload = PutPayload::from_bytes(content.clone());
            return self.bucket.store.put(key, payload).await.map(drop).map_err(failed);
        }
        let upload = self.bucket.store.put_multipart(key).await.map_err(failed)?;
        let mut parts = WriteMultipart::new_with_chunk_size(upload, PART);
        for start in (0..content.len()).step_by(PART) {
            parts = self.room(parts).await?;
            parts.put(content.slice(start..content.len().min(start + PART)));
        }
        parts.finish().await.map(drop).map_err(failed)
    }

    /// Waits until another part may be under way. Where one failed, the store is told to forget the others, which it would keep and charge for.
    async fn room(&self, mut parts: WriteMultipart) -> Result<WriteMultipart, Failure> {
        let Err(error) = parts.wait_for_capacity(PARTS).await else {
            return Ok(parts);
        };
        parts.abort().await.ok();
        Err(self.named().failure(&error))
    }

    async fn try_put_file(&self, key: &Key, path: &Path) -> Result<(), Failure> {
        let unreadable = |error: std::io::Error| {
            let problem = format!("{} cannot be read: {error}", path.display());
            Failure::new(Reason::FolderUnusable, problem, "see the log of the pod")
        };
        let failed = |error: Error| self.named().failure(&error);
        let mut file = tokio::fs::File::open(path).await.map_err(unreadable)?;
        let mut part = next_part(&mut file).await.map_err(unreadable)?;
        if part.len() < PART {
            return self
                .bucket
                .store
                .put(key, PutPayload::from_bytes(part))
                .await
                .map(drop)
                .map_err(failed);
        }
        let upload = self.bucket.store.put_multipart(key).await.map_err(failed)?;
        let mut parts = WriteMultipart::new_with_chunk_size(upload, PART);
        while !part.is_empty() {
            parts = self.room(parts).await?;
            parts.put(part);
            part = match next_part(&mut file).await {
                Ok(part) => part,
                Err(error) => {
                    parts.abort().await.ok();
                    return Err(unreadable(error));
                }
            };
        }
        parts.finish().await.map(drop).map_err(failed)
    }

    async fn try_get(&self, key: &Key, most: u64) -> Result<Option<Bytes>, Failure> {
        let result = match self.bucket.store.get(key).await {
            Ok(result) => result,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.named().failure(&error)),
        };
        if result.meta.size > most {
            let problem = format!("{key} has {} bytes, more than {most}", result.meta.size);
            return Err(Failure::new(Reason::InvalidSource, problem, "remove it"));
        }
        let content = result.bytes().await.map_err(|error| self.named().failure(&error))?;
        Ok(Some(content))
    }
}

/// Whether the store says that it cannot create what is not there.
fn knows_no_conditions(error: &Error) -> bool {
    matches!(error, Error::NotImplemented { .. }) || status(&words(error)) == Some(501)
}

/// What comes next in a file: as much as goes up at once, or all that is left.
async fn next_part(file: &mut tokio::fs::File) -> std::io::Result<Bytes> {
    let mut part = Vec::new();
    file.take(PART as u64).read_to_end(&mut part).await?;
    Ok(part.into())
}
