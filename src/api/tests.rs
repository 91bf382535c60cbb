//! The CRDs without a server: every rule accepts and refuses what it should, every field is documented, everything a user writes is bounded.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool};
use kube::core::cel::ValidationErrors;

use super::{EvalJob, ModelDeployment, RoutingPolicy, all_crds};

const TOKEN: &str = "credentials: {secretRef: {name: s, key: k}}";

fn model(name: &str, spec: &str) -> Result<(), ValidationErrors> {
    let yaml = format!("{{apiVersion: x, kind: ModelDeployment, metadata: {{name: {name}}}, spec: {spec}}}");
    serde_saphyr::from_str::<ModelDeployment>(&yaml).unwrap().validate_cel()
}

fn tiers(tiers: &str) -> Result<(), ValidationErrors> {
    let price = format!("{{inputPer1M: '1', outputPer1M: '2', tiers: [{tiers}]}}");
    model("m", &format!("{{api: {{provider: OpenAI, model: x, {TOKEN}}}, price: {price}}}"))
}

fn policy(rest: &str) -> Result<(), ValidationErrors> {
    let yaml = format!("{{apiVersion: x, kind: RoutingPolicy, metadata: {{name: p}}, spec: {{model: m, {rest}}}}}");
    serde_saphyr::from_str::<RoutingPolicy>(&yaml).unwrap().validate_cel()
}

fn suite(suite: &str, rest: &str) -> Result<(), ValidationErrors> {
    let suite = suite.strip_prefix('{').unwrap();
    let spec = format!("targets: {{models: [m]}}, schedule: {{cron: \"0 2 * * *\"}}, suites: [{{name: s, {suite}], {rest}");
    let yaml = format!("{{apiVersion: x, kind: EvalJob, metadata: {{name: e}}, spec: {{{spec}}}}}");
    serde_saphyr::from_str::<EvalJob>(&yaml).unwrap().validate_cel()
}

fn scheduled(more: &str) -> Result<(), ValidationErrors> {
    let suites = "[{name: s, mmluPro: {dataset: {uri: 'pvc://c/f'}}}]";
    let spec = format!("targets: {{models: [m]}}, schedule: {{cron: \"0 2 * * *\", {more}}}, suites: {suites}");
    let yaml = format!("{{apiVersion: x, kind: EvalJob, metadata: {{name: e}}, spec: {{{spec}}}}}");
    serde_saphyr::from_str::<EvalJob>(&yaml).unwrap().validate_cel()
}

fn evaluation(name: &str, scorer: &str, criteria: &str) -> Result<(), ValidationErrors> {
    let suite = format!("{{name: s, exemplars: {{dataset: {{configMapRef: {{name: c, key: k}}}}}}, scorer: {scorer}}}");
    let rest = format!("targets: {{models: [m]}}, schedule: {{cron: \"0 2 * * *\"}}, suites: [{suite}], criteria: [{criteria}]");
    let yaml = format!("{{apiVersion: x, kind: EvalJob, metadata: {{name: {name}}}, spec: {{{rest}}}}}");
    serde_saphyr::from_str::<EvalJob>(&yaml).unwrap().validate_cel()
}

mod evaluations;

