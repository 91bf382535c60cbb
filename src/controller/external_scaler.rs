//! What KEDA asks: its external scaler, over gRPC. Of each model that KEDA scales it is told one metric, the number of replicas that was decided for it,
//! to be one for each replica; and at once when a model is to have its first replica. That it is to have none KEDA takes from its next question.
//!
//! Only the holder of the lease answers: with two replicas of the operator, KEDA's connection to the other one is refused, and its next try finds this
//! one. Anybody in the cluster may ask: what is told is no more than numbers of replicas.
//!
//! Source: <https://keda.sh/docs/latest/concepts/external-scalers/>

mod wire;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use futures::{Stream, StreamExt, stream};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::server::Grpc;
use tonic_prost::ProstCodec;

use super::context::Context;
use super::model_deployment;
use crate::plan::names::{self, Key};
use crate::plan::scaling::driver::{Driver, METRIC};
use wire::{GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec, MetricValue, ScaledObjectRef};

/// The name of the service in paths.
pub(super) const SERVICE: &str = "externalscaler.ExternalScaler";
/// How many calls one connection may have open: KEDA's is one, with a stream for each model.
const CALLS: u32 = 10_000;
/// How many connections there may be: each replica of KEDA's operator has one.
const CONNECTIONS: usize = 64;
/// How long a new connection may say nothing.
const FIRST_WORD: Duration = Duration::from_secs(10);
/// A connection that says nothing is asked whether it is there, and closed when it is not.
const ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));
/// How long open calls have when the process ends.
const DRAIN: Duration = Duration::from_secs(2);
/// Between a connection that could not be taken and the next try.
const PAUSE: Duration = Duration::from_millis(100);

/// What answers.
#[derive(Clone)]
struct Scaler {
    cx: Arc<Context>,
    stop: CancellationToken,
}

/// Answers until `stop`.
pub(super) async fn serve(listener: TcpListener, cx: Arc<Context>, stop: CancellationToken) {
    let router = router(cx, stop.clone());
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a connection of KEDA's is not taken");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            tracing::warn!(
                most = CONNECTIONS,
                "there are more connections to the external scaler than KEDA makes, and another one is closed"
            );
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        let mut server = http2::Builder::new(TokioExecutor::new());
        server
            .timer(TokioTimer::new())
            .max_concurrent_streams(CALLS)
            .keep_alive_interval(ALIVE.0)
            .keep_alive_timeout(ALIVE.1);
        let stop = stop.clone();
        connections.spawn(async move {
            let _place = place;
            if !matches!(timeout(FIRST_WORD, stream.peek(&mut [0])).await, Ok(Ok(1..))) {
                return;
            }
            let connection = server.serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection of KEDA's ended");
            }
        });
    }
    connections.close();
    timeout(DRAIN, connections.wait()).await.ok();
}

fn router(cx: Arc<Context>, stop: CancellationToken) -> Router {
    let path = |method: &str| format!("/{SERVICE}/{method}");
    Router::new()
        .route(&path("IsActive"), post(is_active))
        .route(&path("StreamIsActive"), post(stream_is_active))
        .route(&path("GetMetricSpec"), post(metric_spec))
        .route(&path("GetMetrics"), post(metrics))
        .fallback(async || Status::unimplemented("there is no such method").into_http::<Body>())
        .with_state(Scaler { cx, stop })
}

async fn is_active(State(scaler): State<Scaler>, request: Request) -> Response {
    let answer = |of: &ScaledObjectRef| {
        let replicas = scaler.replicas(of)?;
        Ok(IsActiveResponse { result: replicas > 0 })
    };
    unary(request, answer).await
}

async fn metric_spec(State(scaler): State<Scaler>, request: Request) -> Response {
    let answer = |of: &ScaledObjectRef| {
        scaler.model(of)?;
        let spec = MetricSpec {
            metric_name: METRIC.to_owned(),
            target_size: 1,
            target_size_float: 1.0,
        };
        Ok(GetMetricSpecResponse { metric_specs: vec![spec] })
    };
    unary(request, answer).await
}

