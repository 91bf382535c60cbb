//! One chat request, from start to end.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use tokio::time::Instant;

use super::Gateway;
use super::attempt::{Answer, Attempt, Failure};
use super::headers;
use super::metrics::Tally;
use super::refusal::{Refusal, shown};
use super::relay::{Relay, Whose};
use super::upstream::Place;
use crate::plan::routing::{Backend, Client, Route, Rule};
use crate::protocol::{Peek, openai, peek};

/// Attempts for one request at most, however many endpoints there are.
const ATTEMPTS: usize = 10;

pub(super) async fn chat(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let began = Instant::now();
    let id = request.headers().get(headers::REQUEST_ID).cloned();
    let mut tally = gateway.metrics.begin();
    let response = match answer(&gateway, request, &mut tally).await {
        Ok(answered) => answered.into_response(&gateway, tally),
        Err(refusal) => {
            tally.end(refusal.status);
            refusal.into_response()
        }
    };
    let head = response.headers();
    let (model, attempts) = (head.get(headers::MODEL), head.get(headers::ATTEMPTS));
    tracing::debug!(?id, status = response.status().as_u16(), ?model, ?attempts, after = ?began.elapsed(), "answering");
    response
}

/// Who asks, for what, who may answer, and who does.
async fn answer(gateway: &Gateway, request: Request, tally: &mut Tally) -> Result<Answered, Refusal> {
    let (head, body) = request.into_parts();
    let client = gateway.identities.of(&head.headers, &gateway.feed.api_keys()).await?;
    let body = gateway.bodies.read(&head.headers, body).await?;
    let asked = peek(&body.bytes).map_err(Refusal::unreadable)?;

    let table = gateway.feed.routes().ok_or_else(Refusal::not_ready)?;
    let route = table.find(&asked.model).ok_or_else(|| unknown(&asked.model))?;
    tally.on(route);
    if !route.admits(&client) {
        return Err(forbidden(&client, route));
    }
    let rule = matching(route, &head.headers).ok_or_else(|| no_rule(route))?;
    let models = rule.attempts(fastrand::u64(..));
    if models.is_empty() {
        return Err(nobody_may(route, rule));
    }
    let trial = Trial {
        gateway,
        route,
        asked: &asked,
        body: &body.bytes,
        headers: &head.headers,
        deadline: Instant::now() + route.timeouts.total,
    };
    trial.first_answer(&models, tally).await
}

/// The first rule whose headers the request has.
fn matching<'a>(route: &'a Route, headers: &HeaderMap) -> Option<&'a Rule> {
    let has = |(name, value): &(String, String)| headers.get_all(name.as_str()).iter().any(|given| given == value.as_str());
    route.rules.iter().find(|rule| rule.headers.iter().all(has))
}

/// Everything that attempts for one request share.
struct Trial<'a> {
    gateway: &'a Gateway,
    route: &'a Route,
    asked: &'a Peek,
    body: &'a Bytes,
    headers: &'a HeaderMap,
    deadline: Instant,
}

impl Trial<'_> {
    /// Asks one model after another.
    async fn first_answer(&self, models: &[&Arc<Backend>], tally: &mut Tally) -> Result<Answered, Refusal> {
        let mut failures: Vec<(&Backend, Failure)> = Vec::new();
        for model in models {
            if let Some((earlier, _)) = failures.last() {
                tally.fell_back(&earlier.model, &model.model);
            }
            if let Some((answer, place)) = self.ask(model, &mut failures).await {
                tally.answered_by(&model.model);
                return Ok(Answered {
                    answer,
                    request_id: self.headers.get(headers::REQUEST_ID).cloned(),
                    model: (*model).clone(),
                    attempts: failures.len() + 1,
                    idle: self.route.timeouts.idle,
                    deadline: self.deadline,
                    place,
                });
            }
            if failures.len() >= ATTEMPTS || Instant::now() >= self.deadline {
                break;
            }
        }
        Err(nobody_did(self.route, &failures))
    }

    /// Asks one model, at its least busy endpoint; at another one when that may help.
    async fn ask<'b>(&self, model: &'b Backend, failures: &mut Vec<(&'b Backend, Failure)>) -> Option<(Answer, Place)> {
        let Gateway { upstream, metrics, .. } = self.gateway;
        let mut tried: Vec<&Uri> = Vec::new();
        let mut reached = false;
        while failures.len() < ATTEMPTS
            && let Some((url, place)) = upstream.least_busy(&model.urls, &tried)
        {
            let failure = match self.attempt(model, url).await {
                Ok(answer) => {
                    metrics.attempted(&model.model, "answered");
                    return Some((answer, place));
                }
                Err(failure) => failure,
            };
            metrics.attempted(&model.model, failure.outcome());
            self.note(model, url, &failure);
            let again = failure.is_of_the_endpoint(reached);
            // Where there is no other endpoint, a fresh connection to the same one may do.
            if failure != Failure::Dropped || model.urls.len() > 1 {
                tried.push(url);
            }
            reached |= !matches!(failure, Failure::Unreachable(_) | Failure::Lacking);
            failures.push((model, failure));
            if !again {
                break;
            }
        }
        None
    }

    /// Says why an attempt failed, at times: clients are told less. A model at its limit is no news.
    fn note(&self, model: &Backend, url: &Uri, failure: &Failure) {
        let is_limit = matches!(failure, Failure::Status(StatusCode::TOO_MANY_REQUESTS, _));
        if is_limit || !self.gateway.quiet.may_tell(&model.model, failure.outcome()) {
            return;
        }
        let id = self.headers.get(headers::REQUEST_ID).and_then(|id| id.to_str().ok());
        let (model, cause) = (&model.model, failure.cause());
        tracing::warn!(id, %model, %url, cause, "an attempt failed, and more may have since: it {failure}");
    }

    async fn attempt(&self, model: &Backend, url: &Uri) -> Result<Answer, Failure> {
        let credentials = self.gateway.feed.credentials();
        let credential = match &model.destination {
            Some(destination) => Some(credentials.of(&model.model, destination).ok_or(Failure::NoCredentials)?),
            None => None,
        };
        let attempt = Attempt {
            url,
            headers: headers::to_model(self.headers, credential),
            body: self.asked.put(self.body, &model.upstream_model, false),
            is_streamed: self.asked.stream,
            may_be_lacking: model.may_be_lacking,
            timeouts: &self.route.timeouts,
            deadline: self.deadline,
        };
        attempt.make(&self.gateway.upstream).await
    }
}

