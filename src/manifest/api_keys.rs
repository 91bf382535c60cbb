//! Secrets of clients' API keys that are of no use to any client.

use super::Portfolio;
use super::document::member;
use super::finding::{Finding, Severity};
use crate::plan::Invalid;
use crate::plan::api_key::{self, Expires};
use crate::plan::names::EXPIRES_ANNOTATION;

/// Adds the findings about keys to `portfolio`.
pub(super) fn check(portfolio: &mut Portfolio) {
    let secrets = portfolio.others.iter().filter(|other| other.kind == "Secret");
    let found = secrets.filter_map(|other| {
        let secret = portfolio.secret(&other.key).filter(api_key::is_one)?;
        let read = api_key::read(&secret).filter(|(hash, _)| api_key::digest(hash.trim()).is_some());
        let invalid = match read {
            None => Invalid::new(
                "stringData.sha256",
                "is not the SHA-256 of a key, so no key is good for it",
                "write the manifest that `portfolio key create NAME` prints",
            ),
            Some((_, key)) if key.expires == Expires::Unreadable => Invalid::new(
                member("metadata.annotations", EXPIRES_ANNOTATION),
                "is no time, so the key is refused",
                "write a time, such as 2027-01-31T00:00:00Z, or leave it out",
            ),
            Some(_) => return None,
        };
        Some(other.origin.finding(Severity::Warning, invalid))
    });
    let found: Vec<Finding> = found.collect();
    portfolio.findings.extend(found);
}
