//! What users get wrong, and what they are told: by the API server where a rule is local, else by a condition. The rest of the portfolio goes on.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::images::Profile;
use e2e::namespace::Namespace;
use e2e::portfolio::Portfolio;
use e2e::provider::{Provider, Script};
use e2e::{Cluster, skip, until};

/// From an EvalJob to the verdict of its first run: at most a minute until its slot, then its pod.
const A_RUN: Duration = Duration::from_secs(150);

/// A spec that the API server refuses, and a part of its words.
const REFUSED: [(&str, &str, &str, &str); 26] = [
    (
        "an unknown field",
        "ModelDeployment",
        "{tear: General, selfHosted: {engine: {kind: VLLM}}}",
        ".spec.tear: field not declared in schema",
    ),
    (
        "an unknown enum value",
        "ModelDeployment",
        "{tier: Gold, selfHosted: {engine: {kind: VLLM}}}",
        "supported values: \"General\", \"Regulated\", \"MissionCritical\"",
    ),
    (
        "neither api nor selfHosted",
        "ModelDeployment",
        "{tier: General}",
        "spec.api and spec.selfHosted are both absent",
    ),
    (
        "both api and selfHosted",
        "ModelDeployment",
        "{api: {provider: OpenAICompatible, model: m, endpoint: 'http://x'}, selfHosted: {engine: {kind: VLLM}}}",
        "spec.api and spec.selfHosted are both set",
    ),
    (
        "no credentials",
        "ModelDeployment",
        "{api: {provider: OpenAI, model: m}}",
        "credentials are required for this provider",
    ),
    (
        "no endpoint",
        "ModelDeployment",
        "{api: {provider: OpenAICompatible, model: m}}",
        "endpoint is required for the provider OpenAICompatible",
    ),
    (
        "an endpoint of another scheme",
        "ModelDeployment",
        "{api: {provider: OpenAICompatible, model: m, endpoint: 'ftp://x'}}",
        "endpoint must be a URL that starts with http:// or https://",
    ),
    (
        "a custom engine without image",
        "ModelDeployment",
        "{selfHosted: {engine: {kind: Custom}}}",
        "image and port are required for the engine Custom",
    ),
    (
        "an unknown engine",
        "ModelDeployment",
        "{selfHosted: {engine: {kind: Ollama}}}",
        "supported values: \"VLLM\", \"SGLang\", \"LlamaCpp\", \"TGI\", \"Custom\"",
    ),
    (
        "a source of an unknown scheme",
        "ModelDeployment",
        "{selfHosted: {engine: {kind: VLLM}, source: {uri: 'ftp://x/y'}}}",
        "spec.selfHosted.source.uri",
    ),
    (
        "a key of a bucket's Secret",
        "ModelDeployment",
        "{selfHosted: {engine: {kind: VLLM}, source: {uri: 's3://b/x/', secretRef: {name: s, key: k}}}}",
        "for buckets leave it out: every key of the Secret becomes an environment variable",
    ),
    (
        "the same adapter twice",
        "ModelDeployment",
        "{selfHosted: {engine: {kind: VLLM}, custom: {baseModel: b, adapters: [{name: a, source: {uri: 'hf://b/a'}}, {name: a, source: {uri: 'hf://b/c'}}]}}}",
        "duplicate entries for key [name=\"a\"]",
    ),
    (
        "a development that costs something over no time",
        "ModelDeployment",
        "{selfHosted: {engine: {kind: VLLM}, custom: {baseModel: b, developmentCostUSD: '417000'}}}",
        "developmentCostUSD and amortizedOverMonths belong together: set both, or neither",
    ),
    (
        "both a profile and a claim",
        "ModelDeployment",
        "{selfHosted: {engine: {kind: VLLM}, accelerator: {profile: a, claim: {deviceClassName: b}}}}",
        "spec.selfHosted.accelerator",
    ),
    (
        "a start that may take forever",
        "ModelDeployment",
        "{selfHosted: {engine: {kind: VLLM}, startupDeadline: 200h}}",
        "must be from 10s to 168h, such as 30m",
    ),
    (
        "a cache for what is a volume already",
        "ModelDeployment",
        "{selfHosted: {engine: {kind: VLLM}, source: {uri: 'pvc://c/a'}, cache: {}}}",
        "cache keeps what is fetched, from hf://",
    ),
    (
        "a size of a volume that is there",
        "ModelDeployment",
        "{selfHosted: {engine: {kind: VLLM}, source: {uri: 'hf://a/b'}, cache: {claim: models, size: 1Gi}}}",
        "claim names a volume that is there: remove storageClassName, size and accessMode",
    ),
    (
        "an image without its registry",
        "ModelDeployment",
        "{selfHosted: {engine: {kind: VLLM}, source: {uri: 'oci://model'}}}",
        "an image is written with its registry",
    ),
    (
        "a split that does not come out",
        "ModelDeployment",
        "{selfHosted: {engine: {kind: VLLM}, accelerator: {profile: a, count: 2}, parallelism: {nodes: 2, tensor: 3, pipeline: 2}}}",
        "tensor 3 times pipeline 2 does not share out the accelerators: nodes 2 times 2 of a pod",
    ),
    (
        "the first content after the end",
        "RoutingPolicy",
        "{model: m, rules: [{targets: [{model: a}]}], timeouts: {firstToken: 2m, total: 1m}}",
        "firstToken must not be above total",
    ),
    (
        "weights all zero",
        "RoutingPolicy",
        "{model: m, rules: [{targets: [{model: a, weight: 0}]}]}",
        "at least one target needs a weight above 0",
    ),
    ("no rules", "RoutingPolicy", "{model: m, rules: []}", "should have at least 1 items"),
    (
        "two kinds of client in one",
        "RoutingPolicy",
        "{model: m, clients: [{anonymous: {}, serviceAccounts: {}}], rules: [{targets: [{model: a}]}]}",
        "exactly one of serviceAccounts, apiKeys, jwt and anonymous",
    ),
    (
        "a timeout of nothing",
        "RoutingPolicy",
        "{model: m, rules: [{targets: [{model: a}]}], timeouts: {idle: 0s}}",
        "must be above 0s",
    ),
    (
        "a cron with four fields",
        "EvalJob",
        "{targets: {models: [a]}, schedule: {cron: '* * * *'}, suites: [{name: s, exemplars: {dataset: {configMapRef: {name: c, key: k}}}, scorer: {exact: {}}}], criteria: [{suite: s, metric: accuracy, lowerBoundAtLeast: '0.5'}]}",
        "spec.schedule.cron",
    ),
    (
        "a criterion over no suite",
        "EvalJob",
        "{targets: {models: [a]}, schedule: {cron: '* * * * *'}, suites: [{name: s, exemplars: {dataset: {configMapRef: {name: c, key: k}}}, scorer: {exact: {}}}], criteria: [{suite: t, metric: accuracy, lowerBoundAtLeast: '0.5'}]}",
        "each criterion must name one of spec.suites",
    ),
];

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: llmportfolio.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n")
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_with_its_field_and_its_remedy() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let _installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("refused").await?;
    let mut untold = vec![];
    for (what, kind, spec, words) in REFUSED {
        let refusal = ns
            .apply(&object(kind, "bad", spec))
            .await
            .err()
            .with_context(|| format!("{what} was accepted"))?;
        let refusal = format!("{refusal:#}");
        println!(
            "{what}: {}",
            refusal.split_once("Error from server").map_or(refusal.as_str(), |(_, words)| words)
        );
        if !refusal.contains(words) {
            untold.push(format!("{what}: {refusal}"));
        }
    }
    assert!(untold.is_empty(), "{untold:#?}");
    Ok(())
}

