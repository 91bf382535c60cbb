//! Clients' API keys: how one is written, and the Secret that stands for it, which holds its hash and never the key.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use sha2::{Digest, Sha256};

use super::fingerprint::hex;
use super::names::{API_KEY_LABEL, EXPIRES_ANNOTATION, Key};

/// How a key begins, so that scanners for secrets and people know one when they see it.
const PREFIX: &str = "pk-";
/// The key of the Secret that holds the hash.
const HASH: &str = "sha256";
/// How many bytes of a digest the check digits stand for.
const CHECK: usize = 4;

/// A key of this randomness: `pk-`, 64 digits, and 8 digits that tell a mistyped one from a good one.
#[must_use]
pub fn written(random: &[u8; 32]) -> String {
    let body = format!("{PREFIX}{}", hex(random));
    let check = check(&body);
    body + &check
}

fn check(body: &str) -> String {
    hex(&Sha256::digest(body)[..CHECK])
}

/// Whether it begins as a key of ours, and its check digits are not its own.
#[must_use]
pub fn is_mistyped(key: &str) -> bool {
    let parts = key.len().checked_sub(2 * CHECK).and_then(|at| key.split_at_checked(at));
    key.starts_with(PREFIX) && parts.is_none_or(|(body, digits)| check(body) != digits)
}

/// What the Secret of a key holds instead of it.
#[must_use]
pub fn hash(key: &str) -> String {
    hex(&Sha256::digest(key))
}

/// Until when a key is good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expires {
    /// Until it is revoked.
    #[default]
    Never,
    /// Until then.
    At(Timestamp),
    /// Nobody can say: it is good for nothing.
    Unreadable,
}

/// Who holds an API key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiKey {
    /// The name of its Secret.
    pub name: String,
    /// The labels of its Secret.
    pub labels: BTreeMap<String, String>,
    /// Until when it is good.
    pub expires: Expires,
}

/// The Secret of a key with this hash.
#[must_use]
pub fn secret(namespace: &str, holder: ApiKey, hash: String) -> Secret {
    let ApiKey { name, mut labels, expires } = holder;
    labels.insert(API_KEY_LABEL.to_owned(), "true".to_owned());
    let annotations = match expires {
        Expires::Never | Expires::Unreadable => None,
        Expires::At(time) => Some([(EXPIRES_ANNOTATION.to_owned(), time.to_string())].into()),
    };
    Secret {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels),
            annotations,
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".to_owned()),
        string_data: Some([(HASH.to_owned(), hash)].into()),
        ..Secret::default()
    }
}

/// Whether a Secret stands for an API key.
#[must_use]
pub fn is_one(secret: &Secret) -> bool {
    secret.labels().get(API_KEY_LABEL).is_some_and(|value| value == "true")
}

/// The hash that a Secret holds, as it is written there, and whose key it is of; `None` where it holds none.
#[must_use]
pub fn read(secret: &Secret) -> Option<(String, ApiKey)> {
    let hash = String::from_utf8(secret.data.as_ref()?.get(HASH)?.0.clone()).ok()?;
    let holder = ApiKey {
        name: secret.name_any(),
        labels: secret.labels().clone(),
        expires: match secret.annotations().get(EXPIRES_ANNOTATION).map(|time| time.trim().parse()) {
            None => Expires::Never,
            Some(Ok(time)) => Expires::At(time),
            Some(Err(_)) => Expires::Unreadable,
        },
    };
    Some((hash, holder))
}

/// The bytes of a hash in hexadecimal; `None` for what is no SHA-256.
#[must_use]
pub fn digest(hexadecimal: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let (pairs, []) = hexadecimal.as_bytes().as_chunks::<2>() else {
        return None;
    };
    if pairs.len() != bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? * 16 + low?).ok()?;
    }
    Some(bytes)
}

/// One line of a list of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name of its Secret.
    pub name: String,
    /// The labels of its Secret, without the one that says that it is a key.
    pub labels: String,
    /// When it was made.
    pub created: String,
    /// Until when it is good.
    pub expires: String,
    /// `Active`, `Expired`, or `Invalid` for one that nobody can use.
    pub state: &'static str,
}

