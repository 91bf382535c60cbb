//! Fetches in process: against a hub that cuts, lies and refuses as told, against a plain server, and against a bucket.

mod buckets;
mod folders;
mod hubs;
mod objects;
mod urls;

/// The hub that the end-to-end tests use as well; it knows nothing of its crate.
#[allow(
    dead_code,
    unreachable_pub,
    reason = "it is a public module elsewhere, and not all of it is used here"
)]
#[path = "../../../e2e/src/hub/mod.rs"]
pub(crate) mod hub;

/// Likewise.
#[allow(
    dead_code,
    unreachable_pub,
    reason = "it is a public module elsewhere, and not all of it is used here"
)]
#[path = "../../../e2e/src/bucket.rs"]
pub(crate) mod bucket;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::*;
use hub::{Hub, Repository};

/// A folder of the test, gone at its end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("llm-portfolio-fetch-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

pub(super) fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// Small parts, and no patience to speak of.
fn options(environment: &[(&str, &str)]) -> Options {
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Options {
        parallel: 3,
        pace: Pace {
            segment_bytes: 256 << 10,
            buffer_bytes: 32 << 10,
            buffer_time: Duration::from_secs(10),
            attempts: 3,
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_millis(1),
        },
        ..Options::new(environment, now)
    }
}

/// A repository of three files, and a folder to fill.
struct World {
    source: Scratch,
    target: Scratch,
    hub: Hub,
    options: Options,
}

const LARGE: usize = 1_000_000;
const SMALL: &str = "{\"architectures\": []}\n";
const TOTAL: u64 = LARGE as u64 + SMALL.len() as u64;

/// Bytes that are not the same anywhere.
fn large(seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(LARGE).collect()
}

impl World {
    async fn new() -> Self {
        let source = Scratch::new();
        fs::create_dir(source.path().join("sub")).unwrap();
        fs::write(source.path().join("config.json"), SMALL).unwrap();
        fs::write(source.path().join("model.safetensors"), large(1)).unwrap();
        fs::write(source.path().join("sub/empty file"), "").unwrap();
        let repository = Repository {
            large_from: 64 << 10,
            page: 2,
            ..Repository::new("org/name", source.path())
        };
        let hub = Hub::start(repository).await.unwrap();
        let options = options(&[("HF_ENDPOINT", &hub.url())]);
        Self {
            source,
            target: Scratch::new(),
            hub,
            options,
        }
    }

    /// The URI at the commit that is served now.
    fn pinned(&self) -> String {
        format!("hf://org/name@{}", self.hub.commit())
    }

    async fn fetch(&self, uri: &str) -> Result<Marker, Failure> {
        self.fetch_with(uri, &self.options).await.0
    }

    async fn fetch_with(&self, uri: &str, options: &Options) -> (Result<Marker, Failure>, Standing) {
        let meter = meter(uri);
        let ended = run(&Location::parse(uri).unwrap(), self.target.path(), options, &meter).await;
        (ended, meter.standing())
    }

    /// Fetches until so many bytes are there, and is killed then. Says how many were there.
    async fn fetch_half(&self, uri: &str, bytes: u64) -> u64 {
        let meter = meter(uri);
        let location = Location::parse(uri).unwrap();
        let enough = async {
            while meter.standing().bytes_done < bytes {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = enough => {}
            ended = run(&location, self.target.path(), &self.options, &meter) => panic!("it ended before: {ended:?}"),
        }
        meter.standing().bytes_done
    }

    fn assert_whole(&self) {
        for name in ["config.json", "model.safetensors", "sub/empty file"] {
            let (is, should_be) = (
                fs::read(self.target.path().join(name)).unwrap(),
                fs::read(self.source.path().join(name)).unwrap(),
            );
            assert!(is == should_be, "{name}");
        }
        let mut ours: Vec<String> = names(self.target.path())
            .into_iter()
            .filter(|name| name.contains(".portfolio") || name.contains(".part"))
            .collect();
        ours.sort();
        assert_eq!(ours, [".portfolio-complete.json", ".portfolio-fetch.lock"]);
    }
}

fn meter(uri: &str) -> Arc<Meter> {
    Arc::new(Meter::new(uri.to_owned(), now()))
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