#[tokio::test]
async fn a_name_that_is_too_long_for_what_is_made_of_it_is_refused() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let _installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("names").await?;
    let one = "{selfHosted: {engine: {kind: VLLM}}}";
    let group = "{selfHosted: {engine: {kind: VLLM}, parallelism: {nodes: 2}}}";
    for (length, spec, words) in [
        (53, one, "metadata.name must be at most 52 characters"),
        (41, group, "metadata.name must be at most 40 characters"),
    ] {
        let refusal = ns.apply(&object("ModelDeployment", &"a".repeat(length), spec)).await;
        let refusal = refusal.err().with_context(|| format!("{length} characters were accepted"))?;
        assert!(format!("{refusal:#}").contains(words), "{refusal:#}");
    }
    Ok(())
}

/// The message of `Ready` once its reason is the awaited one.
async fn told(ns: &Namespace, object: &str, reason: &str) -> Result<String> {
    let path = r#"jsonpath={range .status.conditions[?(@.type=="Ready")]}{.status} {.reason} {.message}{end}"#;
    let what = format!("{object} says {reason}");
    let words = until(&what, Duration::from_secs(60), async || {
        let words = ns.kubectl(&["get", object, "-o", path]).await?;
        anyhow::ensure!(words.split(' ').nth(1) == Some(reason), "{words}");
        Ok(Some(words))
    })
    .await?;
    Ok(words)
}

