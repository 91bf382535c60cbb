//! Adapters of a model on two pods of an engine that says about them what vLLM says: under their own names from the start, and added,
//! removed, pointed elsewhere and lost while the pods run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::asker::Asker;
use e2e::http_client::HttpClient;
use e2e::hub::{Hub, Repository};
use e2e::images::{self, Profile};
use e2e::namespace::Namespace;
use e2e::portfolio::Portfolio;
use e2e::{Cluster, audit, skip, until};
use serde_json::{Value, json};

/// For images to be imported and pods to start, on a machine that does other things too.
const SERVES: Duration = Duration::from_secs(180);
/// For a change that needs no other pod.
const SECONDS: Duration = Duration::from_secs(30);
/// How long a settled model is looked at.
const LOOK: Duration = Duration::from_secs(20);

const PRICES: &str = "settings: {acceleratorProfiles: {priced: {pricePerHourUSD: '0.80', resources: {cpu: 10m, memory: 64Mi}}}}";

const FRAUD: (&str, &str) = ("fraud", "hf://bank/fraud-7");
const TONE: (&str, &str) = ("tone", "hf://bank/tone");
const LATE: (&str, &str) = ("late", "hf://bank/late");
const BAD: (&str, &str) = ("bad", "hf://bank/missing-adapter");

fn model(adapters: &[(&str, &str)]) -> String {
    let adapters: Vec<String> = adapters
        .iter()
        .map(|(name, uri)| format!("{{name: {name}, source: {{uri: '{uri}'}}}}"))
        .collect();
    format!(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: triage}}
spec:
  selfHosted:
    source: {{uri: 'hf://bank/base'}}
    engine: {{kind: VLLM, image: 'localhost/e2e:dev'}}
    accelerator: {{profile: priced}}
    replicas: 2
    custom:
      baseModel: bank/base
      trainedOn: claims of 2019 to 2024
      developmentCostUSD: '417000'
      amortizedOverMonths: 24
      adapters: [{}]
    podTemplate: {{spec: {{containers: [{{name: engine, command: [/e2e, vllm]}}]}}}}
",
        adapters.join(", ")
    )
}

fn policy(name: &str, namespace: &str, adapter: &str, fallback: &str) -> String {
    format!(
        "---\napiVersion: llmportfolio.dev/v1alpha1\nkind: RoutingPolicy\nmetadata: {{name: {name}}}\n\
         spec: {{model: {name}-{namespace}, rules: [{{targets: [{{model: triage, adapter: {adapter}}}]{fallback}}}]}}\n"
    )
}

/// What tests see of the model.
struct World {
    installed: Portfolio,
    ns: Namespace,
    client: HttpClient,
    url: String,
    bearer: String,
}

impl World {
    async fn new(cluster: &Cluster) -> Result<Self> {
        cluster.load_image(&images::e2e(Profile::Debug).await?).await?;
        let installed = Portfolio::install(cluster, Profile::Debug, PRICES).await?;
        let ns = cluster.namespace("adapters").await?;
        Ok(Self {
            client: HttpClient::new(None)?,
            url: format!("{}/v1/chat/completions", installed.gateway()),
            bearer: format!("Bearer {}", installed.token(ns.name(), "caller").await?),
            installed,
            ns,
        })
    }

    async fn status(&self) -> Result<Value> {
        let object: Value = serde_json::from_str(&self.ns.kubectl(&["get", "mdep/triage", "-o", "json"]).await?)?;
        let status = object["status"].clone();
        ensure!(status["observedGeneration"] == object["metadata"]["generation"], "{status}");
        Ok(status)
    }

    /// Waits until the condition `AdaptersLoaded` is as wanted, and returns the status.
    async fn loaded(&self, limit: Duration, is: &str, words: &str) -> Result<Value> {
        until(&format!("AdaptersLoaded={is}, {words}"), limit, async || {
            let status = self.status().await?;
            let conditions = status["conditions"].as_array().context("no conditions")?;
            let loaded = conditions
                .iter()
                .find(|c| c["type"] == "AdaptersLoaded")
                .context("no such condition")?;
            let message = loaded["message"].as_str().unwrap_or_default();
            ensure!(loaded["status"] == is && message.contains(words), "{loaded}");
            Ok(Some(status))
        })
        .await
    }

