//! The three kinds of sources, as one.

use std::ops::Range;
use std::sync::Arc;

use super::Options;
use super::bucket::Bucket;
use super::failure::Failure;
use super::folder::Marker;
use super::hub::Hub;
use super::listing::{FilePath, Listing, RemoteFile};
use super::location::Location;
use super::pace::Patience;
use super::web::Web;
use super::wire::{self, Content};

/// Where weights come from, ready to be asked.
#[derive(Clone)]
pub(super) enum Source {
    Hub {
        hub: Hub,
        revision: String,
        path: Option<FilePath>,
    },
    Bucket(Arc<Bucket>),
    Web(Web),
}

impl Source {
    pub(super) fn new(location: &Location, options: &Options) -> Result<Self, Failure> {
        let ca_file = options.ca_file.as_deref();
        Ok(match location {
            Location::Hub {
                repository,
                revision,
                path,
            } => Self::Hub {
                hub: Hub::new(wire::client(ca_file)?, &options.environment, repository)?,
                revision: revision.clone(),
                path: path.clone(),
            },
            Location::Web { url, sha256 } => Self::Web(Web::new(wire::client(ca_file)?, url.clone(), sha256.clone())),
            Location::Bucket { store, name, prefix } => {
                let ca_file = options.ca_file.clone();
                Self::Bucket(Arc::new(Bucket::new(*store, name, prefix, &options.environment, ca_file)?))
            }
        })
    }

    /// What is to be fetched, at the revision that is pinned by this. What is `there` is not listed again if it is just that.
    pub(super) async fn list(&self, location: &Location, options: &Options, there: Option<&Marker>) -> Result<Listing, Failure> {
        let there = there.filter(|marker| marker.is_as_asked(location, &options.selection));
        let mut patience = Patience::new(&options.pace);
        let (revision, found) = loop {
            let listed = match self {
                Self::Hub { hub, revision, .. } => match (hub.commit(revision).await, there) {
                    (Ok(commit), Some(marker)) if marker.listing.revision == commit => return Ok(marker.listing.clone()),
                    (Ok(commit), _) => hub.tree(&commit).await.map(|found| (Some(commit), found)),
                    (Err(failure), _) => Err(failure),
                },
                Self::Bucket(bucket) => bucket.list().await,
                Self::Web(web) => web.list().await,
            };
            match listed {
                Ok(listed) => break listed,
                Err(failure) => patience.after(failure).await?,
            }
        };
        let path = match self {
            Self::Hub { path, .. } => path.as_ref(),
            Self::Bucket(_) | Self::Web(_) => None,
        };
        let source = location.to_string();
        let wanted = options.selection.of(&source, found, path)?;
        Listing::new(source, revision, wanted)
    }

    /// Content of a file from the start of `range` on.
    pub(super) async fn open(&self, revision: &str, file: &RemoteFile, range: Range<u64>) -> Result<Content, Failure> {
        match self {
            Self::Hub { hub, .. } => hub.open(revision, file, &range).await,
            Self::Bucket(bucket) => bucket.open(file, &range).await,
            Self::Web(web) => web.open(file, &range).await,
        }
    }
}
