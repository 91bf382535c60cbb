//! The public keys of an issuer, as its JWKS has them, and whether one of them made a signature. What a key is decides what it may be used for:
//! a token chooses among that, and never makes a public key the secret of an HMAC, or goes without a signature.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Keys read of one set at most.
const KEYS: usize = 64;
/// Keys tried for one token at most.
const TRIED: usize = 4;
/// The longest modulus of an RSA key, in bytes; checking takes time with it.
const MODULUS_LIMIT: usize = 1024;

/// Tokens remembered at most that one of the keys has signed: checking a signature again and again takes more time than all else.
const REMEMBERED: usize = 4096;

/// How a token may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    /// By its name in a token or key; `None` for everything that is not taken, `none` and `HS256` among it.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            _ => return None,
        })
    }

    fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
            Self::Es256 | Self::Es384 | Self::EdDsa => None,
        }
    }
}

/// The keys of one issuer that can be used.
#[derive(Debug)]
pub(super) struct Keys {
    keys: Vec<Key>,
    /// The SHA-256 of whole tokens whose signatures one of them made. Gone with the keys.
    signed: Mutex<HashSet<[u8; 32]>>,
}

/// A token, as far as its signature goes.
pub(super) struct Signed<'a> {
    /// All of it.
    pub(super) token: &'a str,
    /// The id of the key that it names.
    pub(super) key: Option<String>,
    pub(super) algorithm: Algorithm,
    /// What the signature is about.
    pub(super) content: &'a str,
    pub(super) signature: Vec<u8>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// The one algorithm that it is for, where the issuer says so.
    only: Option<Algorithm>,
    public: Public,
}

#[derive(Debug)]
enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A key as JWK (RFC 7517). Secrets (`oct`) and certificates (`x5c`, `x5u`) are not read.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Keys {
    /// From a JWKS. What cannot be used to check a signature is left out.
    pub(super) fn read(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(json).map_err(|error| format!("its keys are no JWKS: {error}"))?;
        let read = |value| Key::of(serde_json::from_value(value).ok()?);
        let keys: Vec<Key> = set.keys.into_iter().filter_map(read).take(KEYS).collect();
        match keys.is_empty() {
            true => Err("among its keys is none that can be used".to_owned()),
            false => Ok(Self {
                keys,
                signed: Mutex::default(),
            }),
        }
    }

    /// Whether one of them, of that id where the token names one, made the signature.
    pub(super) fn have_signed(&self, token: &Signed<'_>) -> bool {
        let hash: [u8; 32] = Sha256::digest(token.token).into();
        let known = || self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        if known().contains(&hash) {
            return true;
        }
        let is_meant = |key: &&Key| match (&token.key, &key.id) {
            (Some(meant), Some(id)) => meant == id,
            (None, _) | (_, None) => true,
        };
        let mut tried = self
            .keys
            .iter()
            .filter(is_meant)
            .filter(|key| key.is_for(token.algorithm))
            .take(TRIED);
        let is_good = tried.any(|key| key.verify(token.algorithm, token.content.as_bytes(), &token.signature));
        if is_good {
            let mut known = known();
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(hash);
        }
        is_good
    }
}

impl Key {
    fn of(jwk: Jwk) -> Option<Self> {
        let may_check = jwk.purpose.is_none_or(|purpose| purpose == "sig")
            && jwk
                .key_ops
                .is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        // A key for what is not taken here is none.
        let only = match &jwk.alg {
            None => None,
            Some(name) => Some(Algorithm::named(name)?),
        };
        let bytes = |text: Option<String>| BASE64_URL_SAFE_NO_PAD.decode(text?).ok();
        let point = |x: Option<String>, y: Option<String>, size: usize| {
            let (x, y) = (bytes(x)?, bytes(y)?);
            // Uncompressed, as ring takes it.
            (x.len() == size && y.len() == size).then(|| [&[4], x.as_slice(), y.as_slice()].concat())
        };
        let public = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let whole = |number: Vec<u8>| number.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
                let (n, e) = (whole(bytes(jwk.n)?), whole(bytes(jwk.e)?));
                (n.len() <= MODULUS_LIMIT).then_some(Public::Rsa { n, e })
            }
            ("EC", Some("P-256")) => point(jwk.x, jwk.y, 32).map(Public::P256),
            ("EC", Some("P-384")) => point(jwk.x, jwk.y, 48).map(Public::P384),
            ("OKP", Some("Ed25519")) => bytes(jwk.x).filter(|x| x.len() == 32).map(Public::Ed25519),
            _ => None,
        }?;
        let id = jwk.kid;
        may_check.then_some(Self { id, only, public })
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        let is_kind = match &self.public {
            Public::Rsa { .. } => algorithm.rsa().is_some(),
            Public::P256(_) => algorithm == Algorithm::Es256,
            Public::P384(_) => algorithm == Algorithm::Es384,
            Public::Ed25519(_) => algorithm == Algorithm::EdDsa,
        };
        is_kind && self.only.is_none_or(|only| only == algorithm)
    }

    fn verify(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        match &self.public {
            Public::Rsa { n, e } => algorithm
                .rsa()
                .is_some_and(|parameters| RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature).is_ok()),
            Public::P256(point) => UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                .verify(signed, signature)
                .is_ok(),
            Public::P384(point) => UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point)
                .verify(signed, signature)
                .is_ok(),
            Public::Ed25519(x) => UnparsedPublicKey::new(&signature::ED25519, x).verify(signed, signature).is_ok(),
        }
    }
}