#[tokio::test]
async fn what_only_the_cluster_can_tell_is_a_condition_and_the_rest_goes_on() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let Some(local) = cluster.local() else {
        skip("its provider listens inside our own cluster");
        return Ok(());
    };
    let _installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("told").await?;
    let provider = Provider::on(
        local.listen(0)?,
        e2e::provider::Options {
            tls: false,
            ..Default::default()
        },
    )
    .await?;
    provider.set(|script| {
        *script = Script {
            keys: vec!["sk-good".to_owned()],
            ..Script::default()
        }
    });
    let api = |secret: &str, key: &str| {
        format!(
            "{{api: {{provider: OpenAI, model: m, endpoint: '{}/v1', credentials: {{secretRef: {{name: {secret}, key: {key}}}}}}}}}",
            provider.url()
        )
    };
    ns.kubectl(&["create", "secret", "generic", "good", "--from-literal=key=sk-good"])
        .await?;
    ns.kubectl(&["create", "secret", "generic", "wrong", "--from-literal=key=sk-wrong"])
        .await?;
    ns.kubectl(&[
        "create",
        "configmap",
        "cases",
        "--from-literal=broken={\"id\":\"1\",\"input\":\"q\",\"expected\":\"a\"}\n{\"id\":\"2\"}",
    ])
    .await?;
    let eval = |cron: &str, zone: &str, model: &str, config_map: &str| {
        format!(
            "{{targets: {{models: [{model}]}}, schedule: {{cron: '{cron}', timeZone: '{zone}'}}, suites: [{{name: s, exemplars: {{dataset: {{configMapRef: {{name: {config_map}, key: broken}}}}}}, scorer: {{exact: {{}}}}}}], criteria: [{{suite: s, metric: accuracy, lowerBoundAtLeast: '0.5'}}]}}"
        )
    };
    let policy = |name: &str, target: &str| format!("{{model: {name}, rules: [{{targets: [{{model: {target}}}]}}]}}");
    let (taken, never) = (format!("taken-{}", ns.name()), "0 0 1 1 *");
    let yaml = [
        object("ModelDeployment", "good", &api("good", "key")),
        object("ModelDeployment", "no-secret", &api("nowhere", "key")),
        object("ModelDeployment", "no-key", &api("good", "token")),
        object("ModelDeployment", "wrong-key", &api("wrong", "key")),
        object(
            "ModelDeployment",
            "no-image",
            "{selfHosted: {engine: {kind: LlamaCpp, image: 'localhost/nowhere:1'}}}",
        ),
        object(
            "ModelDeployment",
            "no-profile",
            "{selfHosted: {engine: {kind: LlamaCpp}, accelerator: {profile: tpu}}}",
        ),
        object(
            "ModelDeployment",
            "no-room",
            "{selfHosted: {engine: {kind: LlamaCpp}, accelerator: {profile: nvidia-gpu, count: 64}}}",
        ),
        object(
            "ModelDeployment",
            "no-adapters",
            "{selfHosted: {engine: {kind: LlamaCpp}, custom: {baseModel: m, adapters: [{name: a, source: {uri: 'pvc://c/a'}}]}}}",
        ),
        object(
            "ModelDeployment",
            "own-name",
            "{selfHosted: {engine: {kind: VLLM}, custom: {baseModel: m, adapters: [{name: own-name, source: {uri: 'hf://b/a'}}]}}}",
        ),
        object(
            "ModelDeployment",
            "own-token",
            "{selfHosted: {engine: {kind: VLLM}, custom: {baseModel: m, adapters: [{name: a, source: {uri: 'hf://b/a', secretRef: {name: s, key: k}}}]}}}",
        ),
        object(
            "ModelDeployment",
            "no-file",
            "{selfHosted: {engine: {kind: LlamaCpp}, source: {uri: 's3://models/llama/'}}}",
        ),
        object(
            "ModelDeployment",
            "unconfined",
            "{selfHosted: {engine: {kind: VLLM}, podTemplate: {spec: {hostNetwork: true}}}}",
        ),
        object(
            "ModelDeployment",
            "no-claim",
            "{selfHosted: {engine: {kind: LlamaCpp}, source: {uri: 'pvc://nowhere/m.gguf'}}}",
        ),
        object("RoutingPolicy", "first", &policy(&taken, "good")),
        object("RoutingPolicy", "nothing", &policy(&format!("nothing-{}", ns.name()), "nowhere")),
        object("EvalJob", "bad-cron", &eval("61 * * * *", "UTC", "good", "cases")),
        object("EvalJob", "bad-zone", &eval(never, "Europe/Atlantis", "good", "cases")),
        object("EvalJob", "no-model", &eval(never, "UTC", "nowhere", "cases")),
        object("EvalJob", "no-questions", &eval(never, "UTC", "good", "nowhere")),
    ];
    ns.apply(&yaml.concat()).await?;
    told(&ns, "rpol/first", "Routing").await?;
    ns.apply(&object("RoutingPolicy", "second", &policy(&taken, "good"))).await?;

    for (object, reason, words) in [
        (
            "mdep/no-secret",
            "CredentialsNotFound",
            "nowhere does not exist; create it, or name another",
        ),
        (
            "mdep/no-key",
            "CredentialsNotFound",
            "has no key \"token\"; add it or change the reference; the Secret has only key",
        ),
        (
            "mdep/wrong-key",
            "CredentialsRejected",
            "OpenAI refuses the credentials with HTTP 401; correct the key \"key\" of Secret \"wrong\"",
        ),
        (
            "mdep/no-image",
            "ImageNotAvailable",
            "the image \"localhost/nowhere:1\" cannot be pulled: the registry cannot be reached; check spec.selfHosted.engine.image",
        ),
        (
            "mdep/no-profile",
            "Invalid",
            "spec.selfHosted.accelerator.profile: there is no profile \"tpu\"; use one of",
        ),
        (
            "mdep/no-adapters",
            "Invalid",
            "spec.selfHosted.custom.adapters[0]: the engine LlamaCpp loads no adapters by name; use the engine VLLM",
        ),
        (
            "mdep/own-name",
            "Invalid",
            "spec.selfHosted.custom.adapters[0].name: \"own-name\" is what the model answers to without an adapter; choose another name",
        ),
        (
            "mdep/own-token",
            "Invalid",
            "spec.selfHosted.custom.adapters[0].source.secretRef: the engine VLLM downloads this adapter itself, and has one token for the hub",
        ),
        (
            "mdep/no-file",
            "Invalid",
            "spec.selfHosted.source.uri: \"s3://models/llama/\" names no .gguf file, and the engine LlamaCpp serves one; name the file",
        ),
        (
            "mdep/unconfined",
            "Invalid",
            "spec.selfHosted.podTemplate.spec.hostNetwork: shares a namespace of the node; remove it",
        ),
        (
            "mdep/no-claim",
            "VolumeClaimNotFound",
            "/nowhere does not exist; create it, or name another in spec.selfHosted.source.uri",
        ),
        ("mdep/no-room", "Unschedulable", "Insufficient nvidia.com/gpu"),
        ("rpol/second", "NameConflict", "belongs to the older RoutingPolicy"),
        ("rpol/nothing", "TargetNotFound", "nowhere does not exist: create ModelDeployment"),
        ("evj/bad-cron", "InvalidSchedule", "spec.schedule.cron"),
        ("evj/bad-zone", "InvalidSchedule", "spec.schedule.timeZone"),
        ("evj/no-model", "TargetNotFound", "nowhere"),
        ("evj/no-questions", "ConfigMapNotFound", "nowhere"),
    ] {
        let message = told(&ns, object, reason).await?;
        println!("{object}: {message}");
        assert!(message.contains(words), "{object}: {message}");
    }
    told(&ns, "mdep/good", "ProviderAnswers").await?;
    told(&ns, "rpol/first", "Routing").await?;

    // What only a run can find: the second line of the dataset has no answer.
    ns.apply(&object("EvalJob", "broken-line", &eval("* * * * *", "UTC", "good", "cases")))
        .await?;
    let path = "jsonpath={.status.verdict} {.status.targets[0].message}";
    let words = until("a run says that a line is broken", A_RUN, async || {
        let words = ns.kubectl(&["get", "evj/broken-line", "-o", path]).await?;
        anyhow::ensure!(words.starts_with("Invalid "), "{words}");
        Ok(Some(words))
    })
    .await?;
    println!("evj/broken-line: {words}");
    let broken = "ConfigMap cases, broken line 2: expected is missing; add it or remove the row";
    assert!(words.contains(broken), "{words}");

    // The remedy works: a corrected Secret is noticed by itself.
    let corrected = "apiVersion: v1\nkind: Secret\nmetadata: {name: wrong}\nstringData: {key: sk-good}\n";
    ns.kubectl(&["delete", "secret", "wrong"]).await?;
    ns.apply(corrected).await?;
    told(&ns, "mdep/wrong-key", "ProviderAnswers").await?;
    Ok(())
}
