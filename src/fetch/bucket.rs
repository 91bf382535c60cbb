//! Objects in a bucket. Endpoint and credentials come from the environment, as each store's own tools take them: `AWS_…`, `GOOGLE_…`,
//! `AZURE_…`, and the identity of the pod. Each object is pinned by its `ETag`. Lists of stores hold no checksum of the content, so sizes
//! are what is verified.

use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{HttpClient, HttpConnector};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path as Key;
use object_store::{ClientConfigKey, ClientOptions, Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig};

use super::Environment;
use super::failure::{Failure, Reason};
use super::listing::{Check, Found, MOST_FILES, RemoteFile};
use super::location::Store;
use super::wire::{Content, client_of_buckets, quote, words};

/// Objects below a prefix.
pub(super) struct Bucket {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) prefix: Key,
    /// The list said that the prefix is the key of one object.
    is_object: AtomicBool,
    pub(super) named: Named,
}

/// A bucket in messages.
#[derive(Clone)]
pub(super) struct Named {
    kind: Store,
    name: String,
}

/// Gives the stores our TLS and time limits.
#[derive(Debug)]
struct Connector {
    ca_file: Option<PathBuf>,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allow_http = options
            .get_config_value(&ClientConfigKey::AllowHttp)
            .is_some_and(|value| is_yes(&value));
        // Where a pod may have an identity, the crate asks for it for a second only.
        let seconds = options
            .get_config_value(&ClientConfigKey::ConnectTimeout)
            .and_then(|text| text.strip_suffix('s')?.parse().ok());
        let client =
            client_of_buckets(self.ca_file.as_deref(), allow_http, seconds.map(Duration::from_secs)).map_err(|failure| Error::Generic {
                store: "HTTP client",
                source: Box::new(failure),
            })?;
        Ok(HttpClient::new(client))
    }
}

impl Bucket {
    pub(super) fn new(kind: Store, name: &str, prefix: &str, environment: &Environment, ca_file: Option<PathBuf>) -> Result<Self, Failure> {
        let connector = Connector { ca_file };
        // Trying again, and when to give up, is decided in one place: ours.
        let retry = RetryConfig {
            max_retries: 1,
            ..RetryConfig::default()
        };
        let store = match kind {
            Store::S3 => s3(environment)?
                .with_bucket_name(name)
                .with_http_connector(connector)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
            Store::Gcs => gcs(environment)
                .with_bucket_name(name)
                .with_http_connector(connector)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
            Store::Azure => azure(environment)
                .with_container_name(name)
                .with_http_connector(connector)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
        };
        let store = store.map_err(|error| {
            Failure::new(
                Reason::InvalidSource,
                quote(&words(&error)),
                format!("set {} in the environment", variables(kind)),
            )
        })?;
        let prefix = Key::parse(prefix).map_err(|error| {
            Failure::new(
                Reason::InvalidSource,
                format!("{prefix:?} is not a prefix of objects ({error})"),
                "correct the URI",
            )
        })?;
        Ok(Self {
            store,
            prefix,
            is_object: AtomicBool::new(false),
            named: Named {
                kind,
                name: name.to_owned(),
            },
        })
    }

    /// The objects below the prefix; or the one object that the prefix is the key of.
    pub(super) async fn list(&self) -> Result<(Option<String>, Vec<Found>), Failure> {
        let most = MOST_FILES + 1;
        let listed: Vec<ObjectMeta> = self
            .store
            .list(Some(&self.prefix))
            .take(most)
            .try_collect()
            .await
            .map_err(|error| self.named.failure(&error))?;
        if listed.len() == most {
            return Err(Failure::new(
                Reason::InvalidSource,
                format!("the bucket {} has more than {MOST_FILES} objects below the prefix", self.named.name),
                "name a prefix that holds one model",
            ));
        }
        let found = below(&self.prefix, listed);
        if !found.is_empty() {
            return Ok((None, found));
        }
        if self.prefix.as_ref().is_empty() {
            return Err(self.nothing());
        }
        match self.store.head(&self.prefix).await {
            Ok(object) => {
                self.is_object.store(true, Ordering::Relaxed);
                let name = self.prefix.filename().unwrap_or_default().to_owned();
                Ok((None, vec![found_as(name, object)]))
            }
            Err(Error::NotFound { .. }) => Err(self.nothing()),
            Err(error) => Err(self.named.failure(&error)),
        }
    }

