//! Classes of data and rules on a real cluster: a namespace's label reaches the gateways, and a policy that is changed to one that cannot be
//! carried out goes on by what it said before.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::http_client::HttpClient;
use e2e::images::Profile;
use e2e::portfolio::Portfolio;
use e2e::provider::{Options, Provider};
use e2e::{Cluster, skip, until};
use http::StatusCode;
use serde_json::{Value, json};

/// From a change to the routes that obey it.
const OBEYED: Duration = Duration::from_secs(10);

fn policy(name: &str, rules: &str) -> String {
    format!(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {{name: assistant}}
spec: {{model: {name}, rules: {rules}}}
"
    )
}

#[tokio::test]
async fn the_label_of_a_namespace_keeps_its_data_in_and_a_bad_change_keeps_the_last_good_policy() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let Some(local) = cluster.local() else {
        skip("its provider listens inside our own cluster");
        return Ok(());
    };
    let installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("rules").await?;
    let options = Options {
        tls: false,
        ..Options::default()
    };
    let provider = Provider::on(local.listen(0)?, options).await?;
    let chats = || {
        provider
            .records()
            .iter()
            .filter(|record| record.path.ends_with("/chat/completions"))
            .count()
    };
    ns.kubectl(&["create", "secret", "generic", "openai", "--from-literal=api-key=sk-good"])
        .await?;
    let name = format!("assistant-{}", ns.name());
    let model = format!(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: gpt}}
spec:
  jurisdiction: US
  api: {{provider: OpenAI, model: gpt-5-mini, region: eu, endpoint: '{}/v1', credentials: {{secretRef: {{name: openai, key: api-key}}}}}}
",
        provider.url()
    );
    let good = "[{name: long, when: {expression: 'request.inputTokens > 100000'}, targets: [{model: gpt}]}, {name: rest, targets: [{model: gpt}]}]";
    ns.apply(&model).await?;
    ns.apply(&policy(&name, good)).await?;

    let client = HttpClient::new(None)?;
    let bearer = format!("Bearer {}", installed.token(ns.name(), "caller").await?);
    let url = format!("{}/v1/chat/completions", installed.gateway());
    let body = json!({"model": name, "messages": [{"role": "user", "content": "hello"}]});
    let answers = async |status: StatusCode, class: &str, words: &str| {
        until(&format!("the answer is {status}"), OBEYED, async || {
            let mut headers = vec![("authorization", bearer.as_str())];
            headers.extend((!class.is_empty()).then_some(("x-data-class", class)));
            let answer = client.post(&url, &headers, &body).await?;
            let is_so = answer.status == status && answer.body.to_string().contains(words);
            ensure!(is_so, "{} {}", answer.status, answer.body);
            Ok(Some(()))
        })
        .await
    };
    answers(StatusCode::OK, "", "").await?;

    // Each request is answered by one of two gateways.
    ns.kubectl(&["label", "namespace", ns.name(), "llmportfolio.dev/data-class=Personal"])
        .await?;
    let barred = "gpt is of class API, and data of class Personal requires Open or Custom";
    ns.told("rpol/assistant", "Ready", "NoEligibleTarget", OBEYED).await?;
    for class in ["", "Internal", ""] {
        answers(StatusCode::SERVICE_UNAVAILABLE, class, barred).await?;
    }
    let sent = chats();
    for _ in 0..10 {
        answers(StatusCode::SERVICE_UNAVAILABLE, "Internal", barred).await?;
    }
    assert_eq!(chats(), sent, "nothing left while the label was there");
    let status: Value = serde_json::from_str(&ns.kubectl(&["get", "rpol/assistant", "-o", "json"]).await?)?;
    let target = status["status"]["targets"]
        .as_array()
        .and_then(|all| all.iter().find(|target| target["model"] == "gpt"));
    assert_eq!(target.map(|target| &target["barredFrom"]), Some(&json!(["Personal"])));
    ns.kubectl(&["label", "namespace", ns.name(), "llmportfolio.dev/data-class-"])
        .await?;
    answers(StatusCode::OK, "", "").await?;
    answers(StatusCode::SERVICE_UNAVAILABLE, "Personal", barred).await?;
    answers(
        StatusCode::BAD_REQUEST,
        "Persnal",
        "which is no class of data here: send one of Internal, Personal",
    )
    .await?;

    let bad = "[{name: rest, when: {expression: 'request.inputTokns > 1'}, targets: [{model: gpt}]}]";
    ns.apply(&policy(&name, bad)).await?;
    let told = ns.told("rpol/assistant", "Accepted", "Invalid", OBEYED).await?;
    assert!(
        told.starts_with("spec.rules[0].when.expression: reads \"inputTokns\", which neither request nor client has")
            && told.ends_with("is in force"),
        "{told}"
    );
    for _ in 0..10 {
        answers(StatusCode::OK, "", "").await?;
    }
    ns.apply(&policy(&name, good)).await?;
    ns.told("rpol/assistant", "Accepted", "Accepted", OBEYED).await?;
    answers(StatusCode::OK, "", "").await?;
    Ok(())
}
