//! `make demo`: the whole loop on a cluster, from nothing to a model's answer and a verdict, and what to try next.

#![expect(clippy::print_stdout, reason = "a demonstration is what it prints")]

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use crate::cluster::{CONTROL_PLANE, Cluster};
use crate::http_client::HttpClient;
use crate::images::Profile;
use crate::portfolio::{NAMESPACE, Portfolio, repository};
use crate::until;

/// The namespace of `deploy/examples/demo.yaml`.
const DEMO: &str = "demo";
/// Where the fake provider listens, on the control plane's address.
const PROVIDER_PORT: u16 = 8081;
/// A run per minute, and the run itself on a busy machine.
const VERDICT: Duration = Duration::from_secs(240);

/// Runs it. The cluster is that of `KUBECONFIG`, else ours; both keep what it made.
pub async fn run(profile: Profile) -> Result<()> {
    let begin = Instant::now();
    let told = |what: &str| println!("\n── {:.0} s ── {what}", begin.elapsed().as_secs_f32());
    told("a Kubernetes cluster: found running, or built and started, which takes minutes the first time");
    let cluster = Cluster::connect().await?;
    let kubectl = cluster.kubectl();

    told("build llm-portfolio and its image, and install it with Helm: minutes where nothing is built yet");
    let portfolio = Portfolio::install(&cluster, profile, "").await?;

    told("kubectl apply -f deploy/examples/demo.yaml");
    let example = repository().join("deploy/examples/demo.yaml");
    let yaml = std::fs::read_to_string(&example).with_context(|| example.display().to_string())?;
    print!("{}", kubectl.apply(&yaml).await?);
    pretend_provider(&cluster).await?;

    told("wait until the open model serves and the policy routes");
    let wait = [
        "-n",
        DEMO,
        "wait",
        "--for=condition=Ready",
        "modeldeployment/llama",
        "routingpolicy/assistant",
        "--timeout=170s",
    ];
    print!("{}", kubectl.run(&wait).await?);

    told("a chat through the policy `assistant`, as it is generated");
    let token = portfolio.token(DEMO, "visitor").await?;
    let (gateway, _forward) = reach(&cluster, &portfolio).await?;
    chat(&gateway, &token, "Name the capital city of France.").await?;

    told("the evaluation runs every minute; `assistant-checked` answers once the model, as it is now, has passed");
    until("RoutingPolicy assistant-checked obeys a verdict of Pass", VERDICT, async || {
        let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status} {.status.conditions[?(@.type==\"Ready\")].message}";
        let ready = kubectl
            .run(&["-n", DEMO, "get", "routingpolicy/assistant-checked", "-o", path])
            .await?;
        ensure!(ready.starts_with("True"), "{ready}");
        Ok(Some(()))
    })
    .await?;
    let verdict = "jsonpath={.status.verdict}: {.status.targets[0].message}";
    println!("{}", kubectl.run(&["-n", DEMO, "get", "evaljob/capital", "-o", verdict]).await?);

    told("kubectl get portfolio -A");
    print!("{}", kubectl.run(&["get", "portfolio", "-A"]).await?);
    explain_gpt(&cluster).await?;
    print_next_steps(&cluster, &gateway);
    Ok(())
}

/// Puts a fake commercial API where the example's API model expects one. In another cluster that model says what it misses.
async fn pretend_provider(cluster: &Cluster) -> Result<()> {
    let Some(local) = cluster.local() else {
        println!("(this cluster is not ours, so nobody pretends to be a provider: modeldeployment/gpt will say so)");
        return Ok(());
    };
    let script = json!({"keys": ["sk-demo"], "answer": "The fake provider says: Paris."}).to_string();
    let program = std::env::current_exe()?.display().to_string();
    let listen = format!("{CONTROL_PLANE}:{PROVIDER_PORT}");
    let command = [&program, "provider", "--plain", "--listen", &listen, "--script", &script].map(str::to_owned);
    local.run("provider", command.to_vec())?;
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "provider", "namespace": DEMO},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": PROVIDER_PORT}]},
    });
    let endpoints = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "provider", "namespace": DEMO, "labels": {"kubernetes.io/service-name": "provider"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [CONTROL_PLANE]}],
        "ports": [{"name": "http", "port": PROVIDER_PORT}],
    });
    print!("{}", cluster.kubectl().apply(&format!("{service}\n---\n{endpoints}")).await?);
    Ok(())
}

