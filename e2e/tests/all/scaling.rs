//! A model that is scaled by its demand, on a real cluster with the real engine: to none when nobody wants it, back at the first request, up with
//! the load and down after it, and no request fails on the way. The operator moves the number of replicas, or the real KEDA, which asks the operator.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::assets::keda;
use e2e::cluster::Local;
use e2e::http_client::HttpClient;
use e2e::images::Profile;
use e2e::keda::Keda;
use e2e::namespace::Namespace;
use e2e::portfolio::Portfolio;
use e2e::provider::{Options, Provider};
use e2e::replicas::{Look, Replicas};
use e2e::{Cluster, skip, until};
use futures::TryStreamExt;
use futures::future::try_join_all;
use http::StatusCode;
use serde_json::{Value, json};

/// From a change to what obeys it.
pub(crate) const OBEYED: Duration = Duration::from_secs(15);
/// The operator looks for KEDA every half minute where a model would be scaled by it.
pub(crate) const NOTICED: Duration = Duration::from_secs(35);
/// For an image to be imported and an engine to load its model.
const AWAKE: Duration = Duration::from_secs(150);
/// From the last request to none: what the specification says, and what decisions and pods take.
const ASLEEP: Duration = Duration::from_secs(90);
/// A provider's answer takes less, and a pod's start takes more.
const AT_ONCE: Duration = Duration::from_secs(5);
/// From the first request to the number that wakes the model, on a busy machine; what the operator does for KEDA where that sleeps takes longer.
const WOKEN: Duration = Duration::from_secs(3);
/// So many clients ask without a pause.
const CLIENTS: usize = 6;

fn portfolio(provider: &str, names: &str, engine: &str) -> String {
    format!(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: gpt}}
spec:
  api: {{provider: OpenAI, model: gpt-5-mini, endpoint: '{provider}/v1', credentials: {{secretRef: {{name: openai, key: api-key}}}}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: smol}}
spec:
  selfHosted:
    scaling: {{engine: {engine}, min: 0, max: 3, target: {{inFlight: 2}}, scaleToZeroAfter: 20s, behavior: {{down: {{stabilisation: 0s}}}}}}
    engine:
      kind: LlamaCpp
      args: [--model, /models/model.gguf, --ctx-size, '1024', --parallel, '2', --threads, '1', --no-ui, --offline, --cache-ram, '0']
      env: [{{name: OMP_WAIT_POLICY, value: passive}}, {{name: GOMP_SPINCOUNT, value: '0'}}]
---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {{name: spills}}
spec: {{model: spills-{names}, rules: [{{targets: [{{model: smol}}]}}], warmup: {{mode: Spill, targets: [{{model: gpt}}]}}}}
---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {{name: holds}}
spec: {{model: holds-{names}, rules: [{{targets: [{{model: smol}}]}}], warmup: {{mode: Hold, for: 3m}}}}
"
    )
}

/// What was asked for, and there, at one moment.
#[derive(Clone, Copy)]
struct Moment {
    seconds: f64,
    asking: usize,
    look: Look,
}

/// Demand and replicas over time: a line for each five seconds.
fn plot(moments: &[Moment]) -> String {
    let mut lines = String::from("   s  asking  wanted  ready\n");
    let mut last = -5.0;
    for Moment { seconds, asking, look } in moments {
        if seconds - last < 5.0 {
            continue;
        }
        last = *seconds;
        let bar = |sign: &str, count: i32| sign.repeat(usize::try_from(count).unwrap_or(0));
        let (wanted, ready) = (bar("+", look.wanted), bar("#", look.ready));
        lines += &format!("{seconds:4.0}  {:7} {wanted:7} {ready}\n", "*".repeat(*asking));
    }
    lines
}

/// Two policies before the same model, with a client that may ask both: while it wakes, one lets another model answer, the other lets wait.
struct Course<'a> {
    cluster: &'a Cluster,
    ns: Namespace,
    client: HttpClient,
    url: String,
    bearer: String,
    _provider: Provider,
}

impl<'a> Course<'a> {
    /// Its model answers.
    async fn begin(cluster: &'a Cluster, local: &Local, installed: &Portfolio, engine: &str) -> Result<Self> {
        let ns = cluster.namespace("scaling").await?;
        let options = Options {
            tls: false,
            ..Options::default()
        };
        let provider = Provider::on(local.listen(0)?, options).await?;
        ns.kubectl(&["create", "secret", "generic", "openai", "--from-literal=api-key=sk-good"])
            .await?;
        ns.apply(&portfolio(&provider.url(), ns.name(), engine)).await?;
        // It begins with one, so that it is known to work.
        ns.told("mdep/smol", "Ready", "Serving", AWAKE).await?;
        Ok(Self {
            cluster,
            client: HttpClient::new(None)?,
            url: format!("{}/v1/chat/completions", installed.gateway()),
            bearer: format!("Bearer {}", installed.token(ns.name(), "caller").await?),
            ns,
            _provider: provider,
        })
    }

