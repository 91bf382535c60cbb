//! A policy that names a model of another namespace, in a cluster that gets the Gateway API while the product runs, and loses it: with a grant it
//! is answered by every gateway, and without one by none.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::assets::gateway_api;
use e2e::gateway_api::ReferenceGrants;
use e2e::http_client::HttpClient;
use e2e::images::Profile;
use e2e::namespace::Namespace;
use e2e::portfolio::{self, Portfolio};
use e2e::provider::{Options, Provider};
use e2e::{Cluster, skip, until};
use http::StatusCode;
use serde_json::{Value, json};

/// From a change to the routes and statuses that obey it.
const OBEYED: Duration = Duration::from_secs(10);
/// From a kind that comes or goes to those who look for it now and then.
const NOTICED: Duration = Duration::from_secs(60);
/// As many requests in a row as make it sure that both gateways were asked.
const BOTH: usize = 16;

const UNPERMITTED: &str = "gpt is of another namespace, which has no ReferenceGrant for it";
const LACKING: &str = "this cluster has no ReferenceGrants: install the CRDs of the Gateway API";

fn model(url: &str) -> String {
    format!(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: gpt}}
spec: {{api: {{provider: OpenAI, model: gpt-5-mini, endpoint: '{url}/v1', credentials: {{secretRef: {{name: openai, key: api-key}}}}}}}}
"
    )
}

/// A client of one namespace.
struct Client {
    url: String,
    bearer: String,
    body: Value,
}

impl Client {
    /// Waits until so many in a row get this answer, each by a connection of its own.
    async fn gets(&self, status: StatusCode, words: &str, within: Duration) -> Result<Duration> {
        let since = Instant::now();
        until(&format!("every gateway answers {status}"), within, async || {
            let first = since.elapsed();
            for _ in 0..BOTH {
                let answer = HttpClient::new(None)?
                    .post(&self.url, &[("authorization", &self.bearer)], &self.body)
                    .await?;
                let is_so = answer.status == status && answer.body.to_string().contains(words);
                ensure!(is_so, "{} {}", answer.status, answer.body);
            }
            Ok(Some(first))
        })
        .await
    }
}

/// Waits until the policy's references are so, in these words, and returns them.
async fn references(ns: &Namespace, reason: &str, words: &str, within: Duration) -> Result<String> {
    until(&format!("ResolvedRefs is {reason}: {words:?}"), within, async || {
        let said = ns.tells("rpol/assistant", "ResolvedRefs", reason).await?;
        ensure!(said.contains(words), "{said}");
        Ok(Some(said))
    })
    .await
}

