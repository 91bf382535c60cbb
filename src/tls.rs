//! Whom to trust when we connect to others over TLS: one answer for the gateway, for asking providers and for fetching weights.

use std::path::{Path, PathBuf};

use hyper_rustls::ConfigBuilderExt;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// The certificates that were to be trusted cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("reading the certificates in {}", path.display())]
pub struct BadCertificates {
    path: PathBuf,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Trusts the authorities in `ca_file`, or else the system's (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others).
///
/// # Errors
/// When `ca_file` cannot be read or holds no certificate.
pub fn trusting(ca_file: Option<&Path>) -> Result<ClientConfig, BadCertificates> {
    let builder = ClientConfig::builder();
    let Some(path) = ca_file else {
        let system = builder.clone().with_native_roots().map(|config| config.with_no_client_auth());
        return Ok(system.unwrap_or_else(|error| {
            tracing::warn!(%error, "the system has no certificates of authorities: nothing behind https can be reached");
            builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
        }));
    };
    let roots = || -> Result<RootCertStore, Box<dyn std::error::Error + Send + Sync>> { Ok(authorities(&std::fs::read(path)?)?) };
    let roots = roots().map_err(|source| BadCertificates {
        path: path.to_owned(),
        source,
    })?;
    Ok(trusting_only(roots))
}

/// A text that holds no certificate of an authority. Says nothing of what it holds.
#[derive(Debug, thiserror::Error)]
pub enum NoCertificates {
    /// A section begins and does not end, or is no base64.
    #[error("it is no PEM")]
    NotPem,
    /// There is none that can be used.
    #[error("it holds no certificate")]
    None,
}

/// The authorities in a bundle in PEM. What else is in it (keys, certificates that this library does not take, as bundles of systems hold
/// some) is left out.
///
/// # Errors
/// When it is no PEM, or nothing is left.
pub fn authorities(pem: &[u8]) -> Result<RootCertStore, NoCertificates> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add_parsable_certificates([certificate.map_err(|_| NoCertificates::NotPem)?]);
    }
    if roots.is_empty() { Err(NoCertificates::None) } else { Ok(roots) }
}

/// Trusts these authorities and no others.
#[must_use]
pub fn trusting_only(roots: RootCertStore) -> ClientConfig {
    ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_cannot_be_read_are_named() {
        // A file that exists and holds no certificate, and one that does not exist.
        for path in [concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "/nonexistent/ca.pem"] {
            let error = trusting(Some(Path::new(path))).err().unwrap();
            assert_eq!(error.to_string(), format!("reading the certificates in {path}"));
        }
        assert!(trusting(None).is_ok());
    }
}
