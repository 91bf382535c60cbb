//! One model and all who may say how many replicas it has, in turn: a person, the operator, KEDA, a HorizontalPodAutoscaler of somebody's own, one that
//! the operator makes, and the person again. One of them at a time, and every number that anybody gave is seen.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::assets::keda;
use e2e::images::Profile;
use e2e::keda::Keda;
use e2e::namespace::Namespace;
use e2e::portfolio::Portfolio;
use e2e::replicas::Replicas;
use e2e::{Cluster, skip, until};

use crate::scaling::{NOTICED, OBEYED, is_moved_by, there_are};

/// Two turns of Kubernetes' autoscaler, where that of its defaults is a quarter of a minute.
const AUTOSCALED: Duration = Duration::from_secs(60);
/// Some rounds of everybody who might set the number.
const ROUNDS: Duration = Duration::from_secs(12);

/// What the specification says of replicas, and nothing else differs.
fn model(numbers: &str) -> String {
    format!(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: smol}}
spec: {{selfHosted: {{{numbers}, engine: {{kind: LlamaCpp, args: [--model, /models/model.gguf, --ctx-size, '512', --threads, '1', --no-ui, --offline]}}}}}}
"
    )
}

const THEIRS: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: theirs}
spec: {minReplicas: 4, maxReplicas: 4, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: smol-engine}}
";

/// Replaces how the specification says how many there are.
async fn says(ns: &Namespace, before: &str, scaling: &str) -> Result<String> {
    let patch = format!(
        r#"[{{"op":"remove","path":"/spec/selfHosted/{before}"}},{{"op":"add","path":"/spec/selfHosted/scaling","value":{scaling}}}]"#
    );
    ns.kubectl(&["patch", "mdep/smol", "--type=json", "-p", &patch]).await
}

