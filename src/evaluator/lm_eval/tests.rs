//! Against three runs of lm-evaluation-harness 0.4.13 over invented rows: its task `mmlu_pro` as a chat, and a task of one's own as a chat and as
//! a text. From the samples that it logged the same files are written, and compared with its own.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::*;

#[derive(Deserialize)]
struct Goldens {
    runs: Vec<Run>,
}

/// The files of a run: the results parsed, the samples as they are.
#[derive(Deserialize)]
struct Run {
    results_path: String,
    results: Value,
    samples: BTreeMap<String, String>,
}

fn runs() -> [Run; 3] {
    let goldens: Goldens = serde_json::from_str(include_str!("goldens.json")).unwrap();
    goldens.runs.try_into().unwrap_or_else(|_| panic!("three runs"))
}

fn get<'a>(json: &'a Json, member: &str) -> &'a Json {
    let Json::Object(members) = json else { panic!("{json:?}") };
    &members.iter().find(|(name, _)| name == member).unwrap().1
}

fn text(json: &Json) -> String {
    let Json::Text(text) = json else { panic!("{json:?}") };
    text.clone()
}

fn list(json: &Json) -> &[Json] {
    let Json::List(list) = json else { panic!("{json:?}") };
    list
}

fn number(json: &Json) -> f64 {
    json.compact().parse().unwrap()
}

/// What went into a line of the harness' samples.
fn sample(line: &str) -> (Sample, Json) {
    let line = Json::parse(line).unwrap();
    let arguments = get(get(&line, "arguments"), "gen_args_0");
    let prompt = match get(arguments, "arg_0") {
        Json::Text(text) => Prompt::Text(text.clone()),
        messages => {
            let messages = Json::parse(&text(&list(messages)[0])).unwrap();
            let message = |message: &Json| (text(get(message, "role")), text(get(message, "content")));
            Prompt::Chat(list(&messages).iter().map(message).collect())
        }
    };
    let sample = Sample {
        doc_id: get(&line, "doc_id").compact().parse().unwrap(),
        doc: get(&line, "doc").clone(),
        target: text(get(&line, "target")),
        prompt,
        responses: list(&list(get(&line, "resps"))[0]).iter().map(text).collect(),
        filtered: text(&list(get(&line, "filtered_resps"))[0]),
        values: vec![number(get(&line, "exact_match"))],
    };
    (sample, get(arguments, "arg_1").clone())
}

/// The export that a run would have been.
fn export(run: &Run) -> Export {
    let started = run.results["date"].as_f64().unwrap();
    let seconds: f64 = run.results["total_evaluation_time_seconds"].as_str().unwrap().parse().unwrap();
    let model = |member: &str| run.results["config"]["model_args"][member].clone();
    let is_mmlu_pro = run.results.get("groups").is_some();
    let tasks = run.samples.values().map(|lines| {
        let (samples, kwargs): (Vec<Sample>, Vec<Json>) = lines.split_terminator('\n').map(sample).unzip();
        let docs = samples.len() as u64;
        if is_mmlu_pro {
            let category = text(get(&samples[0].doc, "category"));
            let task = mmlu_pro::task(&category, 0, 100, docs);
            return Task { samples, ..task };
        }
        Task {
            name: "claims".to_owned(),
            alias: "claims".to_owned(),
            version: Json::float(1.0),
            shots: 0,
            repeats: 1,
            filter: Filter {
                name: "none".to_owned(),
                steps: Vec::new(),
            },
            metrics: vec![Metric {
                name: "exact_match".to_owned(),
                higher_is_better: true,
                settings: Vec::new(),
            }],
            gen_kwargs: kwargs[0].clone(),
            docs,
            config: [("test_split", "test"), ("doc_to_target", "{{expected}}"), ("description", "")]
                .map(|(name, value)| (name.to_owned(), value.into()))
                .into(),
            samples,
        }
    });
    Export {
        model: model("model").as_str().unwrap().to_owned(),
        base_url: model("base_url").as_str().unwrap().to_owned(),
        concurrency: u32::try_from(model("num_concurrent").as_u64().unwrap()).unwrap(),
        group: is_mmlu_pro.then(mmlu_pro::group),
        tasks: tasks.collect(),
        started,
        ended: started + seconds,
        named: started + seconds,
        seeds: Seeds {
            random: Some(0),
            numpy: Some(1234),
            torch: Some(1234),
            fewshot: Some(1234),
        },
        extra: Json::Null,
    }
}

