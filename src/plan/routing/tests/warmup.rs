//! What becomes of requests whose models are asleep or start: who waits, who goes elsewhere, who is refused, and for which models nobody waits.

use super::deciding::{Quiet, settings};
use super::*;
use crate::api::model_deployment::ModelDeployment;

const OWN: &str = "{tier: Regulated, selfHosted: {engine: {kind: VLLM}}}";
const RULE: &str = "rules: [{targets: [{model: llama}], fallback: [{model: gpt}]}]";

/// `llama` in our own pods, which has none; `gpt` and `spare` behind an API.
fn asleep() -> World {
    let zero =
        "{conditions: [{type: Ready, status: 'False', reason: ScaledToZero, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}]}";
    World::default().model("llama", OWN, zero).api("gpt", "True").api("spare", "True")
}

/// What is decided: `ask`, `hold` or `refused`, whom is asked, and whom it is for; or the code and words of the refusal.
fn told(world: &World, ask: &Ask) -> String {
    let routing = world.build();
    ask.facts(&routing, |route, facts| {
        let names = |keys: Vec<&Key>| keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>().join(" ");
        match decide(route, &routing.table.classes, facts, &Quiet, ask.draw()) {
            Ok(decision) => {
                let how = if decision.hold.is_some() { "hold" } else { "ask" };
                let models = names(decision.models.iter().map(|model| &model.model).collect());
                format!("{how} [{models}] for [{}]", names(decision.wakes))
            }
            Err(refused) => format!(
                "{} {} for [{}]",
                refused.reason.status(),
                refused.reason.code(),
                names(refused.wakes)
            ),
        }
    })
}

fn with(rest: &str) -> String {
    told(&asleep().assistant(&format!("{RULE}, {rest}")), &Ask::new())
}

#[test]
fn a_request_for_a_model_that_is_asleep_waits_goes_elsewhere_or_is_refused() {
    assert_eq!(with("retries: {}"), "ask [gpt] for [llama]", "without warmup the fallbacks answer");
    assert_eq!(with("warmup: {mode: Hold}"), "hold [gpt] for [llama]");
    assert_eq!(
        with("warmup: {mode: Spill, targets: [{model: spare}]}"),
        "ask [spare gpt] for [llama]"
    );
    assert_eq!(
        with("warmup: {mode: Spill, targets: [{model: gpt}]}"),
        "ask [gpt] for [llama]",
        "none twice"
    );
    assert_eq!(
        with("warmup: {mode: Refuse}"),
        "503 model_starting for [llama]",
        "no fallback: it does not fail"
    );
    let alone = |warmup: &str| {
        told(
            &asleep().assistant(&format!("rules: [{{targets: [{{model: llama}}]}}]{warmup}")),
            &Ask::new(),
        )
    };
    assert_eq!(alone(""), "503 no_eligible_model for [llama]");
    assert_eq!(alone(", warmup: {mode: Hold}"), "hold [] for [llama]");
    assert_eq!(
        alone(", warmup: {mode: Spill, targets: [{model: none}]}"),
        "503 model_starting for [llama]"
    );
}

#[test]
fn nobody_waits_where_a_target_answers() {
    let rules = "rules: [{targets: [{model: llama, weight: 99}, {model: gpt}]}], warmup: {mode: Hold}";
    assert_eq!(told(&asleep().assistant(rules), &Ask::new()), "ask [gpt] for []");
    let awake = World::new().api("spare", "True");
    for mode in ["{mode: Hold}", "{mode: Spill, targets: [{model: spare}]}", "{mode: Refuse}"] {
        let world = World {
            models: awake.models.clone(),
            endpoints: awake.endpoints.clone(),
            ..World::default()
        };
        assert_eq!(
            told(&world.assistant(&format!("{RULE}, warmup: {mode}")), &Ask::new()),
            "ask [llama gpt] for []"
        );
    }
    // One without weight gets no requests, awake or not.
    let unused = "rules: [{targets: [{model: llama, weight: 0}, {model: none}], fallback: [{model: gpt}]}], warmup: {mode: Hold}";
    assert_eq!(told(&asleep().assistant(unused), &Ask::new()), "ask [gpt] for []");
}