    /// Who answers to a name: `fraud from bank/fraud-7`, or the status of a refusal.
    async fn answer(&self, name: &str) -> Result<String> {
        let body = json!({"model": name, "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]});
        let answer = self.client.post(&self.url, &[("authorization", &self.bearer)], &body).await?;
        Ok(match answer.body["choices"][0]["message"]["content"].as_str() {
            Some(content) => content.to_owned(),
            None => format!("{} {}", answer.status.as_u16(), answer.body["error"]["code"]),
        })
    }

    async fn answers(&self, name: &str, wanted: &str) -> Result<()> {
        until(&format!("{name} is answered by {wanted}"), SECONDS, async || {
            let answer = self.answer(name).await?;
            ensure!(answer == wanted, "{answer}");
            Ok(Some(()))
        })
        .await
    }

    /// The pods that stay, and how often each was restarted.
    async fn pods(&self) -> Result<BTreeMap<String, i64>> {
        let selector = "-l=llmportfolio.dev/model=triage,app.kubernetes.io/component=engine";
        let pods: Value = serde_json::from_str(&self.ns.kubectl(&["get", "pods", selector, "-o", "json"]).await?)?;
        let pods = pods["items"].as_array().context("no pods")?.iter();
        let stay = pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let entry = |pod: &Value| {
            let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap_or(0);
            (pod["metadata"]["name"].as_str().unwrap_or_default().to_owned(), restarts)
        };
        Ok(stay.map(entry).collect())
    }

    /// What the engines say that they were asked about adapters.
    async fn asked(&self) -> Result<Vec<String>> {
        let mut asked = Vec::new();
        for pod in self.pods().await?.keys() {
            let log = self.ns.kubectl(&["logs", pod, "-c", "engine"]).await?;
            asked.extend(
                log.lines()
                    .filter(|line| !line.contains("/chat/"))
                    .map(|line| format!("{pod} {line}")),
            );
        }
        Ok(asked)
    }
}

/// One model whose adapters come from a hub of ours, at a revision, so that they are fetched.
fn fetched(hub: &Hub, adapters: &[&str]) -> String {
    let adapters: Vec<String> = adapters
        .iter()
        .map(|name| format!("{{name: {name}, source: {{uri: 'hf://bank/adapter@{}'}}}}", hub.commit()))
        .collect();
    let model = model(&[]).replace("adapters: []", &format!("adapters: [{}]", adapters.join(", ")));
    let env = format!("image: 'localhost/e2e:dev', env: [{{name: HF_ENDPOINT, value: '{}'}}]", hub.url());
    model
        .replace("image: 'localhost/e2e:dev'", &env)
        .replace("replicas: 2", "replicas: 1")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_that_no_engine_can_download_is_fetched_and_makes_new_pods() -> Result<()> {
    let cluster = Cluster::alone().await?;
    let Some(local) = cluster.local() else {
        skip("its hub listens inside our own cluster");
        return Ok(());
    };
    let folder = std::env::temp_dir().join(format!("llm-portfolio-adapter-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("adapter_config.json"), "{}")?;
    let hub = Hub::on(local.listen(0)?, None, Repository::new("bank/adapter", &folder)).await?;
    let world = World::new(&cluster).await?;

    world.ns.apply(&fetched(&hub, &["one"])).await?;
    world.loaded(SERVES, "True", "each of 1 pods has all of 1 adapters").await?;
    let first = world.pods().await?;
    let direct = |adapter: &str| format!("{}/triage:{adapter}", world.ns.name());
    world.answers(&direct("one"), "one from /adapters/one").await?;

    world.ns.apply(&fetched(&hub, &["one", "two"])).await?;
    let status = world
        .loaded(SECONDS, "False", "it comes with the pod that replaces this one")
        .await?;
    println!("{}", of(&status, "two"));
    world.loaded(SERVES, "True", "each of 1 pods has all of 2 adapters").await?;
    world.answers(&direct("two"), "two from /adapters/two").await?;
    ensure!(world.pods().await?.keys().all(|pod| !first.contains_key(pod)), "{first:?}");

    // One that is no longer needed goes from the engine, and the pods stay with what they have fetched.
    let second = world.pods().await?;
    world.ns.apply(&fetched(&hub, &["one"])).await?;
    world.loaded(SECONDS, "True", "each of 1 pods has all of 1 adapters").await?;
    ensure!(world.pods().await? == second, "{second:?}");

    // What cannot be fetched is told at its own field.
    world.ns.apply(&fetched(&hub, &["one"]).replace(&hub.commit(), "v9")).await?;
    until("the fetch is refused", SERVES, async || {
        let status = world.status().await?;
        let conditions = status["conditions"].as_array().context("no conditions")?;
        let words = "spec.selfHosted.custom.adapters[one].source.uri: bank/adapter has no revision v9";
        let is_told = conditions
            .iter()
            .any(|c| c["type"] == "WorkloadReady" && c["message"].to_string().contains(words));
        ensure!(is_told, "{status}");
        Ok(Some(()))
    })
    .await?;
    world.answers(&direct("one"), "one from /adapters/one").await?;
    Ok(std::fs::remove_dir_all(&folder)?)
}

fn of<'a>(status: &'a Value, adapter: &str) -> &'a Value {
    let adapters = status["adapters"].as_array().map(Vec::as_slice).unwrap_or_default();
    adapters.iter().find(|known| known["name"] == adapter).unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread")]
async fn adapters_answer_to_their_names_and_come_and_go_while_pods_run() -> Result<()> {
    let cluster = Cluster::alone().await?;
    let world = World::new(&cluster).await?;
    let namespace = world.ns.name().to_owned();
    let direct = |adapter: &str| format!("{namespace}/triage:{adapter}");
    let named = |policy: &str| format!("{policy}-{namespace}");

    // From the start, each under its own name; the model's own name means the model.
    let policies = policy("fraud", &namespace, "fraud", "") + &policy("late", &namespace, "late", ", fallback: [{model: triage}]");
    world.ns.apply(&(model(&[FRAUD, TONE]) + &policies)).await?;
    let status = world.loaded(SERVES, "True", "each of 2 pods has all of 2 adapters").await?;
    let pods = world.pods().await?;
    ensure!(of(&status, "fraud")["pods"] == json!(pods.keys().collect::<Vec<_>>()), "{status}");
    ensure!(status["trainedOn"] == "claims of 2019 to 2024", "{status}");
    until("both pods cost", SECONDS, async || {
        let cost = world.status().await?["cost"].clone();
        ensure!(cost == json!({"perHourUSD": "1.6", "developmentPerMonthUSD": "17375"}), "{cost}");
        Ok(Some(()))
    })
    .await?;
    println!("{}", world.ns.kubectl(&["get", "mdep/triage", "-o", "wide"]).await?);
    world.answers(&named("fraud"), "fraud from bank/fraud-7").await?;
    world.answers(&direct("fraud"), "fraud from bank/fraud-7").await?;
    world.answers(&direct("tone"), "tone from bank/tone").await?;
    world.answers(&format!("{namespace}/triage"), "triage from bank/base").await?;

    // What is not there is said, and the request falls back.
    world.answers(&named("late"), "triage from bank/base").await?;
    let refs = r#"jsonpath={.status.conditions[?(@.type=="ResolvedRefs")].message}"#;
    let said = world.ns.kubectl(&["get", "rpol/late", "-o", refs]).await?;
    ensure!(
        said.contains("has no adapter \"late\"; add it to spec.selfHosted.custom.adapters"),
        "{said}"
    );

    // A third, and one that the engine does not find: the others go on, while somebody asks all the time.
    let asker = Asker::new(&world.installed, &world.ns, &named("fraud")).await?;
    let count = asker
        .during(async {
            let since = Instant::now();
            world.ns.apply(&model(&[FRAUD, TONE, LATE, BAD])).await?;
            let status = world
                .loaded(SECONDS, "False", "No adapter found for bank/missing-adapter (404)")
                .await?;
            println!("a third adapter is on both pods {:.2?} after it was written", since.elapsed());
            let message = status["conditions"]
                .as_array()
                .and_then(|all| all.iter().find(|c| c["type"] == "AdaptersLoaded"));
            println!("{}", message.map(|c| c["message"].to_string()).unwrap_or_default());
            ensure!(
                message.is_some_and(|c| c["message"].to_string().contains("spec.selfHosted.custom.adapters[3]")),
                "{status}"
            );
            let third = until("the third is on both pods", SECONDS, async || {
                let status = world.status().await?;
                ensure!(
                    of(&status, "late")["ready"] == "2/2" && of(&status, "bad")["lacking"][1].is_object(),
                    "{status}"
                );
                Ok(Some(status))
            })
            .await?;
            println!("{}", serde_json::to_string_pretty(&third["adapters"])?);
            world.answers(&named("late"), "late from bank/late").await?;
            // One goes, the bad one too, and one moves: in place.
            world.ns.apply(&model(&[("fraud", "hf://bank/fraud-8"), LATE])).await?;
            world.loaded(SECONDS, "True", "each of 2 pods has all of 2 adapters").await?;
            world.answers(&named("fraud"), "fraud from bank/fraud-8").await?;
            world.answers(&direct("tone"), "404 \"model_not_found\"").await
        })
        .await?;
    ensure!(
        world.pods().await? == pods,
        "no pod was restarted: {pods:?} {:?}",
        world.pods().await?
    );
    ensure!(count.attempts_failed.is_empty(), "{count:?}");
    let verbs: Vec<String> = world
        .asked()
        .await?
        .into_iter()
        .filter(|line| line.contains("lora_adapter"))
        .collect();
    println!("{}", verbs.join("\n"));

    // A pod is lost: its successor starts with what its template lists and is brought to what is wanted; nobody is told 404 meanwhile.
    let victim = pods.keys().next().context("no pod")?;
    let count = asker
        .during(async {
            world.ns.kubectl(&["delete", "pod", victim, "--wait=false"]).await?;
            until("a new pod has all of them", SERVES, async || {
                let (status, now) = (world.status().await?, world.pods().await?);
                let all = json!(now.keys().collect::<Vec<_>>());
                ensure!(now.len() == 2 && !now.contains_key(victim), "{now:?}");
                ensure!(
                    of(&status, "fraud")["pods"] == all && of(&status, "late")["pods"] == all,
                    "{status}"
                );
                Ok(Some(()))
            })
            .await?;
            world
                .loaded(SECONDS, "True", "each of 2 pods has all of 2 adapters")
                .await
                .map(drop)
        })
        .await?;
    println!(
        "a lost pod: {} asked, {} attempts failed, {} lost",
        count.asked,
        count.attempts_failed.len(),
        count.lost.len()
    );
    ensure!(count.lost.is_empty(), "{count:?}");
    for _ in 0..10 {
        ensure!(world.answer(&named("fraud")).await? == "fraud from bank/fraud-8");
        ensure!(world.answer(&named("late")).await? == "late from bank/late");
    }

    // Settled: nothing is asked of anybody.
    let mut log = cluster.local().map(|local| local.audit()).transpose()?;
    let mut quiet = world.asked().await?;
    until("ten quiet seconds", SERVES, async || {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let asked = std::mem::replace(&mut quiet, world.asked().await?);
        ensure!(asked == quiet, "{} more", quiet.len() - asked.len());
        Ok(Some(()))
    })
    .await?;
    if let Some(log) = &mut log {
        log.take()?;
    }
    tokio::time::sleep(LOOK).await;
    let work: Vec<audit::Request> = match &mut log {
        Some(log) => log.take()?,
        None => vec![],
    };
    // What gateways have counted is told in statuses of policies, also when other tests begin them anew.
    let is_work = |r: &&audit::Request| {
        let is_ours = r.user.ends_with(":llm-portfolio-operator") && r.namespace == namespace;
        is_ours && r.verb != "watch" && !r.resource.starts_with("routingpolicies")
    };
    let work: Vec<&audit::Request> = work.iter().filter(is_work).collect();
    let more = world.asked().await?.len() - quiet.len();
    println!("in {LOOK:?}: {} requests to the API server, {more} to the engines", work.len());
    ensure!(work.is_empty() && more == 0, "{:?}", audit::count(work));
    Ok(())
}