    /// A part of an object, of the version that was listed.
    pub(super) async fn open(&self, file: &RemoteFile, range: &Range<u64>) -> Result<Content, Failure> {
        let key = match self.prefix.as_ref() {
            _ if self.is_object.load(Ordering::Relaxed) => Ok(self.prefix.clone()),
            "" => Key::parse(file.path.as_str()),
            prefix => Key::parse(format!("{prefix}/{}", file.path)),
        };
        let key = key.map_err(|error| Failure::new(Reason::UnsafeName, words(&error), "leave it out with --exclude"))?;
        let options = GetOptions {
            if_match: file.etag.clone(),
            range: Some(GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        };
        let result = self.store.get_opts(&key, options).await.map_err(|error| match error {
            Error::Precondition { .. } | Error::NotFound { .. } => {
                let problem = format!("the object {key} changed after it was listed");
                Failure::new(Reason::SourceChanged, problem, "fetch it again")
            }
            error => self.named.failure(&error),
        })?;
        let named = self.named.clone();
        Ok(result.into_stream().map_err(move |error| named.failure(&error)).boxed())
    }

    fn nothing(&self) -> Failure {
        Failure::new(
            Reason::SourceNotFound,
            format!(
                "the bucket {} has no object {:?} and none below it",
                self.named.name,
                self.prefix.as_ref()
            ),
            "correct the URI",
        )
    }
}

impl Named {
    pub(super) fn failure(&self, error: &Error) -> Failure {
        let words = words(error);
        let (name, said) = (&self.name, quote(&words));
        let credentials = format!("check {}", variables(self.kind));
        match (error, status(&words)) {
            (Error::PermissionDenied { .. } | Error::Unauthenticated { .. }, _) | (_, Some(401 | 403)) => Failure::new(
                Reason::Unauthorized,
                format!("the bucket {name} refuses these credentials ({said})"),
                credentials,
            ),
            (Error::NotFound { .. }, _) | (_, Some(404)) => Failure::new(
                Reason::SourceNotFound,
                format!("there is no bucket {name} ({said})"),
                format!("correct the URI, or {credentials}"),
            ),
            // Of a wrong region, mostly.
            (_, Some(300..=499)) => Failure::new(
                Reason::InvalidSource,
                format!("the bucket {name} cannot be asked ({said})"),
                credentials,
            ),
            (Error::InvalidPath { .. }, _) => Failure::new(
                Reason::UnsafeName,
                format!("the bucket {name} has a key that no file can have as its name ({said})"),
                "name a prefix without it",
            ),
            _ => Failure::unreachable(format!("the bucket {name}: {said}; {credentials}")),
        }
    }
}

/// The status of the answer that an error tells of. Errors of lists have a kind for none of them, and no type that could be asked.
pub(super) fn status(words: &str) -> Option<u16> {
    if words.contains("redirect without LOCATION") {
        return Some(301);
    }
    let (_, after) = words.split_once("status code: ")?;
    let status = after.get(..3)?.parse().ok()?;
    // These two are healed by time.
    (![408, 429].contains(&status)).then_some(status)
}

/// The objects as files; the empty ones that stand for folders are none.
fn below(prefix: &Key, listed: Vec<ObjectMeta>) -> Vec<Found> {
    let start = if prefix.as_ref().is_empty() { 0 } else { prefix.as_ref().len() + 1 };
    let folders: HashSet<String> = listed
        .iter()
        .flat_map(|object| {
            let key = object.location.as_ref();
            key.match_indices('/').map(|(at, _)| key[..at].to_owned()).collect::<Vec<_>>()
        })
        .collect();
    let is_folder = |object: &ObjectMeta| object.size == 0 && folders.contains(object.location.as_ref());
    listed
        .into_iter()
        .filter(|object| !is_folder(object))
        .filter_map(|object| {
            let name = object.location.as_ref().get(start..).filter(|name| !name.is_empty())?.to_owned();
            Some(found_as(name, object))
        })
        .collect()
}

fn found_as(name: String, object: ObjectMeta) -> Found {
    Found {
        name,
        size: object.size,
        check: Check::Size,
        etag: object.e_tag,
    }
}

/// What the crate takes for yes.
fn is_yes(value: &str) -> bool {
    ["1", "true", "on", "yes", "y"].contains(&value.to_ascii_lowercase().as_str())
}

fn variables(kind: Store) -> &'static str {
    match kind {
        Store::S3 => "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL, or the identity of the pod",
        Store::Gcs => "GOOGLE_APPLICATION_CREDENTIALS, or the identity of the pod",
        Store::Azure => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or the identity of the pod",
    }
}