#[test]
fn only_what_time_may_heal_is_waited_for() {
    let condition = |kind: &str, status: &str, reason: &str, generation: u8| {
        format!(
            "{{type: {kind}, status: '{status}', reason: {reason}, message: '', observedGeneration: {generation}, lastTransitionTime: '2026-01-01T00:00:00Z'}}"
        )
    };
    for (conditions, wakes, why) in [
        (String::new(), true, "the operator has not looked yet"),
        (condition("Ready", "False", "ScaledToZero", 2), true, "nobody has asked it to run"),
        (
            condition("ScalingActive", "True", "Shared", 2),
            true,
            "others have some of its accelerators",
        ),
        (
            condition("ScalingActive", "False", "NoShare", 2),
            false,
            "others have all of its accelerators",
        ),
        (condition("Ready", "Unknown", "Loading", 2), true, "it starts"),
        (condition("Ready", "True", "Serving", 2), true, "its pod has just gone"),
        (condition("Ready", "False", "CrashLooping", 2), false, "its engine fails"),
        (condition("Ready", "False", "Unschedulable", 2), false, "no node has room"),
        (
            condition("Ready", "False", "CrashLooping", 1),
            true,
            "that was said of an earlier specification",
        ),
        (
            format!(
                "{}, {}",
                condition("Ready", "Unknown", "Loading", 2),
                condition("Stalled", "True", "Loading", 2)
            ),
            false,
            "only a person can help",
        ),
    ] {
        let mut world = World::default().model("llama", OWN, &format!("{{conditions: [{conditions}]}}"));
        let mut md = ModelDeployment::clone(&world.models[0]);
        md.metadata.generation = Some(2);
        world.models = vec![Arc::new(md.clone())];
        let rules = "rules: [{targets: [{model: llama}]}], warmup: {mode: Hold}";
        let expected = if wakes {
            "hold [] for [llama]"
        } else {
            "503 no_eligible_model for []"
        };
        assert_eq!(told(&world.assistant(rules), &Ask::new()), expected, "{why}");
        md.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
        let going = World {
            models: vec![Arc::new(md)],
            ..World::default()
        };
        assert_eq!(
            told(&going.assistant(rules), &Ask::new()),
            "503 no_eligible_model for []",
            "it is being deleted"
        );
    }
    let api = World::default()
        .api("gpt", "False")
        .assistant("rules: [{targets: [{model: gpt}]}], warmup: {mode: Hold}");
    assert_eq!(told(&api, &Ask::new()), "503 no_eligible_model for []", "no pod of ours would come");
}

#[test]
fn requirements_and_classes_of_data_hold_for_whoever_is_waited_for_and_whoever_answers_meanwhile() {
    let governed = |rules: &str| {
        let world = asleep().assistant(rules);
        World {
            settings: settings(
                "{region: eu, dataClasses: {Internal: {}, Personal: {classes: [Open]}, Special: {tiers: [MissionCritical]}}}",
            ),
            ..world
        }
    };
    let ask = |class| Ask::new().header("x-data-class", class);
    let spill = governed(&format!("{RULE}, warmup: {{mode: Spill, targets: [{{model: spare}}]}}"));
    assert_eq!(told(&spill, &ask("Internal")), "ask [spare gpt] for [llama]");
    assert_eq!(
        told(&spill, &ask("Personal")),
        "503 model_starting for [llama]",
        "neither the spare nor the fallback may see it"
    );
    assert_eq!(
        told(&spill, &ask("Special")),
        "503 no_eligible_model for []",
        "llama may not see it awake either"
    );
    let hold = governed(&format!("{RULE}, warmup: {{mode: Hold}}"));
    assert_eq!(told(&hold, &ask("Personal")), "hold [] for [llama]");
    assert_eq!(told(&hold, &ask("Special")), "503 no_eligible_model for []");
    // What the policy requires bars the spare, what a rule requires too.
    let required = governed(&format!(
        "{RULE}, require: {{classes: [Open]}}, warmup: {{mode: Spill, targets: [{{model: spare}}]}}"
    ));
    assert_eq!(told(&required, &Ask::new()), "503 model_starting for [llama]");
    assert_eq!(required.why_not("spare"), "spare is of class API, and the policy requires Open");
    let of_rule =
        governed("rules: [{require: {classes: [Open]}, targets: [{model: llama}]}], warmup: {mode: Spill, targets: [{model: spare}]}");
    assert_eq!(told(&of_rule, &Ask::new()), "503 model_starting for [llama]");
}

