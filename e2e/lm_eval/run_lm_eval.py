"""Runs lm-evaluation-harness' own task `mmlu_pro` over questions of a local file, against a gateway's chat completions, without a data hub.

The task is the installed package's: its prompts, its filter and its metric. Only where its rows come from is replaced, and the subtasks are
those of the categories that the file has. Answers are asked for four at a time.

    python run_lm_eval.py http://127.0.0.1:8080/v1 my-model questions.jsonl out --few-shot validation.jsonl --shots 5

Needs lm-eval 0.4.13, aiohttp and tenacity (neither torch nor transformers). The gateway's key is read from OPENAI_API_KEY, where it wants one. The harness
prints on standard error; the last line of standard output is JSON: the folder with its files, and their names.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import yaml

GROUP = "mmlu_pro"
# The columns of TIGER-Lab/MMLU-Pro in its order, on which the hash of a row depends, and what a row of ours may leave out.
COLUMNS = ["question_id", "question", "options", "answer", "answer_index", "cot_content", "category", "src"]
DEFAULTS = {"cot_content": "", "src": ""}


def main():
    arguments = parse()
    url = arguments.base_url.rstrip("/")
    if not url.endswith("/chat/completions"):
        url += "/chat/completions"
    questions = read(arguments.questions)
    shots = read(arguments.few_shot) if arguments.few_shot else []
    count = arguments.shots if arguments.shots is not None else (5 if shots else 0)
    out = Path(arguments.output).resolve()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        files = {"test": write(work / "test.jsonl", questions)}
        # The task names a split for examples; without any it is one that is never drawn from.
        files["validation"] = write(work / "validation.jsonl", shots or questions[:1])
        tasks = work / "tasks"
        tasks.mkdir()
        (tasks / f"{GROUP}.yaml").write_text(yaml.safe_dump(group(questions, files)), encoding="utf-8")
        command = [sys.executable, "-m", "lm_eval", "run", "--tasks", GROUP, "--include_path", str(tasks)]
        command += ["--model", "local-chat-completions", "--model_args"]
        command += [f"model={arguments.model},base_url={url},num_concurrent={arguments.concurrent},max_retries={arguments.retries}"]
        command += ["--apply_chat_template", "--num_fewshot", str(count), "--log_samples", "--output_path", str(out)]
        if arguments.max_gen_toks:
            command += ["--gen_kwargs", f"max_gen_toks={arguments.max_gen_toks}"]
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(work / "hub"), "HF_HUB_DISABLE_TELEMETRY": "1"}
        before = set(out.rglob("*.json*"))
        code = subprocess.run(command, env={**os.environ, **offline}, stdout=sys.stderr, check=False).returncode
    written = sorted(set(out.rglob("*.json*")) - before)
    results = [path for path in written if path.name.startswith("results_")]
    if code != 0 or len(results) != 1:
        sys.exit(f"lm_eval ended with {code} and wrote {len(results)} results; see what it says above")
    names = [path.name for path in written if path.name.startswith("samples_")]
    print(json.dumps({"folder": str(results[0].parent), "results": results[0].name, "samples": names}))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base_url", help="such as http://127.0.0.1:8080/v1")
    parser.add_argument("model", help="the model's name at the gateway")
    parser.add_argument("questions", help="JSON lines of MMLU-Pro's members")
    parser.add_argument("output", help="the folder that results go to")
    parser.add_argument("--few-shot", help="JSON lines of the same with cot_content: the examples, in order")
    parser.add_argument("--shots", type=int, help="how many examples; by default 5, or 0 without --few-shot")
    parser.add_argument("--max-gen-toks", type=int, help="the longest answer in tokens instead of the task's 2048")
    parser.add_argument("--concurrent", type=int, default=4, help="requests at a time; 4 by default")
    parser.add_argument("--retries", type=int, default=3, help="tries of each request; 3 by default")
    return parser.parse_args()


def read(path):
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    if not rows:
        sys.exit(f"{path} has no rows; add at least one line")
    return [{column: row[column] if column in row else DEFAULTS[column] for column in COLUMNS} for row in rows]


def write(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return str(path)


def group(questions, files):
    """The package's group, of the subtasks that have questions, with their rows from our files."""
    folder = Path(find_spec("lm_eval").origin).parent / "tasks" / GROUP
    config = yaml.safe_load((folder / f"_{GROUP}.yaml").read_text(encoding="utf-8"))
    categories = {row["category"] for row in questions}
    wanted = {f"{GROUP}_{category.replace(' ', '_')}" for category in categories}
    unknown = wanted - set(config["task"])
    if unknown:
        sys.exit(f"the package has no task {', '.join(sorted(unknown))}; use the categories of MMLU-Pro")
    config["task"] = [task for task in config["task"] if task in wanted]
    return {**config, "dataset_path": "json", "dataset_kwargs": {"data_files": files}}


if __name__ == "__main__":
    main()