/// What a list says of a key.
#[must_use]
pub fn listed(secret: &Secret, now: Timestamp) -> Listed {
    let none = || "-".to_owned();
    let read = read(secret);
    let is_hash = read.as_ref().is_some_and(|(hash, _)| digest(hash.trim()).is_some());
    let expires = read.map_or(Expires::Never, |(_, holder)| holder.expires);
    let labels = secret.labels().iter().filter(|(name, _)| *name != API_KEY_LABEL);
    let labels: Vec<String> = labels.map(|(name, value)| format!("{name}={value}")).collect();
    Listed {
        name: Key::of(secret).name,
        labels: if labels.is_empty() { none() } else { labels.join(",") },
        created: secret.creation_timestamp().map_or_else(none, |time| time.0.to_string()),
        expires: match expires {
            Expires::Never => none(),
            Expires::At(time) => time.to_string(),
            Expires::Unreadable => "unreadable".to_owned(),
        },
        state: match expires {
            _ if !is_hash => "Invalid",
            Expires::Unreadable => "Invalid",
            Expires::At(time) if time <= now => "Expired",
            Expires::At(_) | Expires::Never => "Active",
        },
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    /// As the API server keeps it.
    fn kept(mut secret: Secret) -> Secret {
        let data = secret.string_data.take().unwrap_or_default();
        secret.data = Some(data.into_iter().map(|(key, value)| (key, ByteString(value.into_bytes()))).collect());
        secret
    }

    #[test]
    fn a_mistyped_key_is_told_from_a_good_one() {
        let key = written(&[7; 32]);
        assert_eq!(key.len(), 75);
        assert!(key.starts_with("pk-0707") && !is_mistyped(&key));
        for wrong in [
            &key[..74],
            &key.replacen('0', "1", 1),
            &key.to_uppercase().replacen("PK", "pk", 1),
            &format!("{key} "),
            "pk-",
            "pk-ä",
        ] {
            assert!(is_mistyped(wrong), "{wrong}");
        }
        assert!(!is_mistyped("sk-anything"), "keys from elsewhere have no check digits");
    }

    #[test]
    fn the_secret_of_a_key_is_read_back_and_does_not_hold_the_key() {
        let key = written(&[7; 32]);
        let holder = ApiKey {
            name: "ci".to_owned(),
            labels: [("team".to_owned(), "claims".to_owned())].into(),
            expires: Expires::At("2027-01-31T00:00:00Z".parse().unwrap()),
        };
        let secret = secret("llm-portfolio", holder.clone(), hash(&key));
        assert!(!serde_json::to_string(&secret).unwrap().contains(&key));
        let (read_hash, read_holder) = read(&kept(secret.clone())).unwrap();
        assert_eq!(digest(&read_hash).unwrap().as_slice(), Sha256::digest(&key).as_slice());
        assert_eq!((read_holder.name, read_holder.expires), (holder.name, holder.expires));
        assert!(is_one(&secret) && read_holder.labels["team"] == "claims");
        insta::assert_snapshot!(serde_saphyr::to_string(&secret).unwrap());
    }

    #[test]
    fn a_list_says_which_keys_are_of_use() {
        let now = "2027-01-31T00:00:00Z".parse().unwrap();
        let state = |expires: Option<&str>, hash: &str| {
            let mut secret = kept(secret("n", ApiKey::default(), hash.to_owned()));
            secret.metadata.annotations = expires.map(|time| [(EXPIRES_ANNOTATION.to_owned(), time.to_owned())].into());
            listed(&secret, now).state
        };
        let good = hash("k");
        assert_eq!(state(None, &good), "Active");
        assert_eq!(state(Some("2027-01-31T00:00:01Z"), &good), "Active");
        assert_eq!(state(Some("2027-01-31T00:00:00Z"), &good), "Expired");
        assert_eq!(state(Some("tomorrow"), &good), "Invalid");
        assert_eq!(state(None, "no hash"), "Invalid");
    }
}
