//! OpenTelemetry's GenAI metrics under the names that its mapping to Prometheus gives them, with the boundaries that it recommends
//! (open-telemetry/semantic-conventions-genai, `gen-ai-metrics.md`; in development). What is only estimated is no usage, so not here.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::family::Family;
use super::labels::GenAiLabels;
use crate::gateway::conventions::{self, OTHER};
use crate::gateway::tally::Record;
use crate::protocol::Operation;

const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
const DURATION: [f64; 14] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
const FIRST_TOKEN: [f64; 16] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
const PER_TOKEN: [f64; 13] = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];

type Histograms = Family<GenAiLabels, Histogram>;

/// All of them.
pub(super) struct GenAi {
    pub(super) tokens: Histograms,
    pub(super) duration: Histograms,
    pub(super) first_token: Histograms,
    pub(super) per_token: Histograms,
}

impl GenAi {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let all = Self {
            tokens: Family::new(|| Histogram::new(TOKENS)),
            duration: Family::new(|| Histogram::new(DURATION)),
            first_token: Family::new(|| Histogram::new(FIRST_TOKEN)),
            per_token: Family::new(|| Histogram::new(PER_TOKEN)),
        };
        registry.register(
            "gen_ai_client_token_usage",
            "Number of input and output tokens used, as models report them",
            all.tokens.clone(),
        );
        let mut seconds =
            |name: &str, help: &str, family: &Histograms| registry.register_with_unit(name, help, Unit::Seconds, family.clone());
        seconds(
            "gen_ai_server_request_duration",
            "From the request to the end of its answer",
            &all.duration,
        );
        seconds(
            "gen_ai_server_time_to_first_token",
            "From the request to the first content of a streamed answer",
            &all.first_token,
        );
        seconds(
            "gen_ai_server_time_per_output_token",
            "Time per output token after the first content of a streamed answer",
            &all.per_token,
        );
        all
    }

    /// A request that ended in an error, or that no model answered.
    pub(super) fn count_error(&self, record: &Record, seconds: f64) {
        let labels = GenAiLabels {
            provider: record.model.as_deref().map_or(OTHER, conventions::provider),
            error: record.error_type(),
            ..labels(record)
        };
        self.duration.of(labels).observe(seconds);
    }
}

/// The series of one model under one name, by operation.
#[derive(Default)]
pub(super) struct ByOperation {
    chat: Handles,
    completion: Handles,
    embeddings: Handles,
    counting: Handles,
}

impl ByOperation {
    /// Those of an operation; two that have the same word count together.
    pub(super) fn of(&self, operation: Operation) -> &Handles {
        match operation {
            Operation::ChatCompletions | Operation::Responses | Operation::Messages => &self.chat,
            Operation::Completions => &self.completion,
            Operation::Embeddings => &self.embeddings,
            Operation::CountTokens => &self.counting,
        }
    }
}

/// The series of one operation at one model under one name, each made when there is something to count.
#[derive(Default)]
pub(super) struct Handles {
    input: OnceLock<Histogram>,
    output: OnceLock<Histogram>,
    duration: OnceLock<Histogram>,
    first_token: OnceLock<Histogram>,
    per_token: OnceLock<Histogram>,
}

impl Handles {
    pub(super) fn count_tokens(&self, all: &GenAi, record: &Record) {
        let Some(charge) = record.charge.filter(|charge| !charge.is_estimated) else {
            return;
        };
        let of = |handle: &OnceLock<Histogram>, token_type, count: u64| {
            let make = || {
                all.tokens.of(GenAiLabels {
                    token_type: Some(token_type),
                    ..labels(record)
                })
            };
            handle.get_or_init(make).observe(count as f64);
        };
        of(&self.input, "input", charge.tokens.prompt());
        of(&self.output, "output", charge.tokens.answer());
    }

    /// A request that was answered as asked.
    pub(super) fn count_good(&self, all: &GenAi, record: &Record, elapsed: Duration) {
        let of = |handle: &OnceLock<Histogram>, family: &Histograms, seconds: f64| {
            handle.get_or_init(|| family.of(labels(record))).observe(seconds);
        };
        of(&self.duration, &all.duration, elapsed.as_secs_f64());
        let Some(first) = record.first_content.filter(|_| record.is_streamed) else {
            return;
        };
        of(&self.first_token, &all.first_token, first.as_secs_f64());
        let after_first = record.charge.filter(|charge| !charge.is_estimated);
        let after_first = after_first.map_or(0, |charge| charge.tokens.answer().saturating_sub(1));
        if after_first > 0 {
            let rest = elapsed.saturating_sub(first).as_secs_f64();
            of(&self.per_token, &all.per_token, rest / after_first as f64);
        }
    }
}

fn labels(record: &Record) -> GenAiLabels {
    GenAiLabels {
        operation: conventions::operation(record.operation),
        provider: record.model.as_deref().map_or(OTHER, conventions::provider),
        request_model: record.route.as_ref().map(|route| route.name.clone()),
        response_model: record.model.as_ref().map(|model| model.model.to_string()),
        token_type: None,
        error: None,
    }
}
