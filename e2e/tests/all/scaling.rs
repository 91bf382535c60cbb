//! A model that is scaled by its demand, on a real cluster with the real engine: to none when nobody wants it, back at the first request, up with
//! the load and down after it, and no request fails on the way.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::http_client::HttpClient;
use e2e::images::Profile;
use e2e::namespace::Namespace;
use e2e::portfolio::Portfolio;
use e2e::provider::{Options, Provider};
use e2e::{Cluster, skip, until};
use futures::TryStreamExt;
use futures::future::try_join_all;
use http::StatusCode;
use serde_json::{Value, json};

/// From a change to what obeys it.
const OBEYED: Duration = Duration::from_secs(15);
/// For an image to be imported and an engine to load its model.
const AWAKE: Duration = Duration::from_secs(150);
/// From the last request to none: what the specification says, and what decisions and pods take.
const ASLEEP: Duration = Duration::from_secs(90);
/// A provider's answer takes less, and a pod's start takes more.
const AT_ONCE: Duration = Duration::from_secs(5);
/// From the first request to the number that wakes the model, as `kubectl`, which takes its time on a busy machine, sees it.
const WOKEN: Duration = Duration::from_secs(4);
/// So many clients ask without a pause.
const CLIENTS: usize = 6;

fn portfolio(provider: &str, names: &str) -> String {
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
    scaling: {{min: 0, max: 3, target: {{inFlight: 2}}, scaleToZeroAfter: 20s, behavior: {{down: {{stabilisation: 0s}}}}}}
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

/// What was seen at one moment.
#[derive(Clone, Copy)]
struct Look {
    seconds: f64,
    asking: usize,
    wanted: usize,
    ready: usize,
}

/// The number of replicas that are wanted, and that answer.
async fn replicas(ns: &Namespace) -> Result<(usize, usize)> {
    let path = "jsonpath={.spec.replicas} {.status.readyReplicas}";
    let text = ns.kubectl(&["get", "deployment/smol-engine", "-o", path]).await?;
    let mut numbers = text.split(' ').map(|number| number.trim().parse().unwrap_or(0));
    Ok((numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)))
}

