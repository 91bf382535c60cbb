//! Which pods wait for which.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::*;

fn read<T: serde::de::DeserializeOwned>(yaml: &str) -> T {
    serde_saphyr::from_str(yaml).unwrap()
}

fn node(name: &str, gpus: u8, more: &str) -> Node {
    read(&format!(
        "{{metadata: {{name: {name}, labels: {{gpu: l4}}}}, spec: {{{more}}}, status: {{allocatable: {{nvidia.com/gpu: '{gpus}'}}}}}}"
    ))
}

fn pod(node: &str, gpus: u8, phase: &str) -> Pod {
    read(&format!(
        "{{metadata: {{name: p}}, spec: {{nodeName: {node}, containers: [{{name: e, resources: {{limits: {{nvidia.com/gpu: '{gpus}'}}}}}}]}}, status: {{phase: {phase}}}}}"
    ))
}

fn devices(count: i64) -> Devices {
    Devices {
        resource: "nvidia.com/gpu".to_owned(),
        count,
        pods: 1,
        node_selector: BTreeMap::from([("gpu".to_owned(), "l4".to_owned())]),
        tolerations: vec![read("{key: gpus, operator: Exists}")],
    }
}

#[test]
fn it_surges_only_where_one_node_has_room_for_a_whole_pod() {
    let (two, taken) = (|| node("a", 2, ""), || pod("a", 1, "Running"));
    let foreign: Node = read("{metadata: {name: x}, status: {allocatable: {nvidia.com/gpu: '8'}}}");
    for (count, nodes, pods, surges, why) in [
        (1, vec![two()], vec![taken()], true, "a node has 1 nvidia.com/gpu free"),
        (
            1,
            vec![two()],
            vec![taken(), taken()],
            false,
            "no node has 1 nvidia.com/gpu free; 0 at most",
        ),
        (
            2,
            vec![two(), node("b", 1, "")],
            vec![taken()],
            false,
            "no node has 2 nvidia.com/gpu free; 1 at most",
        ),
        (
            1,
            vec![two()],
            vec![taken(), pod("a", 1, "Succeeded")],
            true,
            "a node has 1 nvidia.com/gpu free",
        ),
        (
            1,
            vec![node("a", 2, "unschedulable: true")],
            vec![],
            false,
            "no node that the pods may run on offers nvidia.com/gpu",
        ),
        (
            1,
            vec![foreign],
            vec![],
            false,
            "no node that the pods may run on offers nvidia.com/gpu",
        ),
        (
            1,
            vec![node("a", 1, "taints: [{key: gpus, effect: NoSchedule}]")],
            vec![],
            true,
            "a node has 1 nvidia.com/gpu free",
        ),
        (
            1,
            vec![node("a", 1, "taints: [{key: broken, effect: NoExecute}]")],
            vec![],
            false,
            "no node that the pods may run on offers nvidia.com/gpu",
        ),
    ] {
        assert_eq!(room(&devices(count), &nodes, &pods, |_| false), Rollout::new(surges, why));
    }
}

#[test]
fn a_group_surges_where_the_nodes_have_room_for_all_of_its_pods() {
    let nodes = [node("a", 5, ""), node("b", 3, ""), node("c", 8, "unschedulable: true")];
    for (pods, taken, surges, why) in [
        (3, 0, true, "the nodes have room for 3 pods with 2 nvidia.com/gpu each"),
        (4, 0, false, "the nodes have room for 3 of 4 pods with 2 nvidia.com/gpu each"),
        (3, 2, false, "the nodes have room for 2 of 3 pods with 2 nvidia.com/gpu each"),
        (2, 9, false, "the nodes have room for 1 of 2 pods with 2 nvidia.com/gpu each"),
    ] {
        let group = Devices { pods, ..devices(2) };
        assert_eq!(
            room(&group, &nodes, &[pod("a", taken, "Running")], |_| false),
            Rollout::new(surges, why)
        );
    }
}