/// Waits until these are all the autoscalers there are, by name.
async fn autoscalers_are(ns: &Namespace, kinds: &str, wanted: &str, within: Duration) -> Result<()> {
    until(&format!("{wanted:?} scale it"), within, async || {
        let there = there_are(ns, kinds).await?;
        ensure!(there == wanted, "{there}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_owner_at_a_time_decides_how_many_there_are() -> Result<()> {
    // Alone: it installs kinds in the whole cluster, and other models would be scaled by KEDA too.
    let cluster = Cluster::alone().await?;
    let Some(local) = cluster.local() else {
        skip("it installs kinds in the whole cluster and removes them");
        return Ok(());
    };
    let release = keda::release().await?;
    Keda::clean(&cluster, local)?;
    let _installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("owners").await?;
    let began = Instant::now();
    let replicas = Replicas::follow(&cluster, &ns, "smol-engine");
    let rounds = || async {
        tokio::time::sleep(ROUNDS).await;
        Ok(())
    };
    // Whoever brings it back may do so before anybody else looks.
    let by_hand = async |number: i32| {
        let (since, to) = (Instant::now(), format!("--replicas={number}"));
        ns.kubectl(&["scale", "deployment/smol-engine", &to]).await?;
        until(&format!("{number} is seen"), OBEYED, async || {
            let is_seen = replicas.numbers(since).iter().any(|(_, seen)| *seen == number);
            Ok(is_seen.then_some(()))
        })
        .await
    };
    // A person's, by the scale subresource.
    ns.apply(&model("replicas: 1")).await?;
    replicas.reach(1, OBEYED).await?;
    ns.kubectl(&["scale", "mdep/smol", "--replicas=2"]).await?;
    replicas.reach(2, OBEYED).await?;

    // The operator's, where KEDA is asked for and not there: it begins with what there is, and never with a moment of one.
    let scaling = r#"{"engine":"KEDA","min":1,"max":3,"target":{"inFlight":2}}"#;
    says(&ns, "replicas", scaling).await?;
    replicas
        .stay(2, async {
            let said = ns.told("mdep/smol", "ScalingActive", "KedaMissing", OBEYED).await?;
            ensure!(said.contains("install it (https://keda.sh)"), "{said}");
            is_moved_by(&ns, "Builtin", OBEYED).await?;
            let path = "jsonpath={.metadata.annotations.llmportfolio\\.dev/scaled}";
            until("it is not applied with a number any more", OBEYED, async || {
                Ok((ns.kubectl(&["get", "deployment/smol-engine", "-o", path]).await? == "true").then_some(()))
            })
            .await
        })
        .await?;
    // A person's try is refused with the remedy, and what is set past the specification is brought within its bounds.
    let refused = ns
        .kubectl(&["scale", "mdep/smol", "--replicas=5"])
        .await
        .err()
        .context("it was not refused")?;
    ensure!(format!("{refused:#}").contains("replicas is decided by scaling"), "{refused:#}");
    by_hand(5).await?;
    replicas.reach(3, OBEYED).await?;

    // KEDA's, from when it is there.
    let keda = replicas
        .stay(3, async {
            let keda = Keda::start(&cluster, local, &release).await?;
            is_moved_by(&ns, "KEDA", NOTICED).await?;
            let kedas = "scaledobject.keda.sh/smol-engine horizontalpodautoscaler.autoscaling/keda-hpa-smol-engine";
            autoscalers_are(&ns, "scaledobject,hpa", kedas, OBEYED).await?;
            ns.told("mdep/smol", "ScalingActive", "Following", OBEYED * 2).await?;
            Ok(keda)
        })
        .await?;
    by_hand(5).await?;
    replicas.reach(3, AUTOSCALED).await?;
    replicas.stay(3, rounds()).await?;

    // Somebody's own autoscaler: it decides alone, past our bounds too, until it is gone.
    ns.apply(THEIRS).await?;
    ns.told("mdep/smol", "ScalingActive", "ScalingConflict", OBEYED).await?;
    let theirs = "horizontalpodautoscaler.autoscaling/theirs";
    autoscalers_are(&ns, "scaledobject,hpa", theirs, OBEYED).await?;
    replicas.reach(4, AUTOSCALED).await?;
    replicas.stay(4, rounds()).await?;
    ns.kubectl(&["delete", "hpa/theirs"]).await?;
    is_moved_by(&ns, "KEDA", OBEYED).await?;
    replicas.reach(3, AUTOSCALED).await?;
    ns.told("mdep/smol", "ScalingActive", "Following", OBEYED * 2).await?;

    // One of ours by metrics of the person's own. Nobody has these, and replicas stay.
    let metric = r#"{"type":"External","external":{"metric":{"name":"queue_depth"},"target":{"type":"AverageValue","averageValue":"4"}}}"#;
    let by_metrics = |metrics: &str| format!(r#"{{"engine":"HPA","min":1,"max":3,"metrics":[{metrics}]}}"#);
    says(&ns, "scaling", &by_metrics(metric)).await?;
    replicas
        .stay(3, async {
            is_moved_by(&ns, "HPA", OBEYED).await?;
            let ours = "horizontalpodautoscaler.autoscaling/smol-engine";
            autoscalers_are(&ns, "scaledobject,hpa", ours, OBEYED).await?;
            let said = ns.told("mdep/smol", "ScalingActive", "MetricsMissing", AUTOSCALED).await?;
            println!("MetricsMissing: {said}");
            ensure!(said.contains("is installed"), "{said}");
            // What is no metric leaves what there is.
            says(&ns, "scaling", &by_metrics(r#"{"type":"External"}"#)).await?;
            let said = ns.told("mdep/smol", "ScalingActive", "MetricsInvalid", OBEYED).await?;
            println!("MetricsInvalid: {said}");
            ensure!(said.contains("metrics[0].external: is missing"), "{said}");
            rounds().await
        })
        .await?;

    // KEDA's again, until that is taken away with all that it has, and the operator's at once.
    says(&ns, "scaling", scaling).await?;
    replicas
        .stay(3, async {
            is_moved_by(&ns, "KEDA", OBEYED).await?;
            autoscalers_are(&ns, "hpa", "horizontalpodautoscaler.autoscaling/keda-hpa-smol-engine", OBEYED).await?;
            drop(keda);
            ns.told("mdep/smol", "ScalingActive", "KedaMissing", NOTICED).await?;
            is_moved_by(&ns, "Builtin", OBEYED).await?;
            autoscalers_are(&ns, "hpa", "", AUTOSCALED).await
        })
        .await?;
    by_hand(4).await?;
    replicas.reach(3, OBEYED).await?;

    // And the person's.
    let patch = r#"[{"op":"remove","path":"/spec/selfHosted/scaling"},{"op":"add","path":"/spec/selfHosted/replicas","value":1}]"#;
    ns.kubectl(&["patch", "mdep/smol", "--type=json", "-p", patch]).await?;
    replicas.reach(1, OBEYED).await?;
    replicas.stay(1, rounds()).await?;
    let numbers: Vec<i32> = replicas.numbers(began).into_iter().map(|(_, number)| number).collect();
    println!("{} changes of the number by seven owners in turn: {numbers:?}", numbers.len() - 1);
    assert_eq!(numbers, [1, 2, 5, 3, 5, 3, 4, 3, 4, 3, 1], "somebody did what was another's");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_numbers_are_refused_with_their_field() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let _installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("owners").await?;
    for bad in [
        "scaling: {min: 3, max: 2, target: {inFlight: 2}}",
        "scaling: {max: 2, target: {inFlight: 0}}",
        "scaling: {max: 2, target: {requests: 4}}",
        "scaling: {max: 2, engine: HPA}",
        "scaling: {max: 2, engine: KEDA}",
    ] {
        let refused = ns.apply(&model(bad)).await.err().with_context(|| format!("{bad} was taken"))?;
        println!("{bad}: {refused:#}");
        ensure!(format!("{refused:#}").contains("scaling"), "{refused:#}");
    }
    Ok(())
}
