//! Answers that are kept for the client that got them (`spec.cache`), in bounded memory, those used last. What is looked for is a digest of
//! everything that an answer depends on, so that nothing has to be thrown away when a policy or a model changes: it is not found any more.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, header};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::plan::routing::{Caching, Client, DataClassId, Decision, Route};
use crate::protocol::exchange::Asked;

/// The largest answer that is kept.
const LARGEST: usize = 1 << 20;
/// What all together may take, with what is needed to find them.
const TOGETHER: usize = 64 << 20;
/// What an answer takes beside its body: its headers and its places in two maps.
const BESIDE: usize = 1 << 10;

/// What of streams may be written down at one time, of all that pass: with room to grow they take twice that. Of others nothing is kept.
const WRITING: usize = 32 << 20;

/// What of a client's headers its answer may depend on.
const HEADERS: [HeaderName; 3] = [
    header::ACCEPT,
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static("anthropic-beta"),
];

type Digest = [u8; 32];

/// The answers that are kept.
#[derive(Default)]
pub(super) struct Answers {
    kept: Mutex<Kept>,
    /// The bytes of streams that are being written down.
    writing: AtomicUsize,
}

#[derive(Default)]
struct Kept {
    all: HashMap<Digest, Entry>,
    /// By when they were used, in numbers that only grow.
    used: BTreeMap<u64, Digest>,
    clock: u64,
    bytes: usize,
}

struct Entry {
    answer: Arc<Again>,
    until: Instant,
    used: u64,
}

/// An answer that can be given again.
pub(super) struct Again {
    /// Its headers, which say who gave it, but for what it cost.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// When it was kept.
    pub(super) kept: Instant,
}

/// What a request has to do with the answers that are kept.
pub(super) enum Looked {
    /// This is its answer.
    Hit(Arc<Again>),
    /// Its answer may be kept.
    Miss(Keeping),
    /// The client or what it asks for wants none.
    Bypass,
}

/// Where the answer to a request is to be kept, and for how long.
pub(super) struct Keeping {
    answers: Arc<Answers>,
    digest: Digest,
    lasts: Duration,
}

impl Answers {
    /// Looks for the answer to a request under a policy that keeps them.
    pub(super) fn look(self: &Arc<Self>, caching: &Caching, asker: &Asker<'_>) -> Looked {
        let said = Said::of(asker.headers);
        if said.no_store || !asker.asked.operation.is_charged() || !asker.asked.is_repeatable() || asker.asked.is_kept_elsewhere() {
            return Looked::Bypass;
        }
        let digest = asker.digest(caching);
        if !said.no_cache
            && let Some(again) = self.kept().find(&digest, Instant::now())
        {
            return Looked::Hit(again);
        }
        Looked::Miss(Keeping {
            answers: self.clone(),
            digest,
            lasts: caching.lasts,
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeping {
    /// Keeps an answer.
    pub(super) fn keep(&self, headers: HeaderMap, body: &[u8]) {
        if body.len() > LARGEST {
            return;
        }
        let kept = Instant::now();
        let until = kept + self.lasts;
        // What came in a larger piece of memory must not hold that.
        let body = Bytes::copy_from_slice(body);
        let answer = Arc::new(Again { headers, body, kept });
        self.answers.kept().add(self.digest, answer, until);
    }
}

impl Kept {
    fn find(&mut self, digest: &Digest, now: Instant) -> Option<Arc<Again>> {
        let entry = self.all.get_mut(digest)?;
        if entry.until <= now {
            self.remove(digest);
            return None;
        }
        self.clock += 1;
        self.used.remove(&entry.used);
        entry.used = self.clock;
        self.used.insert(self.clock, *digest);
        Some(entry.answer.clone())
    }

    fn add(&mut self, digest: Digest, answer: Arc<Again>, until: Instant) {
        self.remove(&digest);
        let takes = answer.body.len() + BESIDE;
        while self.bytes + takes > TOGETHER {
            let Some((_, oldest)) = self.used.first_key_value() else { return };
            let oldest = *oldest;
            self.remove(&oldest);
        }
        self.clock += 1;
        self.bytes += takes;
        self.used.insert(self.clock, digest);
        let used = self.clock;
        self.all.insert(digest, Entry { answer, until, used });
    }

    fn remove(&mut self, digest: &Digest) {
        if let Some(entry) = self.all.remove(digest) {
            self.used.remove(&entry.used);
            self.bytes -= entry.answer.body.len() + BESIDE;
        }
    }
}

/// What a client says of answers that are kept (RFC 9111, section 5.2.1).
#[derive(Default)]
struct Said {
    /// It wants none.
    no_cache: bool,
    /// Its own is not to be kept.
    no_store: bool,
}

impl Said {
    fn of(headers: &HeaderMap) -> Self {
        let mut said = Self::default();
        let values = headers.get_all(header::CACHE_CONTROL).iter();
        for directive in values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
            let directive = directive.trim();
            said.no_cache |= directive.eq_ignore_ascii_case("no-cache");
            said.no_store |= directive.eq_ignore_ascii_case("no-store");
        }
        said
    }
}

/// A request, by all that its answer may depend on.
pub(super) struct Asker<'a> {
    pub(super) client: &'a Client,
    pub(super) class: Option<DataClassId>,
    pub(super) headers: &'a HeaderMap,
    pub(super) asked: &'a Asked,
    pub(super) route: &'a Route,
    pub(super) decision: &'a Decision<'a>,
}

impl Asker<'_> {
    fn digest(&self, caching: &Caching) -> Digest {
        let mut all = Parts(Sha256::new());
        all.add(&caching.policy);
        all.add(self.route.name.as_bytes());
        all.add(self.decision.rule.name.as_bytes());
        all.add(self.client.id().as_bytes());
        all.add(format!("{:?}", self.class).as_bytes());
        all.add(format!("{:?}", self.asked.operation).as_bytes());
        // In the order in which they would be asked: who is drawn by weight is drawn for this too.
        for model in &self.decision.models {
            all.add(format!("{} {:?} {:?} {}", model.model, model.version, model.provider, model.upstream_model).as_bytes());
            model.bases.iter().for_each(|base| all.add(base.to_string().as_bytes()));
            all.add(b"");
        }
        all.add(b"");
        for name in HEADERS {
            for value in self.headers.get_all(&name) {
                all.add(name.as_str().as_bytes());
                all.add(value.as_bytes());
            }
        }
        all.add(b"");
        all.add(&self.asked.body);
        all.0.finalize().into()
    }
}

/// Parts of what is digested, each with its length, so that none can pass for a piece of another.
struct Parts(Sha256);

impl Parts {
    fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
    }
}

