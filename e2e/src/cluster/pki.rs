//! The cluster's keys: one authority, a certificate per part, and a kubeconfig for each that speaks to the API server. Beside it, certificates
//! that vouch for themselves: who trusts one trusts nobody else.

use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::layout::{CONTROL_PLANE, KUBERNETES_SERVICE, Layout, node_address, node_name};

const MASTERS: &str = "system:masters";

/// Who signs.
pub(crate) struct Authority<'a> {
    layout: &'a Layout,
    issuer: Issuer<'static, KeyPair>,
}

impl<'a> Authority<'a> {
    /// Makes the authority and the key that signs service-account tokens.
    pub(crate) fn create(layout: &'a Layout) -> Result<Self> {
        let key = KeyPair::generate()?;
        let params = Self::params();
        std::fs::write(layout.pki("ca.crt"), params.self_signed(&key)?.pem())?;
        std::fs::write(layout.pki("ca.key"), key.serialize_pem())?;
        let tokens = KeyPair::generate()?;
        std::fs::write(layout.pki("tokens.key"), tokens.serialize_pem())?;
        std::fs::write(layout.pki("tokens.pub"), tokens.public_key_pem())?;
        Ok(Self {
            layout,
            issuer: Issuer::new(params, key),
        })
    }

    /// The authority of a cluster that runs.
    pub(crate) fn open(layout: &'a Layout) -> Result<Self> {
        let key = std::fs::read_to_string(layout.pki("ca.key")).context("the cluster's key")?;
        Ok(Self {
            layout,
            issuer: Issuer::new(Self::params(), KeyPair::from_pem(&key)?),
        })
    }

    fn params() -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "portfolio-e2e");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params
    }

    /// What the control plane and its clients need.
    pub(crate) fn control_plane(&self) -> Result<()> {
        let names = [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "localhost",
        ];
        let addresses = ["127.0.0.1", CONTROL_PLANE, KUBERNETES_SERVICE];
        self.certificate("apiserver", "kube-apiserver", None, &[names.as_slice(), &addresses].concat())?;
        self.user("admin", "admin", Some(MASTERS))?;
        self.user("dns", "dns", Some(MASTERS))?;
        self.user("policies", "policies", Some(MASTERS))?;
        self.certificate("api-to-kubelet", "api-to-kubelet", Some(MASTERS), &[])?;
        self_signed(&self.layout.pki(""), "front-proxy", &[])?;
        for part in ["kube-controller-manager", "kube-scheduler", "kube-proxy"] {
            self.user(part, &format!("system:{part}"), None)?;
        }
        Ok(())
    }

    /// What a node needs.
    pub(crate) fn node(&self, node: usize) -> Result<()> {
        let (name, file) = (node_name(node), format!("kubelet-{node}"));
        self.certificate(
            &file,
            &format!("system:node:{name}"),
            Some("system:nodes"),
            &[&name, &node_address(node)],
        )?;
        self.kubeconfig(&file)
    }

    fn user(&self, file: &str, name: &str, group: Option<&str>) -> Result<()> {
        self.certificate(file, name, group, &[])?;
        self.kubeconfig(file)
    }

    fn certificate(&self, file: &str, name: &str, group: Option<&str>, alternatives: &[&str]) -> Result<()> {
        let mut params = CertificateParams::new(alternatives.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        std::fs::write(self.layout.pki(&format!("{file}.crt")), params.signed_by(&key, &self.issuer)?.pem())?;
        Ok(std::fs::write(self.layout.pki(&format!("{file}.key")), key.serialize_pem())?)
    }

    fn kubeconfig(&self, file: &str) -> Result<()> {
        let pki = |name: &str| self.layout.pki(name).display().to_string();
        let (ca, certificate, key) = (pki("ca.crt"), pki(&format!("{file}.crt")), pki(&format!("{file}.key")));
        let text = format!(
            r#"apiVersion: v1
kind: Config
current-context: portfolio-e2e
contexts: [{{name: portfolio-e2e, context: {{cluster: portfolio-e2e, user: {file}}}}}]
clusters: [{{name: portfolio-e2e, cluster: {{server: "https://{CONTROL_PLANE}:6443", certificate-authority: "{ca}"}}}}]
users: [{{name: {file}, user: {{client-certificate: "{certificate}", client-key: "{key}"}}}}]
"#
        );
        Ok(std::fs::write(self.layout.kubeconfig(file), text)?)
    }
}

/// Writes a key, and a certificate for these names and addresses that it signed itself, as `FILE.key` and `FILE.crt`; returns the certificate.
pub(crate) fn self_signed(folder: &Path, file: &str, names: &[&str]) -> Result<String> {
    let key = KeyPair::generate()?;
    let params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let certificate = params.self_signed(&key)?.pem();
    std::fs::write(folder.join(format!("{file}.key")), key.serialize_pem())?;
    std::fs::write(folder.join(format!("{file}.crt")), &certificate)?;
    Ok(certificate)
}
