//! Who shares a cache, what it consists of, how far it is from what its Jobs say, and when it goes.

use std::sync::LazyLock;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::api::Settings;
use crate::api::model_deployment::ModelDeploymentStatus;
use crate::plan::serving::Installation;

const COMMIT: &str = "0e9e39f249a16976918f6564b8830bc894c89659";
const IMAGE: &str = "localhost/portfolio:dev";

fn installation() -> Installation<'static> {
    static SETTINGS: LazyLock<Settings> = LazyLock::new(|| Settings {
        hub_endpoint: Some("https://hub.example.com".to_owned()),
        ..Settings::default()
    });
    Installation {
        settings: &SETTINGS,
        gateway_namespace: "llm-portfolio",
        image: IMAGE,
        mounts_images: false,
    }
}

fn md(name: &str, more: &str) -> ModelDeployment {
    md_of(name, "hf://meta-llama/Llama-3.1-8B-Instruct@main", more)
}

/// A model whose `selfHosted` is changed by `more`.
fn md_of(name: &str, uri: &str, more: &str) -> ModelDeployment {
    let more: serde_json::Map<String, Value> = serde_saphyr::from_str(&format!("{{{more}}}")).unwrap();
    let mut own = json!({ "source": { "uri": uri }, "engine": { "kind": "VLLM" }, "cache": {} });
    own.as_object_mut().unwrap().extend(more);
    let metadata = json!({ "name": name, "namespace": "claims" });
    serde_json::from_value(
        json!({ "apiVersion": "llmportfolio.dev/v1alpha1", "kind": "ModelDeployment", "metadata": metadata, "spec": { "selfHosted": own } }),
    )
    .unwrap()
}

fn with(mut md: ModelDeployment, cache: &str) -> ModelDeployment {
    md.spec.self_hosted.as_mut().unwrap().cache = Some(serde_saphyr::from_str(cache).unwrap());
    md
}

fn wanted(md: &ModelDeployment) -> Wanted<'_> {
    super::wanted(md, md.spec.self_hosted.as_ref().unwrap()).unwrap()
}