fn accepted() -> Vec<(&'static str, Result<(), ValidationErrors>)> {
    let passes = "{suite: s, metric: accuracy, lowerBoundAtLeast: \"0.5\"}";
    vec![
        (
            "an API model",
            model("m", &format!("{{api: {{provider: OpenAI, model: x, {TOKEN}}}}}")),
        ),
        (
            "a compatible API without credentials",
            model("m", "{api: {provider: OpenAICompatible, model: x, endpoint: \"http://h:1/v1\"}}"),
        ),
        (
            "Azure's resource",
            model("m", &format!("{{api: {{provider: AzureOpenAI, model: x, endpoint: 'https://n.openai.azure.com', {TOKEN}}}}}")),
        ),
        (
            "Vertex AI, and what the model can do",
            model(
                "m",
                &format!(
                    "{{api: {{provider: VertexAI, model: x, region: europe-west4, project: p-1, {TOKEN}}}, capabilities: {{contextTokens: 1048576, maxOutputTokens: 8192,
                      tools: true, images: false, jsonSchema: true, embeddings: false}}}}"
                ),
            ),
        ),
        (
            "Bedrock",
            model("m", &format!("{{api: {{provider: Bedrock, model: x, region: eu-central-1, {TOKEN}}}}}")),
        ),
        (
            "Gemini and a region that is only shown",
            model("m", &format!("{{api: {{provider: Gemini, model: x, region: 'EU, mostly', {TOKEN}}}}}")),
        ),
        ("Mistral", model("m", &format!("{{api: {{provider: Mistral, model: x, {TOKEN}}}}}"))),
        (
            "authorities of one's own",
            model("m", "{api: {provider: OpenAICompatible, model: x, endpoint: 'https://h/v1', caBundle: {configMapRef: {name: c, key: k}}}}"),
        ),
        (
            "every way to bear a model that wakes",
            policy("rules: [{targets: [{model: a}]}], warmup: {mode: Hold, max: 50, for: 90s}, timeouts: {total: 2m}"),
        ),
        (
            "another model while one wakes",
            policy("rules: [{targets: [{model: a}]}], warmup: {mode: Spill, targets: [{model: b}, {model: c, adapter: x}]}"),
        ),
        ("answers that are kept", policy("rules: [{targets: [{model: a}]}], cache: {mode: Exact, for: 10m}")),
        (
            "copies for shadows",
            policy(
                "rules: [{targets: [{model: a}]}], shadow: [{model: b, percent: 1}, {model: b, adapter: x, percent: 100, budget: {usd: '20', \
                 window: Day, timeZone: Europe/Berlin}}, {model: c, percent: 5, budget: {tokens: 1000, window: Hour}}]",
            ),
        ),
        ("no waiting", policy("rules: [{targets: [{model: a}]}], warmup: {mode: Refuse}")),
        (
            "limits and budgets",
            policy(
                "rules: [{targets: [{model: a}]}], limits: [{per: Client, requestsPerMinute: 60, tokensPerMinute: 100000, concurrent: 8}, {per: Policy, concurrent: 1}],
                 budgets: [{per: Policy, usd: '500', window: Month, timeZone: Europe/Berlin, warnAtPercent: 80, onExhausted: {action: Downgrade, targets: [{model: b}]}},
                 {name: daily, per: Client, tokens: 1000000, window: Day, onExhausted: {action: Reject}}, {name: t, per: Team, usd: '1', window: Week},
                 {per: Namespace, usd: '0.5', window: Hour, timeZone: Etc/GMT+5}]",
            ),
        ),
        (
            "a model in the engine's image",
            model("m", "{selfHosted: {engine: {kind: LlamaCpp}}}"),
        ),
        (
            "an engine of one's own",
            model("m", "{selfHosted: {engine: {kind: Custom, image: i, port: 8080}}}"),
        ),
        (
            "every rate and two tiers",
            model(
                "m",
                &format!("{{api: {{provider: OpenAI, model: x, {TOKEN}}}, price: {{inputPer1M: '1', outputPer1M: '2', cacheReadPer1M: '0.1', cacheWritePer1M: '1',
                  cacheWrite1hPer1M: '1', reasoningPer1M: '2', audioInputPer1M: '3', audioOutputPer1M: '4', tiers: [
                  {{aboveInputTokens: 200000, inputPer1M: '2', outputPer1M: '3', cacheReadPer1M: '0.2'}}, {{aboveInputTokens: 272000, inputPer1M: '3', outputPer1M: '4'}}]}}}}"),
            ),
        ),
        (
            "what a provider lets us have",
            model(
                "m",
                &format!("{{api: {{provider: OpenAI, model: x, {TOKEN}, limits: {{requestsPerMinute: 3000, tokensPerMinute: 1000000, concurrent: 200}}}}}}"),
            ),
        ),
        (
            "an environment",
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM, env: [{name: A, value: b}, {name: C, valueFrom: {secretKeyRef: {name: s, key: k}}}]}}}",
            ),
        ),
        (
            "a model of one's own with adapters",
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, custom: {baseModel: b, developmentCostUSD: '417000', amortizedOverMonths: 24, trainedOn: claims,
                  adapters: [{name: fraud, source: {uri: 'hf://bank/fraud'}}, {name: tone, source: {uri: 's3://m/tone/', secretRef: {name: s}}}]}}}",
            ),
        ),
        (
            "the longest name of a model",
            model(&"a".repeat(52), "{selfHosted: {engine: {kind: VLLM}}}"),
        ),
        (
            "a pod template, and where and when pods run",
            model(
                "m",
                "{selfHosted: {engine: {kind: TGI}, podTemplate: {spec: {hostUsers: false}}, priorityClassName: a.b, schedulerName: s, queueName: q, startupDeadline: 2h,
                  queue: {atOncePerPod: 32, waiting: 0, for: 1m},
                  topologySpreadConstraints: [{topologyKey: topology.kubernetes.io/zone}]}}",
            ),
        ),
        (
            "replicas by demand, with all that can be said",
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, scaling: {min: 0, max: 4, target: {inFlight: 16, waiting: 4, cachePercent: 80}, scaleToZeroAfter: 15m,
                  behavior: {up: {perMinute: 2, stabilisation: 0s}, down: {stabilisation: 1h}}}}}",
            ),
        ),
        (
            "replicas by demand, with what must be said",
            model("m", "{selfHosted: {engine: {kind: VLLM}, scaling: {max: 4, target: {inFlight: 16}}}}"),
        ),
        (
            "replicas by the time of day",
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, scaling: {max: 4, target: {inFlight: 16}, scaleToZeroAfter: 1h, schedule: [
                  {cron: 0 8 * * 1-5, timeZone: Europe/Berlin, ahead: 10m, min: 2}, {cron: 0 20 * * 1-5, timeZone: Europe/Berlin, min: 0, max: 1}, {cron: 0 0 1 * *, max: 9}]}}}",
            ),
        ),
        (
            "replicas by metrics of one's own and the time of day",
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, scaling: {max: 4, engine: HPA, metrics: [{type: Resource}], schedule: [{cron: 0 8 * * *, min: 2}, {cron: 0 9 * * *, max: 1}]}}}",
            ),
        ),
        (
            "replicas by metrics of one's own",
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, scaling: {max: 4, engine: HPA, behavior: {down: {perMinute: 1}},
                  metrics: [{type: External, external: {metric: {name: queue_depth}, target: {type: AverageValue, averageValue: '4'}}}]}}}",
            ),
        ),
        (
            "devices by claim",
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, accelerator: {claim: {deviceClassName: gpu.example.com, count: 2, selectors: ['true']}}}}",
            ),
        ),
        (
            "a cache of its own",
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, source: {uri: 'hf://a/b'}, cache: {storageClassName: shared, size: 40Gi, accessMode: ReadWriteOnce}}}",
            ),
        ),
        (
            "a cache in a claim",
            model("m", "{selfHosted: {engine: {kind: VLLM}, source: {uri: 'hf://a/b'}, cache: {claim: models}}}"),
        ),
        (
            "a replica over two nodes, each accelerator with its part",
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, accelerator: {profile: a, count: 8}, parallelism: {nodes: 2, tensor: 8, pipeline: 2}}}",
            ),
        ),
        (
            "the part of one dimension, the other following",
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, accelerator: {claim: {deviceClassName: c, count: 4}}, parallelism: {tensor: 2}}}",
            ),
        ),
        (
            "the longest name of a model over several nodes",
            model(&"a".repeat(40), "{selfHosted: {engine: {kind: VLLM}, parallelism: {nodes: 2}}}"),
        ),
        ("null for absent", model("m", "{api: null, selfHosted: {engine: {kind: VLLM}}}")),
        (
            "one target with weight",
            policy("rules: [{targets: [{model: a}, {model: b, weight: 0}]}]"),
        ),
        (
            "each kind of client",
            policy("rules: [{targets: [{model: a}]}], clients: [{anonymous: {}}, {serviceAccounts: {}}, {apiKeys: {matchLabels: {a: b}}}, {jwt: {issuer: 'https://id.example.com/realms/a', audiences: [llm], claims: {a.b: c}}}, {jwt: {issuer: 'http://127.0.0.1:9000', audiences: [llm]}}, {jwt: {issuer: 'http://localhost:9000', audiences: [llm]}}]"),
        ),
        (
            "all timeouts",
            policy("rules: [{targets: [{model: a}]}], timeouts: {connect: 1s, firstToken: 20s, idle: 500ms, total: 1h30m}"),
        ),
        (
            "everything that a rule may look at",
            policy("require: {regions: [eu], jurisdictions: [EU], maxCostPerRequestUSD: '0.50', evaluated: [{evalJob: q, maxAge: 720h}]},
                rules: [{when: {dataClasses: [Personal], clients: [{anonymous: {}}], inputTokens: {atLeast: 0, below: 1}, tools: true, images: false,
                expression: 'request.images'}, require: {classes: [Open], tiers: [Regulated]}, strategy: LeastCost, targets: [{model: a}]}],
                sticky: {by: Header, header: x-session-id, for: 30m}"),
        ),
        (
            "retries and a limit of the body",
            policy("rules: [{targets: [{model: a}]}], retries: {attempts: 0, budgetPercent: 100}, maxBodyBytes: 64Mi"),
        ),
        ("an exact scorer", evaluation("e", "{exact: {}}", passes)),
        ("a regex scorer", evaluation("e", "{regex: {pattern: x}}", passes)),
        (
            "the longest name of an evaluation",
            evaluation(&"a".repeat(52), "{multipleChoice: {}}", passes),
        ),
    ]
}

