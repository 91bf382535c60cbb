//! A small API server in memory, behind a real client: it knows get, create, replace, server-side apply, status and delete, counts what is sent, and can fail
//! or lose the answer of the k-th write. Enough to show that a settled object is silent and that a crash anywhere still converges.

#![expect(clippy::disallowed_types, reason = "this is the other side of the door")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::core::DynamicObject;
use kube::runtime::reflector::{self, store::Writer};
use kube::runtime::watcher::Event;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Connection, Grants, Known, Stores};

/// What happens to one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server refuses it.
    Refused,
    /// The server carries it out, and the answer is lost.
    AnswerLost,
    /// The server says nothing, and nothing happens.
    Unanswered,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    requests: Vec<String>,
    writes: usize,
    fault: Option<(usize, Fault)>,
}

/// The server.
#[derive(Clone, Default)]
pub(crate) struct Server(Arc<Mutex<State>>);

impl Server {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an object there, as a user would.
    pub(crate) fn put(&self, yaml: &str) {
        let object: DynamicObject = serde_saphyr::from_str(yaml).unwrap();
        let types = object.types.clone().unwrap();
        let (group, version) = types.api_version.rsplit_once('/').unwrap_or(("", types.api_version.as_str()));
        let root = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        let plural = match types.kind.as_str() {
            "RoutingPolicy" => "routingpolicies".to_owned(),
            "NetworkPolicy" => "networkpolicies".to_owned(),
            kind => format!("{}s", kind.to_lowercase()),
        };
        let namespace = object.metadata.namespace.clone().unwrap();
        let path = format!("{root}/namespaces/{namespace}/{plural}/{}", object.metadata.name.clone().unwrap());
        self.state().write(&path, serde_json::to_value(object).unwrap());
    }

    /// Changes an object, as another client would.
    pub(crate) fn change(&self, path: &str, change: Value) {
        self.state().write(path, change);
    }

    /// Removes an object, as another client would.
    pub(crate) fn remove(&self, path: &str) {
        self.state().objects.remove(path);
    }

    /// Fails the write of that number from now, counted from 0.
    pub(crate) fn fail(&self, number: usize, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.writes + number, fault));
    }

    /// Whether the next write, which is this one, is not to be answered; then it is counted.
    fn is_left_unanswered(&self, method: &Method, path: &str) -> bool {
        let mut state = self.state();
        let is_left = state.fault == Some((state.writes, Fault::Unanswered));
        if is_left {
            state.writes += 1;
            state.requests.push(format!("{method} {path}"));
        }
        is_left
    }

    /// The requests since the last call, events aside: they are told, not stored.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().requests)
    }

    /// Everything stored, without what differs between two runs.
    pub(crate) fn contents(&self) -> BTreeMap<String, Value> {
        let mut objects = self.state().objects.clone();
        objects.values_mut().for_each(forget_what_differs);
        objects
    }

    /// One stored object.
    pub(crate) fn get<K: DeserializeOwned>(&self, path: &str) -> Option<K> {
        self.state().objects.get(path).cloned().map(|o| serde_json::from_value(o).unwrap())
    }

    /// A door to it whose stores show what is stored now, as after a start of the process.
    pub(crate) fn cluster(&self) -> Cluster {
        let stores = Stores {
            models: self.known(),
            policies: self.known(),
            evaluations: self.known(),
            deployments: self.known(),
            services: self.known(),
            networks: self.known(),
            budgets: self.known(),
            claims: self.known(),
            volumes: self.known(),
            groups: self.known(),
            autoscalers: self.known(),
            scaled_objects: self.known(),
            jobs: self.known(),
            pods: self.known(),
            slices: self.known(),
            namespaces: self.known(),
            terms: self.known(),
            scalers: self.known(),
            backends: self.known(),
        };
        Cluster::new(self.connection(), stores)
    }

    /// The ReferenceGrants that are stored now, of a cluster that has the kind.
    pub(crate) fn grants(&self) -> Grants {
        Grants::known(&self.connection(), self.known(), self.known())
    }

    /// A connection to it.
    pub(crate) fn connection(&self) -> Connection {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { server.answer(request).await }
        });
        Client::new(service, "default")
    }

    fn known<K>(&self) -> Arc<Known<K>>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + 'static,
    {
        let (store, mut writer): (_, Writer<K>) = reflector::store();
        // The last but one part: of namespaces there is one in every other path too.
        let is_of_it = |path: &str| path.rsplit('/').nth(1) == Some(&*K::plural(&()));
        for (_, object) in self.state().objects.iter().filter(|(path, _)| is_of_it(path)) {
            writer.apply_watcher_event(&Event::Apply(serde_json::from_value(object.clone()).unwrap()));
        }
        Arc::new(Known::new(store))
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, std::io::Error> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if path.contains("/events") {
            return Ok(answer(StatusCode::CREATED, &body));
        }
        if head.method != Method::GET && self.is_left_unanswered(&head.method, &path) {
            return std::future::pending().await;
        }
        let mut state = self.state();
        state.requests.push(format!("{} {path}", head.method));
        if head.method == Method::GET {
            let of_all = path.strip_prefix("/api/v1/").filter(|plural| !plural.contains('/'));
            let of_namespace = path
                .strip_prefix("/api/v1/namespaces/")
                .filter(|rest| rest.matches('/').count() == 1);
            return Ok(match (of_all.or(of_namespace), state.objects.get(&path)) {
                (Some(plural), _) => answer(StatusCode::OK, &state.list(plural)),
                (None, Some(object)) => answer(StatusCode::OK, object),
                (None, None) => refusal(StatusCode::NOT_FOUND),
            });
        }
        let number = state.writes;
        state.writes += 1;
        let fault = state.fault.filter(|(at, _)| *at == number).map(|(_, fault)| fault);
        if fault == Some(Fault::Refused) {
            return Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR));
        }
        let done = match head.method {
            Method::PATCH => match path.strip_suffix("/status") {
                Some(of) if !state.objects.contains_key(of) => refusal(StatusCode::NOT_FOUND),
                Some(of) => answer(StatusCode::OK, &state.write_status(of, &body)),
                None => answer(StatusCode::OK, &state.write(&path, body)),
            },
            Method::POST => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap_or_default());
                match state.objects.contains_key(&path) {
                    true => refusal_as(StatusCode::CONFLICT, "AlreadyExists"),
                    false => answer(StatusCode::CREATED, &state.write(&path, body)),
                }
            }
            Method::PUT => match state.objects.get(&path) {
                Some(found) if found["metadata"]["resourceVersion"] == body["metadata"]["resourceVersion"] => {
                    answer(StatusCode::OK, &state.store(&path, body))
                }
                Some(_) => refusal_as(StatusCode::CONFLICT, "Conflict"),
                None => refusal(StatusCode::NOT_FOUND),
            },
            Method::DELETE => match state.objects.remove(&path) {
                Some(object) => answer(StatusCode::OK, &object),
                None => refusal(StatusCode::NOT_FOUND),
            },
            _ => refusal(StatusCode::METHOD_NOT_ALLOWED),
        };
        match fault {
            Some(Fault::AnswerLost) => Err(std::io::Error::other("the connection was closed")),
            _ => Ok(done),
        }
    }
}