fn listed(bytes: u64) -> Listed {
    Listed {
        revision: COMMIT.to_owned(),
        bytes,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn stored<K: serde::de::DeserializeOwned>(object: &impl serde::Serialize, more: Value) -> Arc<K> {
    let mut value = serde_json::to_value(object).unwrap();
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    Arc::new(serde_json::from_value(value).unwrap())
}

fn ended(kind: &str, second: i64) -> Value {
    json!({ "status": { "conditions": [{ "type": kind, "status": "True", "lastTransitionTime": at(second).to_string() }] } })
}

fn pod(job: &Job, status: &Value) -> Arc<Pod> {
    let name = job.metadata.name.clone().unwrap();
    let pod = json!({ "metadata": { "name": format!("{name}-x"), "namespace": "claims", "labels": { "batch.kubernetes.io/job-name": name } }, "status": status });
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn last_words(code: i32, message: &Value) -> Value {
    json!({ "phase": if code == 0 { "Succeeded" } else { "Failed" }, "containerStatuses": [{ "name": "fetch", "image": "", "imageID": "", "ready": false,
        "restartCount": 0, "state": { "terminated": { "exitCode": code, "message": message.to_string() } } }] })
}

#[test]
fn those_who_would_fetch_the_same_share_one_cache_and_no_others() {
    let first = name(&md("a", "")).unwrap();
    assert_eq!(first.namespace, "claims");
    assert!(first.name.starts_with("cache-llama-3-1-8b-instruct-"), "{first}");
    let same = [
        md("b", ""),
        md(
            "b",
            "replicas: 3, engine: {kind: VLLM, args: [--x], env: [{name: OMP_NUM_THREADS, value: '2'}]}",
        ),
        with(md("b", ""), "{size: 40Gi}"),
    ];
    for md in same {
        assert_eq!(name(&md), Some(first.clone()));
    }
    let others = [
        md_of("b", &format!("hf://meta-llama/Llama-3.1-8B-Instruct@{COMMIT}"), ""),
        md_of("b", "hf://meta-llama/Llama-3.1-8B", ""),
        md(
            "b",
            "source: {uri: 'hf://meta-llama/Llama-3.1-8B-Instruct@main', secretRef: {name: hf, key: token}}",
        ),
        md("b", "engine: {kind: VLLM, env: [{name: HF_ENDPOINT, value: 'http://mirror'}]}"),
        with(md("b", ""), "{storageClassName: shared}"),
        with(md("b", ""), "{claim: models}"),
    ];
    for md in others {
        assert_ne!(name(&md), Some(first.clone()), "{:?}", md.spec);
    }
    let mut none = md("b", "");
    none.spec.self_hosted.as_mut().unwrap().cache = None;
    assert_eq!(name(&none), None);
}

#[test]
fn names_stay_short_whatever_the_source() {
    for uri in [
        "hf://organisation/Some.Very_Long--Name-of-a-Model-that-Never-Ends-70B-Instruct-GGUF@main/folder/file-Q4_K_M.gguf",
        "s3://bucket/",
        "s3://bucket/models/claims-llama-ft3/",
        "https://example.com/x.gguf",
    ] {
        let md = md_of("m", uri, "");
        let wanted = wanted(&md);
        let longest = wanted.job("evict").name;
        assert!(longest.len() <= 63, "{longest}");
        assert!(
            longest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') && !longest.contains("--"),
            "{longest}"
        );
    }
}

#[test]
fn the_objects_of_a_cache() {
    let md = with(
        md(
            "triage",
            "source: {uri: 'hf://meta-llama/Llama-3.1-8B-Instruct', secretRef: {name: hf, key: token}}, engine: {kind: VLLM, env: [{name: HF_ENDPOINT, value: 'http://mirror'}, {name: A, value: b}]}",
        ),
        "{storageClassName: shared}",
    );
    let wanted = wanted(&md);
    let listed = listed(16 << 30);
    let share = wanted.share(&md, &[Arc::new(md.clone())]).unwrap();
    let place = Place {
        node_selector: [("gpu".to_owned(), "l4".to_owned())].into(),
        tolerations: vec![],
    };
    let fill = wanted.fill(&listed, &place, installation());
    insta::assert_yaml_snapshot!((wanted.list(installation()), wanted.claim(&listed, &share, None).unwrap(), &fill));
    insta::assert_yaml_snapshot!(eviction(&wanted.key, &fill, IMAGE).unwrap());
}

#[test]
fn a_claim_fits_its_source_and_all_who_share_it_and_never_shrinks() {
    let (plain, large) = (md("a", ""), with(md("b", ""), "{size: 40Gi}"));
    let size = |md: &ModelDeployment, models: &[&ModelDeployment], bytes: u64, live: Option<&str>| {
        let models: Vec<_> = models.iter().map(|md| Arc::new((*md).clone())).collect();
        let live: Option<PersistentVolumeClaim> = live.map(|size| {
            serde_json::from_value(json!({ "metadata": {}, "spec": { "resources": { "requests": { "storage": size } } } })).unwrap()
        });
        let wanted = wanted(md);
        let claim = wanted.claim(&listed(bytes), &wanted.share(md, &models).unwrap(), live.as_ref());
        claim.map(|claim| {
            claim.unwrap().spec.unwrap().resources.unwrap().requests.unwrap()["storage"]
                .0
                .clone()
        })
    };
    assert_eq!(size(&plain, &[&plain], 98_362_432, None).unwrap(), "1Gi");
    assert_eq!(size(&plain, &[&plain], 16 << 30, None).unwrap(), "17Gi");
    assert_eq!(size(&plain, &[&plain, &large], 16 << 30, None).unwrap(), "40Gi");
    assert_eq!(size(&large, &[&plain, &large], 16 << 30, None).unwrap(), "40Gi");
    assert_eq!(size(&plain, &[&plain], 16 << 30, Some("50Gi")).unwrap(), "50Gi");
    let small = with(md("a", ""), "{size: 8Gi}");
    assert_eq!(
        size(&small, &[&small], 16 << 30, None).unwrap_err().to_string(),
        "spec.selfHosted.cache.size: 8Gi is less than the 16.0 GiB of hf://meta-llama/Llama-3.1-8B-Instruct@main; raise it to 17Gi, or remove \
         it: then it follows the source"
    );
    assert!(size(&small, &[&small, &large], 16 << 30, None).is_ok());
    let theirs = with(md("a", ""), "{claim: models}");
    let wanted = wanted(&theirs);
    assert_eq!(wanted.claim(&listed(1), &wanted.share(&theirs, &[]).unwrap(), None), Ok(None));
}

#[test]
fn one_claim_has_one_access_mode_that_of_the_first() {
    let (mut first, mut second) = (md("b", ""), with(md("a", ""), "{accessMode: ReadWriteOnce}"));
    for (md, time) in [(&mut first, 1), (&mut second, 2)] {
        md.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(time)));
    }
    let models = [Arc::new(first.clone()), Arc::new(second.clone())];
    assert!(wanted(&first).share(&first, &models).is_ok());
    assert_eq!(
        wanted(&second).share(&second, &models).unwrap_err().to_string(),
        "spec.selfHosted.cache.accessMode: ReadWriteOnce is asked for, and ModelDeployment claims/b, which shares this cache, has it as \
         ReadWriteMany; say the same in both, or give one of them another storageClassName"
    );
}

#[test]
fn what_is_next_follows_from_what_is_there() {
    let md = md("a", "");
    let wanted = wanted(&md);
    let (list, fill) = (
        wanted.list(installation()),
        wanted.fill(&listed(100), &Place::default(), installation()),
    );
    let claim = wanted.claim(&listed(100), &wanted.share(&md, &[]).unwrap(), None).unwrap().unwrap();
    let planned = json!({ "source": "x", "revision": COMMIT, "bytes": 100, "files": 1 });
    let next = |seen: &Seen| stage(&wanted, seen, at(1000));
    let none = Seen::default();
    assert_eq!(next(&none), Stage::List);

    let listing = Seen {
        list: Some(stored(&list, json!({}))),
        ..none.clone()
    };
    assert_eq!(next(&listing), Stage::Listing(None));
    let answered = Seen {
        list: Some(stored(&list, ended("Complete", 990))),
        ..Seen::default()
    };
    assert_eq!(next(&answered), Stage::Listing(None), "its pod is seen later than its end");
    let answered = Seen {
        list: Some(stored(&list, ended("Complete", 900))),
        ..none
    };
    assert_eq!(next(&answered), Stage::Anew(vec!["list"]), "its last words are lost");
    let answered = Seen {
        pods: vec![pod(&list, &last_words(0, &planned))],
        ..answered
    };
    assert_eq!(next(&answered), Stage::Fill(listed(100)));

    let over = Seen {
        list: Some(stored(&list, json!({}))),
        ..answered.clone()
    };
    assert_eq!(next(&over), Stage::Listing(None), "its Job does not say so yet");
    let filling = Seen {
        fill: Some(stored(&fill, json!({}))),
        claim: Some(stored(&claim, json!({}))),
        pods: vec![pod(&fill, &json!({ "phase": "Running", "podIP": "10.0.0.9" }))],
        ..answered
    };
    assert_eq!(next(&filling), Stage::Filling(listed(100), Some("10.0.0.9".to_owned()), None));
    let held = Seen {
        fill: Some(stored(&fill, ended("Complete", 900))),
        pods: vec![],
        ..filling
    };
    let expected = Held {
        cache: wanted.key.name.clone(),
        claim: wanted.key.name.clone(),
        folder: format!("{}/0e9e39f249a1", wanted.key.name),
        listed: listed(100),
    };
    assert_eq!(next(&held), Stage::Held(expected));
    assert_eq!(
        next(&Seen {
            claim: None,
            ..held.clone()
        }),
        Stage::Anew(vec!["fill"])
    );
    let mut going = claim;
    going.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(1)));
    assert_eq!(
        next(&Seen {
            claim: Some(Arc::new(going)),
            ..held.clone()
        }),
        Stage::Losing
    );

    let evict = eviction(&wanted.key, &fill, IMAGE).unwrap();
    assert_eq!(
        next(&Seen {
            evict: Some(stored(&evict, json!({}))),
            ..held.clone()
        }),
        Stage::Evicting
    );
    let evicted = Seen {
        evict: Some(stored(&evict, ended("Complete", 900))),
        ..held
    };
    assert_eq!(next(&evicted), Stage::Anew(vec!["evict", "fill", "list"]));
}

