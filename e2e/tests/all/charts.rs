//! What only helm itself can say about the charts: they lint, they refuse wrong values, and the rendered manifests are current.

use std::path::Path;
use std::process::{Command, Output};

use e2e::assets::helm;
use e2e::portfolio::repository;
use serde_json::{Value, json};

fn run(program: &Path, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .current_dir(repository())
        .output()
        .expect("it can be started")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn the_charts_lint_and_the_manifests_are_current() {
    let helm = helm::binary().await.expect("helm");
    for values in [&[][..], &["-f", "deploy/examples/values.yaml"]] {
        let lint = [&["lint", "--strict", "charts/llm-portfolio"], values].concat();
        let said = run(&helm, &lint);
        assert!(said.status.success(), "{}", text(&said));
    }
    let said = Command::new("deploy/render.sh")
        .arg("--check")
        .env("HELM", &helm)
        .current_dir(repository())
        .output()
        .expect("sh");
    assert!(said.status.success(), "{}", text(&said));
}

#[tokio::test]
async fn a_wrong_value_is_refused_with_its_name() {
    let helm = helm::binary().await.expect("helm");
    for (value, named) in [
        ("gateway.replica=3", "'replica' not allowed"),
        ("settings.allowAnonymus=true", "'allowAnonymus' not allowed"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("operator.replicas=9", "/operator/replicas"),
        ("gateway.limits.requests=0", "/gateway/limits/requests"),
        ("gateway.limits.bodyMemory=much", "/gateway/limits/bodyMemory"),
        ("gateway.httpRoute.parentRefs[0].nam=public", "/gateway/httpRoute/parentRefs/0"),
        (
            "gateway.httpRoute.hostnames={https://models.example.com}",
            "/gateway/httpRoute/hostnames/0",
        ),
        ("settings.hubEndpoint=hub.example.com", "/settings/hubEndpoint"),
        ("settings.imageVolumes=Sometimes", "/settings/imageVolumes"),
    ] {
        let said = run(&helm, &["template", "x", "charts/llm-portfolio", "--set", value]);
        assert!(!said.status.success() && text(&said).contains(named), "{value}: {}", text(&said));
    }
}

#[tokio::test]
async fn one_gateway_has_no_budget_and_two_have_one() {
    let helm = helm::binary().await.expect("helm");
    for (replicas, budgets) in [("1", 0), ("2", 1)] {
        let set = format!("gateway.replicas={replicas}");
        let said = run(&helm, &["template", "x", "charts/llm-portfolio", "--set", &set]);
        assert_eq!(text(&said).matches("kind: PodDisruptionBudget").count(), budgets, "{replicas}");
    }
}

#[tokio::test]
async fn only_what_clients_ask_is_routed_by_a_gateway_and_only_where_one_is_named() {
    let helm = helm::binary().await.expect("helm");
    let template = |sets: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let said = run(
            &helm,
            &[&["template", "x", "charts/llm-portfolio", "--namespace", "llm"], sets.as_slice()].concat(),
        );
        assert!(said.status.success(), "{}", text(&said));
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text(&said)).expect("YAML");
        objects.into_iter().find(|object| object["kind"] == "HTTPRoute")
    };
    assert_eq!(template(&[]), None);
    let route = template(&[
        "gateway.httpRoute.parentRefs[0].name=public",
        "gateway.httpRoute.parentRefs[0].namespace=ingress",
        "gateway.httpRoute.hostnames={models.example.com}",
        "gateway.service.port=8000",
    ]);
    let route = route.expect("an HTTPRoute");
    assert_eq!(route["spec"]["parentRefs"], json!([{"name": "public", "namespace": "ingress"}]));
    assert_eq!(route["spec"]["hostnames"], json!(["models.example.com"]));
    assert_eq!(
        route["spec"]["rules"],
        json!([{
            "matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}],
            "timeouts": {"request": "0s"},
            "backendRefs": [{"name": "x-llm-portfolio-gateway", "port": 8000}]
        }])
    );
}
