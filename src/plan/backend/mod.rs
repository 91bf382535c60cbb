//! A provider's model: what it needs from a Secret and a ConfigMap, the backend Secret that the gateway reads, and what the provider said.
//!
//! ```text
//! Secret, ConfigMap (the user's, same namespace) ──► checked with the provider ──► Secret backend.NAMESPACE.NAME (the gateway's namespace)
//! ```
//! The backend Secret is in another namespace than its owner, where owner references do not reach: `orphans` finds what must go.

mod address;
mod authorization;
mod endpoint;
mod material;
mod probe;
mod secret;
#[cfg(test)]
mod tests;

use k8s_openapi::jiff::Timestamp;

use crate::api::ModelDeployment;
use crate::api::condition::{Claim, Kind, Status};
use crate::api::model_deployment::{ApiSource, ModelDeploymentStatus, Provider};

use super::model;

pub use address::{base_url, destination, is_confirmed};
pub use authorization::{Authorization, authorization};
pub use endpoint::{doubtful, misplaced, server};
pub use material::{Material, Materials, authorities, credential};
pub use probe::{Answer, Probe, judge, probe, segment};
pub use secret::{AUTHORITIES, CREDENTIAL, Held, empty, held, model_of, orphans, secret};

/// The status of `md`, an API model, from what it needs and the provider's answer; `None` while the provider has not been asked.
///
/// A model that was confirmed stays `Ready` while its destination is the same and its key is not refused: an edit of its price or a provider
/// that does not answer one check is no reason to take it out of traffic. The gateway falls back by itself.
#[must_use]
pub fn status(
    md: &ModelDeployment,
    api: &ApiSource,
    materials: &Materials,
    answer: Option<&Answer>,
    now: Timestamp,
) -> ModelDeploymentStatus {
    let accepted = match doubtful(api) {
        None => "the specification can be carried out".to_owned(),
        Some(doubt) => format!("the specification can be carried out; but {doubt}"),
    };
    let mut claims = vec![Claim::new(Kind::Accepted, true, "Valid", accepted)];
    let provider = api.provider;
    let confirmed = is_confirmed(md, api) && !materials.are_unusable();
    let mut both = |status: Status, reason: &'static str, message: String, aside: Kind| {
        claims.push(Claim {
            kind: Kind::CredentialsResolved,
            status,
            reason,
            message: message.clone(),
        });
        claims.push(Claim {
            kind: Kind::Ready,
            status,
            reason,
            message: message.clone(),
        });
        if status != Status::True {
            claims.push(Claim::new(aside, true, reason, message));
        }
    };
    match (materials.unusable(), answer) {
        // It may be about to be made: everything can be applied in any order.
        (Some((reason, why)), _) => both(Status::False, reason, why.to_string(), Kind::Reconciling),
        (_, None) if confirmed => both(
            Status::True,
            "ProviderAnswers",
            format!("{provider} accepts the credentials"),
            Kind::Stalled,
        ),
        (_, Some(Answer::Unreachable(why))) if confirmed => {
            let message = format!("{provider} accepts the credentials; its latest check got no answer: {why}");
            both(Status::True, "ProviderAnswers", message, Kind::Stalled);
        }
        (_, None) => both(
            Status::Unknown,
            "AskingProvider",
            format!("asking {provider} whether it accepts the credentials"),
            Kind::Reconciling,
        ),
        (_, Some(Answer::Accepted)) => both(
            Status::True,
            "ProviderAnswers",
            format!("{provider} accepts the credentials"),
            Kind::Stalled,
        ),
        (_, Some(Answer::Rejected(code))) => {
            let also = may_lack_a_right(api, *code);
            let message = format!(
                "{provider} refuses the credentials with HTTP {code}; {}{also}",
                correct_the_key(api)
            );
            both(Status::False, "CredentialsRejected", message, Kind::Stalled);
        }
        (_, Some(Answer::Unusable(why))) => {
            let message = format!("the credentials cannot be shown to {provider}: {why}; {}", correct_the_key(api));
            both(Status::False, "CredentialsUnusable", message, Kind::Stalled);
        }
        (_, Some(Answer::Unreachable(why))) => {
            let message = format!(
                "{provider} does not answer at {}: {why}; check spec.api.endpoint and the network. It is asked again",
                base_url(api)
            );
            both(Status::False, "ProviderUnreachable", message, Kind::Reconciling);
        }
    }
    let is_ready = claims.iter().any(|claim| claim.kind == Kind::Ready && claim.status == Status::True);
    ModelDeploymentStatus {
        confirmed_for: is_ready.then(|| destination(api)),
        ..model::described(md, &claims, now)
    }
}

fn correct_the_key(api: &ApiSource) -> String {
    api.credentials.as_ref().map_or_else(
        || "spec.api.credentials: none are given; name a Secret with a key".to_owned(),
        |c| {
            format!(
                "correct the key {:?} of Secret {:?} (spec.api.credentials.secretRef)",
                c.secret_ref.key, c.secret_ref.name
            )
        },
    )
}

/// What else than the key may be wrong: both of these refuse a key that may not call the model as they refuse one that they do not know.
fn may_lack_a_right(api: &ApiSource, code: u16) -> String {
    match api.provider {
        Provider::Bedrock | Provider::VertexAI if code == 403 => format!(", or give it the right to call {:?}", api.model),
        _ => String::new(),
    }
}