#[test]
fn a_job_that_gave_up_says_why_and_is_made_again_after_a_while() {
    let md = md("a", "");
    let wanted = wanted(&md);
    let list = wanted.list(installation());
    let words = json!({ "reason": "RevisionNotFound", "message": "org/smol has no revision v9", "timeMayHeal": false });
    let seen = Seen {
        list: Some(stored(&list, ended("Failed", 900))),
        pods: vec![pod(&list, &last_words(1, &words))],
        ..Seen::default()
    };
    let failed = stage(&wanted, &seen, at(1000));
    let Stage::Failed(trouble, left) = &failed else {
        panic!("{failed:?}")
    };
    assert_eq!((trouble.reason, trouble.stalled, left.as_secs()), ("RevisionNotFound", true, 200));
    assert_eq!(trouble.message, "spec.selfHosted.source.uri: org/smol has no revision v9");
    assert_eq!(stage(&wanted, &seen, at(1200)), Stage::Anew(vec!["list"]));

    let own = md.spec.self_hosted.as_ref().unwrap();
    let status = status(
        &md,
        own,
        &Waiting::of(&failed, &wanted, None, at(1000)),
        ModelDeploymentStatus::default(),
        at(1000),
    );
    let said: Vec<String> = status
        .conditions
        .iter()
        .map(|c| format!("{} {} {}", c.type_, c.status, c.reason))
        .collect();
    assert_eq!(
        said,
        [
            "Accepted True Valid",
            "ModelCached False RevisionNotFound",
            "Ready False RevisionNotFound",
            "Stalled True RevisionNotFound",
            "WorkloadReady False RevisionNotFound"
        ]
    );
}

