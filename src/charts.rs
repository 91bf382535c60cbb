//! The charts and `deploy/` as far as they can be tested without helm: they agree with the code, and grant no more than they say.
//! `deploy/render.sh --check` compares the rendered manifests with the charts.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::api::model_deployment::Provider;
use crate::api::{ModelDeployment, Settings};
use crate::command::Command;
use crate::manifest::{Portfolio, prices_from_text};
use crate::plan::price::Book;
use crate::plan::quantity::bytes;
use crate::plan::serving::{self, Installation};

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

fn text(relative: &str) -> String {
    fs::read_to_string(path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
}

/// The rendered objects of a kind.
fn rendered(kind: &str) -> Vec<Value> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text("deploy/manifests.yaml")).unwrap();
    objects.into_iter().filter(|object| object["kind"] == kind).collect()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    _command: Command,
}

#[test]
fn the_chart_of_the_crds_holds_the_crds() {
    let file = "llmportfolio.dev.yaml";
    let crds = text(&format!("crds/{file}"));
    assert!(!crds.contains("{{"), "helm would take this for a template");
    let in_chart = text(&format!("charts/llm-portfolio-crds/templates/{file}"));
    assert!(in_chart == crds, "run deploy/render.sh, or copy crds/{file} into the chart");
}

#[test]
fn the_deployments_call_the_binary_with_flags_it_has() {
    let deployments = rendered("Deployment");
    assert_eq!(deployments.len(), 2);
    for deployment in deployments {
        let args = strings(&deployment["spec"]["template"]["spec"]["containers"][0]["args"])
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        let parsed = Arguments::try_parse_from(std::iter::once("portfolio".to_owned()).chain(args));
        assert!(parsed.is_ok(), "{}", parsed.err().unwrap());
    }
}

#[test]
fn a_stopping_gateway_has_the_time_that_it_takes() {
    let deployments = rendered("Deployment");
    let gateway = deployments
        .iter()
        .find(|d| d["metadata"]["name"].as_str().unwrap().ends_with("-gateway"))
        .unwrap();
    let pod = &gateway["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let seconds = |flag: &str| -> u64 {
        let given = strings(&container["args"]).into_iter().find_map(|arg| arg.strip_prefix(flag));
        given.unwrap_or_else(|| panic!("{flag}")).parse().unwrap()
    };
    let takes = seconds("--announce-seconds=") + seconds("--finish-seconds=");
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(grace >= takes + 5, "{takes} s, and some for the last words, within {grace} s");
    // It announces its end by itself: a preStop would only postpone that.
    assert!(seconds("--announce-seconds=") > 0 && container.get("lifecycle").is_none());
    let limit = bytes(container["resources"]["limits"]["memory"].as_str().unwrap()).unwrap();
    let room = strings(&container["args"])
        .into_iter()
        .find_map(|arg| arg.strip_prefix("--max-body-memory="))
        .unwrap();
    assert!(bytes(room).unwrap() * 3 / 2 <= limit, "the memory limit holds the bodies and more");
}

#[test]
fn the_pods_fit_the_restricted_profile() {
    for deployment in rendered("Deployment") {
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for container in pod["containers"].as_array().unwrap() {
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], false);
            assert_eq!(context["readOnlyRootFilesystem"], true);
            assert_eq!(strings(&context["capabilities"]["drop"]), ["ALL"]);
            assert!(container["resources"]["limits"]["memory"].is_string());
            assert!(container["livenessProbe"].is_object() && container["readinessProbe"].is_object());
        }
    }
}

