//! Which model a conversation stays with, so that what its provider or pod has cached of it is worth something. What is drawn for it the first
//! time comes from a digest of how it began, so that replicas agree without a word; where it went instead, after a failure, each remembers
//! for itself, for as long as the policy says.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::HeaderMap;
use tokio::time::Instant;

use crate::plan::names::Key;
use crate::plan::routing::{Client, Route, StickyBy};
use crate::protocol::exchange::Asked;

/// Conversations remembered at most; one of them has some 100 bytes.
const CAPACITY: usize = 100_000;

/// Where conversations are.
#[derive(Default)]
pub(super) struct Sticky(Mutex<HashMap<u64, Home>>);

struct Home {
    model: Key,
    until: Instant,
}

/// A conversation of one client under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conversation(pub(super) u64);

impl Conversation {
    /// The one that a request belongs to; `None` where the policy does not care, or it cannot be told.
    pub(super) fn of(route: &Route, client: &Client, headers: &HeaderMap, asked: &Asked) -> Option<Self> {
        let sticky = route.sticky.as_ref()?;
        let mut hash = DefaultHasher::new();
        (&route.name, client.id()).hash(&mut hash);
        match &sticky.by {
            StickyBy::Conversation => asked.beginning()?.hash(&mut hash),
            StickyBy::Header(name) => headers.get(name)?.as_bytes().hash(&mut hash),
        }
        Some(Self(hash.finish()))
    }
}

impl Sticky {
    /// The model that a conversation is with.
    pub(super) fn home(&self, Conversation(of): Conversation) -> Option<Key> {
        let homes = self.homes();
        let home = homes.get(&of).filter(|home| home.until > Instant::now())?;
        Some(home.model.clone())
    }

    /// A conversation was answered by `model`: it stays there until its time, which begins with its first answer, is over.
    pub(super) fn answered(&self, Conversation(of): Conversation, model: &Key, route: &Route) {
        let Some(sticky) = &route.sticky else { return };
        let now = Instant::now();
        let mut homes = self.homes();
        if homes.len() >= CAPACITY && !homes.contains_key(&of) {
            make_room(&mut homes, now);
        }
        let home = homes.entry(of).or_insert_with(|| Home {
            model: model.clone(),
            until: now + sticky.lasts,
        });
        if home.until <= now {
            home.until = now + sticky.lasts;
        }
        if home.model != *model {
            home.model = model.clone();
        }
    }

    fn homes(&self) -> MutexGuard<'_, HashMap<u64, Home>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops what is over, or else an eighth of all, whichever: those conversations draw again, and mostly the same.
fn make_room(homes: &mut HashMap<u64, Home>, now: Instant) {
    homes.retain(|_, home| home.until > now);
    if homes.len() >= CAPACITY {
        let any: Vec<u64> = homes.keys().copied().take(CAPACITY / 8).collect();
        any.iter().for_each(|one| drop(homes.remove(one)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_and_then_for_the_latest() {
        let now = Instant::now();
        let home = |seconds| Home {
            model: Key::new("claims", "a"),
            until: now + std::time::Duration::from_secs(seconds),
        };
        let mut homes: HashMap<u64, Home> = (0..CAPACITY as u64).map(|of| (of, home(60))).collect();
        make_room(&mut homes, now);
        assert_eq!(homes.len(), CAPACITY - CAPACITY / 8);
        homes.insert(u64::MAX, home(0));
        make_room(&mut homes, now);
        assert!(!homes.contains_key(&u64::MAX), "what is over goes first");
        assert_eq!(homes.len(), CAPACITY - CAPACITY / 8);
    }
}
