//! The gateway over files, in process: what it answers, and what a change of the files does to it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use clap::Parser;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::plan::api_key::{self, ApiKey, Expires};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    serve: Serve,
}

/// A folder with one file, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str, text: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("llm-portfolio-serve-{}-{test}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let folder = Self(folder);
        folder.write(text);
        folder
    }

    fn write(&self, text: &str) {
        fs::write(self.0.join("portfolio.yaml"), text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A follower of `folder` and the gateway that it feeds.
fn world(folder: &Folder, secrets: &[((Key, String), String)], allow_anonymous: bool) -> (Follower, Router) {
    let path = folder.0.display().to_string();
    let Arguments { serve } = Arguments::parse_from(["serve", "-f", &path]);
    let (source, feed) = gateway::feed();
    let options = Options {
        allow_anonymous,
        ..Options::new(cluster::now)
    };
    let gateway = Gateway::new(feed, None, &options).unwrap();
    let secrets = secrets.iter().cloned().collect();
    (
        Follower::new(serve.files, None, secrets, allow_anonymous, source),
        gateway::app(gateway),
    )
}

/// What a chat with `model` is answered, with an API key or without.
async fn chat(app: &Router, model: &str, key: Option<&str>) -> (StatusCode, String) {
    let mut request = Request::post("/v1/chat/completions").header(header::CONTENT_TYPE, "application/json");
    if let Some(key) = key {
        request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
    }
    let body = format!(r#"{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}"#);
    let answer = app.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// An engine that says its name and the credentials it was shown.
async fn engine(name: &'static str) -> String {
    let answer = move |headers: http::HeaderMap| async move {
        let shown = headers
            .get(header::AUTHORIZATION)
            .map(|v| v.to_str().unwrap().to_owned())
            .unwrap_or_default();
        axum::Json(serde_json::json!({
            "id": "1", "object": "chat.completion", "created": 1, "model": name,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": format!("{name} {shown}")}, "finish_reason": "stop"}],
        }))
    };
    let app = Router::new().route("/v1/chat/completions", post(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

fn served(name: &str, url: &str) -> String {
    format!(
        "apiVersion: llmportfolio.dev/v1alpha1\nkind: ModelDeployment\n\
         metadata: {{name: {name}, annotations: {{llmportfolio.dev/endpoint: \"{url}\"}}}}\n\
         spec: {{selfHosted: {{engine: {{kind: LlamaCpp}}, accelerator: {{profile: cpu}}}}}}\n---\n"
    )
}

fn api(name: &str, url: &str) -> String {
    format!(
        "apiVersion: llmportfolio.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {{name: {name}}}\n\
         spec: {{api: {{provider: OpenAICompatible, endpoint: \"{url}/v1\", model: x, credentials: {{secretRef: {{name: s, key: k}}}}}}}}\n---\n"
    )
}

fn policy(model: &str, target: &str, clients: &str) -> String {
    format!(
        "apiVersion: llmportfolio.dev/v1alpha1\nkind: RoutingPolicy\nmetadata: {{name: p}}\n\
         spec: {{model: {model}, clients: [{clients}], rules: [{{targets: [{{model: {target}}}]}}]}}\n---\n"
    )
}

const ANYONE: &str = "{anonymous: {}}";

#[tokio::test]
async fn a_change_of_the_files_changes_the_routes() {
    let (a, b) = (engine("a").await, engine("b").await);
    let models = served("a", &a) + &served("b", &b);
    let folder = Folder::new("change", &(models.clone() + &policy("chat", "a", ANYONE)));
    let (mut follower, app) = world(&folder, &[], true);
    follower.begin().unwrap();
    assert!(chat(&app, "chat", None).await.1.contains("a "));
    assert_eq!(follower.look(), Step::Same);

    folder.write(&(models + &policy("talk", "b", ANYONE)));
    assert_eq!(follower.look(), Step::Changing);
    assert_eq!(follower.look(), Step::Swapped);
    assert_eq!(follower.look(), Step::Same);
    assert!(chat(&app, "talk", None).await.1.contains("b "));
    assert_eq!(chat(&app, "chat", None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_broken_edit_leaves_everything_as_it_was_and_is_said_once() {
    let a = engine("a").await;
    let good = served("a", &a) + &policy("chat", "a", ANYONE);
    let folder = Folder::new("broken", &good);
    let (mut follower, app) = world(&folder, &[], true);
    follower.begin().unwrap();

    folder.write(&good.replace("rules:", "ruels:"));
    assert_eq!(follower.look(), Step::Changing);
    let Step::Kept(findings) = follower.look() else {
        panic!("a broken edit was taken over")
    };
    let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(
        said.iter()
            .any(|line| line.contains("portfolio.yaml:9: RoutingPolicy default/p: spec.ruels: unknown field; did you mean rules?")),
        "{said:#?}"
    );
    assert_eq!(follower.look(), Step::Same);
    assert_eq!(chat(&app, "chat", None).await.0, StatusCode::OK);

    folder.write(&good);
    assert_eq!((follower.look(), follower.look()), (Step::Changing, Step::Swapped));
}

#[tokio::test]
async fn a_broken_price_book_keeps_the_prices_and_nothing_else() {
    let folder = Folder::new("book", &(served("a", "http://127.0.0.1:1") + &policy("chat", "a", ANYONE)));
    let book = folder.0.with_extension("prices.yaml");
    let entry = "prices: [{provider: OpenAI, model: m, inputPer1M: '1', outputPer1M: '2'}]\n";
    fs::write(&book, entry).unwrap();
    let (path, prices) = (folder.0.display().to_string(), book.display().to_string());
    let Arguments { serve } = Arguments::parse_from(["serve", "-f", &path, "--prices", &prices]);
    let (source, _feed) = gateway::feed();
    let routes = source.routes.subscribe();
    let mut follower = Follower::new(serve.files, None, GivenSecrets::new(), true, source);
    follower.begin().unwrap();
    assert_eq!(follower.prices(), (1, true));
    fs::write(&book, entry.replace("'2'", "twelve")).unwrap();
    folder.write(&(served("a", "http://127.0.0.1:1") + &policy("talk", "a", ANYONE)));
    assert_eq!((follower.look(), follower.look()), (Step::Changing, Step::Swapped));
    assert_eq!(follower.prices(), (1, false));
    assert!(routes.borrow().as_ref().unwrap().find("talk").is_some());
    fs::write(&book, entry).unwrap();
    assert_eq!((follower.look(), follower.look()), (Step::Changing, Step::Swapped));
    assert_eq!(follower.prices(), (1, true));
    fs::remove_file(book).unwrap();
}

#[tokio::test]
async fn files_that_were_emptied_or_removed_leave_everything_as_it_was() {
    let a = engine("a").await;
    let folder = Folder::new("emptied", &(served("a", &a) + &policy("chat", "a", ANYONE)));
    let (mut follower, app) = world(&folder, &[], true);
    follower.begin().unwrap();
    folder.write("# nothing\n");
    let mut kept = vec![(follower.look(), follower.look())];
    fs::remove_file(folder.0.join("portfolio.yaml")).unwrap();
    kept.push((follower.look(), follower.look()));
    for step in kept {
        let (Step::Changing, Step::Kept(findings)) = step else {
            panic!("an empty portfolio was taken over: {step:?}")
        };
        assert_eq!(findings[0].problem, "no ModelDeployment, RoutingPolicy or EvalJob is here");
    }
    assert_eq!(chat(&app, "chat", None).await.0, StatusCode::OK);

    let (mut other, _) = world(&folder, &[], true);
    assert_eq!(other.begin().unwrap_err().len(), 1);
}

#[tokio::test]
async fn an_api_model_answers_once_its_key_is_given() {
    let a = engine("a").await;
    let folder = Folder::new("key", &(api("gpt", &a) + &policy("chat", "gpt", ANYONE)));
    let (mut follower, app) = world(&folder, &[], true);
    follower.begin().unwrap();
    let (status, body) = chat(&app, "chat", None).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("KeyNotGiven"), "{body}");

    let key = ((Key::new("default", "s"), "k".to_owned()), "sk-1".to_owned());
    let (mut follower, app) = world(&folder, &[key], true);
    follower.begin().unwrap();
    let (status, body) = chat(&app, "chat", None).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("a Bearer sk-1"), "{body}");
}

#[tokio::test]
async fn clients_are_who_the_policy_admits() {
    let a = engine("a").await;
    let key = "sk-client";
    let hash = crate::plan::fingerprint::hex(&<sha2::Sha256 as sha2::Digest>::digest(key));
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: claims, labels: {{llmportfolio.dev/api-key: \"true\", team: claims}}}}\nstringData: {{sha256: \"{hash}\"}}\n---\n"
    );
    let with_keys = served("a", &a) + &secret + &policy("chat", "a", "{apiKeys: {matchLabels: {team: claims}}}");
    let folder = Folder::new("clients", &with_keys);
    let (mut follower, app) = world(&folder, &[], false);
    follower.begin().unwrap();
    assert_eq!(chat(&app, "chat", Some(key)).await.0, StatusCode::OK);
    assert_eq!(chat(&app, "chat", Some("sk-other")).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(chat(&app, "chat", None).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_key_create_prints_is_served_until_it_expires() {
    let a = engine("a").await;
    let made = |name: &str, key: &str, expires| {
        let holder = ApiKey {
            name: name.to_owned(),
            labels: [("team".to_owned(), "claims".to_owned())].into(),
            expires,
        };
        serde_saphyr::to_string(&api_key::secret("default", holder, api_key::hash(key))).unwrap() + "---\n"
    };
    let hour = Duration::from_secs(3600);
    let (past, future) = (cluster::now() - hour, cluster::now() + hour);
    let keys =
        made("now", "sk-now", Expires::At(future)) + &made("ever", "sk-ever", Expires::Never) + &made("old", "sk-old", Expires::At(past));
    let folder = Folder::new(
        "keys",
        &(served("a", &a) + &keys + &policy("chat", "a", "{apiKeys: {matchLabels: {team: claims}}}")),
    );
    let (mut follower, app) = world(&folder, &[], false);
    follower.begin().unwrap();
    for key in ["sk-now", "sk-ever"] {
        assert_eq!(chat(&app, "chat", Some(key)).await.0, StatusCode::OK, "{key}");
    }
    let (status, body) = chat(&app, "chat", Some("sk-old")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(body.contains("the API key expired at "), "{body}");
}

#[tokio::test]
async fn a_model_needs_no_policy_where_anyone_may_call() {
    let a = engine("a").await;
    let folder = Folder::new("direct", &served("a", &a));
    for (allow_anonymous, expected) in [(true, StatusCode::OK), (false, StatusCode::UNAUTHORIZED)] {
        let (mut follower, app) = world(&folder, &[], allow_anonymous);
        follower.begin().unwrap();
        assert_eq!(chat(&app, "default/a", None).await.0, expected);
    }
}

#[tokio::test]
async fn wrong_files_are_refused_at_the_start() {
    let folder = Folder::new(
        "start",
        "apiVersion: llmportfolio.dev/v1alpha1\nkind: RoutingPolicy\nmetadata: {name: p}\nspec: {model: m}\n",
    );
    let (mut follower, _) = world(&folder, &[], true);
    let findings = follower.begin().unwrap_err();
    assert_eq!(findings[0].field, "spec.rules");
}

#[test]
fn a_secret_from_the_environment_is_written_as_its_flag_says() {
    let flag: SecretFromEnv = "default/openai:api-key=OPENAI_API_KEY".parse().unwrap();
    assert_eq!(
        (flag.secret.to_string().as_str(), flag.key.as_str(), flag.variable.as_str()),
        ("default/openai", "api-key", "OPENAI_API_KEY")
    );
    for wrong in ["", "openai:api-key=X", "default/openai=X", "default/openai:=X", "default/openai:k="] {
        assert!(wrong.parse::<SecretFromEnv>().is_err(), "{wrong}");
    }
    let flags = [flag];
    assert_eq!(
        given(&flags, |_| Some("v".to_owned())).unwrap().into_values().collect::<Vec<_>>(),
        ["v"]
    );
    let error = given(&flags, |_| None).unwrap_err().to_string();
    assert!(error.contains("OPENAI_API_KEY is not set"), "{error}");
}

#[tokio::test]
async fn the_table_is_replaced_and_never_empty_in_between() {
    let folder = Folder::new("whole", &(served("a", "http://127.0.0.1:1") + &policy("chat", "a", ANYONE)));
    let path = folder.0.display().to_string();
    let Arguments { serve } = Arguments::parse_from(["serve", "-f", &path]);
    let (source, _feed) = gateway::feed();
    let mut routes = source.routes.subscribe();
    let mut follower = Follower::new(serve.files, None, GivenSecrets::new(), true, source);
    follower.begin().unwrap();
    let first = routes.borrow_and_update().clone().unwrap();
    folder.write(&(served("a", "http://127.0.0.1:1") + &policy("talk", "a", ANYONE)));
    follower.look();
    assert!(!routes.has_changed().unwrap());
    follower.look();
    let second = routes.borrow_and_update().clone().unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(first.find("chat").is_some() && second.find("talk").is_some() && second.find("chat").is_none());
}

#[tokio::test]
async fn two_places_for_what_was_spent_are_refused() {
    let folder = Folder::new("two-ledgers", "");
    let (settings, ledger) = (folder.0.join("settings.txt"), folder.0.join("ledger"));
    fs::write(&settings, "ledger: {redis: {url: 'redis://127.0.0.1:1'}}").unwrap();
    let [path, settings, ledger] = [&folder.0, &settings, &ledger].map(|path| path.display().to_string());
    let Arguments { serve } = Arguments::parse_from(["serve", "-f", &path, "--settings", &settings, "--ledger", &ledger]);
    let refused = serve.serve(&Lines::to_stderr().unwrap()).await.err().unwrap().to_string();
    assert!(
        refused.contains("--ledger") && refused.contains("ledger.redis of the settings: remove one of them"),
        "{refused}"
    );
    assert!(!Path::new(&ledger).exists());
}
