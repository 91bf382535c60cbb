//! Where traces go: to an OpenTelemetry collector, over HTTP in protobuf. In batches from a bounded queue, on a thread of its own: a
//! collector that is slow or gone loses spans, and costs requests nothing.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Key, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;

use crate::protocol::root_cause;
use crate::tls::{self, BadCertificates};

/// The name of the service where `OTEL_SERVICE_NAME` says none.
const SERVICE: &str = "llm-portfolio-gateway";
/// How long a collector may take to accept a batch.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last spans may take at the end.
const FLUSH: Duration = Duration::from_secs(5);
/// The most that is read of a collector's answer.
const ANSWER_LIMIT: usize = 64 << 10;
/// Between two lines that say that the collector takes nothing.
const QUIET: Duration = Duration::from_secs(300);

/// Where the spans of requests go. Clones go to the same.
#[derive(Clone, Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// Traces were asked for and cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum BadTraces {
    /// The certificates to trust.
    #[error(transparent)]
    Certificates(#[from] BadCertificates),
    /// The HTTP client.
    #[error("making the client for traces")]
    Client(#[from] reqwest::Error),
    /// A variable of the environment: an endpoint, headers, a compression.
    #[error("sending traces as the OTEL_EXPORTER_OTLP_ variables say")]
    Settings(#[from] ExporterBuildError),
}

impl Traces {
    /// As the environment says: `None` without `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or where
    /// `OTEL_SDK_DISABLED` is true or `OTEL_TRACES_EXPORTER` is none. Reads the standard variables for what is sent (`OTEL_SERVICE_NAME`,
    /// `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_…`, `OTEL_EXPORTER_OTLP_HEADERS`). Must be called within a runtime.
    ///
    /// # Errors
    /// When traces are asked for and the settings or certificates cannot be used.
    pub fn from_environment(ca_file: Option<&Path>) -> Result<Option<Self>, BadTraces> {
        let given = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let has_endpoint = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]
            .into_iter()
            .any(|name| given(name).is_some());
        let is_off = given("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || given("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        if !has_endpoint || is_off {
            return Ok(None);
        }
        let protocol = given("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| given("OTEL_EXPORTER_OTLP_PROTOCOL"));
        if let Some(protocol) = protocol.filter(|protocol| protocol != "http/protobuf") {
            tracing::warn!(%protocol, "traces are sent as http/protobuf, the only protocol of OTLP that is spoken here (port 4318)");
        }
        Self::over(ca_file, None).map(Some)
    }

    /// To this endpoint (such as `http://collector:4318/v1/traces`), whatever the environment says.
    ///
    /// # Errors
    /// When it is no URL, or the certificates cannot be read.
    pub fn to(endpoint: &str, ca_file: Option<&Path>) -> Result<Self, BadTraces> {
        Self::over(ca_file, Some(endpoint))
    }

    fn over(ca_file: Option<&Path>, endpoint: Option<&str>) -> Result<Self, BadTraces> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::trusting(ca_file)?)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()?;
        let client = Client {
            http,
            runtime: Handle::current(),
            troubled: Mutex::default(),
        };
        let exporter = SpanExporter::builder().with_http().with_http_client(client);
        let exporter = match endpoint {
            Some(endpoint) => exporter.with_endpoint(endpoint).build()?,
            None => exporter.build()?,
        };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource())
            .build();
        let tracer = provider.tracer("llm-portfolio");
        Ok(Self { provider, tracer })
    }

    pub(super) fn tracer(&self) -> &SdkTracer {
        &self.tracer
    }

    /// Sends what is left, for a few seconds at most. Nothing is recorded from then on.
    pub async fn finish(self) {
        // It waits for the thread that sends, which waits for this runtime.
        let ended = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(FLUSH)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::warn!("the last traces may be lost: the collector did not take them in time");
        }
    }
}

/// What the environment says of this process, and a name where it says none.
fn resource() -> Resource {
    let given = Resource::builder().build();
    let name = given.get(&Key::from_static_str("service.name"));
    let is_named = name.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if is_named {
        resource.build()
    } else {
        resource.with_service_name(SERVICE).build()
    }
}

/// What batches are sent with. They come from a thread without a runtime, so each is sent by a task of ours.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
    /// Since when nothing is taken, as far as it was told.
    troubled: Mutex<Option<Instant>>,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.runtime.spawn(send(self.http.clone(), request)).await;
        let answer = sent.map_err(HttpError::from).and_then(|answer| answer);
        let problem = match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answered {}", answer.status().as_u16())),
            Err(error) => Some(root_cause(&**error)),
        };
        self.tell(problem);
        answer
    }
}

impl Client {
    /// Says that the collector takes nothing, at times, and once that it does again.
    fn tell(&self, problem: Option<String>) {
        let mut troubled = self.troubled.lock().unwrap_or_else(PoisonError::into_inner);
        match problem {
            Some(cause) if troubled.is_none_or(|told| told.elapsed() >= QUIET) => {
                *troubled = Some(Instant::now());
                tracing::warn!(
                    cause,
                    "the collector takes no traces: those that do not fit into the queue are lost"
                );
            }
            Some(_) => {}
            None if troubled.take().is_some() => tracing::info!("the collector takes traces again"),
            None => {}
        }
    }
}

async fn send(http: reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let mut answer = http.execute(request.try_into()?).await?;
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        if body.len() + piece.len() > ANSWER_LIMIT {
            return Err("its answer is too long".into());
        }
        body.extend_from_slice(&piece);
    }
    let mut whole = Response::new(Bytes::from(body));
    *whole.status_mut() = answer.status();
    *whole.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(whole)
}
