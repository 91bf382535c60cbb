//! What is decided about all policies, kept for as long as nothing changes that decides it. One change makes every policy be looked at, and each look
//! would decide about all of them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::context::Context;
use crate::api::RoutingPolicy;
use crate::plan::names::Key;
use crate::plan::price::Book;
use crate::plan::routing::{self, Grants, Inputs, PolicyVerdict, Terms};

/// Prices begin and end by the clock, and a status tells it at the next look at its policy, within about an hour. Gateways ask at each request.
const KEPT: SignedDuration = SignedDuration::from_secs(60);

/// What is decided about each policy.
pub(super) type Verdicts = BTreeMap<Key, PolicyVerdict>;

/// The latest that was decided.
#[derive(Default)]
pub struct Decided(Mutex<Option<Kept>>);

struct Kept {
    objects: u64,
    grants: Grants,
    book: Arc<Book>,
    from: Timestamp,
    until: Timestamp,
    verdicts: Arc<Verdicts>,
}

impl Decided {
    /// What is decided about all policies now. Of several that ask at once one decides, and all others wait for it.
    pub(super) fn now(&self, cx: &Context, now: Timestamp) -> Arc<Verdicts> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (objects, grants, book) = (objects(cx), cx.grants.all(), cx.prices());
        let is_same = |kept: &&Kept| kept.objects == objects && kept.grants == grants && Arc::ptr_eq(&kept.book, &book);
        if let Some(kept) = latest
            .as_ref()
            .filter(is_same)
            .filter(|kept| (kept.from..kept.until).contains(&now))
        {
            return kept.verdicts.clone();
        }
        let stores = &cx.cluster.stores;
        let decided = routing::build(&Inputs {
            models: &stores.models.all(),
            policies: &stores.policies.all(),
            evaluations: &stores.evaluations.all(),
            endpoints: &routing::endpoints(&stores.slices.all()),
            prices: &book,
            namespaces: &routing::labels(&stores.namespaces.all()),
            grants: &grants,
            terms: &Terms::of(stores.terms.all().iter().map(AsRef::as_ref), &Terms::default()),
            settings: &cx.settings,
            open_models: false,
            now,
        });
        let verdicts = Arc::new(decided.verdicts);
        let moves = verdicts.values().filter_map(|verdict| verdict.next);
        let until = moves.chain(now.checked_add(KEPT)).min().unwrap_or(now);
        *latest = Some(Kept {
            objects,
            grants,
            book,
            from: now,
            until,
            verdicts: verdicts.clone(),
        });
        verdicts
    }
}

/// A digest of the versions of all objects that decide.
fn objects(cx: &Context) -> u64 {
    let stores = &cx.cluster.stores;
    [
        sum(&stores.models.all(), version),
        sum(&stores.policies.all(), of_policy),
        sum(&stores.evaluations.all(), version),
        sum(&stores.slices.all(), version),
        sum(&stores.namespaces.all(), version),
        sum(&stores.terms.all(), version),
    ]
    .into_iter()
    .enumerate()
    .fold(0, |all, (at, of_kind)| all ^ digest(&(at, of_kind)))
}

/// Whatever order they come in.
fn sum<K>(objects: &[Arc<K>], digest: impl Fn(&K) -> u64) -> u64 {
    objects.iter().map(|object| digest(object)).fold(0, u64::wrapping_add)
}

fn version<K: ResourceExt>(object: &K) -> u64 {
    digest(&(object.namespace(), object.name_any(), object.uid(), object.resource_version()))
}

/// Of its status only what it goes back to decides: each of our own writes of the others would make all be decided anew.
fn of_policy(policy: &RoutingPolicy) -> u64 {
    let meta = &policy.metadata;
    let accepted = policy.status.as_ref().and_then(|status| status.accepted.as_ref());
    digest(&(
        (policy.namespace(), policy.name_any(), policy.uid(), meta.generation),
        (&meta.labels, &meta.annotations, meta.deletion_timestamp.is_some()),
        accepted.map(|accepted| accepted.generation),
    ))
}

fn digest(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}
