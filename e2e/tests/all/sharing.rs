//! Two models that share the accelerators of one profile, on a node that has too few for both.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::images::Profile;
use e2e::portfolio::Portfolio;
use e2e::replicas::Replicas;
use e2e::{Cluster, skip, until};

use crate::scaling::OBEYED;

/// A resource of this test alone, so that no other pod takes of it: a number that the node says it has.
const DEVICE: &str = "sharing.example.com/device";
const PROFILE: &str = "settings: {acceleratorProfiles: {shared: {resource: sharing.example.com/device}}}";
/// For an image to be imported and engines to load their model.
const AWAKE: Duration = Duration::from_secs(150);
/// A pod has to have waited for 20 seconds, the other's drains for half a minute, and an engine starts.
const GIVEN: Duration = Duration::from_secs(150);

fn model(name: &str, tier: &str, min: u32, max: u32) -> String {
    format!(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: {name}}}
spec:
  tier: {tier}
  selfHosted:
    scaling: {{engine: Builtin, min: {min}, max: {max}, target: {{inFlight: 2}}, sharing: {{}}}}
    accelerator: {{profile: shared}}
    engine:
      kind: LlamaCpp
      args: [--model, /models/model.gguf, --ctx-size, '1024', --parallel, '2', --threads, '1', --no-ui, --offline, --cache-ram, '0']
      env: [{{name: OMP_WAIT_POLICY, value: passive}}, {{name: GOMP_SPINCOUNT, value: '0'}}]
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_model_of_a_lower_tier_makes_room_for_one_of_a_higher_that_finds_none() -> Result<()> {
    let cluster = Cluster::alone().await?;
    if cluster.local().is_none() {
        skip("it changes what a node offers");
        return Ok(());
    }
    Portfolio::install(&cluster, Profile::Debug, PROFILE).await?;
    let ns = cluster.namespace("sharing").await?;
    e2e::devices::offer(&cluster, DEVICE, 2).await?;
    ns.apply(&model("draft", "General", 2, 2)).await?;
    let draft = Replicas::follow(&cluster, &ns, "draft-engine");
    until("it has both", AWAKE, async || Ok((draft.now()?.ready == 2).then_some(()))).await?;

    // It may have fewer from now on, and would keep them for five minutes.
    ns.apply(&model("draft", "General", 1, 2)).await?;
    ns.apply(&model("critical", "MissionCritical", 1, 2)).await?;
    ns.told("mdep/critical", "Ready", "Serving", GIVEN).await?;
    let seen = draft.now()?;
    ensure!((seen.wanted, seen.ready) == (1, 1), "it gives one, and keeps its least: {seen:?}");
    ns.told("mdep/draft", "ScalingActive", "Shared", OBEYED).await?;
    let path = "jsonpath={.status.scaling.message}|{.status.scaling.nextUpTime}";
    let said = ns.kubectl(&["get", "mdep/draft", "-o", path]).await?;
    println!("{said}");
    let (why, next) = said.split_once('|').unwrap_or_default();
    ensure!(
        why.contains("from 2 to 1: scaling allows 1 to 1 now, by sharing with models of tier MissionCritical") && !next.is_empty(),
        "{said}"
    );
    e2e::devices::offer(&cluster, DEVICE, 0).await
}