    fn body(&self, policy: &str) -> Value {
        json!({"model": format!("{policy}-{}", self.ns.name()), "max_tokens": 24, "messages": [{"role": "user", "content": "Count to ten."}]})
    }

    /// Who answers where another may, and after how long.
    async fn spilled(&self) -> Result<(String, Duration)> {
        let since = Instant::now();
        let headers = [("authorization", self.bearer.as_str())];
        let answer = self.client.post(&self.url, &headers, &self.body("spills")).await?;
        ensure!(answer.status == StatusCode::OK, "{} {}", answer.status, answer.body);
        let model = answer.headers.get("x-portfolio-model").context("it does not say who answered")?;
        let name = model.rsplit('/').next().unwrap_or_default();
        Ok((name.to_owned(), since.elapsed()))
    }

    /// No deadline of the client's own: it waits as long as the policy lets it.
    async fn held(&self) -> Result<()> {
        let headers = [("authorization", self.bearer.as_str())];
        let (status, bytes) = self.client.stream(&self.url, &headers, &self.body("holds")).await?;
        let text: Vec<bytes::Bytes> = bytes.try_collect().await?;
        let answer: Value = serde_json::from_slice(&text.concat()).context("no JSON")?;
        ensure!(status == StatusCode::OK && answer["choices"][0].is_object(), "{status} {answer}");
        Ok(())
    }

