//! Weights that are fetched once: which cache a specification asks for, the objects it consists of, how far it is, and what nobody uses any
//! more. It is shared by whoever names the same source with the same credentials, so nothing of it is owned by one ModelDeployment.
//!
//! ```text
//!            Job NAME-list                        Job NAME-fill                    pods
//!   (none) ──────────────► listed: commit, size ──────────────► held: one folder ──────► mounted read-only
//!                ▲           claim made, of that size     │                                   │ nobody uses it
//!                └──── a while after it failed ◄──────────┘            claim removed, or Job NAME-evict in a user's own
//! ```
//! What is known is kept in the Jobs: the list in the last words of its pod until the filling Job is there, then in that one's annotations.

mod objects;
mod orphans;
mod stage;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EnvVar, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use serde_json::json;

pub use objects::{EVICT, FILL, LIST, PROGRESS_PORT, claim_size, eviction};
pub use orphans::{Unused, mounted_by, read_by, unused};
pub use stage::{Seen, Stage, stage};
pub use status::{Progress, Waiting, held, status};

use crate::api::ModelDeployment;
use crate::api::cache::{AccessMode, Cache};
use crate::api::model_deployment::{SelfHosted, Source};
use crate::api::settings::AcceleratorProfile;
use crate::fetch::Location;

use super::names::Key;
use super::{Invalid, fingerprint, quantity};

/// The cache that a specification asks for.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// What it is called; its Jobs and the folder in it are named after it, and the claim if it is ours.
    pub key: Key,
    /// The source as people may see it.
    pub source: String,
    cache: &'a Cache,
    from: &'a Source,
    location: Location,
    env: Vec<EnvVar>,
}

/// What a source consists of at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The commit, or what stands for one.
    pub revision: String,
    /// All its files.
    pub bytes: u64,
}

/// Weights that are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The cache's name.
    pub cache: String,
    /// The claim that they are in.
    pub claim: String,
    /// Where in it.
    pub folder: String,
    /// What they are.
    pub listed: Listed,
}

/// What those who share a cache want of its claim together.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// The largest size that one of them names, in bytes, as it is written.
    size: Option<(u64, String)>,
    access_mode: AccessMode,
}

/// Where its pods must run so that pods of the model can use the volume, too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    node_selector: BTreeMap<String, String>,
    tolerations: Vec<Toleration>,
}

impl Place {
    /// That of the accelerator.
    #[must_use]
    pub fn of(profile: &AcceleratorProfile) -> Self {
        Self {
            node_selector: profile.node_selector.clone(),
            tolerations: profile.tolerations.clone(),
        }
    }
}

/// The cache that `md`, served by `own`, asks for; none where it asks for none, or for what cannot be fetched.
#[must_use]
pub fn wanted<'a>(md: &ModelDeployment, own: &'a SelfHosted) -> Option<Wanted<'a>> {
    let (cache, from) = (own.cache.as_ref()?, own.source.as_ref()?);
    let location = Location::parse(&from.uri).ok()?;
    let env: Vec<EnvVar> = own
        .engine
        .env
        .iter()
        .filter(|variable| is_for_fetches(&variable.name))
        .cloned()
        .collect();
    // Others get the same only if they would fetch the same, with the same rights, into the same place.
    let digest = fingerprint::digest(&json!([from.uri, from.secret_ref, env, cache.claim, cache.storage_class_name]));
    let name = format!("cache-{}-{digest}", words_of(&location));
    Some(Wanted {
        key: Key::new(md.namespace().unwrap_or_default(), name),
        source: location.to_string(),
        cache,
        from,
        location,
        env,
    })
}

/// The name of the cache that `md` asks for.
#[must_use]
pub fn name(md: &ModelDeployment) -> Option<Key> {
    Some(wanted(md, md.spec.self_hosted.as_ref()?)?.key)
}

/// The size that `md` names for the claim of its cache.
#[must_use]
pub fn size(md: &ModelDeployment) -> Option<&str> {
    let cache = md.spec.self_hosted.as_ref()?.cache.as_ref()?;
    cache.size.as_ref().map(|Quantity(size)| size.as_str())
}