/// The pods of operator and gateways that stay, each with how often it was restarted.
async fn pods(cluster: &Cluster) -> Result<BTreeSet<(String, Option<i64>)>> {
    let pods = cluster
        .kubectl()
        .run(&["-n", portfolio::NAMESPACE, "get", "pods", "-o", "json"])
        .await?;
    let pods: Value = serde_json::from_str(&pods)?;
    let stay = pods["items"].as_array().context("no pods")?.iter();
    let stay = stay.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    Ok(stay
        .map(|pod| {
            let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_i64();
            (pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned(), restarts)
        })
        .collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_another_namespace_answers_while_a_grant_says_so() -> Result<()> {
    let cluster = Cluster::alone().await?;
    let Some(local) = cluster.local() else {
        skip("it installs a kind in the whole cluster and removes it");
        return Ok(());
    };
    let crd = gateway_api::reference_grants().await?;
    ReferenceGrants::clean(&cluster);
    let installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let (ns, lender) = (cluster.namespace("grant").await?, cluster.namespace("lender").await?);
    let options = Options {
        tls: false,
        ..Options::default()
    };
    let provider = Provider::on(local.listen(0)?, options).await?;
    let chats = || {
        let records = provider.records();
        records.iter().filter(|record| record.path.ends_with("/chat/completions")).count()
    };
    lender
        .kubectl(&["create", "secret", "generic", "openai", "--from-literal=api-key=sk-good"])
        .await?;
    let name = format!("assistant-{}", ns.name());
    lender.apply(&model(&provider.url())).await?;
    let begin = Instant::now();
    let step = |what: &str| println!("{:5.1} s  {what}", begin.elapsed().as_secs_f32());
    let client = Client {
        url: format!("{}/v1/chat/completions", installed.gateway()),
        bearer: format!("Bearer {}", installed.token(ns.name(), "caller").await?),
        body: json!({"model": name, "messages": [{"role": "user", "content": "hello"}]}),
    };
    let started = pods(&cluster).await?;

    ns.apply(&format!(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {{name: assistant}}
spec: {{model: {name}, rules: [{{targets: [{{model: gpt, namespace: {}}}]}}]}}
",
        lender.name()
    ))
    .await?;
    step(&references(&ns, "RefNotPermitted", LACKING, OBEYED).await?);
    client.gets(StatusCode::SERVICE_UNAVAILABLE, UNPERMITTED, OBEYED).await?;

    let grants = ReferenceGrants::install(&cluster, &crd).await?;
    let since = Instant::now();
    let advice = until("the kind is noticed", NOTICED, async || {
        let said = ns.tells("rpol/assistant", "ResolvedRefs", "RefNotPermitted").await?;
        ensure!(!said.contains(LACKING), "{said}");
        Ok(Some(said))
    })
    .await?;
    step(&format!(
        "the kind was noticed after {:.1} s: {advice}",
        since.elapsed().as_secs_f32()
    ));
    client.gets(StatusCode::SERVICE_UNAVAILABLE, UNPERMITTED, OBEYED).await?;
    assert_eq!(chats(), 0, "nothing left for a model that nobody granted");

    // What the status advises is what is done.
    let grant = &advice[advice.find('{').context("no grant")?..];
    lender.apply(grant).await?;
    let took = client.gets(StatusCode::OK, "", NOTICED).await?;
    step(&format!("granted, and answered by all after {:.1} s", took.as_secs_f32()));
    references(&ns, "ResolvedRefs", "", OBEYED).await?;
    let summary = ns.kubectl(&["get", "rpol/assistant", "-o", "jsonpath={.status.summary}"]).await?;
    assert_eq!(summary, format!("{}/gpt", lender.name()));

    let delete = ["delete", "referencegrants", "--all"];
    lender.kubectl(&delete).await?;
    let took = client.gets(StatusCode::SERVICE_UNAVAILABLE, UNPERMITTED, OBEYED).await?;
    step(&format!("taken away, and refused by all after {:.1} s", took.as_secs_f32()));
    references(&ns, "RefNotPermitted", "", OBEYED).await?;
    let before = chats();
    client.gets(StatusCode::SERVICE_UNAVAILABLE, UNPERMITTED, OBEYED).await?;
    assert_eq!(chats(), before, "nothing leaves without a grant");

    lender.apply(grant).await?;
    client.gets(StatusCode::OK, "", OBEYED).await?;
    step("granted again");
    lender.kubectl(&["delete", "mdep/gpt"]).await?;
    let missing = format!("{}/gpt does not exist", lender.name());
    references(&ns, "NotFound", &missing, OBEYED).await?;
    lender.apply(&model(&provider.url())).await?;
    references(&ns, "ResolvedRefs", "", OBEYED).await?;
    client.gets(StatusCode::OK, "", OBEYED).await?;
    step("the model went and came back, and the policy of the other namespace followed");

    for versions in [&["v1beta1"][..], &["v1"], &["v1", "v1beta1"]] {
        grants.serve(versions).await?;
        // What is watched still may end only some moments later.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let took = client.gets(StatusCode::OK, "", NOTICED).await?;
        references(&ns, "ResolvedRefs", "", NOTICED).await?;
        step(&format!(
            "{versions:?} served, and answered by all after {:.1} s more",
            took.as_secs_f32()
        ));
    }
    let other = lender.kubectl(&["get", "referencegrants", "-o", "name"]).await?;
    assert_eq!(other.lines().count(), 1, "{other}");

    drop(grants);
    let took = client.gets(StatusCode::SERVICE_UNAVAILABLE, UNPERMITTED, OBEYED).await?;
    step(&format!("the kind is gone, and refused by all after {:.1} s", took.as_secs_f32()));
    references(&ns, "RefNotPermitted", LACKING, NOTICED).await?;
    assert_eq!(pods(&cluster).await?, started, "nobody was restarted for any of it");
    Ok(())
}
