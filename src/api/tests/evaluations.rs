//! What EvalJobs may say of targets, and of what they are compared with.

use super::*;

const SUITE: &str = "{mmluPro: {dataset: {uri: 'pvc://c/f'}}}";
const REPORTS: &str = "reports: {uri: 'pvc://reports/claims'}";

fn targets(targets: &str) -> Result<(), ValidationErrors> {
    let suites = "[{name: s, mmluPro: {dataset: {uri: 'pvc://c/f'}}}]";
    let spec = format!("targets: {targets}, schedule: {{cron: \"0 2 * * *\"}}, suites: {suites}");
    let yaml = format!("{{apiVersion: x, kind: EvalJob, metadata: {{name: e}}, spec: {{{spec}}}}}");
    serde_saphyr::from_str::<EvalJob>(&yaml).unwrap().validate_cel()
}

const LOAD: &str = "latency: {requests: 500, ratePerSecond: '5', inputTokens: 1500, outputTokens: 300}";

const ATTACKS: &str = "safety: {dataset: {configMapRef: {name: attacks, key: attacks.jsonl}}, clusterBy: template}";
const EXTERNAL: &str = "external: {image: e}";

fn suites(suites: &str) -> Result<(), ValidationErrors> {
    let spec = format!("targets: {{models: [m]}}, schedule: {{cron: \"0 2 * * *\"}}, suites: {suites}");
    let yaml = format!("{{apiVersion: x, kind: EvalJob, metadata: {{name: e}}, spec: {{{spec}}}}}");
    serde_saphyr::from_str::<EvalJob>(&yaml).unwrap().validate_cel()
}

fn scored(scorer: &str) -> Result<(), ValidationErrors> {
    evaluation("e", &format!("{{{scorer}}}"), "{suite: s, metric: score, lowerBoundAtLeast: '0.5'}")
}

pub(super) fn accepted() -> Vec<(&'static str, Result<(), ValidationErrors>)> {
    vec![
        ("targets by their labels", targets("{selector: {matchLabels: {tier: regulated}}}")),
        (
            "targets by name and by labels",
            targets(
                "{models: [gpt], selector: {matchExpressions: [{key: a.b/tier, operator: In, values: [x, '']}, {key: c, operator: Exists}]}}",
            ),
        ),
        ("two loads", suites(&format!("[{{name: a, {LOAD}}}, {{name: b, {LOAD}}}]"))),
        ("attacks", suites(&format!("[{{name: a, {ATTACKS}}}]"))),
        (
            "attacks that a classifier knows",
            suites(&format!(
                "[{{name: a, {ATTACKS}, scorer: {{webhook: {{url: 'https://guard/'}}}}, repeats: 3}}]"
            )),
        ),
        (
            "an evaluator in an image",
            suites(
                "[{name: gsm8k, external: {image: 'registry.example.com/lm-eval:0.4.13', command: [lm_eval], args: [--tasks, gsm8k, --output_path, $(RESULTS)],
                  metric: exact_match, filter: strict-match, env: [{name: HF_HOME, value: /tmp/hub}], secretRef: {name: hub}, resources: {limits: {memory: 4Gi}}}}]",
            ),
        ),
        ("two evaluators", suites(&format!("[{{name: a, {EXTERNAL}}}, {{name: b, {EXTERNAL}}}]"))),
        ("all of a namespace", targets("{selector: {}}")),
        ("a judge", scored("judge: {model: claude}")),
        (
            "a judge with a rubric",
            scored("judge: {model: 'ft:judge', rubric: The better answer is polite., minAgreement: '0.75'}"),
        ),
        ("a webhook", scored("webhook: {url: 'https://scorer.claims.svc/v1/score'}")),
        (
            "a webhook with a token and a time of its own",
            scored("webhook: {url: 'http://[::1]:8080/', secretRef: {name: t}, timeout: 5m}"),
        ),
        (
            "drift and its trigger",
            suite(
                SUITE,
                &format!("{REPORTS}, drift: {{falseAlarmsPerYear: '0.5', tolerance: '0'}}, triggers: [DriftAlarm]"),
            ),
        ),
        (
            "reports in a bucket",
            suite(
                SUITE,
                "reports: {uri: 's3://evaluations/claims/nightly/', secretRef: {name: reports-s3}}",
            ),
        ),
        (
            "reports in a bucket that the pod may write by what it is",
            suite(SUITE, "reports: {uri: 'az://evaluations'}, drift: {}"),
        ),
        (
            "a run of the past, and a model in it",
            suite(SUITE, &format!("{REPORTS}, baseline: {{run: quality-29628120, model: gpt}}")),
        ),
    ]
}