#[test]
fn the_engines_let_in_the_pods_of_the_chart() {
    let md =
        "{apiVersion: llmportfolio.dev/v1alpha1, kind: ModelDeployment, metadata: {name: m}, spec: {selfHosted: {engine: {kind: VLLM}}}}";
    let md: ModelDeployment = serde_saphyr::from_str(md).unwrap();
    let installation = Installation {
        settings: &Settings::default(),
        gateway_namespace: "llm-portfolio",
        image: "localhost/portfolio:dev",
        mounts_images: true,
    };
    let network = serving::plan(&md, md.spec.self_hosted.as_ref().unwrap(), installation, None)
        .unwrap()
        .network;
    let network = serde_json::to_value(network).unwrap();
    let from = &network["spec"]["ingress"][0]["from"][0];
    let (names, sets) = (&from["podSelector"]["matchLabels"], &from["podSelector"]["matchExpressions"]);
    for deployment in rendered("Deployment") {
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        assert!(
            names.as_object().unwrap().iter().all(|(name, value)| labels[name] == *value),
            "{labels}"
        );
        for set in sets.as_array().unwrap() {
            assert!(
                set["values"].as_array().unwrap().contains(&labels[set["key"].as_str().unwrap()]),
                "{labels}"
            );
        }
        assert_eq!(
            from["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"],
            deployment["metadata"]["namespace"]
        );
    }
}

#[test]
fn the_operator_has_the_rights_that_it_uses_and_no_other_on_pods_and_nodes() {
    let roles = rendered("ClusterRole");
    let role = roles
        .iter()
        .find(|role| role["metadata"]["name"] == "llm-portfolio-operator")
        .unwrap();
    let verbs_on = |group: &str, resource: &str| -> BTreeSet<&str> {
        let rules = role["rules"].as_array().unwrap().iter();
        let of_it = rules.filter(|rule| strings(&rule["apiGroups"]).contains(&group) && strings(&rule["resources"]).contains(&resource));
        of_it.flat_map(|rule| strings(&rule["verbs"])).collect()
    };
    let owned = BTreeSet::from(["get", "list", "watch", "create", "patch", "delete"]);
    for (group, resource) in [
        ("apps", "deployments"),
        ("", "services"),
        ("networking.k8s.io", "networkpolicies"),
        ("policy", "poddisruptionbudgets"),
        ("resource.k8s.io", "resourceclaimtemplates"),
        ("batch", "jobs"),
        ("autoscaling", "horizontalpodautoscalers"),
        ("keda.sh", "scaledobjects"),
    ] {
        assert_eq!(verbs_on(group, resource), owned, "{resource}");
    }
    assert_eq!(verbs_on("", "nodes"), BTreeSet::from(["list"]));
    assert_eq!(verbs_on("", "pods"), BTreeSet::from(["list", "patch", "watch"]));
    assert_eq!(verbs_on("", "pods/exec"), BTreeSet::new());
}

#[test]
fn the_settings_of_the_chart_are_settings() {
    let maps = rendered("ConfigMap");
    let settings = maps.iter().find_map(|map| map["data"]["settings.yaml"].as_str()).unwrap();
    let settings: Settings = serde_saphyr::from_str(settings).unwrap();
    assert!(settings.accelerator_profiles.contains_key("nvidia-gpu"));
    let values: Value = serde_saphyr::from_str(&text("deploy/examples/values.yaml")).unwrap();
    let installed: Settings = serde_json::from_value(values["settings"].clone()).unwrap();
    let offline: Settings = serde_saphyr::from_str(&text("deploy/examples/settings.yaml")).unwrap();
    assert_eq!(offline, installed, "deploy/examples/settings.yaml says what values.yaml says");
}