#[test]
fn the_target_that_would_be_asked_is_the_one_that_is_wanted_most() {
    let two = || asleep().model("big", OWN, "{}");
    let rules = |strategy: &str| {
        format!(
            "rules: [{{strategy: {strategy}, targets: [{{model: llama, weight: 1}}, {{model: big, weight: 2}}]}}], warmup: {{mode: Hold}}"
        )
    };
    assert_eq!(told(&two().assistant(&rules("Ordered")), &Ask::new()), "hold [] for [llama big]");
    assert_eq!(
        told(&two().assistant(&rules("Weighted")), &Ask::new().drawing(0)),
        "hold [] for [llama big]"
    );
    assert_eq!(
        told(&two().assistant(&rules("Weighted")), &Ask::new().drawing(2)),
        "hold [] for [big llama]"
    );
}

#[test]
fn an_adapter_is_waited_for_like_its_model() {
    let spec = "{selfHosted: {engine: {kind: VLLM}, custom: {baseModel: b, adapters: [{name: fraud, source: {uri: 'hf://b/a'}}]}}}";
    let rules = "rules: [{targets: [{model: tuned, adapter: fraud}]}], warmup: {mode: Hold}";
    let world = World::default().model("tuned", spec, "{}").assistant(rules);
    assert_eq!(told(&world, &Ask::new()), "hold [] for [tuned:fraud]");
    let mut loading = World::default().model("tuned", spec, "{}").assistant(rules);
    loading
        .endpoints
        .insert(Key::new("claims", "tuned"), vec!["http://10.0.0.1:8080".to_owned()]);
    assert_eq!(
        told(&loading, &Ask::new()),
        "hold [] for [tuned:fraud]",
        "its pod has not loaded it"
    );
}

#[test]
fn a_status_says_who_answers_meanwhile() {
    let status = |warmup: &str| {
        asleep()
            .assistant(&format!("rules: [{{targets: [{{model: llama}}]}}]{warmup}"))
            .status("assistant")
    };
    let said = |warmup: &str| {
        let status = status(warmup);
        (condition(&status, Kind::Ready), status.summary.unwrap_or_default())
    };
    let both = |ready: &str, summary: &str| (ready.to_owned(), summary.to_owned());
    assert_eq!(said(""), both("False NoEligibleTarget", "none"));
    assert_eq!(said(", warmup: {mode: Hold}"), both("True Routing", "llama (waited for)"));
    assert_eq!(
        said(", warmup: {mode: Spill, targets: [{model: gpt}]}"),
        both("True Routing", "gpt (until llama answers)")
    );
    assert_eq!(said(", warmup: {mode: Refuse}"), both("False NoEligibleTarget", "none"));
    let refusing = asleep().assistant(&format!("{RULE}, warmup: {{mode: Refuse}}")).status("assistant");
    assert_eq!(
        condition(&refusing, Kind::Ready),
        "False NoEligibleTarget",
        "its fallback does not answer"
    );
    let missing = status(", warmup: {mode: Spill, targets: [{model: nobody}]}");
    assert_eq!(condition(&missing, Kind::ResolvedRefs), "False NotFound");
    assert_eq!(condition(&missing, Kind::Ready), "False NoEligibleTarget");
    let target = missing.targets.iter().find(|target| target.model == "nobody").unwrap();
    assert!(!target.eligible);
}

#[test]
fn how_long_a_request_waits_is_less_than_all_of_its_time() {
    let hold = |rest: &str| {
        let world = asleep().assistant(&format!("{RULE}, {rest}"));
        let table = world.build().table;
        match &table.find("assistant").unwrap().warmup {
            Some(Warmup::Hold(hold)) => (hold.max, hold.lasts.as_secs()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(hold("warmup: {mode: Hold}"), (100, 120));
    assert_eq!(hold("warmup: {mode: Hold, max: 7, for: 3m}"), (7, 180));
    assert_eq!(hold("warmup: {mode: Hold}, timeouts: {total: 60s}"), (100, 30));
}