pub(super) fn refused() -> Vec<(Result<(), ValidationErrors>, &'static str, &'static str)> {
    let long = "a".repeat(318);
    vec![
        (
            suites(&format!("[{{name: a, {LOAD}}}, {{name: b, {LOAD}}}, {{name: c, {LOAD}}}]")),
            "spec.suites",
            "at most two suites may be of the kind latency",
        ),
        (
            suites(&format!("[{{name: a, {LOAD}, repeats: 2}}]")),
            "spec.suites[0].latency",
            "a load has no sample, repeats or maxOutputTokens: set requests and outputTokens",
        ),
        (
            suites(&format!("[{{name: a, {ATTACKS}, scorer: {{exact: {{}}}}}}]")),
            "spec.suites[0].scorer",
            "whether an answer is safe is told by the rows' forbidden texts or by a webhook",
        ),
        (
            suites(&format!(
                "[{{name: a, {EXTERNAL}}}, {{name: b, {EXTERNAL}}}, {{name: c, {EXTERNAL}}}]"
            )),
            "spec.suites",
            "at most two suites may be of the kind external: each has a container for each target",
        ),
        (
            suites(&format!("[{{name: a, {EXTERNAL}, sample: {{size: 9}}}}]")),
            "spec.suites[0].external",
            "an external evaluator chooses its questions itself: set sample, repeats and maxOutputTokens in its args",
        ),
        (
            suites(&format!("[{{name: a, {EXTERNAL}, scorer: {{exact: {{}}}}}}]")),
            "spec.suites[0].scorer",
            "only exemplars and safety have a scorer: remove it",
        ),
        (
            suites(&format!("[{{name: a, {EXTERNAL}, {LOAD}}}]")),
            "spec.suites[0]",
            "exactly one of exemplars, mmluPro, safety, latency and external must be set",
        ),
        (
            suites("[{name: a, external: {image: e, env: [{name: OPENAI_BASE_URL, value: 'http://elsewhere/v1'}]}}]"),
            "spec.suites[0].external.env",
            "MODEL, OPENAI_BASE_URL, OPENAI_API_KEY, SUITE and RESULTS are set already: remove them, or call them $(MODEL) in another variable",
        ),
        (
            scored("webhook: {url: 'ftp://scorer/'}"),
            "spec.suites[0].scorer.webhook.url",
            "url must start with http:// or https:// and a host: such as https://scorer.claims.svc/v1/score",
        ),
        (
            scored("webhook: {url: 'https://me:secret@scorer/'}"),
            "spec.suites[0].scorer.webhook.url",
            "url must have neither @ nor #: put a token into a Secret and name that in secretRef",
        ),
        (
            scored("webhook: {url: 'https://scorer/', timeout: 6m}"),
            "spec.suites[0].scorer.webhook.timeout",
            "must be from 1s to 5m, such as 30s",
        ),
        (targets("{}"), "spec.targets.models", "name a model, or set selector"),
        (targets("{models: []}"), "spec.targets.models", "name a model, or set selector"),
        (
            targets("{selector: {matchExpressions: [{key: tier, operator: In}]}}"),
            "spec.targets.selector.matchExpressions[0].values",
            "In and NotIn have values, Exists and DoesNotExist have none",
        ),
        (
            targets("{selector: {matchExpressions: [{key: tier, operator: Exists, values: [a]}]}}"),
            "spec.targets.selector.matchExpressions[0].values",
            "In and NotIn have values, Exists and DoesNotExist have none",
        ),
        (
            targets(&format!("{{selector: {{matchLabels: {{{long}: a}}}}}}")),
            "spec.targets.selector.matchLabels",
            "a label's key has at most 317 characters",
        ),
        (
            suite(SUITE, &format!("{REPORTS}, baseline: {{}}")),
            "spec.baseline",
            "name the model, the run, or both",
        ),
        (
            suite(SUITE, "baseline: {run: quality-29628120}"),
            "spec.reports",
            "an earlier run is known by its report: set reports, which keeps them",
        ),
        (
            suite(SUITE, "drift: {}"),
            "spec.reports",
            "drift compares with the answers of earlier runs: set reports, which keeps them",
        ),
        (
            suite(&format!("{{{LOAD}}}"), &format!("{REPORTS}, drift: {{}}")),
            "spec.drift",
            "drift compares answers to questions: add a suite that asks some",
        ),
        (
            suite(SUITE, "reports: {uri: 'pvc://reports/claims', secretRef: {name: reports-s3}}"),
            "spec.reports.secretRef",
            "only a bucket has credentials: remove secretRef",
        ),
        (
            suite(SUITE, "triggers: [DriftAlarm]"),
            "spec.drift",
            "nothing raises an alarm that DriftAlarm could wait for: set drift, such as {}",
        ),
    ]
}
