//! What is done about the texts of requests before a model has them: personal identifiers and blocked terms. Shared by policies and the
//! installer's settings.

use kube::KubeSchema;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model_deployment::KeyRef;

/// A kind of personal identifier that is found in a text: by a shape that hardly anything else has, or by digits that check each other. What
/// names a person in words is not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Identifier {
    /// E-mail addresses, such as `anna@example.com`.
    Email,
    /// Telephone numbers: international ones (`+49 30 901820`), national ones as most countries write them (`(415) 555-0132`,
    /// `06 12 34 56 78`), others where a word such as `Tel` is before them.
    Phone,
    /// Numbers of bank accounts whose check digits are right.
    Iban,
    /// Numbers of payment cards whose digits add up.
    CreditCard,
    /// US social security numbers, such as `219-09-9999`.
    UsSocialSecurityNumber,
    /// IPv4 and IPv6 addresses, those of the machine itself left aside.
    IpAddress,
}

/// What the installer has looked for in every request, and what its data is then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Detection {
    /// What is looked for, such as `[Email, Phone, Iban]`.
    pub identifiers: Vec<Identifier>,
    /// The class of data that a request with one of them has at least, one of `dataClasses`, such as `Personal`.
    pub data_class: String,
}

/// What is done about the texts of requests before a model has them. Every text of a request is looked at, wherever it is: messages,
/// instructions, descriptions, arguments and results of tools. Pictures, sound and files in base64 are not looked into, and what is spread over
/// several parts of a message is not put together.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.redact) || has(self.blockedTerms)", "redact or blockedTerms must be set, or nothing is guarded"))]
pub struct Guardrails {
    /// The identifiers that no model behind a provider's API gets to see; our own pods get requests as they are. Each is replaced by a
    /// placeholder, such as `[EMAIL_1]`, before the request leaves, and is put back into the answer, streamed or not. A request that cannot be
    /// redacted goes to no such model: one of token numbers, and one that goes on with what the provider keeps (`previous_response_id`).
    /// Where all that the installer's `detection` looks for is redacted, what it finds does not keep a request from such a model.
    /// Default: none. Example: `[Email, Phone, Iban]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 6))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Set)]
    pub redact: Vec<Identifier>,
    /// Terms that no request may have. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_terms: Option<BlockedTerms>,
}

/// A list of terms. A request with one of them is refused with 400 and the code `content_blocked`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockedTerms {
    /// The ConfigMap, in the policy's namespace and with the label `llmportfolio.dev/terms: "true"`, and its key with the list: one term a line,
    /// in any case, found as a whole word or words; a line that begins with `#` is a comment. While it is missing or cannot be read, the policy
    /// answers nothing. Limits: 10,000 terms, 1 MiB. Example: `{name: blocked, key: terms.txt}`.
    pub config_map_ref: KeyRef,
}
