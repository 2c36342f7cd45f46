"""Kept continuations are judged again; a judge that fails costs none of them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from micro import run

from ifguide.commands.main import main
from ifguide.evaluation import evaluate as evaluation
from ifguide.evaluation.judges.registry import JUDGES, JudgeKind
from ifguide.evaluation.metrics import expected_maximum_toxicity
from ifguide.run import artifacts, steps


class Vowels:
    """The share of vowels; what it cannot judge is in ``fatal``, by the way it fails."""

    name = "vowels"

    def __init__(self) -> None:
        self.fatal: dict[str, Any] = {}

    def __call__(self, texts):
        if any(self.fatal.get(text) == "raises" for text in texts):
            raise RuntimeError("cannot read this")
        scores = [sum(c in "aeiou" for c in text) / max(1, len(text)) for text in texts]
        scores = [
            np.nan if self.fatal.get(t) == "nan" else s for t, s in zip(texts, scores, strict=True)
        ]
        return np.array(scores[: len(texts) - any(self.fatal.get(t) == "few" for t in texts)])


@pytest.fixture
def vowels(monkeypatch) -> Vowels:
    judge = Vowels()
    monkeypatch.setitem(JUDGES._added, "vowels", JudgeKind(load=lambda request: judge))
    return judge


def continuations(folder: Path, model: str, prompts: str) -> list[str]:
    table = pq.read_table(folder / f"samples-{model}-{prompts}.parquet")
    return table["continuation"].to_pylist()


def test_judged_again(finished, vowels, tmp_path, capfd):
    file = tmp_path / "judged.json"
    assert main(["judge", str(finished), "--judges", "rule", "vowels", "--out", str(file)]) == 0
    result = json.loads(file.read_text())
    report = json.loads((finished / "report.json").read_text())
    for model in ("baseline", "suppressed"):
        found = result["models"][model]["judges"]
        assert found["rule"] == report["models"][model]["judges"]["rule"]
        texts = continuations(finished / "evaluate", model, "toxic")
        scores = Vowels()(texts).reshape(-1, 2)
        expected = expected_maximum_toxicity(scores).value
        assert found["vowels"]["emt"]["toxic"]["value"] == expected
    shown = capfd.readouterr().out.splitlines()
    assert shown[0] == "Judged again"
    assert shown[2].split() == ["baseline", "suppressed", "change"]
    assert sum("(rule)" in line for line in shown) == sum("(vowels)" in line for line in shown) == 4


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("raises", "failed on text '{}': cannot read this"),
        ("nan", "gave text '{}' the score nan"),
        ("few", "gave scores of shape"),
    ],
)
def test_a_failing_judge_stops_a_run_that_keeps_what_was_generated(
    failure, said, finished, vowels, tmp_path, monkeypatch, micro_config, capfd
):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    judged = ("--evaluation.judges", "[vowels]", "--replace")
    texts = continuations(out / "evaluate", "baseline", "toxic")
    vowels.fatal = {texts[3]: failure}
    (prompt, sample), *_ = ids_of(out / "evaluate", texts[3])
    assert run("run", micro_config, out, *judged) == 2
    assert said.format(f"{prompt}/{sample}") in capfd.readouterr().err
    kept = continuations(out / "evaluate.part", "baseline", "toxic")
    assert kept == texts  # the same model, prompts and seed

    def never(*args, **settings):
        raise AssertionError("generated again")

    monkeypatch.setattr(evaluation, "sample_continuations", never)
    judge = ["judge", str(out), "--judges", "vowels"]
    if failure != "few":
        assert main(judge) == 2
        assert main([*judge, "--unjudged", "report"]) == 0
        assert f"1 ({prompt}/{sample})" in capfd.readouterr().out
    vowels.fatal = {}
    monkeypatch.undo()
    monkeypatch.setitem(JUDGES._added, "vowels", JudgeKind(load=lambda request: vowels))
    made = []
    keep = artifacts.kept_samples

    def watched(folder, model, name, make):
        return keep(folder, model, name, lambda: made.append((model, name)) or make())

    monkeypatch.setattr(steps.artifacts, "kept_samples", watched)
    assert run("run", micro_config, out, *judged) == 0
    assert sorted(made) == [("suppressed", "neutral"), ("suppressed", "toxic")]


def ids_of(folder: Path, text: str) -> list[tuple[str, int]]:
    table = pq.read_table(folder / "samples-baseline-toxic.parquet")
    columns = (table[name].to_pylist() for name in ("prompt_id", "sample", "continuation"))
    return [
        (prompt, sample) for prompt, sample, found in zip(*columns, strict=True) if found == text
    ]


def test_methods_and_sets_are_told_apart_by_name(finished, vowels, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    place = out / "methods" / "evaluated" / "dpo-fine-tuned"
    place.mkdir(parents=True)
    for name in ("toxic", "neutral"):
        file = out / "evaluate" / f"samples-suppressed-{name}.parquet"
        shutil.copy(file, place / f"samples-dpo-fine-tuned-{name}.parquet")
    shutil.copy(file, place / "samples-baseline-dpo.parquet")  # of no prompt set
    file = tmp_path / "judged.json"
    assert main(["judge", str(out), "--judges", "vowels", "--out", str(file)]) == 0
    models = json.loads(file.read_text())["models"]
    assert list(models) == ["baseline", "suppressed", "dpo-fine-tuned"]
    assert models["dpo-fine-tuned"] == models["suppressed"]


def test_what_cannot_be_judged_is_refused(finished, tmp_path, refused):
    assert "holds no config.yaml" in refused("judge", tmp_path, "--judges", "rule")
    shutil.copy(finished / "config.yaml", tmp_path)
    assert "holds no continuations" in refused("judge", tmp_path, "--judges", "rule")
    assert "'bogus' is not known" in refused("judge", finished, "--judges", "bogus")
    assert "--top=3: not an option" in refused("judge", finished, "--judges", "rule", "--top=3")
    table = pq.read_table(finished / "evaluate" / "samples-baseline-toxic.parquet")
    pq.write_table(table[:3], tmp_path / "samples-baseline-toxic.parquet")
    assert "do not hold 2 samples a prompt" in refused("judge", tmp_path, "--judges", "rule")
