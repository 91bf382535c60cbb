//! What a policy does about the texts of its requests: which terms refuse one, and which identifiers models behind an API do not see.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::blocklist::{Blocklist, Terms};
use super::refused::{Refused, RefusedFor};
use super::table::Route;
use crate::api::guardrails;
use crate::api::routing_policy::RoutingPolicySpec;
use crate::plan::names::Key;
use crate::protocol::identifiers::{Identifier, Kinds};
use crate::protocol::{redaction, texts};

/// What is done about the texts of requests.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// What no model behind a provider's API sees.
    pub redact: Kinds,
    /// The terms that refuse a request; or why they are not known, and then every request is refused.
    pub blocked: Option<Result<Arc<Blocklist>, String>>,
}

/// The texts of a request.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    /// Its body, which is JSON.
    pub body: &'a [u8],
    /// Whether what it asks for may be given as numbers of tokens.
    pub may_be_tokens: bool,
}

/// What is seen in the texts of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// An identifier.
    Identifier(Identifier),
    /// Numbers of tokens: what they say is not known.
    Tokens,
}

impl Sight {
    /// What is said of it towards a person.
    #[must_use]
    pub fn called(self) -> String {
        match self {
            Self::Identifier(kind) => format!("its text has {}", kind.called()),
            Self::Tokens => "it comes as numbers of tokens, which cannot be looked into".to_owned(),
        }
    }
}

/// Why a request is stopped.
#[derive(Debug)]
pub struct Stopped {
    /// What the client is told.
    pub refused: Refused<'static>,
    /// The line of the term in its list: for logs, not for clients.
    pub line: Option<usize>,
}

impl Guard {
    pub(super) fn of(spec: &RoutingPolicySpec, namespace: &str, terms: &Terms) -> Self {
        let Some(given) = &spec.guardrails else {
            return Self::default();
        };
        let blocked = given.blocked_terms.as_ref().map(|blocked| {
            let reference = &blocked.config_map_ref;
            let list = terms.find(&Key::new(namespace, &reference.name), &reference.key);
            list.map_err(|problem| format!("{problem} (spec.guardrails.blockedTerms)"))
        });
        Self {
            redact: kinds(&given.redact),
            blocked,
        }
    }

    /// Why no request is answered.
    pub(super) fn problem(&self) -> Option<&str> {
        self.blocked.as_ref()?.as_ref().err().map(String::as_str)
    }
}

impl Route {
    /// Whether a request may go on.
    ///
    /// # Errors
    /// When it has a term that it must not have, or the terms are not known.
    pub fn check(&self, texts: Texts<'_>) -> Result<(), Stopped> {
        match &self.guard.blocked {
            None => Ok(()),
            Some(Err(problem)) => {
                let message = format!("{} answers nothing until its guardrails can work: {problem}", self.called());
                Err(Stopped {
                    refused: Refused::new(RefusedFor::Unguarded, None, message),
                    line: None,
                })
            }
            Some(Ok(list)) => {
                let found = texts::each(texts.body, |text| match list.line_in(&text.said) {
                    Some(line) => ControlFlow::Break(line),
                    None => ControlFlow::Continue(()),
                });
                let Some(line) = found else { return Ok(()) };
                let message = format!("the request has a term that {} does not allow: leave it out", self.called());
                Err(Stopped {
                    refused: Refused::new(RefusedFor::Blocked, None, message),
                    line: Some(line),
                })
            }
        }
    }
}

/// What of these kinds is in the texts.
pub(super) fn seen(texts: Texts<'_>, kinds: Kinds) -> Option<Sight> {
    if texts.may_be_tokens && texts::has_tokens(texts.body) {
        return Some(Sight::Tokens);
    }
    redaction::first(texts.body, kinds).map(Sight::Identifier)
}

/// The kinds that a user names.
pub(super) fn kinds(given: &[guardrails::Identifier]) -> Kinds {
    let kind = |given: &guardrails::Identifier| match given {
        guardrails::Identifier::Email => Identifier::Email,
        guardrails::Identifier::Phone => Identifier::Phone,
        guardrails::Identifier::Iban => Identifier::Iban,
        guardrails::Identifier::CreditCard => Identifier::CreditCard,
        guardrails::Identifier::UsSocialSecurityNumber => Identifier::UsSocialSecurityNumber,
        guardrails::Identifier::IpAddress => Identifier::IpAddress,
    };
    given.iter().map(kind).collect()
}