fn s3(environment: &Environment) -> Result<AmazonS3Builder, Failure> {
    let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]
        .iter()
        .find_map(|name| environment.get(name));
    let allows_http = environment.get("AWS_ALLOW_HTTP").is_some_and(is_yes);
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) && !allows_http {
        return Err(Failure::new(
            Reason::InvalidSource,
            "AWS_ENDPOINT_URL is plain http",
            "use https://, or set AWS_ALLOW_HTTP=true",
        ));
    }
    Ok(environment
        .under("AWS_")
        .fold(AmazonS3Builder::new(), |builder, (name, value)| match name.parse() {
            Ok(key) => builder.with_config(key, value),
            Err(_) => builder,
        }))
}

fn gcs(environment: &Environment) -> GoogleCloudStorageBuilder {
    environment
        .under("GOOGLE_")
        .fold(GoogleCloudStorageBuilder::new(), |builder, (name, value)| match name.parse() {
            Ok(key) => builder.with_config(key, value),
            Err(_) => builder,
        })
}

fn azure(environment: &Environment) -> MicrosoftAzureBuilder {
    environment
        .under("AZURE_")
        .fold(MicrosoftAzureBuilder::new(), |builder, (name, value)| match name.parse() {
            Ok(key) => builder.with_config(key, value),
            Err(_) => builder,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str, size: u64) -> ObjectMeta {
        ObjectMeta {
            location: Key::parse(key).unwrap(),
            last_modified: std::time::UNIX_EPOCH.into(),
            size,
            e_tag: Some("\"1\"".to_owned()),
            version: None,
        }
    }

    #[test]
    fn objects_are_files_below_the_prefix_and_folders_are_none() {
        let listed = vec![object("m", 0), object("m/a", 3), object("m/sub", 0), object("m/sub/b", 0)];
        let names: Vec<String> = below(&Key::parse("m").unwrap(), listed.clone())
            .into_iter()
            .map(|found| found.name)
            .collect();
        assert_eq!(names, ["a", "sub/b"]);
        let names: Vec<String> = below(&Key::parse("").unwrap(), listed)
            .into_iter()
            .map(|found| found.name)
            .collect();
        assert_eq!(names, ["m/a", "m/sub/b"]);
    }

    #[test]
    fn plain_http_is_for_those_who_ask_for_it() {
        let of = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<Environment>()
        };
        let failure = s3(&of(&[("AWS_ENDPOINT_URL", "http://minio:9000")])).err().unwrap();
        assert!(failure.message.contains("AWS_ALLOW_HTTP=true"), "{failure}");
        assert!(s3(&of(&[("AWS_ENDPOINT_URL", "http://minio:9000"), ("AWS_ALLOW_HTTP", "true")])).is_ok());
    }

    #[test]
    fn each_store_takes_its_credentials_from_the_environment() {
        let of = |kind, pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Bucket::new(kind, "weights", "llama", &pairs.collect(), None).map(|bucket| bucket.store.to_string())
        };
        let s3 = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];
        assert_eq!(of(Store::S3, &s3).unwrap(), "AmazonS3(weights)");
        assert_eq!(
            of(Store::Gcs, &[("GOOGLE_SKIP_SIGNATURE", "true")]).unwrap(),
            "GoogleCloudStorage(weights)"
        );
        let azure = [("AZURE_STORAGE_ACCOUNT_NAME", "account"), ("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")];
        assert!(of(Store::Azure, &azure).unwrap().contains("weights"));
        let failure = of(Store::Azure, &[]).unwrap_err();
        assert!(failure.message.contains("AZURE_STORAGE_ACCOUNT_NAME"), "{failure}");
    }
}