/// The gateway's address for this host: its Service where that is reachable, else a forwarded port, open while the child lives.
async fn reach(cluster: &Cluster, portfolio: &Portfolio) -> Result<(String, Option<Child>)> {
    if cluster.local().is_some() {
        return Ok((portfolio.gateway().to_owned(), None));
    }
    let mut command = cluster.kubectl().command();
    command.args(["-n", NAMESPACE, "port-forward", "service/llm-portfolio-gateway", ":80"]);
    let mut forward = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    // Forwarding from 127.0.0.1:40123 -> 8080
    let mut lines = BufReader::new(forward.stdout.take().context("its output")?).lines();
    let first = tokio::time::timeout(Duration::from_secs(30), lines.next_line())
        .await
        .context("kubectl port-forward says nothing")??;
    let address = first
        .and_then(|line| Some(line.split_whitespace().nth(2)?.to_owned()))
        .context("kubectl port-forward ended")?;
    Ok((format!("http://{address}"), Some(forward)))
}

/// Asks and prints the words as they come.
async fn chat(gateway: &str, token: &str, question: &str) -> Result<()> {
    println!("> {question}");
    let url = format!("{gateway}/v1/chat/completions");
    let bearer = format!("Bearer {token}");
    let body = json!({"model": "assistant", "max_tokens": 60, "temperature": 0, "stream": true, "messages": [{"role": "user", "content": question}]});
    let client = HttpClient::new(None)?;
    // The node's rules follow a rollout within a second or so; a model's first word comes late on a busy machine.
    let (status, mut bytes) = until("the gateway answers", Duration::from_secs(150), async || {
        let (status, bytes) = client.stream(&url, &[("authorization", &bearer)], &body).await?;
        ensure!(status.is_success(), "{status}");
        Ok(Some((status, bytes)))
    })
    .await?;
    let (mut received, mut said) = (Vec::new(), false);
    while let Some(chunk) = bytes.next().await {
        received.extend_from_slice(&chunk?);
        while let Some(end) = received.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = received.drain(..=end).collect();
            let event = String::from_utf8_lossy(&line);
            let Some(data) = event.trim_end().strip_prefix("data: ") else {
                continue;
            };
            let event: Value = serde_json::from_str(data).unwrap_or_default();
            if let Some(words) = event["choices"][0]["delta"]["content"].as_str() {
                print!("{words}");
                std::io::stdout().flush()?;
                said |= !words.is_empty();
            }
        }
    }
    println!();
    ensure!(said, "the answer is empty ({status})");
    Ok(())
}

/// The table has no room for why the API model is as it is.
async fn explain_gpt(cluster: &Cluster) -> Result<()> {
    let ready = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}: {.status.conditions[?(@.type==\"Ready\")].message}";
    let said = cluster
        .kubectl()
        .run(&["-n", DEMO, "get", "modeldeployment/gpt", "-o", ready])
        .await?;
    match said.trim().strip_prefix("False: ") {
        Some(why) => println!("(gpt stands for a commercial API: its provider is made up, and it is not ready because {why})"),
        None => println!("(gpt stands for a commercial API: its provider is made up, and runs beside the cluster)"),
    }
    Ok(())
}

fn print_next_steps(cluster: &Cluster, gateway: &str) {
    println!("\nGo on:");
    match cluster.local() {
        Some(_) => {
            println!("  eval \"$(target/debug/e2e env)\"                     # kubectl for this cluster");
            println!("  TOKEN=$(kubectl -n {DEMO} create token visitor --audience=llmportfolio.dev)");
            println!("  curl {gateway}/v1/chat/completions -H \"Authorization: Bearer $TOKEN\" -d '{{\"model\": \"assistant\",");
            println!("    \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'");
        }
        None => println!("  kubectl -n {NAMESPACE} port-forward service/llm-portfolio-gateway 8080:80"),
    }
    println!("  kubectl -n {DEMO} describe routingpolicy assistant-checked   # what the verdict decides");
    println!("  kubectl explain modeldeployment.spec                      # every field, documented");
    match cluster.local() {
        Some(_) => println!("End it:\n  make down"),
        None => println!("End it:\n  kubectl delete -f deploy/examples/demo.yaml; helm -n {NAMESPACE} uninstall llm-portfolio"),
    }
}