/// What is refused, at which field, with which beginning of the message.
fn refused() -> Vec<(Result<(), ValidationErrors>, &'static str, &'static str)> {
    let rules = "rules: [{targets: [{model: a}]}]";
    let passes = "{suite: s, metric: accuracy, lowerBoundAtLeast: \"0.5\"}";
    let name = "metadata.name must be at most 52 characters, begin with a letter";
    let url = "endpoint must be a URL that starts with http:// or https:// and a host";
    vec![
        (model("m", "{}"), "spec", "spec.api and spec.selfHosted are both absent"),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, scaling: {min: 3, max: 2, target: {inFlight: 16}}}}",
            ),
            "spec.selfHosted.scaling.min",
            "min is above max: lower min, or raise max",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, scaling: {min: 1, max: 2, target: {inFlight: 16}, scaleToZeroAfter: 5m}}}",
            ),
            "spec.selfHosted.scaling.scaleToZeroAfter",
            "scaleToZeroAfter needs min: 0",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, scaling: {min: 0, max: 2, target: {inFlight: 16}, scaleToZeroAfter: 5s}}}",
            ),
            "spec.selfHosted.scaling.scaleToZeroAfter",
            "must be from 10s to 24h, such as 15m",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, scaling: {max: 2, target: {inFlight: 16}, behavior: {up: {stabilisation: 2h}}}}}",
            ),
            "spec.selfHosted.scaling.behavior.up.stabilisation",
            "must be from 0s to 1h, such as 5m",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, replicas: 2, scaling: {max: 2, target: {inFlight: 16}}}}",
            ),
            "spec.selfHosted.replicas",
            "replicas is decided by scaling",
        ),
        (
            model("m", "{selfHosted: {engine: {kind: VLLM}, scaling: {max: 2}}}"),
            "spec.selfHosted.scaling.target",
            "target is missing: inFlight: 16 suits most models",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, scaling: {max: 2, engine: HPA, metrics: [{type: Resource}], target: {inFlight: 1}}}}",
            ),
            "spec.selfHosted.scaling.target",
            "target is for the engines Auto, Builtin and KEDA",
        ),
        (
            model("m", "{selfHosted: {engine: {kind: VLLM}, scaling: {max: 2, engine: HPA}}}"),
            "spec.selfHosted.scaling.metrics",
            "engine HPA needs metrics, as in a HorizontalPodAutoscaler",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, scaling: {max: 2, target: {inFlight: 1}, metrics: [{type: Resource}]}}}",
            ),
            "spec.selfHosted.scaling.metrics",
            "metrics are for engine HPA: set that, or use target instead",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, scaling: {min: 0, max: 2, engine: HPA, metrics: [{type: Resource}]}}}",
            ),
            "spec.selfHosted.scaling.min",
            "engine HPA keeps one replica at least: set min to 1 or more, or engine to Auto",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, scaling: {max: 4, target: {inFlight: 16}, scaleToZeroAfter: 5m, schedule: [{cron: 0 8 * * *, min: 1}]}}}",
            ),
            "spec.selfHosted.scaling.scaleToZeroAfter",
            "scaleToZeroAfter needs min: 0, here or in an entry of schedule",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, scaling: {max: 4, target: {inFlight: 16}, schedule: [{cron: 0 8 * * *}]}}}",
            ),
            "spec.selfHosted.scaling.schedule[0]",
            "at least one of min and max must be set, such as min: 2",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, scaling: {max: 4, target: {inFlight: 16}, schedule: [{cron: 0 8 * * *, min: 1}, {cron: 0 9 * * *, min: 5}]}}}",
            ),
            "spec.selfHosted.scaling.schedule",
            "an entry has min above max",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, scaling: {min: 2, max: 4, target: {inFlight: 16}, schedule: [{cron: 0 8 * * *, max: 1}]}}}",
            ),
            "spec.selfHosted.scaling.schedule",
            "an entry has min above max",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, scaling: {max: 4, target: {inFlight: 16}, schedule: [{cron: 0 8 * * *, min: 1, ahead: 25h}]}}}",
            ),
            "spec.selfHosted.scaling.schedule[0].ahead",
            "must be from 0s to 24h, such as 10m",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, scaling: {max: 4, engine: HPA, metrics: [{type: Resource}], schedule: [{cron: 0 8 * * *, min: 0}]}}}",
            ),
            "spec.selfHosted.scaling.schedule",
            "engine HPA keeps one replica at least: set min of each entry to 1 or more",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, accelerator: {profile: p}, scaling: {max: 2, engine: HPA, metrics: [{type: Resource}], sharing: {}}}}",
            ),
            "spec.selfHosted.scaling.sharing",
            "sharing is for the engines Auto, Builtin and KEDA",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, scaling: {max: 2, target: {inFlight: 1}, sharing: {weight: 2}}}}",
            ),
            "spec.selfHosted.scaling.sharing",
            "scaling.sharing shares the accelerators of a profile: name one",
        ),
        (
            model("m", "{selfHosted: {engine: {kind: VLLM}, scaling: {max: 2, target: {}}}}"),
            "spec.selfHosted.scaling.target",
            "at least one of inFlight, waiting and cachePercent must be set",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: Custom, image: x, port: 8000}, scaling: {max: 2, target: {waiting: 4}}}}",
            ),
            "spec.selfHosted.scaling.target.waiting",
            "scaling.target.waiting is for VLLM, SGLang, LlamaCpp and TGI",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: LlamaCpp}, scaling: {max: 2, target: {cachePercent: 80}}}}",
            ),
            "spec.selfHosted.scaling.target.cachePercent",
            "scaling.target.cachePercent is for VLLM and SGLang",
        ),
        (
            policy(&format!("{rules}, cache: {{mode: Exact, for: 25h}}")),
            "spec.cache.for",
            "must be above 0s and at most 24h, such as 10m",
        ),
        (
            policy(&format!("{rules}, shadow: [{{model: b, percent: 0}}]")),
            "spec.shadow[0].percent",
            "must be from 1 to 100",
        ),
        (
            policy(&format!("{rules}, shadow: [{{model: b, percent: 101}}]")),
            "spec.shadow[0].percent",
            "must be from 1 to 100",
        ),
        (
            policy(&format!(
                "{rules}, shadow: [{{model: b, percent: 5}}, {{model: b, adapter: x, percent: 5}}, {{model: b, namespace: n, percent: 5}}, \
                 {{model: b, percent: 6}}]"
            )),
            "spec.shadow",
            "a model has one shadow",
        ),
        (
            policy(&format!(
                "{rules}, shadow: [{{model: b, percent: 5, budget: {{usd: '1', tokens: 5, window: Day}}}}]"
            )),
            "spec.shadow[0].budget",
            "exactly one of usd and tokens must be set",
        ),
        (
            policy(&format!("{rules}, logging: {{content: Always}}, guardrails: {{redact: [Email]}}")),
            "spec.logging.content",
            "logging.content cannot be Always where guardrails.redact keeps identifiers from others",
        ),
        (
            policy(&format!("{rules}, warmup: {{mode: Refuse, max: 5}}")),
            "spec.warmup.max",
            "max is for the mode Hold",
        ),
        (
            policy(&format!("{rules}, warmup: {{mode: Refuse, for: 5s}}")),
            "spec.warmup.for",
            "for belongs to the mode Hold",
        ),
        (
            policy(&format!("{rules}, warmup: {{mode: Hold, targets: [{{model: b}}]}}")),
            "spec.warmup.targets",
            "targets are for the mode Spill",
        ),
        (
            policy(&format!("{rules}, warmup: {{mode: Spill}}")),
            "spec.warmup.targets",
            "the mode Spill needs at least one model",
        ),
        (
            policy(&format!("{rules}, warmup: {{mode: Hold, for: 0s}}")),
            "spec.warmup.for",
            "must be above 0s and at most 1h",
        ),
        (
            policy(&format!("{rules}, warmup: {{mode: Hold, for: 10m}}")),
            "spec.warmup.for",
            "warmup.for must be below timeouts.total",
        ),
        (
            policy(&format!("{rules}, guardrails: {{}}")),
            "spec.guardrails",
            "redact or blockedTerms must be set",
        ),
        (
            tiers("{aboveInputTokens: 5, inputPer1M: '1', outputPer1M: '1'}, {aboveInputTokens: 4, inputPer1M: '1', outputPer1M: '1'}"),
            "spec.price.tiers",
            "each tier must begin above the one before it",
        ),
        (
            tiers("{aboveInputTokens: 5, inputPer1M: '1', outputPer1M: '1'}, {aboveInputTokens: 5, inputPer1M: '2', outputPer1M: '1'}"),
            "spec.price.tiers",
            "each tier must begin above the one before it",
        ),
        (
            model(
                "m",
                &format!("{{api: {{provider: OpenAI, model: x, {TOKEN}}}, selfHosted: {{engine: {{kind: VLLM}}}}}}"),
            ),
            "spec",
            "spec.api and spec.selfHosted are both set",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, source: {uri: 'pvc://a/b', secretRef: {name: s}}}}",
            ),
            "spec.selfHosted.source.secretRef",
            "secretRef is for hf://, s3://, gs:// and az:// only",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, source: {uri: 'oci://r.example.com/a:1', secretRef: {name: s}}}}",
            ),
            "spec.selfHosted.source.secretRef",
            "secretRef is for hf://, s3://, gs:// and az:// only: remove it; the credentials of a registry (oci://) are imagePullSecrets",
        ),
        (
            model("m", "{selfHosted: {engine: {kind: VLLM}, source: {uri: 'oci://org/llama:1'}}}"),
            "spec.selfHosted.source.uri",
            "an image is written with its registry, and the path in it after #",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, source: {uri: 'oci://r.example.com/Llama'}}}",
            ),
            "spec.selfHosted.source.uri",
            "an image is written with its registry, and the path in it after #",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, source: {uri: 's3://a/b', secretRef: {name: s, key: k}}}}",
            ),
            "spec.selfHosted.source.secretRef",
            "secretRef.key names the token for hf://",
        ),
        (
            model("m", "{selfHosted: {engine: {kind: VLLM}, source: {uri: 'pvc://a/b'}, cache: {}}}"),
            "spec.selfHosted.cache",
            "cache keeps what is fetched",
        ),
        (
            model("m", "{selfHosted: {engine: {kind: VLLM}, cache: {size: 1Gi}}}"),
            "spec.selfHosted.cache",
            "cache keeps what is fetched",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, source: {uri: 'hf://a/b'}, cache: {claim: models, accessMode: ReadWriteOnce}}}",
            ),
            "spec.selfHosted.cache.claim",
            "claim names a volume that is there",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, source: {uri: 'hf://a/b'}, cache: {accessMode: ReadWriteOnce}, parallelism: {nodes: 2}}}",
            ),
            "spec.selfHosted.cache.accessMode",
            "cache.accessMode ReadWriteOnce is for pods of one node",
        ),
        (model(&"a".repeat(53), "{selfHosted: {engine: {kind: VLLM}}}"), "", name),
        (
            model(&"a".repeat(41), "{selfHosted: {engine: {kind: VLLM}, parallelism: {nodes: 2}}}"),
            "",
            "metadata.name must be at most 40 characters where parallelism.nodes is above 1",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, accelerator: {profile: a, count: 2}, parallelism: {nodes: 2, tensor: 4, pipeline: 2}}}",
            ),
            "spec.selfHosted.parallelism",
            "tensor 4 times pipeline 2 does not share out the accelerators: nodes 2 times 2 of a pod; make",
        ),
        (
            model("m", "{selfHosted: {engine: {kind: VLLM}, parallelism: {pipeline: 3, nodes: 2}}}"),
            "spec.selfHosted.parallelism",
            "tensor (absent) times pipeline 3 does not share out the accelerators: nodes 2 times 1 of a pod; make",
        ),
        (model("1a", "{selfHosted: {engine: {kind: VLLM}}}"), "", name),
        (model("a.b", "{selfHosted: {engine: {kind: VLLM}}}"), "", name),
        (
            model("m", "{api: {provider: OpenAICompatible, model: x}}"),
            "spec.api.endpoint",
            "endpoint is required for the provider OpenAICompatible",
        ),
        (
            model("m", &format!("{{api: {{provider: AzureOpenAI, model: x, {TOKEN}}}}}")),
            "spec.api.endpoint",
            "endpoint is required for the provider AzureOpenAI: set it to the resource's URL",
        ),
        (
            model("m", &format!("{{api: {{provider: Bedrock, model: x, {TOKEN}}}}}")),
            "spec.api.region",
            "region is required for the providers VertexAI and Bedrock",
        ),
        (
            model("m", &format!("{{api: {{provider: VertexAI, model: x, project: p, {TOKEN}}}}}")),
            "spec.api.region",
            "region is required for the providers VertexAI and Bedrock",
        ),
        (
            model(
                "m",
                &format!("{{api: {{provider: Bedrock, model: x, region: 'x.example.com/', {TOKEN}}}}}"),
            ),
            "spec.api.region",
            "region is a part of the address of the providers VertexAI and Bedrock",
        ),
        (
            model("m", &format!("{{api: {{provider: VertexAI, model: x, region: eu, {TOKEN}}}}}")),
            "spec.api.project",
            "project is required for the provider VertexAI",
        ),
        (
            model("m", &format!("{{api: {{provider: Gemini, model: x, project: p, {TOKEN}}}}}")),
            "spec.api.project",
            "project is for the provider VertexAI only: remove it",
        ),
        (
            model("m", "{api: {provider: OpenAICompatible, model: x, endpoint: 'https://h/v1?key=k'}}"),
            "spec.api.endpoint",
            "endpoint must be an address alone",
        ),
        (
            model(
                "m",
                "{api: {provider: OpenAICompatible, model: x, endpoint: 'http://h/v1', caBundle: {configMapRef: {name: c, key: k}}}}",
            ),
            "spec.api.caBundle",
            "caBundle is for https://",
        ),
        (
            model("m", "{api: {provider: Anthropic, model: x}}"),
            "spec.api.credentials",
            "credentials are required for this provider",
        ),
        (
            model("m", "{api: {provider: OpenAICompatible, model: x, endpoint: \"ftp://h/v1\"}}"),
            "spec.api.endpoint",
            url,
        ),
        (
            model("m", "{api: {provider: OpenAICompatible, model: x, endpoint: \"h:80\"}}"),
            "spec.api.endpoint",
            url,
        ),
        (
            model("m", "{selfHosted: {engine: {kind: Custom, image: i}}}"),
            "spec.selfHosted.engine",
            "image and port are required for the engine Custom",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM, env: [{name: A, value: b, valueFrom: {secretKeyRef: {name: s, key: k}}}]}}}",
            ),
            "spec.selfHosted.engine.env[0]",
            "value and valueFrom exclude each other",
        ),
        (
            model("m", "{selfHosted: {engine: {kind: VLLM, env: [{name: A, valueFrom: {}}]}}}"),
            "spec.selfHosted.engine.env[0].valueFrom",
            "exactly one of secretKeyRef and configMapKeyRef must be set",
        ),
        (
            model("m", "{selfHosted: {engine: {kind: VLLM}, accelerator: {}}}"),
            "spec.selfHosted.accelerator",
            "exactly one of profile and claim must be set",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, accelerator: {profile: a, claim: {deviceClassName: c}}}}",
            ),
            "spec.selfHosted.accelerator",
            "exactly one of profile and claim must be set",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, accelerator: {count: 2, claim: {deviceClassName: c}}}}",
            ),
            "spec.selfHosted.accelerator.count",
            "count belongs to profile",
        ),
        (
            model(
                "m",
                "{selfHosted: {engine: {kind: VLLM}, custom: {baseModel: b, developmentCostUSD: '417000'}}}",
            ),
            "spec.selfHosted.custom",
            "developmentCostUSD and amortizedOverMonths belong together",
        ),
        (
            model("m", "{selfHosted: {engine: {kind: VLLM}, startupDeadline: 5s}}"),
            "spec.selfHosted.startupDeadline",
            "must be from 10s to 168h, such as 30m",
        ),
        (
            model("m", &format!("{{api: {{provider: OpenAI, model: x, {TOKEN}, limits: {{}}}}}}")),
            "spec.api.limits",
            "at least one of requestsPerMinute, tokensPerMinute and concurrent must be set: remove limits for none",
        ),
        (
            model("m", "{selfHosted: {engine: {kind: VLLM}, queue: {atOncePerPod: 8, for: 11m}}}"),
            "spec.selfHosted.queue.for",
            "must be above 0s and at most 10m, such as 30s",
        ),
        (
            policy("rules: [{targets: [{model: a}]}, {targets: [{model: a, weight: 0}, {model: b, weight: 0}]}]"),
            "spec.rules[1].targets",
            "at least one target needs a weight above 0",
        ),
        (
            model("m", "{selfHosted: {engine: {kind: VLLM}}, jurisdiction: EU}"),
            "spec.jurisdiction",
            "jurisdiction is for models behind an API",
        ),
        (
            policy(&format!("{rules}, sticky: {{by: Header}}")),
            "spec.sticky.header",
            "header belongs to by: Header, which needs it",
        ),
        (
            policy(&format!("{rules}, sticky: {{by: Conversation, for: 25h}}")),
            "spec.sticky.for",
            "must be above 0s and at most 24h",
        ),
        (
            policy("rules: [{targets: [{model: a}], when: {inputTokens: {}}}]"),
            "spec.rules[0].when.inputTokens",
            "atLeast or below must be set",
        ),
        (
            policy("rules: [{targets: [{model: a}], when: {inputTokens: {atLeast: 5, below: 5}}}]"),
            "spec.rules[0].when.inputTokens",
            "atLeast must be less than below",
        ),
        (
            policy(&format!("{rules}, require: {{evaluated: [{{evalJob: q, maxAge: 0s}}]}}")),
            "spec.require.evaluated[0].maxAge",
            "must be above 0s, such as 720h",
        ),
        (
            policy(&format!("{rules}, limits: [{{per: Client}}]")),
            "spec.limits[0]",
            "at least one of requestsPerMinute, tokensPerMinute and concurrent must be set",
        ),
        (
            policy(&format!("{rules}, budgets: [{{per: Policy, window: Day}}]")),
            "spec.budgets[0]",
            "exactly one of usd and tokens must be set",
        ),
        (
            policy(&format!("{rules}, budgets: [{{per: Policy, window: Day, usd: '5', tokens: 5}}]")),
            "spec.budgets[0]",
            "exactly one of usd and tokens must be set",
        ),
        (
            policy(&format!(
                "{rules}, budgets: [{{name: a, per: Policy, window: Day, usd: '5'}}, {{name: a, per: Client, window: Day, usd: '1'}}]"
            )),
            "spec.budgets",
            "each budget needs a name of its own",
        ),
        (
            policy(&format!(
                "{rules}, budgets: [{{per: Policy, window: Day, usd: '5', onExhausted: {{targets: [{{model: a}}]}}}}]"
            )),
            "spec.budgets[0].onExhausted.targets",
            "targets are for the action Downgrade",
        ),
        (
            policy(&format!(
                "{rules}, budgets: [{{per: Policy, window: Day, usd: '5', onExhausted: {{action: Downgrade}}}}]"
            )),
            "spec.budgets[0].onExhausted.targets",
            "the action Downgrade needs at least one model to go to",
        ),
        (
            policy(&format!("{rules}, clients: [{{}}]")),
            "spec.clients[0]",
            "exactly one of serviceAccounts, apiKeys, jwt and anonymous must be set",
        ),
        (
            policy(&format!("{rules}, clients: [{{anonymous: {{}}, serviceAccounts: {{}}}}]")),
            "spec.clients[0]",
            "exactly one of serviceAccounts, apiKeys, jwt and anonymous must be set",
        ),
        (
            policy(&format!(
                "{rules}, clients: [{{jwt: {{issuer: 'http://id.example.com', audiences: [llm]}}}}]"
            )),
            "spec.clients[0].jwt.issuer",
            "issuer must be a URL that starts with https:// and a host",
        ),
        (
            policy(&format!(
                "{rules}, clients: [{{jwt: {{issuer: 'https://a@id.example.com', audiences: [llm]}}}}]"
            )),
            "spec.clients[0].jwt.issuer",
            "issuer must be a URL that starts with https:// and a host",
        ),
        (
            policy(&format!(
                "{rules}, clients: [{{jwt: {{issuer: 'https://id.example.com', audiences: [llmportfolio.dev]}}}}]"
            )),
            "spec.clients[0].jwt.audiences",
            "the audience llmportfolio.dev is for tokens of Kubernetes service accounts",
        ),
        (
            policy(&format!("{rules}, timeouts: {{connect: 0s}}")),
            "spec.timeouts.connect",
            "must be above 0s, such as 2s",
        ),
        (
            policy(&format!("{rules}, timeouts: {{firstToken: 0s}}")),
            "spec.timeouts.firstToken",
            "must be above 0s, such as 20s",
        ),
        (
            policy(&format!("{rules}, timeouts: {{idle: 0s}}")),
            "spec.timeouts.idle",
            "must be above 0s, such as 15s",
        ),
        (
            policy(&format!("{rules}, timeouts: {{firstToken: 2m, total: 1m}}")),
            "spec.timeouts",
            "firstToken must not be above total",
        ),
        (
            policy(&format!("{rules}, maxBodyBytes: 512Mi")),
            "spec.maxBodyBytes",
            "must be from 1Ki to 256Mi, such as 32Mi",
        ),
        (
            policy(&format!("{rules}, timeouts: {{total: 0s}}")),
            "spec.timeouts.total",
            "must be above 0s, such as 10m",
        ),
        (
            evaluation("e", "{}", passes),
            "spec.suites[0].scorer",
            "exactly one scorer must be set, such as exact: {}",
        ),
        (
            evaluation("e", "{exact: {}, regex: {pattern: x}}", passes),
            "spec.suites[0].scorer",
            "exactly one scorer must be set, such as exact: {}",
        ),
        (
            evaluation("e", "{exact: {}}", "{suite: s, metric: accuracy}"),
            "spec.criteria[0]",
            "exactly one of lowerBoundAtLeast, upperBoundAtMost, atMost and notWorseThanBaselineBy must be set",
        ),
        (
            evaluation("e", "{exact: {}}", "{suite: s, metric: accuracy, notWorseThanBaselineBy: '0.05'}"),
            "spec.baseline",
            "name the baseline that notWorseThanBaselineBy compares with",
        ),
        (
            suite(
                "{mmluPro: {dataset: {uri: 'pvc://c/f'}}}",
                "baseline: {model: g}, criteria: [{metric: accuracy, notWorseThanBaselineBy: '0.05'}]",
            ),
            "spec.criteria[0].suite",
            "notWorseThanBaselineBy compares the questions of one suite: name it",
        ),
        (
            suite(
                "{exemplars: {dataset: {uri: 'https://h/f'}}, mmluPro: {dataset: {uri: 'https://h/f'}}, scorer: {exact: {}}}",
                "",
            ),
            "spec.suites[0]",
            "exactly one of exemplars, mmluPro, safety, latency and external must be set",
        ),
        (
            suite("{exemplars: {dataset: {uri: 'https://h/f'}}}", ""),
            "spec.suites[0].scorer",
            "exemplars need a scorer, such as exact: {}",
        ),
        (
            suite("{mmluPro: {dataset: {uri: 'https://h/f'}}, scorer: {exact: {}}}", ""),
            "spec.suites[0].scorer",
            "only exemplars and safety have a scorer: remove it",
        ),
        (
            suite("{mmluPro: {dataset: {}}}", ""),
            "spec.suites[0].mmluPro.dataset",
            "exactly one of configMapRef and uri must be set",
        ),
        (
            suite("{mmluPro: {dataset: {uri: 'pvc://c/f', secretRef: {name: s}}}}", ""),
            "spec.suites[0].mmluPro.dataset.secretRef",
            "only a URI that is fetched has credentials: remove secretRef",
        ),
        (
            suite(
                "{mmluPro: {dataset: {uri: 'pvc://c/f'}}, sample: {size: 500}}",
                "onInconclusive: {extendSampleTo: 500}",
            ),
            "spec.onInconclusive.extendSampleTo",
            "extendSampleTo must be above the sample.size of a suite",
        ),
        (
            scheduled("startingDeadline: 1s"),
            "spec.schedule.startingDeadline",
            "must be from 1m to 168h, such as 1h",
        ),
        (
            scheduled("jitter: 61m"),
            "spec.schedule.jitter",
            "must be from 0s to 1h, such as 10m",
        ),
        (
            suite("{mmluPro: {dataset: {uri: 'pvc://c/f'}}}", "limits: {maxDuration: 25h}"),
            "spec.limits.maxDuration",
            "must be from 1m to 24h, such as 2h",
        ),
        (
            evaluation("e", "{exact: {}}", "{suite: other, metric: accuracy, lowerBoundAtLeast: \"0.5\"}"),
            "spec.criteria",
            "each criterion must name one of spec.suites",
        ),
        (
            evaluation(&"a".repeat(53), "{exact: {}}", passes),
            "",
            "metadata.name must be at most 52 characters, so that the names of its Jobs fit",
        ),
    ]
}

