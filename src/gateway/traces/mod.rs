//! Traces in OpenTelemetry's form: a span for each request, and below it one for each attempt at a model, with the attributes of its GenAI
//! conventions (in development) and none of what was asked or answered.
//!
//! ```text
//! client's span ─► SERVER `chat assistant` ─┬─► CLIENT `chat gpt-5-mini`  (failed)
//!                                           └─► CLIENT `chat llama-8b`    (answers; its engine's spans are below it)
//! ```
//!
//! The copy of a request for a shadow is a trace of its own, `chat assistant (shadow gpt)`, linked to the span of the request.
//!
//! Tokens and costs are on the request's span only, so that no sum counts them twice.

mod context;
mod export;

use http::{HeaderMap, StatusCode, Uri};
use opentelemetry::trace::{Link, Span as _, SpanContext, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span};

pub use export::{BadTraces, Traces};

pub(super) use context::Parent;

use super::conventions;
use super::tally::Record;
use crate::plan::names::Key;
use crate::plan::price::Cost;
use crate::plan::routing::Backend;
use crate::protocol::Operation;

impl Traces {
    /// The span of a request that has come.
    pub(super) fn begin(&self, operation: Operation, parent: Option<&Parent>) -> Tracing {
        let above = match parent {
            Some(parent) => Context::new().with_remote_span_context(parent.context()),
            None => Context::new(),
        };
        let span = self
            .tracer()
            .span_builder(conventions::operation(operation))
            .with_kind(SpanKind::Server);
        Tracing {
            request: span.start_with_context(self.tracer(), &above),
            tracer: self.tracer().clone(),
            attempt: None,
            has_parent: parent.is_some(),
        }
    }

    /// The span of a copy of a request, whose own span is `original`: a trace of its own, linked to that one, so that nobody who reads that takes
    /// it for a part of what the client waited for.
    pub(super) fn begin_copy(&self, operation: Operation, original: SpanContext) -> Tracing {
        let span = self
            .tracer()
            .span_builder(conventions::operation(operation))
            .with_kind(SpanKind::Internal)
            .with_links(vec![Link::new(original, Vec::new(), 0)])
            .with_attributes([KeyValue::new("portfolio.shadow", true)]);
        Tracing {
            request: span.start_with_context(self.tracer(), &Context::new()),
            tracer: self.tracer().clone(),
            attempt: None,
            has_parent: false,
        }
    }
}

/// The spans of one request.
pub(super) struct Tracing {
    tracer: SdkTracer,
    request: Span,
    /// The last attempt, as long as it may still answer.
    attempt: Option<Span>,
    has_parent: bool,
}

impl Tracing {
    /// What the trace of a copy of the request is linked to; `None` where nothing is recorded.
    pub(super) fn link(&self) -> Option<SpanContext> {
        self.request.is_recording().then(|| self.request.span_context().clone())
    }

    /// The id of the trace.
    pub(super) fn trace(&self) -> u128 {
        u128::from_be_bytes(self.request.span_context().trace_id().to_bytes())
    }

    /// An attempt begins; `headers` are those of its request. Where nothing is recorded the client's own context goes on, unless there is
    /// none: then ours says that nothing is.
    pub(super) fn attempts(&mut self, operation: Operation, model: &Backend, base: &Uri, headers: &mut HeaderMap) {
        if !self.request.is_recording() {
            if !self.has_parent {
                context::put(self.request.span_context(), headers);
            }
            return;
        }
        let above = Context::new().with_remote_span_context(self.request.span_context().clone());
        let word = conventions::operation(operation);
        let mut about = vec![
            KeyValue::new("gen_ai.operation.name", word),
            KeyValue::new("gen_ai.provider.name", conventions::provider(model)),
            KeyValue::new("gen_ai.request.model", model.upstream_model.clone()),
            KeyValue::new("portfolio.model", model.model.to_string()),
        ];
        if let Some(host) = conventions::public_host(model, base) {
            about.push(KeyValue::new("server.address", host.to_owned()));
            about.push(KeyValue::new("server.port", i64::from(base.port_u16().unwrap_or(443))));
        }
        let span = self.tracer.span_builder(format!("{word} {}", model.upstream_model));
        let span = span.with_kind(SpanKind::Client).with_attributes(about);
        let span = span.start_with_context(&self.tracer, &above);
        context::put(span.span_context(), headers);
        self.attempt = Some(span);
    }

