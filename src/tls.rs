//! Whom to trust when we connect to others over TLS: one answer for the gateway and for fetching weights.

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
    let roots = || -> Result<RootCertStore, Box<dyn std::error::Error + Send + Sync>> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path)? {
            // A bundle of a system may hold some that this library does not take, as it does where the system's own are read.
            roots.add_parsable_certificates([certificate?]);
        }
        if roots.is_empty() {
            return Err("it holds no certificate".into());
        }
        Ok(roots)
    };
    let roots = roots().map_err(|source| BadCertificates {
        path: path.to_owned(),
        source,
    })?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
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