#[test]
fn what_the_rules_allow_is_accepted() {
    for (what, result) in accepted().into_iter().chain(evaluations::accepted()) {
        assert!(result.is_ok(), "{what}: {result:?}");
    }
}

#[test]
fn what_a_rule_forbids_is_refused_at_its_field_with_its_message() {
    for (result, field, message) in refused().into_iter().chain(evaluations::refused()) {
        let errors = result.expect_err(message).into_vec();
        assert_eq!(errors.len(), 1, "{message}: {errors:?}");
        assert_eq!(errors[0].field_path, field, "{message}");
        assert!(errors[0].message.starts_with(message), "{errors:?}");
    }
}

#[test]
fn every_rule_has_been_seen_to_refuse() {
    let seen: BTreeSet<String> = refused()
        .into_iter()
        .chain(evaluations::refused())
        .flat_map(|(result, ..)| result.unwrap_err().into_vec())
        .map(|e| e.rule)
        .collect();
    walk(|_, path, schema| {
        for rule in schema.x_kubernetes_validations.iter().flatten() {
            assert!(seen.contains(&rule.rule), "no test breaks the rule {} at {path}", rule.rule);
            let says = rule.message.is_some() || rule.message_expression.is_some();
            assert!(says, "the rule {} at {path} says nothing to a person", rule.rule);
        }
    });
}

