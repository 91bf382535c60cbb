//! What feeds a gateway, against an API server that can go away.

use std::io;

use axum::body::Body as AxumBody;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use kube::client::Body;
use serde_json::json;
use tower::ServiceExt;

use super::*;

#[tokio::test]
async fn moves_that_come_together_are_settled_together() {
    let (sender, mut moves) = futures::channel::mpsc::unbounded();
    for _ in 0..100 {
        sender.unbounded_send(()).unwrap();
    }
    settle(&mut moves).await;
    assert!(moves.next().now_or_never().is_none());
}

/// An API server that has one policy of a model of another namespace, which a grant permits, and where nothing ever moves; `true`: it is there.
#[derive(Clone)]
struct Server(watch::Sender<bool>);

impl Server {
    fn connection(&self) -> Connection {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { server.answer(&request) }
        });
        Connection::new(service, "default")
    }

    fn answer(&self, request: &Request<Body>) -> Result<Response<AxumBody>, io::Error> {
        let mut is_there = self.0.subscribe();
        if !*is_there.borrow() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
            // Open until the server goes.
            let end = async move {
                is_there.wait_for(|is_there| !is_there).await.ok();
                Err::<Frame<Bytes>, _>(io::Error::from(io::ErrorKind::ConnectionReset))
            };
            return Ok(Response::new(AxumBody::new(StreamBody::new(stream::once(end)))));
        }
        let policy = json!({
            "metadata": {"name": "assistant", "namespace": "claims", "uid": "u", "resourceVersion": "1"},
            "spec": {"model": "assistant", "clients": [{"anonymous": {}}], "rules": [{"targets": [{"model": "a", "namespace": "models"}]}]},
        });
        let model = json!({
            "metadata": {"name": "a", "namespace": "models", "uid": "m", "resourceVersion": "1"},
            "spec": {"selfHosted": {"engine": {"kind": "VLLM"}}},
        });
        let grant = json!({
            "metadata": {"name": "g", "namespace": "models", "uid": "g", "resourceVersion": "1"},
            "spec": {
                "from": [{"group": "llmportfolio.dev", "kind": "RoutingPolicy", "namespace": "claims"}],
                "to": [{"group": "llmportfolio.dev", "kind": "ModelDeployment"}],
            },
        });
        if request.uri().path() == "/apis/gateway.networking.k8s.io/v1" {
            let kind = json!({"name": "referencegrants", "kind": "ReferenceGrant", "singularName": "", "namespaced": true, "verbs": []});
            let known = json!({"groupVersion": "gateway.networking.k8s.io/v1", "resources": [kind]});
            return Ok(Response::new(AxumBody::from(known.to_string())));
        }
        let items = match request.uri().path().rsplit('/').next() {
            Some("routingpolicies") => vec![policy],
            Some("modeldeployments") => vec![model],
            Some("referencegrants") => vec![grant],
            _ => vec![],
        };
        let list = json!({"metadata": {"resourceVersion": "1"}, "items": items});
        Ok(Response::new(AxumBody::from(list.to_string())))
    }
}

async fn get(gateway: &Arc<Gateway>, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(AxumBody::empty()).unwrap();
    let answer = gateway::app(Arc::clone(gateway)).oneshot(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// What keeps the model of the other namespace from answering.
async fn why_not(gateway: &Arc<Gateway>) -> String {
    let body = r#"{"model": "assistant", "messages": [{"role": "user", "content": "x"}]}"#;
    let request = Request::post("/v1/chat/completions").body(AxumBody::from(body)).unwrap();
    let answer = gateway::app(Arc::clone(gateway)).oneshot(request).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Time passes by itself while everybody waits.
async fn until_ready(gateway: &Arc<Gateway>, status: u16, says: &str) {
    let said = async {
        while get(gateway, "/readyz").await != (StatusCode::from_u16(status).unwrap(), says.to_owned()) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), said).await.expect(says);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_whose_api_server_is_gone_keeps_its_routes_and_says_so_until_it_is_back() {
    let server = Server(watch::channel(true).0);
    let (source, feed) = gateway::feed();
    let options = Options {
        allow_anonymous: true,
        ..Options::new(cluster::now)
    };
    let gateway = Gateway::new(feed, None, &options).unwrap();
    assert_eq!(get(&gateway, "/readyz").await.0, 503);
    let (_book, book) = watch::channel(Arc::new(Book::default()));
    let settings = Settings {
        allow_anonymous: true,
        ..Settings::default()
    };
    tokio::spawn(super::watch(
        server.connection(),
        "llm-portfolio".to_owned(),
        source,
        settings,
        book,
    ));
    until_ready(&gateway, 200, "ready\n").await;
    let granted = "models/a has no ready pod";
    assert!(why_not(&gateway).await.contains(granted), "the first table knows the grants");

    for _ in 0..2 {
        server.0.send_replace(false);
        until_ready(
            &gateway,
            200,
            "ready, with what was known before the API server stopped answering\n",
        )
        .await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let (status, models) = get(&gateway, "/v1/models").await;
        assert!(status == 200 && models.contains("\"id\":\"assistant\""), "{models}");
        assert!(why_not(&gateway).await.contains(granted), "what was granted is believed");
        assert!(get(&gateway, "/metrics").await.1.contains("portfolio_gateway_routes_current 0\n"));

        server.0.send_replace(true);
        // Nothing moves in this cluster: the watches alone would never say that they are open again.
        until_ready(&gateway, 200, "ready\n").await;
        assert!(get(&gateway, "/metrics").await.1.contains("portfolio_gateway_routes_current 1\n"));
    }
}