/// Demand and replicas over time: a line for each five seconds.
fn plot(looks: &[Look]) -> String {
    let mut lines = String::from("   s  asking  wanted  ready\n");
    let mut last = -5.0;
    for look in looks {
        if look.seconds - last < 5.0 {
            continue;
        }
        last = look.seconds;
        let Look {
            seconds,
            asking,
            wanted,
            ready,
        } = *look;
        lines += &format!(
            "{seconds:4.0}  {:7} {:7} {}\n",
            "*".repeat(asking),
            "+".repeat(wanted),
            "#".repeat(ready)
        );
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn from_nothing_to_many_and_back_without_a_failed_request() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let Some(local) = cluster.local() else {
        skip("its provider listens inside our own cluster");
        return Ok(());
    };
    let installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("scaling").await?;
    let options = Options {
        tls: false,
        ..Options::default()
    };
    let provider = Provider::on(local.listen(0)?, options).await?;
    ns.kubectl(&["create", "secret", "generic", "openai", "--from-literal=api-key=sk-good"])
        .await?;
    ns.apply(&portfolio(&provider.url(), ns.name())).await?;

    // It begins with one, so that it is known to work, and has none when nobody has wanted it.
    ns.told("mdep/smol", "Ready", "Serving", AWAKE).await?;
    ns.told("mdep/smol", "ScalingActive", "Following", OBEYED).await?;
    ns.told("mdep/smol", "Ready", "ScaledToZero", ASLEEP).await?;
    ensure!(replicas(&ns).await?.0 == 0);

    let client = HttpClient::new(None)?;
    let bearer = format!("Bearer {}", installed.token(ns.name(), "caller").await?);
    let url = format!("{}/v1/chat/completions", installed.gateway());
    let headers = [("authorization", bearer.as_str())];
    let body = |policy: &str| json!({"model": format!("{policy}-{}", ns.name()), "max_tokens": 24, "messages": [{"role": "user", "content": "Count to ten."}]});
    let (gpt, smol) = (format!("{}/gpt", ns.name()), format!("{}/smol", ns.name()));
    let spilled = async || {
        let since = Instant::now();
        let answer = client.post(&url, &headers, &body("spills")).await?;
        ensure!(answer.status == StatusCode::OK, "{} {}", answer.status, answer.body);
        let model = answer.headers.get("x-portfolio-model").context("it does not say who answered")?;
        anyhow::Ok((model.clone(), since.elapsed()))
    };
    // No deadline of the client's own: these wait as long as the policy lets them.
    let held = async || {
        let (status, bytes) = client.stream(&url, &headers, &body("holds")).await?;
        let text: Vec<bytes::Bytes> = bytes.try_collect().await?;
        let answer: Value = serde_json::from_slice(&text.concat()).context("no JSON")?;
        ensure!(status == StatusCode::OK && answer["choices"][0].is_object(), "{status} {answer}");
        anyhow::Ok(())
    };

    let began = Instant::now();
    let (asking, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (looks, goes_on) = (Mutex::new(Vec::new()), std::sync::atomic::AtomicBool::new(true));
    let look = async || {
        let (wanted, ready) = replicas(&ns).await?;
        let seen = Look {
            seconds: began.elapsed().as_secs_f64(),
            asking: asking.load(Ordering::Relaxed),
            wanted,
            ready,
        };
        looks.lock().unwrap().push(seen);
        anyhow::Ok(seen)
    };
    let clients = try_join_all((0..CLIENTS).map(|_| async {
        asking.fetch_add(1, Ordering::Relaxed);
        while goes_on.load(Ordering::Relaxed) {
            held().await?;
            answered.fetch_add(1, Ordering::Relaxed);
        }
        asking.fetch_sub(1, Ordering::Relaxed);
        anyhow::Ok(())
    }));
    let watches = async {
        let mut woken = None;
        until("a request wakes it", WOKEN * 3, async || {
            let seen = look().await?;
            Ok((seen.wanted > 0).then_some(seen.seconds))
        })
        .await
        .map(|seconds| woken = Some(seconds))?;
        // Meanwhile the other policy is answered at once, by the other model, until the pod is there.
        let mut slowest = Duration::ZERO;
        let elsewhere = until("its pod answers", AWAKE, async || {
            let (model, time) = spilled().await?;
            if model == smol {
                return Ok(Some(answered.load(Ordering::Relaxed)));
            }
            ensure!(model == gpt && time < AT_ONCE, "{model} after {time:?}");
            slowest = slowest.max(time);
            look().await?;
            Ok(None)
        })
        .await;
        elsewhere?;
        until("there are as many as bear the load", AWAKE, async || {
            let seen = look().await?;
            Ok((seen.wanted == 3 && seen.ready == 3).then_some(()))
        })
        .await?;
        // All of them work for a while.
        until("they work", Duration::from_secs(60), async || {
            look().await?;
            Ok((answered.load(Ordering::Relaxed) > 10 * CLIENTS).then_some(()))
        })
        .await?;
        goes_on.store(false, Ordering::Relaxed);
        until("there are none", Duration::from_secs(90) + ASLEEP, async || {
            let seen = look().await?;
            Ok((seen.wanted == 0 && seen.ready == 0).then_some(()))
        })
        .await?;
        anyhow::Ok((woken.context("not woken")?, slowest))
    };
    let ((), (woken, slowest)) = tokio::try_join!(async { clients.await.map(drop) }, watches)?;
    let looks = looks.into_inner().unwrap();
    println!("{}", plot(&looks));
    let changes = looks.windows(2).filter(|pair| pair[0].wanted != pair[1].wanted).count();
    println!(
        "woken {woken:.2} s after the first request; answers of the other model within {slowest:.2?} meanwhile; {} requests, none failed; {changes} changes",
        answered.load(Ordering::Relaxed)
    );
    ensure!(woken < WOKEN.as_secs_f64(), "it was woken after {woken} s");
    ensure!(changes <= 8, "{changes} changes of the number:\n{}", plot(&looks));

    let events = ns
        .kubectl(&[
            "get",
            "events",
            "--field-selector",
            "reason=Scaled",
            "-o",
            "jsonpath={.items[*].message}",
        ])
        .await?;
    for part in [
        "from 0 to 1: somebody wants it",
        "replicas bear at 2 each",
        "nobody has wanted it for 20s",
    ] {
        ensure!(events.contains(part), "no event says {part:?}: {events}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_owner_at_a_time_decides_how_many_there_are() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let _installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("owners").await?;
    let model = |numbers: &str| {
        format!(
            "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: smol}}
spec: {{selfHosted: {{{numbers}, engine: {{kind: LlamaCpp, args: [--model, /models/model.gguf, --ctx-size, '512', --threads, '1', --no-ui, --offline]}}}}}}
"
        )
    };
    let is = async |wanted: usize| {
        until("the number is as it was decided", OBEYED, async || {
            Ok((replicas(&ns).await.map(|(now, _)| now).unwrap_or(usize::MAX) == wanted).then_some(()))
        })
        .await
    };
    // A person's, by the scale subresource.
    ns.apply(&model("replicas: 1")).await?;
    is(1).await?;
    ns.kubectl(&["scale", "mdep/smol", "--replicas=2"]).await?;
    is(2).await?;
    // The autoscaler's: it begins with what there is, and never with a moment of one.
    ns.kubectl(&["patch", "mdep/smol", "--type=json", "-p", r#"[{"op":"remove","path":"/spec/selfHosted/replicas"},{"op":"add","path":"/spec/selfHosted/scaling","value":{"min":1,"max":3,"target":{"inFlight":2}}}]"#])
        .await?;
    until("it scales", OBEYED, async || {
        let path = "jsonpath={.metadata.annotations.llmportfolio\\.dev/scaled}";
        ensure!(replicas(&ns).await?.0 == 2, "it was another number for a moment");
        Ok((ns.kubectl(&["get", "deployment/smol-engine", "-o", path]).await? == "true").then_some(()))
    })
    .await?;
    ensure!(replicas(&ns).await?.0 == 2);
    // A person's try is refused with the remedy, and what is set past the specification is brought within its bounds.
    let refused = ns
        .kubectl(&["scale", "mdep/smol", "--replicas=5"])
        .await
        .err()
        .context("it was not refused")?;
    ensure!(format!("{refused:#}").contains("replicas is decided by scaling"), "{refused:#}");
    ns.kubectl(&["scale", "deployment/smol-engine", "--replicas=5"]).await?;
    is(3).await?;
    // Another autoscaler of the cluster's own: it decides alone, past our bounds too, until it is gone.
    ns.apply(
        "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: theirs}
spec: {minReplicas: 4, maxReplicas: 4, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: smol-engine}}
",
    )
    .await?;
    ns.told("mdep/smol", "ScalingActive", "ScalingConflict", OBEYED).await?;
    until("it decides", Duration::from_secs(60), async || {
        Ok((replicas(&ns).await?.0 == 4).then_some(()))
    })
    .await?;
    // Some rounds of ours: every look finds its number.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        ensure!(replicas(&ns).await?.0 == 4, "two owners");
    }
    ns.kubectl(&["delete", "hpa/theirs"]).await?;
    ns.told("mdep/smol", "ScalingActive", "Following", OBEYED * 2).await?;
    is(3).await?;
    // And back.
    ns.apply(&model("replicas: 1")).await?;
    ns.kubectl(&[
        "patch",
        "mdep/smol",
        "--type=json",
        "-p",
        r#"[{"op":"remove","path":"/spec/selfHosted/scaling"}]"#,
    ])
    .await?;
    is(1).await?;
    for bad in [
        "scaling: {min: 3, max: 2, target: {inFlight: 2}}",
        "scaling: {max: 2, target: {inFlight: 0}}",
        "scaling: {max: 2, target: {requests: 4}}",
    ] {
        let refused = ns.apply(&model(bad)).await.err().with_context(|| format!("{bad} was taken"))?;
        println!("{bad}: {refused:#}");
        ensure!(format!("{refused:#}").contains("scaling"), "{refused:#}");
    }
    Ok(())
}
