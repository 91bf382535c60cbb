//! The gateway against engines that behave as each test needs.

mod admission;
mod bad_input;
mod billing;
mod blame;
mod budgets;
mod bytes;
mod choice;
mod content;
mod demand;
mod drain;
mod engine;
mod fallback;
mod grants;
mod guardrails;
mod jwt;
mod kept;
mod limits;
mod matrix;
mod pitfalls;
mod queue;
mod quota;
mod red_team;
mod report;
mod resilience;
mod rules;
mod shadow;
mod shapes;
mod sizes;
mod stream;
mod telemetry;
mod traces;
mod warmup;
mod world;
mod wrong_answers;

/// A request to the policy `assistant`.
const ASK: &str = r#"{"model":"assistant","messages":[{"role":"user","content":"The capital of France?"}]}"#;
/// The same, streamed.
const STREAM: &str = r#"{"model":"assistant","messages":[],"stream":true}"#;
/// Model `a`, then `b`.
const A_THEN_B: &str = "rules: [{targets: [{model: a}], fallback: [{model: b}]}]";
/// Model `a` alone.
const ONLY_A: &str = "rules: [{targets: [{model: a}]}]";

/// The service account that the policy admits.
const WEB: [(&str, &str); 1] = [("authorization", "Bearer claims.x.web")];

fn hash(key: &str) -> String {
    use sha2::Digest;
    crate::plan::fingerprint::hex(&sha2::Sha256::digest(key))
}