impl State {
    fn write(&mut self, path: &str, change: Value) -> Value {
        let before = self.objects.get(path).cloned();
        let mut after = before
            .clone()
            .unwrap_or_else(|| json!({ "metadata": { "uid": format!("uid-{path}"), "generation": 1 } }));
        merge(&mut after, change);
        if let Some(before) = &before {
            if after == *before {
                return after;
            }
            if before["spec"] != after["spec"] {
                after["metadata"]["generation"] = json!(before["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
            }
        }
        self.store(path, after)
    }

    /// Those of one kind, of all namespaces or one, whatever their labels.
    fn list(&self, plural: &str) -> Value {
        let part = format!("/{plural}/");
        let of_it = self.objects.iter().filter(|(path, _)| path.contains(&part));
        json!({ "metadata": {}, "items": of_it.map(|(_, object)| object).collect::<Vec<_>>() })
    }

    fn write_status(&mut self, path: &str, body: &Value) -> Value {
        let mut after = self.objects.get(path).cloned().unwrap_or_default();
        after["status"] = body["status"].clone();
        self.store(path, after)
    }

    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path.to_owned(), object.clone());
        object
    }
}

/// As much of server-side apply as one manager sees: fields are set, lists are replaced.
fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (name, value) in change {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change,
    }
}

fn forget_what_differs(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in ["resourceVersion", "lastTransitionTime", "managedFields"] {
                fields.remove(name);
            }
            fields.values_mut().for_each(forget_what_differs);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_what_differs),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn answer(status: StatusCode, body: &Value) -> Response<Body> {
    Response::builder()
        .status(status)
        .body(Body::from(serde_json::to_vec(body).unwrap()))
        .unwrap()
}

fn refusal(status: StatusCode) -> Response<Body> {
    refusal_as(status, &status.canonical_reason().unwrap_or_default().replace(' ', ""))
}

fn refusal_as(status: StatusCode, reason: &str) -> Response<Body> {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": status.to_string(), "reason": reason, "code": status.as_u16() });
    answer(status, &body)
}
