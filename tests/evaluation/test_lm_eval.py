"""lm-eval on a run's model: by a stand-in of the calls, and by lm-eval where it is installed."""

import json
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import yaml
from micro import run, write_settings
from transformers import AutoModelForCausalLM, AutoTokenizer

from ifguide.commands.main import main

FIGURES = {
    "results": {
        "made": {
            "alias": "made",
            "acc,none": 0.25,
            "acc_stderr,none": 0.0625,
            "perplexity,none": 12.5,
            "perplexity_stderr,none": "N/A",
        }
    },
    "versions": {"made": 1.0},
    "n-shot": {"made": 0},
    "n-samples": {"made": {"original": 9, "effective": 4}},
}


@pytest.fixture
def asked(monkeypatch):
    """What the stand-in of lm-eval was asked."""
    seen = {}

    def simple_evaluate(**settings):
        seen.update(settings)
        return {**FIGURES, "config": {"model": object()}, "samples": None}

    def manager(include_path=None):
        seen["include"] = include_path
        return SimpleNamespace(match_tasks=lambda names: [n for n in names if n == "made"])

    tasks = SimpleNamespace(TaskManager=manager)
    package = SimpleNamespace(simple_evaluate=simple_evaluate, tasks=tasks)
    monkeypatch.setitem(sys.modules, "lm_eval", package)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", tasks)
    return seen


def test_a_run_s_model_is_handed_over(asked, finished, tmp_path, capfd):
    file = tmp_path / "figures.json"
    options = ["--include", str(tmp_path), "--limit", "4", "--out", str(file)]
    assert main(["lm-eval", str(finished), "--tasks", "made", *options]) == 0
    assert capfd.readouterr().out.splitlines()[2:] == [
        "task      metric  value  ± error",
        "--------------------------------",
        "made         acc   0.25   0.0625",
        "made  perplexity   12.5        –",
    ]
    assert json.loads(file.read_text()) == FIGURES
    assert (asked["tasks"], asked["limit"], asked["include"]) == (["made"], 4, str(tmp_path))
    assert asked["model_args"]["pretrained"] == str(finished / "train")
    for name in ("baseline", "suppressed"):
        main(["lm-eval", str(finished), "--tasks", "made", "--model", name])
        folder = asked["model_args"]["pretrained"]
        AutoModelForCausalLM.from_pretrained(folder)
        assert AutoTokenizer.from_pretrained(folder).eos_token_id is not None


def test_a_baseline_that_was_taken_as_it_is(asked, finished, tmp_path, capfd):
    checkpoint, out = str(finished / "baseline"), tmp_path / "run"
    config = write_settings(
        tmp_path, model={"path": checkpoint}, baseline=None, tokenizer={"path": checkpoint}
    )
    assert run("baseline", config, out) == 0
    assert not (out / "baseline").exists()
    assert main(["lm-eval", str(out), "--tasks", "made", "--model", "baseline"]) == 0
    assert asked["model_args"]["pretrained"] == checkpoint


def test_what_cannot_be_run_is_refused(asked, finished, tmp_path, refused, monkeypatch):
    task = ("--tasks", "made")
    assert "it is no run folder" in refused("lm-eval", tmp_path, *task)
    line = refused("lm-eval", finished, *task, "--model", "other")
    assert line.startswith(f"--model: {finished} has no model 'other'; use one of baseline, suppr")
    line = refused("lm-eval", finished, *task, "--model", "everything@run")
    assert "it has no finished stage 'model/everything-run-" in line
    assert line.endswith("; run `ifguide compare` first")
    assert "lm-eval has no task 'mad'" in refused("lm-eval", finished, "--tasks", "made", "mad")
    assert "--top=3: not an option" in refused("lm-eval", finished, *task, "--top=3")
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    said = refused("lm-eval", finished, *task)
    assert said.endswith("run pip install 'ifguide[lm-eval]'")


@pytest.mark.skipif(find_spec("lm_eval") is None, reason="the extra lm-eval is not installed")
@pytest.mark.filterwarnings("default")
def test_a_task_of_lm_eval(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = ["the dog saw the fox", "a fox and a hill"]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    task = {
        "task": "last_words",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "texts.jsonl")}},
        "output_type": "loglikelihood",
        "test_split": "test",
        "doc_to_text": "{{text.split(' ')[:-1]|join(' ')}}",
        "doc_to_target": "{{' '+text.split(' ')[-1]}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    (tmp_path / "last_words.yaml").write_text(yaml.safe_dump(task))
    file = tmp_path / "figures.json"
    options = ["--include", str(tmp_path), "--out", str(file), "--tasks", "last_words"]
    assert main(["lm-eval", str(finished), *options]) == 0
    figures = json.loads(file.read_text())
    assert 0 <= figures["results"]["last_words"]["acc,none"] <= 1
    assert figures["n-samples"]["last_words"]["effective"] == 2
