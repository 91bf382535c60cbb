//! Clients that an identity provider vouches for.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Holders of signed JSON web tokens of an issuer, whose keys are found by `ISSUER/.well-known/openid-configuration`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JwtClients {
    /// Who issues the tokens, exactly as their claim `iss` says: a URL that begins with https (http only where it is this machine's own, such as
    /// http://127.0.0.1:9000). Example: `https://id.example.com`.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = ("isURL(self) && url(self).getHostname() != '' && (self.matches('(?i)^https://') || (self.matches('(?i)^http://') && url(self).getHostname() in ['localhost', '127.0.0.1', '::1'])) && !self.contains('?') && !self.contains('#') && !self.contains('@')",
        "issuer must be a URL that starts with https:// and a host, without user, query and fragment (http:// only for localhost): such as https://id.example.com"))]
    pub issuer: String,
    /// For whom the tokens are meant: the claim `aud` must have one of these. An issuer gives tokens for many services; name what it calls this
    /// one, and nothing that other services have too. Example: `[llm]`.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 256)))]
    #[x_kube(validation = ("!self.exists(a, a == 'llmportfolio.dev')",
        "the audience llmportfolio.dev is for tokens of Kubernetes service accounts: admit those by serviceAccounts, or choose another"))]
    pub audiences: Vec<String>,
    /// What else the token must say, all of it: claims by name, each with the value that it must have, or contain where it is a list. Parts of
    /// nested claims have dots between. Default: nothing. Example: `{group: claims, realm_access.roles: llm-user}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 256}))]
    pub claims: BTreeMap<String, String>,
}