fn results(files: &[File]) -> Value {
    serde_json::from_slice(&files[0].bytes).unwrap()
}

/// The name of a file without its time, which must be of the harness' form.
fn without_time(path: &str) -> (String, &str) {
    let (stem, time) = path.rsplit_once('_').unwrap();
    let (time, end) = time.rsplit_once('.').unwrap();
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00-00-00.000000");
    (stem.to_owned(), end)
}

#[test]
fn samples_are_to_the_byte_those_of_the_harness() {
    for run in runs() {
        let files = files(&export(&run)).unwrap();
        for (file, (path, theirs)) in files[1..].iter().zip(&run.samples) {
            let folder = run.results_path.split('/').next().unwrap();
            let path = if path.contains('/') {
                path.clone()
            } else {
                format!("{folder}/{path}")
            };
            assert_eq!(without_time(&file.path), without_time(&path));
            assert_eq!(std::str::from_utf8(&file.bytes).unwrap(), theirs);
        }
        assert_eq!(files.len(), 1 + run.samples.len());
        let Json::Object(members) = Json::parse(run.samples.values().next().unwrap().split('\n').next().unwrap()).unwrap() else {
            panic!("no object")
        };
        let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [&samples::MEMBERS[..], &["exact_match"]].concat());
    }
}

/// Members of the results that differ, as `a.b`, other than by less than 10⁻¹².
fn differences(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            for name in a.keys().chain(b.keys().filter(|name| !a.contains_key(*name))) {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match (a.get(name), b.get(name)) {
                    (Some(a), Some(b)) => differences(&path, a, b, found),
                    (Some(_), None) => found.push(format!("{path} is ours")),
                    _ => found.push(format!("{path} is theirs")),
                }
            }
        }
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            if (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() > 1e-12 {
                found.push(path.to_owned());
            }
        }
        _ if ours == theirs => {}
        _ => found.push(path.to_owned()),
    }
}

/// How the harness was called and on what machine, what it repeats of its defaults, and that its rows came from a file.
const ITS_OWN: [&str; 10] = [
    "config.device",
    "config.gen_kwargs.max_gen_toks is theirs",
    ".max_retries is theirs",
    ".tokenizer_backend is theirs",
    ".dataset_path",
    ".dataset_path is theirs",
    ".unsafe_code is theirs",
    "_delimiter is theirs",
    "pretty_env_info",
    "total_evaluation_time_seconds",
];

#[test]
fn results_are_those_of_the_harness_but_for_what_it_alone_knows() {
    for run in runs() {
        let mut found = Vec::new();
        differences("", &results(&files(&export(&run)).unwrap()), &run.results, &mut found);
        found.retain(|path| !ITS_OWN.iter().any(|end| path.ends_with(end)));
        assert_eq!(found, Vec::<String>::new());
    }
}

#[test]
fn the_rows_of_mmlu_pro_hash_as_published_ones() {
    let [run, ..] = runs();
    for line in run.samples.values().flat_map(|lines| lines.split_terminator('\n')) {
        let (sample, _) = sample(line);
        let row: Value = serde_json::from_str(&sample.doc.compact()).unwrap();
        let row = crate::evaluator::rows::Row {
            place: "row".to_owned(),
            value: row,
        };
        let question = crate::evaluator::mmlu_pro::read("rows", &[row]).unwrap().remove(0);
        assert_eq!(mmlu_pro::doc(&question), sample.doc);
    }
}

#[test]
fn what_is_ours_is_written_beside() {
    let [run, ..] = runs();
    let mut export = export(&run);
    export.extra = Json::object([("verdict", "Pass".into()), ("cost", Json::float(0.25))]);
    assert_eq!(results(&files(&export).unwrap())["llmportfolio"]["cost"], 0.25);
    assert_eq!(
        results(
            &files(&Export {
                extra: Json::Null,
                ..export
            })
            .unwrap()
        )
        .get("llmportfolio"),
        None
    );
}