async fn metrics(State(scaler): State<Scaler>, request: Request) -> Response {
    let answer = |asked: &GetMetricsRequest| {
        let of = asked.scaled_object_ref.clone().unwrap_or_default();
        let replicas = scaler.replicas(&of)?;
        let value = MetricValue {
            metric_name: asked.metric_name.clone(),
            metric_value: i64::from(replicas),
            metric_value_float: f64::from(replicas),
        };
        Ok(GetMetricsResponse {
            metric_values: vec![value],
        })
    };
    unary(request, answer).await
}

async fn stream_is_active(State(scaler): State<Scaler>, request: Request) -> Response {
    let service = tower::service_fn(|of: tonic::Request<ScaledObjectRef>| {
        let followed = scaler
            .model(of.get_ref())
            .map(|model| scaler.cx.autoscaler.numbers().follow(&model));
        let stop = scaler.stop.clone();
        std::future::ready(followed.map(|told| tonic::Response::new(activity(told).take_until(stop.cancelled_owned()))))
    });
    let mut grpc = Grpc::new(ProstCodec::<IsActiveResponse, ScaledObjectRef>::default());
    grpc.server_streaming(service, request).await.map(Body::new)
}

/// Whether there are to be any, now and whenever that changes, for as long as KEDA scales the model.
fn activity(told: watch::Receiver<Option<u32>>) -> impl Stream<Item = Result<IsActiveResponse, Status>> + Send {
    stream::unfold((told, None), async |(mut told, said)| {
        loop {
            let now = told.borrow_and_update().map(|replicas| replicas > 0);
            if let Some(result) = now.filter(|now| Some(*now) != said) {
                return Some((Ok(IsActiveResponse { result }), (told, Some(result))));
            }
            told.changed().await.ok()?;
        }
    })
}

/// One question, one answer.
async fn unary<Q, A>(request: Request, answer: impl Fn(&Q) -> Result<A, Status>) -> Response
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + Default + 'static,
{
    let service = tower::service_fn(|asked: tonic::Request<Q>| std::future::ready(answer(asked.get_ref()).map(tonic::Response::new)));
    Grpc::new(ProstCodec::<A, Q>::default())
        .unary(service, request)
        .await
        .map(Body::new)
}

impl Scaler {
    /// The model that a ScaledObject scales, if it is one of ours.
    fn model(&self, of: &ScaledObjectRef) -> Result<Key, Status> {
        let key = names::model_of_engine(&of.name).map(|name| Key::new(&of.namespace, name));
        let is_moved = |key: &Key| {
            let md = self.cx.cluster.stores.models.get(key)?;
            let scaling = md.spec.self_hosted.as_ref()?.scaling.as_ref()?;
            (Driver::of(scaling, self.cx.keda()) == Driver::Keda).then_some(())
        };
        key.filter(|key| is_moved(key).is_some()).ok_or_else(|| {
            Status::not_found(format!(
                "{}/{} scales no ModelDeployment with the engine KEDA",
                of.namespace, of.name
            ))
        })
    }

    /// How many it is to have. Until that is decided, as many as there are: nothing is taken away by what is not known, and an error would have KEDA
    /// close the connection by which it hears of a first replica, and open it again after a pause that grows to minutes.
    fn replicas(&self, of: &ScaledObjectRef) -> Result<u32, Status> {
        let model = self.model(of)?;
        let there = || {
            let md = self.cx.cluster.stores.models.get(&model)?;
            let replicas = model_deployment::replicas(&md, md.spec.self_hosted.as_ref()?, &self.cx)?;
            u32::try_from(replicas).ok()
        };
        let wanted = self.cx.autoscaler.numbers().now(&model).or_else(there);
        wanted.ok_or_else(|| Status::unavailable(format!("ModelDeployment {model} has no pods to scale yet")))
    }
}

#[cfg(test)]
mod tests;
