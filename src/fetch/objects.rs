//! A place in a bucket that is written too: objects that are created once and never again, and what is read back of them.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;
use object_store::{Error, ObjectStoreExt, PutMode, PutOptions, PutPayload, WriteMultipart};

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

    /// Puts an object there, whatever was there before.
    ///
    /// # Errors
    /// As of [`Self::create`].
    pub async fn put(&self, path: &str, content: &Bytes) -> Result<(), Failure> {
        let key = self.key(path)?;
        let mut patience = Patience::new(&self.pace);
        loop {
            match self.try_put(&key, content).await {
                Ok(()) => return Ok(()),
                Err(failure) => patience.after(failure).await?,
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
                    return Err(Failure::new(Reason::InvalidSource, problem, "remove what does not belong there"));
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

    async fn try_create(&self, key: &Key, content: &Bytes) -> Result<Created, Failure> {
        // An upload in parts has no condition.
        if content.len() > PART {
            return self.create_if_absent(key, content).await;
        }
        let options = PutOptions::from(PutMode::Create);
        let payload = PutPayload::from_bytes(content.clone());
        match self.bucket.store.put_opts(key, payload, options).await {
            Ok(_) => Ok(Created::There),
            // It may be our own, if the answer to an earlier attempt was lost.
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => match self.compare(key, content).await? {
                Some(created) => Ok(created),
                None => Err(Failure::unreachable(format!("{key} is being written by somebody else"))),
            },
            Err(error) if matches!(error, Error::NotImplemented { .. }) || status(&words(&error)) == Some(501) => {
                self.create_if_absent(key, content).await
            }
            Err(error) => Err(self.named().failure(&error)),
        }
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
            parts.wait_for_capacity(PARTS).await.map_err(failed)?;
            parts.put(content.slice(start..content.len().min(start + PART)));
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