#[test]
fn of_one_sample_there_is_no_standard_error_and_so_none_of_the_group() {
    let [run, ..] = runs();
    let mut export = export(&run);
    export.tasks[1].samples.truncate(1);
    let results = results(&files(&export).unwrap());
    let error = "exact_match_stderr,custom-extract";
    assert_eq!(results["results"][&export.tasks[1].name][error], "N/A");
    assert_eq!(results["groups"]["mmlu_pro"][error], "N/A");
    assert_eq!(
        results["n-samples"][&export.tasks[1].name],
        serde_json::json!({"original": 3, "effective": 1})
    );
    assert_eq!(results["groups"]["mmlu_pro"]["sample_len"], 11);
}

#[test]
fn tasks_of_a_group_may_differ_in_shots_and_metrics() {
    let [run, ..] = runs();
    let mut export = export(&run);
    export.tasks[0].shots = 5;
    export.tasks[0].metrics[0].name = "score".to_owned();
    export.tasks[1].metrics[0].higher_is_better = false;
    let results = results(&files(&export).unwrap());
    assert_eq!(results["n-shot"].get("mmlu_pro"), None);
    assert_eq!(
        results["higher_is_better"]["mmlu_pro"],
        serde_json::json!({"score": true, "exact_match": null})
    );
    let counts = &results["groups"]["mmlu_pro"]["sample_count"];
    assert_eq!(
        counts,
        &serde_json::json!({"score,custom-extract": 5, "exact_match,custom-extract": 8})
    );
}

#[test]
fn names_of_models_become_names_of_folders() {
    for (model, folder) in [
        ("org/my:model", "org__my__model"),
        ("a<>:\"b", "a__b"),
        ("/x?", "__x__"),
        ("plain-1.5 b", "plain-1.5 b"),
    ] {
        assert_eq!(sanitized(model), folder);
    }
}

#[test]
fn files_are_named_by_a_time_in_utc() {
    assert_eq!(file_time(0.0).unwrap(), "1970-01-01T00-00-00.000000");
    assert_eq!(file_time(1_795_841_943.710_943_2).unwrap(), "2026-11-28T04-59-03.710943");
    assert!(file_time(1e30).unwrap_err().starts_with("named is no time: "));
}

#[test]
fn what_readers_would_misread_is_refused() {
    let [run, ..] = runs();
    let good = export(&run);
    let refused = |change: &dyn Fn(&mut Export)| {
        let mut export = good.clone();
        change(&mut export);
        files(&export).unwrap_err()
    };
    for (flaw, said) in [
        (
            refused(&|export| export.model = "..".to_owned()),
            r#"model ".." is no name of a folder"#,
        ),
        (refused(&|export| export.started = f64::NAN), "started and ended are no times"),
        (refused(&|export| export.tasks.clear()), "no task was asked"),
        (
            refused(&|export| export.tasks[0].name = "a/b".to_owned()),
            r#"task "a/b" is no part of a file's name"#,
        ),
        (
            refused(&|export| export.tasks[2].name = "mmlu_pro".to_owned()),
            "task mmlu_pro is there twice, or is called as its group is",
        ),
        (
            refused(&|export| export.tasks[1].samples.clear()),
            "task mmlu_pro_computer_science has no samples",
        ),
        (
            refused(&|export| export.tasks[0].samples[1].doc_id = 0),
            "task mmlu_pro_biology has two samples of doc_id 0",
        ),
        (
            refused(&|export| export.tasks[0].samples[1].values[0] = f64::INFINITY),
            "task mmlu_pro_biology, doc_id 1: not every metric has a number",
        ),
        (
            refused(&|export| export.tasks[0].samples[1].values.clear()),
            "task mmlu_pro_biology, doc_id 1: not every metric has a number",
        ),
        (
            refused(&|export| export.tasks[0].samples[1].prompt = Prompt::Text("x".to_owned())),
            "task mmlu_pro_biology, doc_id 1: some prompts are chats and some are texts",
        ),
        (
            refused(&|export| export.tasks[0].metrics[0].name = "target".to_owned()),
            "task mmlu_pro_biology: a metric cannot be called target",
        ),
    ] {
        assert_eq!(flaw, said);
    }
}