/// A model's answer, ready to be shown.
struct Answered {
    answer: Answer,
    request_id: Option<HeaderValue>,
    model: Arc<Backend>,
    attempts: usize,
    idle: Duration,
    deadline: Instant,
    place: Place,
}

impl Answered {
    fn into_response(self, gateway: &Gateway, mut tally: Tally) -> Response {
        let (head, mut response) = match self.answer {
            Answer::Whole(head, body) => {
                if let Some(usage) = openai::usage(&body) {
                    tally.used(usage);
                }
                tally.end(head.status);
                let response = (head.status, body).into_response();
                (head, response)
            }
            Answer::Begun(head, begun) => {
                let times = (self.idle, self.deadline);
                let whose = Whose {
                    request_id: self.request_id,
                    model: self.model.model.clone(),
                };
                let relay = Relay::new(whose, begun, times, gateway.closing.clone(), tally, self.place);
                let response = relay.into_response(head.status);
                (head, response)
            }
        };
        *response.headers_mut() = headers::to_client(&head.headers, &self.model.model, self.attempts);
        response
    }
}

fn unknown(model: &str) -> Refusal {
    let message = format!(
        "there is no model {:?} here: GET /v1/models lists the names you may call; a RoutingPolicy with spec.model adds one",
        shown(model)
    );
    Refusal::new(StatusCode::NOT_FOUND, "model_not_found", message).about("model")
}

fn forbidden(client: &Client, route: &Route) -> Refusal {
    let who = match client {
        Client::ServiceAccount { namespace, name } => format!("service account {namespace}/{name}"),
        Client::ApiKey { name, .. } => format!("API key {name}"),
        Client::Anonymous => "a client without known credentials".to_owned(),
    };
    let message = match &route.policy {
        Some(policy) => format!(
            "{who} may not call {}: RoutingPolicy {policy} must admit it in spec.clients",
            route.name
        ),
        None => format!(
            "{who} may not call {}: only service accounts of its own namespace may call a model directly",
            route.name
        ),
    };
    Refusal::new(StatusCode::FORBIDDEN, "not_admitted", message)
}

fn no_rule(route: &Route) -> Refusal {
    let message = format!("no rule of {} is for a request with these headers", called(route));
    Refusal::new(StatusCode::BAD_REQUEST, "no_rule_matches", message)
}

/// No model is eligible; time or a person may change that.
fn nobody_may(route: &Route, rule: &Rule) -> Refusal {
    let message = format!("no model of {} may answer now: {}", called(route), rule.exclusions().join("; "));
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "no_eligible_model", message)
}

/// Every attempt failed. A last model without capacity is told as such, with its own advice when to come back.
fn nobody_did(route: &Route, failures: &[(&Backend, Failure)]) -> Refusal {
    let sentences: Vec<String> = failures
        .iter()
        .map(|(model, failure)| format!("{} {failure}", model.model.name))
        .collect();
    let message = format!("no model of {} answered: {}", called(route), sentences.join("; "));
    let refusal = match failures.last() {
        Some((_, Failure::Status(StatusCode::TOO_MANY_REQUESTS, retry_after))) => {
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message).retry_after(retry_after.clone())
        }
        Some((_, Failure::Silent(_) | Failure::OutOfTime)) => Refusal::new(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", message),
        _ => Refusal::new(StatusCode::BAD_GATEWAY, "upstream_failed", message),
    };
    refusal.after_attempts(failures.len())
}

fn called(route: &Route) -> String {
    match &route.policy {
        Some(policy) => format!("RoutingPolicy {policy}"),
        None => route.name.clone(),
    }
}