    /// From none to as many as there may be, and back to none. Says what was seen.
    async fn run(&self) -> Result<String> {
        let ns = &self.ns;
        ns.told("mdep/smol", "ScalingActive", "Following", OBEYED).await?;
        ns.told("mdep/smol", "Ready", "ScaledToZero", ASLEEP).await?;
        let replicas = Replicas::follow(self.cluster, ns, "smol-engine");
        replicas.reach(0, OBEYED).await?;

        let began = Instant::now();
        let (asking, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (moments, goes_on) = (RefCell::new(Vec::new()), AtomicBool::new(true));
        let look = || {
            let seen = Moment {
                seconds: began.elapsed().as_secs_f64(),
                asking: asking.load(Ordering::Relaxed),
                look: replicas.now()?,
            };
            moments.borrow_mut().push(seen);
            anyhow::Ok(seen.look)
        };
        let clients = try_join_all((0..CLIENTS).map(|_| async {
            asking.fetch_add(1, Ordering::Relaxed);
            while goes_on.load(Ordering::Relaxed) {
                self.held().await?;
                answered.fetch_add(1, Ordering::Relaxed);
            }
            asking.fetch_sub(1, Ordering::Relaxed);
            anyhow::Ok(())
        }));
        let watches = async {
            until("a request wakes it", WOKEN * 5, async || Ok((look()?.wanted > 0).then_some(()))).await?;
            // Meanwhile the other policy is answered at once, by the other model, until the pod is there.
            let mut slowest = Duration::ZERO;
            until("its pod answers", AWAKE, async || {
                let (model, time) = self.spilled().await?;
                if model == "smol" {
                    return Ok(Some(()));
                }
                ensure!(model == "gpt" && time < AT_ONCE, "{model} after {time:?}");
                slowest = slowest.max(time);
                look()?;
                Ok(None)
            })
            .await?;
            until("there are as many as bear the load", AWAKE, async || {
                let seen = look()?;
                Ok((seen.wanted == 3 && seen.ready == 3).then_some(()))
            })
            .await?;
            // All of them work for a while.
            until("they work", Duration::from_secs(60), async || {
                look()?;
                Ok((answered.load(Ordering::Relaxed) > 10 * CLIENTS).then_some(()))
            })
            .await?;
            goes_on.store(false, Ordering::Relaxed);
            until("there are none", Duration::from_secs(90) + ASLEEP, async || {
                let seen = look()?;
                Ok((seen.wanted == 0 && seen.ready == 0).then_some(()))
            })
            .await?;
            anyhow::Ok(slowest)
        };
        let ((), slowest) = tokio::try_join!(async { clients.await.map(drop) }, watches)?;
        let numbers = replicas.numbers(began);
        let woken = numbers.get(1).context("not woken")?.0 - began;
        let numbers: Vec<i32> = numbers.into_iter().map(|(_, number)| number).collect();
        let told = format!(
            "{}woken {woken:.2?} after the first request; answers of the other model within {slowest:.2?} meanwhile; {} requests, none failed; \
             {} changes: {numbers:?}",
            plot(&moments.into_inner()),
            answered.load(Ordering::Relaxed),
            numbers.len() - 1
        );
        ensure!(woken < WOKEN, "{told}");
        ensure!(numbers.len() <= 9, "it changed too often: {told}");

        let path = "jsonpath={.items[*].message}";
        let events = ns
            .kubectl(&["get", "events", "--field-selector", "reason=Scaled", "-o", path])
            .await?;
        for part in [
            "from 0 to 1: somebody wants it",
            "replicas bear at 2 each",
            "nobody has wanted it for 20s",
        ] {
            ensure!(events.contains(part), "no event says {part:?}: {events}");
        }
        Ok(told)
    }
}

/// Waits until the model's status says that this one moves the number.
pub(crate) async fn is_moved_by(ns: &Namespace, engine: &str, within: Duration) -> Result<()> {
    until(&format!("{engine} moves it"), within, async || {
        let said = ns.kubectl(&["get", "mdep/smol", "-o", "jsonpath={.status.scaling.engine}"]).await?;
        ensure!(said == engine, "{said}");
        Ok(Some(()))
    })
    .await
}

/// The names of all objects of these kinds.
pub(crate) async fn there_are(ns: &Namespace, kinds: &str) -> Result<String> {
    let names = ns.kubectl(&["get", kinds, "-o", "name"]).await?;
    Ok(names.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[tokio::test(flavor = "multi_thread")]
async fn from_nothing_to_many_and_back_without_a_failed_request() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let Some(local) = cluster.local() else {
        skip("its provider listens inside our own cluster");
        return Ok(());
    };
    let installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let course = Course::begin(&cluster, local, &installed, "Builtin").await?;
    is_moved_by(&course.ns, "Builtin", OBEYED).await?;
    println!("{}", course.run().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keda_is_noticed_when_it_comes_and_moves_the_number_as_the_operator_would() -> Result<()> {
    // Alone: it installs kinds in the whole cluster, and other models would be scaled by KEDA too.
    let cluster = Cluster::alone().await?;
    let Some(local) = cluster.local() else {
        skip("it installs kinds in the whole cluster and removes them");
        return Ok(());
    };
    let release = keda::release().await?;
    Keda::clean(&cluster, local)?;
    let installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let course = Course::begin(&cluster, local, &installed, "Auto").await?;
    let ns = &course.ns;
    is_moved_by(ns, "Builtin", OBEYED).await?;

    let since = Instant::now();
    let keda = Keda::start(&cluster, local, &release).await?;
    let started = since.elapsed();
    is_moved_by(ns, "KEDA", NOTICED).await?;
    println!(
        "KEDA runs {started:.1?} after its installation began, and is noticed {:.1?} after that",
        since.elapsed() - started
    );
    ns.told("scaledobject/smol-engine", "Ready", "ScaledObjectReady", OBEYED).await?;
    let both = "scaledobject.keda.sh/smol-engine horizontalpodautoscaler.autoscaling/keda-hpa-smol-engine";
    until("KEDA's autoscaler is there", OBEYED, async || {
        let there = there_are(ns, "scaledobject,hpa").await?;
        ensure!(there == both, "{there}");
        Ok(Some(()))
    })
    .await?;

    let mut log = local.audit()?;
    println!("{}", course.run().await?);
    let mut writers: BTreeMap<String, usize> = BTreeMap::new();
    for request in log.take()? {
        let is_its = request.name == "smol-engine" && request.namespace == ns.name();
        let is_write = ["patch", "update"].contains(&request.verb.as_str());
        if is_its && is_write && ["deployments", "deployments/scale"].contains(&request.resource.as_str()) {
            let agent = request.user_agent.split(['/', ' ']).next().unwrap_or_default();
            let user = request.user.rsplit(':').next().unwrap_or_default();
            *writers.entry(format!("{user} ({agent})")).or_default() += 1;
        }
    }
    println!("who wrote the number: {writers:?}");
    let by_operator = writers.keys().any(|writer| writer.contains("llm-portfolio-operator"));
    ensure!(!writers.is_empty() && !by_operator, "KEDA was to move it: {writers:?}");
    let failed = ["get", "events", "--field-selector", "reason=KEDAScalerFailed", "-o", "name"];
    let failed = ns.kubectl(&failed).await?;
    ensure!(failed.is_empty(), "KEDA was answered with an error: {failed}");

    ns.kubectl(&["delete", "mdep/smol", "--wait=false"]).await?;
    until("what moved it goes with it", OBEYED, async || {
        let there = there_are(ns, "scaledobject,hpa").await?;
        ensure!(there.is_empty(), "{there}");
        Ok(Some(()))
    })
    .await?;
    drop(keda);
    let left = ["get", "crd,apiservice,hpa", "-A", "-o", "name"];
    let left = cluster.kubectl().run(&left).await?;
    ensure!(!left.contains("keda") && !left.contains("external.metrics"), "{left}");
    Ok(())
}