#[test]
fn pods_of_the_other_kind_of_workload_are_replaced_like_those_of_another_template() {
    assert_eq!(switch(&own("Auto"), Takes::Devices(devices(1))), Decision::NeedsRoom(devices(1)));
    for (strategy, takes, surges) in [
        ("Auto", Takes::Nothing, true),
        ("Auto", Takes::Claim, false),
        ("Surge", Takes::Devices(devices(1)), true),
    ] {
        assert!(
            matches!(switch(&own(strategy), takes), Decision::Made(made) if made.surges == surges),
            "{strategy}"
        );
    }
}

fn own(strategy: &str) -> SelfHosted {
    read(&format!("{{engine: {{kind: VLLM}}, rollout: {{strategy: {strategy}}}}}"))
}

fn with(template: &str) -> Deployment {
    read(&format!("{{metadata: {{}}, spec: {{selector: {{}}, template: {template}}}}}"))
}

#[test]
fn auto_decides_once_for_each_template() {
    let (one, other) = ("{}", "{metadata: {labels: {a: b}}}");
    let live = |template: &str| {
        let mut live = with(template);
        Rollout::new(true, "a node has 1 nvidia.com/gpu free").put_on(&mut live);
        live
    };
    let auto = |live: Option<&Deployment>| decide(&own("Auto"), Takes::Devices(devices(1)), &with(one), live, false);
    assert_eq!(auto(None), Decision::Made(Rollout::new(false, "there is nothing to replace")));
    assert_eq!(
        auto(Some(&live(one))),
        Decision::Made(Rollout::new(true, "a node has 1 nvidia.com/gpu free"))
    );
    assert_eq!(auto(Some(&live(other))), Decision::NeedsRoom(devices(1)));
    assert_eq!(auto(Some(&Deployment::default())), Decision::NeedsRoom(devices(1)));
}

#[test]
fn a_further_change_in_the_middle_of_a_surge_keeps_what_answers() {
    let serving: Pod = read(
        "{metadata: {name: a}, spec: {nodeName: a, containers: [{name: e, resources: {limits: {nvidia.com/gpu: '1'}}}]}, status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}}",
    );
    let pods = [serving, pod("a", 1, "Running")];
    let of = |is_own: bool| room(&devices(1), &[node("a", 2, "")], &pods, |_| is_own).surges;
    assert_eq!(
        (of(true), of(false)),
        (true, false),
        "the pod that only starts gives its device to the next one"
    );
}

#[test]
fn a_surge_that_finds_no_node_turns_once() {
    let mut live = with("{}");
    Rollout::new(true, "a node has 1 nvidia.com/gpu free").put_on(&mut live);
    let decided = |live: &Deployment, is_stuck| decide(&own("Auto"), Takes::Devices(devices(1)), &with("{}"), Some(live), is_stuck);
    let Decision::Made(turned) = decided(&live, true) else {
        panic!("it needs no look")
    };
    assert!(!turned.surges);
    turned.put_on(&mut live);
    assert_eq!(decided(&live, false), Decision::Made(turned.clone()));
    assert_eq!(decided(&live, true), Decision::Made(turned));
}

#[test]
fn what_was_asked_for_ends_with_the_asking() {
    let mut live = with("{}");
    Rollout::new(true, ASKED).put_on(&mut live);
    assert_eq!(
        decide(&own("Auto"), Takes::Devices(devices(1)), &with("{}"), Some(&live), false),
        Decision::NeedsRoom(devices(1))
    );
}

#[test]
fn what_the_specification_asks_for_is_done_whatever_is_free() {
    for (strategy, takes, surges) in [
        ("Surge", Takes::Devices(devices(1)), true),
        ("Replace", Takes::Nothing, false),
        ("Auto", Takes::Nothing, true),
        ("Auto", Takes::Claim, false),
    ] {
        let Decision::Made(rollout) = decide(&own(strategy), takes, &with("{}"), None, false) else {
            panic!("it needs no look at the nodes")
        };
        assert_eq!(rollout.surges, surges, "{strategy}");
        let mut deployment = with("{}");
        rollout.put_on(&mut deployment);
        let chosen = deployment.spec.unwrap().strategy.unwrap().rolling_update.unwrap();
        assert_eq!(chosen.max_surge, Some(IntOrString::Int(surges.into())), "{strategy}");
    }
}
