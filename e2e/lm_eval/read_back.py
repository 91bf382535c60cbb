"""Opens results in the layout of lm-evaluation-harness with the harness' own readers, offline, and checks every number in them anew.

    python read_back.py out

`out` is the folder with a folder for each model. Needs lm-eval 0.4.13, aiohttp and tenacity. The last line of standard output is JSON: what was read. Where a
file cannot be read, or a number is not what the harness makes of the samples, it ends with an AssertionError that says which.

What is read with which of its functions:
- names of files: `lm_eval.utils.get_results_filenames`, `get_sample_results_filenames`, `get_latest_filename`, `get_file_task_name`,
  `get_file_datetime`, `sanitize_model_name`, as `scripts/zeno_visualize.py` and the tracker do;
- answers: the filters of `configs` (`lm_eval.filters.build_filter_ensemble`) and its metrics (`lm_eval.api.registry.get_metric`) over the responses;
- numbers: `lm_eval.api.metrics.mean`, `mean_stderr`, `aggregate_subtask_metrics`, `pooled_sample_stderr`;
- hashes: `lm_eval.utils.hash_string`, with the serialisation of `lm_eval.evaluator`;
- tables: `lm_eval.utils.make_table`;
- summaries: `lm_eval.loggers.WandbLogger._sanitize_results_dict`;
- the card of a dataset on the hub: `EvaluationTracker.recreate_metadata_card`, with a stand-in for the hub;
- samples as a table: `datasets.load_dataset`.
"""

import json
import math
import os
import sys
import tempfile
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1")
CACHE = tempfile.TemporaryDirectory()
os.environ["HF_HOME"] = CACHE.name

from types import SimpleNamespace
from unittest.mock import patch

import datasets
from huggingface_hub import DatasetCard
from lm_eval import utils
from lm_eval.api import metrics
from lm_eval.api.registry import get_metric
from lm_eval.filters import build_filter_ensemble
from lm_eval.loggers import EvaluationTracker, WandbLogger, evaluation_tracker

NEAR = 1e-12


def main():
    root = Path(sys.argv[1])
    folders = sorted({path.parent for path in root.rglob("results_*.json")})
    assert folders, f"{root} has no results_*.json"
    read = {folder.name: read_model(folder) for folder in folders}
    print(json.dumps({"models": read}, ensure_ascii=False))


def read_model(folder):
    paths = sorted(path.as_posix() for path in folder.iterdir())
    path = utils.get_latest_filename(utils.get_results_filenames(paths))
    results = json.loads(Path(path).read_text(encoding="utf-8"))
    time = utils.get_file_datetime(path).removesuffix(".json")
    assert utils.sanitize_model_name(results["model_name"]) == results["model_name_sanitized"] == folder.name
    # The tasks are those of `configs`; each has samples of the same time.
    of_time = [path for path in utils.get_sample_results_filenames(paths) if utils.get_file_datetime(path) == time]
    samples = {utils.get_file_task_name(Path(path).name): path for path in of_time}
    assert set(samples) == set(results["configs"]) == set(results["task_hashes"]), f"{folder}: samples of {sorted(samples)}"
    for task, file in samples.items():
        check_task(task, results, file)
    groups = results.get("groups", {})
    for group, row in groups.items():
        assert row == results["results"][group], f"{group}: groups and results differ"
        check_group(group, row, results)
    check_tables(results)
    check_summary(results)
    card = check_card(folder, path, list(samples.values()))
    return {
        "results": {name: {key: value for key, value in row.items() if "," in key} for name, row in results["results"].items()},
        "samples": {task: results["n-samples"][task] for task in samples},
        "groups": list(groups),
        "card": len(card),
        "llmportfolio": results.get("llmportfolio"),
    }


def check_task(task, results, file):
    config, row = results["configs"][task], results["results"][task]
    lines = Path(file).read_text(encoding="utf-8").split("\n")
    assert lines.pop() == "", f"{file} does not end with a line's end"
    samples = [json.loads(line) for line in lines]
    n = len(samples)
    assert n == row["sample_len"] == results["n-samples"][task]["effective"] <= results["n-samples"][task]["original"], f"{task}: {n} samples"
    hashes = []
    for sample in samples:
        argument = sample["arguments"]["gen_args_0"]["arg_0"]
        prompt = argument[0] if isinstance(argument, list) else argument
        row_text = json.dumps(sample["doc"], indent=2, default=utils.handle_non_serializable, ensure_ascii=False)
        expected = [utils.hash_string(text) for text in (row_text, prompt, sample["target"])]
        assert expected == [sample["doc_hash"], sample["prompt_hash"], sample["target_hash"]], f"{task} {sample['doc_id']}: hashes"
        hashes += expected
        assert sample["arguments"]["gen_args_0"]["arg_1"] == config["generation_kwargs"]
    assert utils.hash_string("".join(hashes)) == results["task_hashes"][task], f"{task}: task_hashes"
    check_answers(task, config, samples)
    # Rows of one shape, as the hub and notebooks read them.
    table = datasets.load_dataset("json", data_files=file, split="train")
    assert table["doc_hash"][:] == [sample["doc_hash"] for sample in samples]
    for metric in config["metric_list"]:
        assert metric["aggregation"] == "mean"
        name = metric["metric"]
        assert results["higher_is_better"][task][name] == metric["higher_is_better"]
        values = [sample[name] for sample in samples]
        of = filter_name(config)
        near(metrics.mean(values), row[f"{name},{of}"], f"{task} {name}")
        error = metrics.mean_stderr(values) if n > 1 else "N/A"
        near(error, row[f"{name}_stderr,{of}"], f"{task} {name}_stderr")


