"""The benchmark of speed on a tiny model: what the numbers mean, never how long they took."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ifguide.models.losses import forward_losses
from ifguide.models.tracked import find_tracked

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def speed(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import speed

    return speed


@pytest.fixture
def case(speed):
    return speed.Case(width=32, length=16, tokens=64, vocabulary=50, layers=2)


def test_the_quick_form_tells_every_figure(speed, tmp_path, capsys):
    page = tmp_path / "speed.md"
    assert speed.main(["--quick", "--repeats", "2", "--out", str(page)]) == 0
    assert capsys.readouterr().out == page.read_text()
    found = json.loads(page.with_suffix(".json").read_text())["cases"][0]
    assert max(found["agreement"].values()) <= speed.AGREEMENT
    for figures in found["passes"].values():
        assert 0 < figures["least"] <= figures["median"] <= figures["most"]
    assert set(speed.BOUNDS) < set(found["passes"])
    assert all(size > 0 for size in found["peak_memory"].values())
    row = page.read_text().splitlines()[-3]
    assert f"{found['passes']['jvp']['median']:.2f} [" in row


def test_the_unit_is_every_token_s_own_loss(speed, case):
    model, corpus = case.model(), case.corpus()
    expected = forward_losses(model, torch.from_numpy(corpus.tokens).long())[:, 1:].detach()
    for batch_tokens in (16, 1000):
        found = speed.plain_losses(model, corpus, batch_tokens)
        torch.testing.assert_close(found.clone(), expected.flatten())


def test_rotations_keep_the_sum_of_the_eigenvalues(speed, case, monkeypatch):
    model, corpus = case.model(), case.corpus()
    rotated = speed.curvature_passes(model, corpus)["eigenvalues"]()
    monkeypatch.setattr(torch.linalg, "qr", lambda x: (torch.eye(len(x)), None))
    plain = speed.curvature_passes(model, corpus)["eigenvalues"]()
    for name, expected in plain.items():
        torch.testing.assert_close(rotated[name].sum(), expected.sum(), rtol=1e-4, atol=0)
        assert not torch.allclose(rotated[name], expected)
    assert set(plain) == {w.name for w in find_tracked(model)}


def test_engines_that_disagree_are_refused(speed, case):
    model, corpus = case.model(), case.corpus()
    scorers = {name: speed.scorer(model, corpus, name) for name in speed.ENGINES}
    speed.check_agreement(scorers)
    right = scorers["position"]
    scorers["position"] = lambda: np.roll(right(), 1, axis=0)
    with pytest.raises(SystemExit, match="disagree"):
        speed.check_agreement(scorers)