#[test]
fn every_field_is_documented() {
    let mut silent = Vec::new();
    walk(|kind, path, schema| {
        let is_field = !path.ends_with("[]") && !path.is_empty();
        if is_field && schema.description.as_deref().is_none_or(|d| d.len() < 5) {
            silent.push(format!("{kind}{path}"));
        }
    });
    assert!(silent.is_empty(), "no description: {silent:#?}");
}

/// Unbounded values make rules too dear for the API server, and objects too large for everybody.
#[test]
fn everything_a_user_writes_is_bounded() {
    let mut unbounded = Vec::new();
    walk(|kind, path, schema| {
        if !path.starts_with(".spec") {
            return;
        }
        let is_map = matches!(schema.additional_properties, Some(JSONSchemaPropsOrBool::Schema(_)));
        let is_bounded = match schema.type_.as_deref() {
            Some("string") => schema.max_length.is_some() || schema.enum_.is_some(),
            Some("array") => schema.max_items.is_some(),
            Some("object") if is_map => schema.max_properties.is_some(),
            Some("integer" | "number") => schema.minimum.is_some() && schema.maximum.is_some(),
            Some(_) => true,
            None => schema.x_kubernetes_int_or_string == Some(true) && schema.max_length.is_some(),
        };
        if !is_bounded {
            unbounded.push(format!("{kind}{path}"));
        }
    });
    assert!(unbounded.is_empty(), "no limit: {unbounded:#?}");
}

/// Calls `each` with the kind, path and schema of everything in the CRDs.
fn walk(mut each: impl FnMut(&str, &str, &JSONSchemaProps)) {
    fn inside(kind: &str, path: &str, schema: &JSONSchemaProps, each: &mut impl FnMut(&str, &str, &JSONSchemaProps)) {
        each(kind, path, schema);
        for (name, child) in schema.properties.iter().flatten() {
            inside(kind, &format!("{path}.{name}"), child, each);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(child)) = &schema.items {
            inside(kind, &format!("{path}[]"), child, each);
        }
        if let Some(JSONSchemaPropsOrBool::Schema(child)) = &schema.additional_properties {
            inside(kind, &format!("{path}[]"), child, each);
        }
    }
    for crd in all_crds() {
        let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
        inside(&crd.spec.names.kind, "", schema, &mut each);
    }
}