#[test]
fn the_prices_of_the_chart_are_read_where_they_are_mounted() {
    let maps = rendered("ConfigMap");
    let prices = maps.iter().find(|map| map["metadata"]["name"] == "llm-portfolio-prices").unwrap();
    for (name, text) in prices["data"].as_object().unwrap() {
        assert_eq!(prices_from_text(name, text.as_str().unwrap()).findings, [], "{name}");
    }
    for deployment in rendered("Deployment") {
        let pod = &deployment["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let mounts = container["volumeMounts"].as_array().unwrap();
        let at = mounts.iter().find(|mount| mount["name"] == "prices").unwrap()["mountPath"]
            .as_str()
            .unwrap();
        let args = strings(&container["args"]);
        let read: BTreeSet<&str> = args
            .iter()
            .filter_map(|arg| arg.strip_prefix("--prices=")?.strip_prefix(at))
            .collect();
        assert_eq!(read, BTreeSet::from(["/prices.csv", "/prices.yaml"]));
    }
}

#[test]
fn rights_are_named_one_by_one_and_secrets_are_never_listed_everywhere() {
    for role in rendered("ClusterRole").iter().chain(&rendered("Role")) {
        for rule in role["rules"].as_array().unwrap() {
            let words = ["apiGroups", "resources", "verbs"].map(|field| strings(&rule[field]));
            assert!(words.iter().flatten().all(|word| !word.contains('*')), "{rule}");
            let everywhere = role["kind"] == "ClusterRole" && strings(&rule["resources"]).contains(&"secrets");
            assert!(!everywhere || strings(&rule["verbs"]) == ["get", "watch"], "{rule}");
            let never = ["escalate", "bind", "impersonate", "deletecollection"];
            assert!(strings(&rule["verbs"]).iter().all(|verb| !never.contains(verb)), "{rule}");
        }
    }
}

#[test]
fn every_right_names_the_file_that_needs_it() {
    for template in ["rbac-operator.yaml", "rbac-gateway.yaml"] {
        let text = text(&format!("charts/llm-portfolio/templates/{template}"));
        let mut reason = "";
        for line in text.lines() {
            match line.strip_prefix("# src/") {
                Some(comment) => reason = comment,
                None if line.starts_with("- apiGroups") => assert!(!reason.is_empty(), "{template}: {line} has no reason"),
                None if line == "rules:" => reason = "",
                None => {}
            }
        }
        let files = text
            .lines()
            .filter_map(|line| line.strip_prefix("# src/"))
            .flat_map(|line| line.split(": ").next().unwrap().split(", "));
        for file in files {
            assert!(
                path("src").join(file.trim_start_matches("src/")).is_file(),
                "{template} names src/{file}, which is not there"
            );
        }
    }
}

#[test]
fn every_value_is_in_the_schema_and_the_other_way_round() {
    fn compare(at: &str, values: &Value, schema: &Value, wrong: &mut Vec<String>) {
        if schema["description"].as_str().is_none() {
            wrong.push(format!("{at} has no description in the schema"));
        }
        let (Some(values), Some(known)) = (values.as_object(), schema["properties"].as_object()) else {
            return;
        };
        let names: BTreeSet<&String> = values.keys().chain(known.keys()).collect();
        for name in names {
            match (values.get(name), known.get(name)) {
                (Some(value), Some(schema)) => compare(&format!("{at}.{name}"), value, schema, wrong),
                (None, Some(_)) if at.is_empty() && name == "global" => {}
                // What may be left out of a resource list, a profile, an engine or a detection has no default to show.
                (None, Some(_))
                    if ["resources", "engines", "Profiles", "detection"]
                        .iter()
                        .any(|part| at.contains(part)) => {}
                // Nor has a store of the installer's own.
                (None, Some(_)) if at == ".settings.ledger" => {}
                (value, _) => wrong.push(format!(
                    "{at}.{name} is only in {}",
                    if value.is_some() { "values.yaml" } else { "the schema" }
                )),
            }
        }
    }
    let values: Value = serde_saphyr::from_str(&text("charts/llm-portfolio/values.yaml")).unwrap();
    let schema: Value = serde_json::from_str(&text("charts/llm-portfolio/values.schema.json")).unwrap();
    let mut wrong = Vec::new();
    compare("", &values, &schema, &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_value_is_explained_where_it_stands() {
    let text = text("charts/llm-portfolio/values.yaml");
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate().skip(1) {
        let is_key = line
            .trim_start()
            .split_once(':')
            .is_some_and(|(key, _)| key.chars().all(char::is_alphanumeric));
        let is_default = ["requests", "limits", "resource", "resources", "cpu", "nvidia"]
            .iter()
            .any(|k| line.trim_start().starts_with(k));
        let before = lines[index - 1].trim_start();
        let in_a_group = before.starts_with("podLabels") || before.starts_with("nodeSelector") || before.starts_with("tolerations");
        assert!(
            !is_key || is_default || in_a_group || before.starts_with('#'),
            "values.yaml:{}: {line} is not explained",
            index + 1
        );
    }
}

#[test]
fn the_examples_are_good() {
    let accelerators: Settings = serde_saphyr::from_str(&text("deploy/examples/accelerators.settings.yaml")).unwrap();
    let mut portfolio = Portfolio::read(&[path("deploy/examples/accelerators.yaml")]);
    portfolio.check_feasible(Some(&accelerators), &Book::default(), Timestamp::UNIX_EPOCH);
    assert_eq!(portfolio.findings, [], "deploy/examples/accelerators.yaml");
    let prices = crate::manifest::prices(&[path("deploy/examples/prices.yaml")]);
    assert_eq!((prices.findings, prices.book.entries()), (vec![], 6), "deploy/examples/prices.yaml");
    for example in ["demo.yaml", "local.yaml", "providers.yaml"].map(|name| format!("deploy/examples/{name}")) {
        let values: Value = serde_saphyr::from_str(&text("deploy/examples/values.yaml")).unwrap();
        let mut settings: Settings = serde_json::from_value(values["settings"].clone()).unwrap();
        settings.accelerator_profiles.insert("cpu".to_owned(), Default::default());
        settings.allow_anonymous = example.contains("local");
        let mut portfolio = Portfolio::read(&[path(&example)]);
        portfolio.check_feasible(Some(&settings), &Book::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(portfolio.findings, [], "{example}");
    }
}

/// As README.md checks them: whoever looks around applies the folder.
#[test]
fn the_examples_do_not_contradict_each_other() {
    let mut portfolio = Portfolio::read(&[path("deploy/examples")]);
    portfolio.check_feasible(None, &Book::default(), Timestamp::UNIX_EPOCH);
    let errors: Vec<_> = portfolio.findings.iter().filter(|finding| finding.is_error()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn the_examples_of_policies_decide_as_their_cases_say() {
    let settings = crate::manifest::settings(&path("deploy/examples/governed.settings.yaml")).unwrap();
    for example in ["governed", "shared"].map(|name| format!("deploy/examples/{name}")) {
        let mut portfolio = Portfolio::read(&[path(&format!("{example}.yaml"))]);
        portfolio.check_feasible(Some(&settings), &Book::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(portfolio.findings, [], "{example}");
        let cases = crate::manifest::cases(&path(&format!("{example}.cases.yaml"))).unwrap();
        for case in &cases {
            let outcome = portfolio.outcome(case, &settings, &Book::default(), Timestamp::UNIX_EPOCH);
            assert_eq!(outcome.wrong, Vec::<String>::new(), "{outcome:?}");
        }
    }
}

#[test]
fn there_is_an_example_of_each_provider() {
    let known = |name: &str| serde_json::from_value::<Provider>(name.into()).is_ok();
    let crds = text("crds/llmportfolio.dev.yaml");
    let named: BTreeSet<String> = Portfolio::read(&[path("deploy/examples/providers.yaml")])
        .models
        .iter()
        .filter_map(|written| Some(written.object.spec.api.as_ref()?.provider.to_string()))
        .collect();
    assert_eq!(named.len(), 8);
    assert!(
        named.iter().all(|name| known(name) && crds.contains(&format!("- {name}\n"))),
        "{named:?}"
    );
    let readme = text("README.md");
    assert!(
        named.iter().all(|name| readme.contains(&format!("| `{name}` |"))),
        "README.md has a line for each"
    );
}