def filter_name(config):
    return config["filter_list"][0]["name"] if config.get("filter_list") else "none"


def check_answers(task, config, samples):
    """What the harness' filters find in the responses, and how its metrics score that."""
    for steps in config.get("filter_list", []):
        arguments = [[step["function"], {key: value for key, value in step.items() if key != "function"} or None] for step in steps["filter"]]
        for sample in samples:
            instance = SimpleNamespace(resps=sample["resps"][0], doc=sample["doc"], filtered_resps={})
            build_filter_ensemble(steps["name"], arguments).apply([instance])
            found = instance.filtered_resps[steps["name"]]
            assert [found] == sample["filtered_resps"], f"{task} {sample['doc_id']}: {found} is found in the response"
    known = [metric for metric in config["metric_list"] if metric["metric"] == "exact_match"]
    for metric in known if config["repeats"] == 1 else []:
        settings = {key: value for key, value in metric.items() if key not in ("metric", "aggregation", "higher_is_better")}
        for sample in samples:
            score = get_metric("exact_match")(predictions=sample["filtered_resps"], references=[sample["target"]], **settings)
            near(float(score["exact_match"]), sample["exact_match"], f"{task} {sample['doc_id']} exact_match")


def check_group(group, row, results):
    children = [results["results"][task] for task in results["group_subtasks"][group]]
    assert row["sample_len"] == sum(child["sample_len"] for child in children), f"{group} sample_len"
    for key, count in row["sample_count"].items():
        name, of = key.split(",")
        having = [child for child in children if key in child]
        sizes = [child["sample_len"] for child in having]
        errors = [child[f"{name}_stderr,{of}"] for child in having]
        assert count == sum(sizes), f"{group} sample_count of {key}"
        near(metrics.aggregate_subtask_metrics([child[key] for child in having], sizes), row[key], f"{group} {key}")
        error = "N/A" if "N/A" in errors else metrics.pooled_sample_stderr(errors, sizes)
        near(error, row[f"{name}_stderr,{of}"], f"{group} {name}_stderr")


def check_tables(results):
    for column in ("results", "groups"):
        if column not in results:
            continue
        table = utils.make_table(results, column)
        for row in results[column].values():
            assert row["alias"] in table
            for key, value in row.items():
                if "," in key and value != "N/A":
                    assert f"{value:.4f}" in table or f"{value:.4g}" in table or f"{round(value, 4):g}" in table, f"{key} is not in the table"


def check_summary(results):
    logger = WandbLogger.__new__(WandbLogger)
    logger.post_init(results)
    _, flat = logger._sanitize_results_dict()
    for task, row in results["results"].items():
        for key, value in row.items():
            if "," in key and value != "N/A":
                assert flat[f"{task}/{key.removesuffix(',none')}"] == value


def check_card(folder, results, samples):
    """The card that the harness would write for these files if they were on the hub."""
    files = {f"{folder.name}/{Path(path).name}": path for path in [results, *samples]}
    load = datasets.load_dataset
    pushed = []

    def local(form, data_files, split):
        path = next(path for name, path in files.items() if data_files.endswith(name))
        return load(form, data_files=path, split=split)

    tracker = EvaluationTracker(output_path=str(folder.parent), hub_results_org="nobody")
    tracker.api = SimpleNamespace(list_repo_files=lambda **_: list(files))
    with (
        patch.object(evaluation_tracker, "load_dataset", local),
        patch.object(DatasetCard, "push_to_hub", lambda card, *_, **__: pushed.append(str(card))),
    ):
        tracker.recreate_metadata_card()
    (card,) = pushed
    for path in samples:
        assert Path(path).name in card, f"{path} is not on the card"
    return card


def near(expected, written, what):
    if isinstance(expected, str) or isinstance(written, str):
        assert expected == written, f"{what} is {written} and not {expected}"
    else:
        assert math.isclose(float(expected), written, rel_tol=0, abs_tol=NEAR), f"{what} is {written} and not {expected}"


if __name__ == "__main__":
    main()