#[test]
fn what_kept_a_source_from_answering_is_told_until_it_answers() {
    let mut md = md("a", "");
    md.metadata.generation = Some(1);
    let told = |md: &ModelDeployment, stage: &Stage| {
        let wanted = wanted(md);
        let own = md.spec.self_hosted.as_ref().unwrap();
        let waiting = Waiting::of(stage, &wanted, None, at(1000));
        let status = status(md, own, &waiting, ModelDeploymentStatus::default(), at(1000));
        let reason = status.conditions.iter().find(|c| c.type_ == "ModelCached").unwrap().reason.clone();
        (reason, status)
    };
    assert_eq!(told(&md, &Stage::Listing(None)).0, "Listing");
    let trouble = crate::plan::pods::Trouble {
        reason: "Unreachable",
        message: "no route".to_owned(),
        stalled: false,
    };
    let (reason, status) = told(&md, &Stage::Listing(Some(trouble)));
    assert_eq!(reason, "Unreachable");
    md.status = Some(status);
    assert_eq!(told(&md, &Stage::Listing(None)).0, "Unreachable", "it is asked again");
    assert_eq!(told(&md, &Stage::Fill(listed(1))).0, "Fetching");
    md.metadata.generation = Some(2);
    assert_eq!(told(&md, &Stage::List).0, "Listing", "of another source nothing is known");
}

#[test]
fn a_fetch_says_how_far_it_is_and_how_long_it_takes() {
    let md = md("a", "");
    let wanted = wanted(&md);
    let filling = Stage::Filling(listed(16 << 30), Some("10.0.0.9".to_owned()), None);
    let progress = |done: u64, fetched: u64| -> Progress {
        serde_json::from_value(json!({ "phase": "Fetching", "bytesTotal": 16u64 << 30, "bytesDone": done, "bytesFetched": fetched, "startedAt": at(1000).to_string() })).unwrap()
    };
    let message = |progress: Option<Progress>, second| {
        let waiting = Waiting::of(&filling, &wanted, progress.as_ref(), at(second));
        let own = md.spec.self_hosted.as_ref().unwrap();
        let pods = ModelDeploymentStatus {
            replicas: Some(2),
            ready_replicas: Some(2),
            ..ModelDeploymentStatus::default()
        };
        let status = status(&md, own, &waiting, pods, at(second));
        let find = |kind: &str| status.conditions.iter().find(|c| c.type_ == kind).unwrap().clone();
        assert_eq!(
            (find("Ready").status, find("ModelCached").status.as_str()),
            ("Unknown".to_owned(), "Unknown")
        );
        assert!(
            find("Ready")
                .message
                .starts_with("2 replicas of the earlier specification answer; ")
        );
        assert_eq!(find("Reconciling").reason, "Fetching");
        find("ModelCached").message
    };
    let rest = format!(
        "; hf://meta-llama/Llama-3.1-8B-Instruct@main is fetched into PersistentVolumeClaim {}",
        wanted.key.name
    );
    assert_eq!(message(None, 1100), format!("16.0 GiB{rest}"));
    assert_eq!(message(Some(progress(4 << 30, 0)), 1100), format!("4.0 of 16.0 GiB{rest}"));
    assert_eq!(
        message(Some(progress(12 << 30, 8 << 30)), 1360),
        format!("12.0 of 16.0 GiB, about 3 min left{rest}")
    );
    assert_eq!(
        message(Some(progress(15 << 30, 15 << 30)), 1360),
        format!("15.0 of 16.0 GiB, less than a minute left{rest}")
    );
}