    /// The attempt, if it began, brought no answer.
    pub(super) fn failed(&mut self, outcome: &'static str) {
        if let Some(mut span) = self.attempt.take() {
            fail(&mut span, outcome.to_owned(), true);
            span.end();
        }
    }

    /// The request has ended.
    pub(super) fn end(mut self, record: &Record) {
        if !self.request.is_recording() {
            return;
        }
        let error = record.error_type();
        if let Some(mut span) = self.attempt.take() {
            if let Some(error) = &error {
                fail(&mut span, error.clone(), true);
            }
            span.end();
        }
        let span = &mut self.request;
        if let Some(route) = &record.route {
            span.update_name(format!("{} {}", conventions::operation(record.operation), route.name));
        }
        span.set_attributes(attributes(record));
        if let Some(error) = error {
            // A client's own fault, or its leaving, is no error of a server.
            let is_ours = record.broken.is_some() || record.status.is_some_and(|status| status.is_server_error());
            fail(span, error, is_ours);
        }
        span.end();
    }
}

fn fail(span: &mut Span, error: String, is_ours: bool) {
    span.set_attribute(KeyValue::new("error.type", error));
    if is_ours {
        span.set_status(Status::error(""));
    }
}

fn attributes(record: &Record) -> Vec<KeyValue> {
    let mut all = vec![
        KeyValue::new("gen_ai.operation.name", conventions::operation(record.operation)),
        KeyValue::new("gen_ai.request.stream", record.is_streamed),
        KeyValue::new("portfolio.attempts", count(record.attempts as u64)),
    ];
    let provider = record.model.as_deref().map_or(conventions::OTHER, conventions::provider);
    all.push(KeyValue::new("gen_ai.provider.name", provider));
    if let Some(status) = record.status {
        all.push(KeyValue::new("http.response.status_code", i64::from(StatusCode::as_u16(&status))));
    }
    if let Some(route) = &record.route {
        all.push(KeyValue::new("gen_ai.request.model", route.name.clone()));
        all.extend(
            route
                .policy
                .as_ref()
                .map(|policy| KeyValue::new("portfolio.policy", Key::to_string(policy))),
        );
    }
    if let Some(model) = &record.model {
        all.push(KeyValue::new("gen_ai.response.model", model.model.to_string()));
    }
    if let Some(first) = record.first_content.filter(|_| record.is_streamed) {
        all.push(KeyValue::new("gen_ai.response.time_to_first_chunk", first.as_secs_f64()));
    }
    if let Some(charge) = record.charge {
        all.push(KeyValue::new("portfolio.estimated", charge.is_estimated));
        if let Cost::Known(nanos) = charge.cost {
            all.push(KeyValue::new("portfolio.cost_usd", nanos as f64 / 1e9));
        }
        all.push(KeyValue::new("gen_ai.usage.input_tokens", count(charge.tokens.prompt())));
        all.push(KeyValue::new("gen_ai.usage.output_tokens", count(charge.tokens.answer())));
        let parts = [
            ("gen_ai.usage.cache_read.input_tokens", charge.tokens.cache_read),
            ("gen_ai.usage.reasoning.output_tokens", charge.tokens.reasoning),
        ];
        let parts = parts.into_iter().filter(|(_, tokens)| *tokens > 0);
        all.extend(parts.map(|(name, tokens)| KeyValue::new(name, count(tokens))));
    }
    all
}

fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