/// A streamed answer that is written down while it passes, to be kept when it has ended well.
pub(super) struct Recording {
    keeping: Keeping,
    headers: HeaderMap,
    written: BytesMut,
}

impl Recording {
    pub(super) fn new(keeping: Keeping, headers: HeaderMap) -> Self {
        Self {
            keeping,
            headers,
            written: BytesMut::new(),
        }
    }

    /// Writes a piece down; `false`: it is too long to be kept, or there is no room for it.
    pub(super) fn write(&mut self, piece: &Bytes) -> bool {
        self.written.extend_from_slice(piece);
        let writing = &self.keeping.answers.writing;
        let before = writing.fetch_add(piece.len(), Ordering::Relaxed);
        self.written.len() <= LARGEST && before + piece.len() <= WRITING
    }

    pub(super) fn keep(mut self) {
        let headers = std::mem::take(&mut self.headers);
        self.keeping.keep(headers, &self.written);
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.keeping.answers.writing.fetch_sub(self.written.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(bytes: usize) -> Arc<Again> {
        Arc::new(Again {
            headers: HeaderMap::new(),
            body: vec![0; bytes].into(),
            kept: Instant::now(),
        })
    }

    #[test]
    fn streams_that_are_written_down_at_one_time_have_bounded_room_and_give_it_back() {
        let answers = Arc::new(Answers::default());
        let recording = |number: u8| {
            let keeping = Keeping {
                answers: answers.clone(),
                digest: [number; 32],
                lasts: Duration::from_secs(60),
            };
            Recording::new(keeping, HeaderMap::new())
        };
        let piece = Bytes::from(vec![0; LARGEST]);
        let mut all: Vec<Recording> = (0..33).map(recording).collect();
        let written: Vec<bool> = all.iter_mut().map(|recording| recording.write(&piece)).collect();
        assert_eq!(written.iter().filter(|fits| **fits).count(), 32);
        all.pop();
        all.pop().unwrap().keep();
        assert!(answers.kept().find(&[31; 32], Instant::now()).is_some());
        drop(all);
        assert_eq!(answers.writing.load(Ordering::Relaxed), 0);
        let mut long = recording(0);
        assert!(long.write(&piece) && !long.write(&Bytes::from_static(b"x")), "one byte too many");
    }

    #[test]
    fn those_used_last_stay_and_never_more_than_there_is_room_for() {
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        let digest = |number: u8| [number; 32];
        let mut kept = Kept::default();
        for number in 0..63 {
            kept.add(digest(number), again(LARGEST), later);
        }
        assert!(kept.find(&digest(0), now).is_some());
        kept.add(digest(63), again(LARGEST), later);
        kept.add(digest(64), again(LARGEST), later);
        assert!(kept.bytes <= TOGETHER);
        assert!(kept.find(&digest(0), now).is_some(), "it was used after the next one");
        assert!(kept.find(&digest(1), now).is_none());
        kept.add(digest(64), again(5), later);
        assert_eq!(kept.find(&digest(64), now).unwrap().body.len(), 5, "the latest answer holds");
        assert!(kept.find(&digest(64), later).is_none(), "its time is over");
        let sum: usize = kept.all.values().map(|entry| entry.answer.body.len() + BESIDE).sum();
        assert_eq!((kept.bytes, kept.used.len()), (sum, kept.all.len()));
    }
}
