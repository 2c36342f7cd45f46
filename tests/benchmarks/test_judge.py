"""The benchmark that trains a judge, on a tiny model: what it learns from and what it says."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score
from transformers import AutoModelForSequenceClassification

from ifguide.evaluation.judges.registry import load_judge

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def judge(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import judge

    return judge


def test_a_quick_judge_is_an_ordinary_checkpoint_and_is_not_made_twice(judge, tmp_path, capfd):
    folder, out = tmp_path / "judge", tmp_path / "judge.md"
    asked = ["--quick", "--quiet", "--folder", str(folder), "--layers", "2", "--depth", "2"]
    asked += ["--learning-rate", "3e-3", "--epochs", "3"]
    assert judge.main([*asked, "--out", str(out)]) == 0
    page = capfd.readouterr().out
    assert page == out.read_text()
    rows = json.loads(out.with_suffix(".json").read_text())["rows"]
    assert len(rows) == 5
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert model.config.id2label == {0: "neutral", 1: "toxic"}
    assert model.config.num_hidden_layers == 2
    scores = load_judge(f"hf:{folder}")(["a text", "another"])
    assert ((scores > 0) & (scores < 1)).all()
    assert "civil comments" in (folder / "README.md").read_text().lower()
    weights = (folder / "model.safetensors").stat().st_mtime_ns
    assert judge.main(asked) == 0
    assert (folder / "model.safetensors").stat().st_mtime_ns == weights
    assert judge.main([*asked, "--seed", "2"]) == 2
    assert "was made with seed 1, not 2" in capfd.readouterr().err


def test_what_is_asked_about_is_not_learnt_from(judge, tmp_path):
    from judge_quick import make_inputs
    from judge_texts import asked_about, learnt_from

    _, data = make_inputs(tmp_path)
    learnt = {text.lower() for text, _ in learnt_from(data, 1)}
    sets = asked_about(data, 1, 10_000)
    for asked in sets[:2]:
        assert asked.texts
        assert not learnt & {text.lower() for text, _ in asked.texts}
    assert learnt_from(data, 1) == learnt_from(data, 1) != learnt_from(data, 2)
    assert len({toxic for _, toxic in learnt_from(data, 1)}) == 2


def test_figures_are_the_usual_ones(judge):
    rng = np.random.default_rng(0)
    toxic = rng.random(400) < 0.4
    scores = np.clip(toxic * 0.3 + rng.random(400) * 0.7, 0, 1)
    found = judge.figures(scores, toxic)
    assert found["auc"]["value"] == pytest.approx(roc_auc_score(toxic, scores))
    assert found["brier"]["value"] == pytest.approx(brier_score_loss(toxic, scores))
    assert found["accuracy"]["value"] == pytest.approx(((scores >= 0.5) == toxic).mean())
    assert found["auc"]["low"] < found["auc"]["value"] < found["auc"]["high"]
    assert "auc" not in judge.figures(scores[~toxic], toxic[~toxic])
    assert judge.calibration_error(np.full(10, 0.25), np.arange(10) < 5) == pytest.approx(0.25)
    assert judge.calibration_error(toxic.astype(float), toxic) == 0


def test_bad_input_is_one_line(judge, tmp_path, capfd):
    assert judge.main([]) == 2
    (tmp_path / "somebody.txt").write_text("theirs")
    assert judge.main(["--quick", "--folder", str(tmp_path)]) == 2
    first, second = capfd.readouterr().err.splitlines()
    assert "give MODEL" in first
    assert "holds something else" in second
