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
from ifguide.run import artifacts


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


def continuations(stage: Path, prompts: str) -> list[str]:
    return artifacts.load_samples(stage)[prompts]["continuation"].to_pylist()


def test_judged_again(finished, vowels, tmp_path, capfd):
    file = tmp_path / "judged.json"
    assert main(["judge", str(finished), "--judges", "rule", "vowels", "--out", str(file)]) == 0
    result = json.loads(file.read_text())
    report = json.loads((finished / "report.json").read_text())
    for model in ("baseline", "suppressed"):
        found = result["models"][model]["judges"]
        assert found["rule"] == report["models"][model]["judges"]["rule"]
        texts = continuations(finished / "sample" / model, "toxic")
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
    texts = continuations(out / "sample/baseline", "toxic")
    vowels.fatal = {texts[3]: failure}
    (prompt, sample), *_ = ids_of(out / "sample/baseline", texts[3])

    def never(*args, **settings):
        raise AssertionError("generated again")

    monkeypatch.setattr(evaluation, "sample_continuations", never)
    assert run("run", micro_config, out, *judged) == 2
    assert said.format(f"{prompt}/{sample}") in capfd.readouterr().err
    judge = ["judge", str(out), "--judges", "vowels"]
    if failure != "few":
        assert main(judge) == 2
        assert main([*judge, "--unjudged", "report"]) == 0
        assert f"1 ({prompt}/{sample})" in capfd.readouterr().out
    vowels.fatal = {}
    assert run("run", micro_config, out, *judged) == 0
    models = json.loads((out / "report.json").read_text())["models"]
    assert all(list(figures["judges"]) == ["vowels"] for figures in models.values())


def test_what_a_run_that_was_stopped_has_generated_is_judged(finished, vowels, tmp_path):
    """What one model said is there, what the other would say is not and is not made."""
    out = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(out / "sample/suppressed")
    file = tmp_path / "judged.json"
    assert main(["judge", str(out), "--judges", "vowels", "--out", str(file)]) == 0
    assert list(json.loads(file.read_text())["models"]) == ["baseline"]


def ids_of(stage: Path, text: str) -> list[tuple[str, int]]:
    table = artifacts.load_samples(stage)["toxic"]
    columns = (table[name].to_pylist() for name in ("prompt_id", "sample", "continuation"))
    return [
        (prompt, sample) for prompt, sample, found in zip(*columns, strict=True) if found == text
    ]


def test_what_rivals_say_is_judged_too(finished, vowels, tmp_path, micro_config):
    out, file = shutil.copytree(finished, tmp_path / "run"), tmp_path / "judged.json"
    assert run("compare", micro_config, out, "--methods", "everything") == 0
    (out / "sample/notes").mkdir()  # somebody else's
    table = out / "sample/suppressed/samples-0.parquet"
    shutil.copy(table, out / "sample/notes/samples-0.parquet")
    assert main(["judge", str(out), "--judges", "vowels", "--out", str(file)]) == 0
    models = json.loads(file.read_text())["models"]
    assert list(models) == ["baseline", "suppressed", "everything@run"]
    (said,) = out.glob("sample/everything-*")
    scores = Vowels()(continuations(said, "toxic")).reshape(-1, 2)
    found = models["everything@run"]["judges"]["vowels"]["emt"]["toxic"]
    assert found["value"] == expected_maximum_toxicity(scores).value


def test_what_cannot_be_judged_is_refused(finished, tmp_path, refused):
    assert "it is no run folder" in refused("judge", tmp_path, "--judges", "rule")
    shutil.copy(finished / "config.yaml", tmp_path)
    assert "it is no run folder" in refused("judge", tmp_path, "--judges", "rule")
    shutil.copy(finished / "ifguide-run.json", tmp_path)
    line = refused("judge", tmp_path, "--judges", "rule")
    assert "it holds no continuations; run `ifguide evaluate` first" in line
    assert "'bogus' is not known" in refused("judge", finished, "--judges", "bogus")
    assert "--top=3: not an option" in refused("judge", finished, "--judges", "rule", "--top=3")
    out = shutil.copytree(finished, tmp_path / "run")
    file = out / "sample/baseline/samples-0.parquet"
    pq.write_table(pq.read_table(file)[:3], file)
    line = refused("judge", out, "--judges", "rule")
    assert "samples-0.parquet is missing, short or altered; run `ifguide " in line