#[test]
fn a_cache_goes_when_no_model_asks_for_it_and_no_pod_reads_it_or_will() {
    let (ours, theirs) = (md("a", ""), with(md("b", ""), "{claim: models}"));
    let (our, their) = (wanted(&ours), wanted(&theirs));
    let fill = |wanted: &Wanted<'_>, status| stored::<Job>(&wanted.fill(&listed(1), &Place::default(), installation()), status);
    let claim = our.claim(&listed(1), &our.share(&ours, &[]).unwrap(), None).unwrap().unwrap();
    let claims = [Arc::new(claim)];
    let jobs = [fill(&our, ended("Complete", 1)), fill(&their, ended("Complete", 1))];
    let models = [Arc::new(ours.clone()), Arc::new(theirs.clone())];
    let act = |jobs: &[Arc<Job>], models: &[Arc<ModelDeployment>], pods: &[Arc<Pod>], made: &[Key]| {
        unused(jobs, &claims, models, pods, made, IMAGE)
    };
    assert_eq!(act(&jobs, &models, &[], &[]), []);

    let maker =
        json!({ "metadata": { "name": "a-engine", "namespace": "claims", "annotations": { "llmportfolio.dev/cache": our.key.name } } });
    let maker: Deployment = serde_json::from_value(maker).unwrap();
    let made = [read_by(&maker).unwrap()];
    assert_eq!(act(&jobs, &models[1..], &[], &made), [], "its pods may be made again");
    let reader = |phase: &str| -> [Arc<Pod>; 1] {
        let mount = json!({ "name": "weights", "mountPath": "/models", "subPath": our.held(&listed(1)).folder });
        let spec = json!({ "containers": [{ "name": "engine", "volumeMounts": [mount] }] });
        let pod = json!({ "metadata": { "name": "a-x", "namespace": "claims" }, "spec": spec, "status": { "phase": phase } });
        [Arc::new(serde_json::from_value(pod).unwrap())]
    };
    assert_eq!(
        act(&jobs, &models[1..], &reader("Running"), &[]),
        [],
        "it has been replaced, and answers still"
    );

    let gone = mounted_by(&reader("Succeeded")[0]);
    assert_eq!(gone.as_ref(), Some(&our.key), "its end is when to look at what is left");
    let removed = Unused::Remove {
        jobs: ["list", "fill", "evict"].map(|step| our.job(step)).to_vec(),
        claim: our.key.clone(),
    };
    assert_eq!(act(&jobs, &models[1..], &reader("Failed"), &[]), [removed]);

    let evict = eviction(&their.key, &jobs[1], IMAGE).unwrap();
    let evicted = Unused::Evict {
        evict: Box::new(evict.clone()),
        fill: their.job("fill"),
    };
    assert_eq!(act(&jobs, &models[..1], &[], &[]), [evicted]);
    let begun = [fill(&their, json!({}))];
    let waits = |phase: &str| {
        let mut pod = Arc::unwrap_or_clone(pod(&begun[0], &json!({ "phase": phase })));
        pod.metadata.namespace = Some("claims".to_owned());
        [Arc::new(pod)]
    };
    assert!(
        matches!(act(&begun, &models[..1], &waits("Pending"), &[])[..], [Unused::Remove { .. }]),
        "nothing was written"
    );
    assert!(matches!(
        act(&begun, &models[..1], &waits("Running"), &[])[..],
        [Unused::Evict { .. }]
    ));
    let tried = [fill(&their, json!({ "status": { "failed": 1 } }))];
    assert!(matches!(
        act(&tried, &models[..1], &waits("Pending"), &[])[..],
        [Unused::Evict { .. }]
    ));
    let going_on = [stored(&evict, json!({}))];
    assert_eq!(act(&going_on, &models[..1], &[], &[]), []);
    let done = [stored(&evict, ended("Failed", 1))];
    assert!(matches!(&act(&done, &models[..1], &[], &[])[..], [Unused::Remove { claim, .. }] if *claim == their.key));
}
