//! `results_<time>.json`: the mean of each metric over each task, with its standard error, those of the group, and how they came about.

use super::json::Json;
use super::numbers::{Measured, Row, pooled, row};
use super::{Export, Group, Metric, Prompt, Seeds, Task, VERSION};

/// What is said of what does not apply.
const NONE: &str = "N/A";

pub(super) fn write(export: &Export, folder: &str, hashes: Vec<(String, Json)>) -> Json {
    let rows: Vec<Row> = export.tasks.iter().map(row).collect();
    let named = |task: &Task, row: &Row| {
        let head = [("name", &task.name), ("alias", &task.alias)];
        (task.name.clone(), written(row, &head, false))
    };
    let mut results: Vec<(String, Json)> = export.tasks.iter().zip(&rows).map(|(task, row)| named(task, row)).collect();
    let group = export.group.as_ref().map(|group| {
        let head = [("alias", &group.alias), ("name", &group.name)];
        (group.name.clone(), written(&pooled(&rows), &head, true))
    });
    results.extend(group.clone());
    let mut members = vec![("results", Json::Object(results))];
    if let Some(group) = group {
        members.push(("groups", Json::Object(vec![group])));
    }
    members.extend(of_tasks(export));
    members.extend(of_run(export, folder, hashes));
    if export.extra != Json::Null {
        members.push(("llmportfolio", export.extra.clone()));
    }
    Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn of_tasks(export: &Export) -> [(&'static str, Json); 6] {
    let Export { group, tasks, .. } = export;
    let each = |of: &dyn Fn(&Task) -> Json| tasks.iter().map(|task| (task.name.clone(), of(task))).collect::<Vec<_>>();
    let of_group = |value: Option<Json>| {
        group
            .iter()
            .zip(value)
            .map(|(group, value)| (group.name.clone(), value))
            .collect::<Vec<_>>()
    };
    let children = Json::List(tasks.iter().map(|task| task.name.as_str().into()).collect());
    let version = |group: &Group| Json::from(group.version.as_str());
    // Of a group only what holds for all of its tasks.
    let shots = tasks.first().map(|first| first.shots);
    let shots = shots.filter(|shots| tasks.iter().all(|task| task.shots == *shots)).map(Json::from);
    sorted_members([
        ("group_subtasks", of_group(Some(children))),
        ("configs", each(&|task| config(export, task))),
        (
            "versions",
            [each(&|task| task.version.clone()), of_group(group.as_ref().map(version))].concat(),
        ),
        ("n-shot", [each(&|task| task.shots.into()), of_group(shots)].concat()),
        (
            "higher_is_better",
            [each(&|task| better(&task.metrics)), of_group(Some(better_of_all(tasks)))].concat(),
        ),
        (
            "n-samples",
            each(&|task| Json::object([("original", task.docs.into()), ("effective", count(task.samples.len()))])),
        ),
    ])
}

fn sorted_members<const N: usize>(all: [(&'static str, Vec<(String, Json)>); N]) -> [(&'static str, Json); N] {
    all.map(|(name, mut members)| {
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        (name, Json::Object(members))
    })
}

fn better(metrics: &[Metric]) -> Json {
    Json::Object(
        metrics
            .iter()
            .map(|metric| (metric.name.clone(), metric.higher_is_better.into()))
            .collect(),
    )
}

/// Null where tasks do not agree.
fn better_of_all(tasks: &[Task]) -> Json {
    let mut all: Vec<(String, Json)> = Vec::new();
    for metric in tasks.iter().flat_map(|task| &task.metrics) {
        let claim = Json::from(metric.higher_is_better);
        match all.iter_mut().find(|(name, _)| *name == metric.name) {
            Some((_, known)) if *known != claim => *known = Json::Null,
            Some(_) => {}
            None => all.push((metric.name.clone(), claim)),
        }
    }
    Json::Object(all)
}

fn config(export: &Export, task: &Task) -> Json {
    let metric = |metric: &Metric| {
        let fixed = Json::object([
            ("metric", metric.name.as_str().into()),
            ("aggregation", "mean".into()),
            ("higher_is_better", metric.higher_is_better.into()),
        ]);
        with(fixed, &metric.settings)
    };
    let filter = Json::object([
        ("name", task.filter.name.as_str().into()),
        ("filter", Json::List(task.filter.steps.clone())),
    ]);
    let metadata = Json::object([("version", task.version.clone())]);
    let Json::Object(model) = model_arguments(export) else {
        return metadata;
    };
    let mut fixed = vec![("task", Json::from(task.name.as_str()))];
    if task.alias != task.name {
        fixed.push(("task_alias", task.alias.as_str().into()));
    }
    fixed.extend([
        ("num_fewshot", task.shots.into()),
        ("metric_list", Json::List(task.metrics.iter().map(metric).collect())),
        ("output_type", "generate_until".into()),
        ("generation_kwargs", task.gen_kwargs.clone()),
        ("repeats", task.repeats.into()),
        ("should_decontaminate", false.into()),
        ("metadata", with(metadata, &model)),
    ]);
    if !task.filter.steps.is_empty() {
        fixed.push(("filter_list", Json::List(vec![filter])));
    }
    let fixed = fixed.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    with(Json::Object(fixed), &task.config)
}

/// With those of `more` that it does not have.
fn with(object: Json, more: &[(String, Json)]) -> Json {
    let Json::Object(mut members) = object else { return object };
    for (name, value) in more {
        if members.iter().all(|(known, _)| known != name) {
            members.push((name.clone(), value.clone()));
        }
    }
    Json::Object(members)
}

fn model_arguments(export: &Export) -> Json {
    Json::object([
        ("model", export.model.as_str().into()),
        ("base_url", export.base_url.as_str().into()),
        ("num_concurrent", export.concurrency.into()),
    ])
}

fn of_run(export: &Export, folder: &str, hashes: Vec<(String, Json)>) -> [(&'static str, Json); 17] {
    let samples = export.tasks.iter().flat_map(|task| &task.samples);
    let is_chat = samples.take(1).any(|sample| matches!(sample.prompt, Prompt::Chat(_)));
    let source = if is_chat { "local-chat-completions" } else { "local-completions" };
    let Seeds {
        random,
        numpy,
        torch,
        fewshot,
    } = export.seeds;
    let config = Json::object([
        ("model", source.into()),
        ("model_args", model_arguments(export)),
        ("batch_size", 1_u32.into()),
        ("batch_sizes", Json::List(Vec::new())),
        ("device", Json::Null),
        ("use_cache", Json::Null),
        ("limit", Json::Null),
        // The harness' default; it draws nothing for the standard error of a mean, and 0 would say that there is none.
        ("bootstrap_iters", 100_000_u32.into()),
        ("gen_kwargs", Json::Object(Vec::new())),
        ("random_seed", random.into()),
        ("numpy_seed", numpy.into()),
        ("torch_seed", torch.into()),
        ("fewshot_seed", fewshot.into()),
    ]);
    [
        ("config", config),
        ("git_hash", Json::Null),
        ("date", Json::float(export.started)),
        ("pretty_env_info", NONE.into()),
        ("transformers_version", NONE.into()),
        ("lm_eval_version", VERSION.into()),
        ("upper_git_hash", Json::Null),
        ("task_hashes", Json::Object(hashes)),
        ("model_source", source.into()),
        ("model_name", export.model.as_str().into()),
        ("model_name_sanitized", folder.into()),
        ("system_instruction", Json::Null),
        ("system_instruction_sha", Json::Null),
        ("fewshot_as_multiturn", if is_chat { true.into() } else { Json::Null }),
        ("chat_template", if is_chat { "".into() } else { Json::Null }),
        ("chat_template_sha", Json::Null),
        (
            "total_evaluation_time_seconds",
            Json::float(export.ended - export.started).compact().into(),
        ),
    ]
}

fn written(row: &Row, head: &[(&str, &String)], is_group: bool) -> Json {
    let mut members: Vec<(String, Json)> = head
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_str().into()))
        .collect();
    members.push(("sample_len".to_owned(), count(row.samples)));
    let mut counts = Vec::new();
    for Measured {
        metric,
        filter,
        samples,
        mean,
        error,
    } in &row.measured
    {
        members.push((format!("{metric},{filter}"), Json::float(*mean)));
        members.push((format!("{metric}_stderr,{filter}"), error.map_or(NONE.into(), Json::float)));
        counts.push((format!("{metric},{filter}"), count(*samples)));
    }
    if is_group {
        members.push(("sample_count".to_owned(), Json::Object(counts)));
    }
    Json::Object(members)
}

fn count(samples: usize) -> Json {
    Json::from(u64::try_from(samples).unwrap_or(u64::MAX))
}