impl Wanted<'_> {
    /// The claim that the weights come into.
    #[must_use]
    pub fn claim_name(&self) -> &str {
        self.cache.claim.as_deref().unwrap_or(&self.key.name)
    }

    /// Whether the claim is made for it.
    #[must_use]
    pub fn makes_claim(&self) -> bool {
        self.cache.claim.is_none()
    }

    /// The weights once they are there. Each revision has a folder of its own: pods may still read the one before.
    #[must_use]
    pub fn held(&self, listed: &Listed) -> Held {
        let revision = fingerprint::digest(&listed.revision);
        let revision = if listed.revision.len() == 40 { &listed.revision } else { &revision };
        Held {
            cache: self.key.name.clone(),
            claim: self.claim_name().to_owned(),
            folder: format!("{}/{}", self.key.name, revision.get(..12).unwrap_or(revision)),
            listed: listed.clone(),
        }
    }

    /// What is known of the source before it was asked.
    #[must_use]
    pub fn unlisted(&self) -> Listed {
        let revision = match &self.location {
            Location::Hub { revision, .. } => revision.clone(),
            Location::Bucket { .. } | Location::Web { .. } => self.source.clone(),
        };
        Listed { revision, bytes: 0 }
    }

    /// What is fetched: where the list names a commit, that one, whatever becomes of the branch.
    fn pinned(&self, listed: &Listed) -> String {
        match &self.location {
            Location::Hub { repository, path, .. } => Location::Hub {
                repository: repository.clone(),
                revision: listed.revision.clone(),
                path: path.clone(),
            }
            .to_string(),
            Location::Bucket { .. } | Location::Web { .. } => self.from.uri.clone(),
        }
    }

    /// What `md` and all others of `models` that share the cache want of its claim.
    ///
    /// # Errors
    /// When `md` wants another access mode than the first of them.
    pub fn share(&self, md: &ModelDeployment, models: &[Arc<ModelDeployment>]) -> Result<Share, Invalid> {
        let cache_of = |md: &ModelDeployment| md.spec.self_hosted.as_ref().and_then(|own| own.cache.clone()).unwrap_or_default();
        let mut sharers: Vec<&ModelDeployment> = models
            .iter()
            .map(AsRef::as_ref)
            .filter(|other| name(other).as_ref() == Some(&self.key))
            .collect();
        sharers.sort_by_key(|other| (other.creation_timestamp().map(|time| time.0), other.name_any()));
        let first = sharers.first().copied().unwrap_or(md);
        let access_mode = cache_of(first).access_mode.unwrap_or_default();
        let own_mode = self.cache.access_mode.unwrap_or_default();
        if own_mode != access_mode {
            return Err(Invalid::new(
                "spec.selfHosted.cache.accessMode",
                format!(
                    "{own_mode:?} is asked for, and ModelDeployment {}, which shares this cache, has it as {access_mode:?}",
                    Key::of(first)
                ),
                "say the same in both, or give one of them another storageClassName",
            ));
        }
        let sizes = sharers
            .iter()
            .filter_map(|other| size(other))
            .map(|size| (quantity::bytes(size).unwrap_or(0), size.to_owned()));
        Ok(Share {
            size: sizes.max(),
            access_mode,
        })
    }
}

/// The variables that say where and as whom something is fetched; others of the engine make no other content.
fn is_for_fetches(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|prefix| upper.starts_with(prefix))
        || [
            "HF_ENDPOINT",
            "HF_TOKEN",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "NO_PROXY",
            "SSL_CERT_FILE",
        ]
        .contains(&upper.as_str())
}

/// What a person recognises the source by, as a part of a name.
fn words_of(location: &Location) -> String {
    const LONGEST: usize = 30;
    let whole = match location {
        Location::Hub { repository, .. } => repository.rsplit('/').next().unwrap_or_default().to_owned(),
        Location::Bucket { name, .. } => location.lands().unwrap_or_else(|| name.clone()),
        Location::Web { .. } => location.lands().unwrap_or_default(),
    };
    let letters = whole
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(LONGEST)
        .collect::<String>();
    let words: Vec<&str> = letters.split('-').filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "weights".to_owned() } else { words.join("-") }
}

#[cfg(test)]
mod tests;
