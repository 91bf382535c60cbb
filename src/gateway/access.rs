//! The log line of a request, at its end: who asked which model, which answered, and how it went. Nothing of what was asked or answered,
//! and no header but the request's id.

use std::time::Duration;

use axum::response::Response;
use tracing::Level;

use super::tally::Record;
use super::{conventions, headers};
use crate::plan::names::Key;
use crate::plan::price::Cost;
use crate::plan::routing::Client;

/// The target of these lines, by which `RUST_LOG` filters them.
pub const TARGET: &str = "access";

/// Whether anyone would read a line.
pub(super) fn is_enabled() -> bool {
    tracing::enabled!(target: TARGET, Level::INFO)
}

pub(super) fn write(record: &Record, elapsed: Duration) {
    let Record {
        operation,
        id,
        trace,
        client,
        route,
        model,
        attempts,
        is_streamed,
        held,
        first_content,
        charge,
        lost,
        status,
        refused,
        broken,
        bytes_in,
        bytes_out,
        // Told of all requests together.
        saved: _,
    } = record;
    let (client, name) = client.as_ref().map(|(kind, name)| (*kind, name.as_deref())).unzip();
    let (policy, called) = (
        route.as_ref().and_then(|route| route.policy.as_ref()),
        route.as_ref().map(|route| &*route.name),
    );
    let (end, why) = match (broken, status) {
        (Some(how), _) => ("broken", Some(*how)),
        (None, None) => ("gone", None),
        (None, Some(status)) if status.is_success() => ("ok", None),
        (None, Some(_)) => ("refused", refused.as_deref()),
    };
    tracing::info!(
        target: TARGET,
        id = id.as_ref().and_then(|id| id.to_str().ok()),
        trace = trace.map(|trace| format!("{trace:032x}")),
        client,
        client_name = name.flatten(),
        operation = conventions::operation(*operation),
        policy = policy.map(Key::to_string),
        model = called,
        answered_by = model.as_ref().map(|model| model.model.to_string()),
        status = status.map(|status| status.as_u16()),
        end,
        why,
        attempts,
        streamed = is_streamed,
        input_tokens = charge.map(|charge| charge.tokens.prompt()),
        output_tokens = charge.map(|charge| charge.tokens.answer()),
        cost_usd = charge.map(|charge| amount(charge.cost)),
        lost_cost_usd = lost.map(amount),
        estimated = charge.map(|charge| charge.is_estimated),
        ms = millis(elapsed),
        held_ms = held.map(millis),
        first_content_ms = first_content.map(millis),
        bytes_in,
        bytes_out,
    );
}

/// The line of a request that no model is asked for.
pub(super) fn write_aside(operation: &'static str, response: &Response, elapsed: Duration) {
    let status = response.status();
    tracing::info!(
        target: TARGET,
        id = response.headers().get(headers::REQUEST_ID).and_then(|id| id.to_str().ok()),
        operation,
        status = status.as_u16(),
        end = if status.is_success() { "ok" } else { "refused" },
        ms = millis(elapsed),
    );
}

/// What kind of client it is, and its name: of an API key, that of its Secret; of a token, whom it is about and whose it is.
pub(super) fn known_as(client: &Client) -> (&'static str, Option<String>) {
    match client {
        Client::ServiceAccount { namespace, name } => ("service_account", Some(format!("{namespace}/{name}"))),
        Client::ApiKey { name, .. } => ("api_key", Some(name.clone())),
        Client::Jwt { issuer, subject, .. } => ("jwt", Some(format!("{issuer}#{subject}"))),
        Client::Anonymous => ("anonymous", None),
    }
}

/// In US dollars; what is unknown is not zero.
fn amount(cost: Cost) -> String {
    cost.usd().unwrap_or_else(|| "unknown".to_owned())
}

/// With three digits after the point: what the gateway adds is less than one.
fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}
