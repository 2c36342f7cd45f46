"""The benchmark of retraining without tokens: what its numbers mean."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from ifguide.influence.direction import query_loss

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def counterfactual(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import counterfactual

    return counterfactual


def test_the_quick_table(counterfactual, tmp_path, capfd):
    out = tmp_path / "table.md"
    assert counterfactual.main(["--quick", "--quiet", "--out", str(out)]) == 0
    page = capfd.readouterr().out
    assert page == out.read_text()
    table = json.loads(out.with_suffix(".json").read_text())
    for unit in counterfactual.UNITS:
        assert len(set(table[unit]["truth"])) == table["subsets"]
        assert list(table[unit]["rows"]) == list(table["meaning"])
        assert list(table["removal"]) == list(table["meaning"])
        for figures in table[unit]["rows"].values():
            assert all(abs(f["low"]) < 1 + 1e-9 and f["low"] <= f["high"] for f in figures.values())
    for name in ("chance", "own scores", "authors' form", "lexicon, prior 1", "linear probe"):
        assert f"\n| {name} | " in page


def test_leaving_nothing_out_ends_with_the_baseline(counterfactual, finished, tmp_path):
    run = counterfactual.scorers.open_run(finished, None, quiet=True)
    nothing = np.zeros(run.text.corpus.tokens.shape, dtype=bool)
    trainings, contrast = counterfactual.Trainings(run, tmp_path, quiet=True), run.contrast
    again = trainings.without("nothing", nothing)
    expected = query_loss(run.model, contrast.toxic) - query_loss(run.model, contrast.safe)
    assert again["truth"] == pytest.approx(expected, abs=1e-4)
    for side in ("toxic", "safe"):
        queries = getattr(contrast, side)
        counted = counterfactual.removal.counted_tokens(queries).sum()
        mean = query_loss(run.model, queries)  # by token: the weights of the set are alike
        assert sum(again[side]) / counted == pytest.approx(mean, abs=1e-4)


def test_what_a_stopped_run_has_trained_is_not_trained_again(
    counterfactual, finished, tmp_path, monkeypatch
):
    run = counterfactual.scorers.open_run(finished, None, quiet=True)
    asked = []

    def trained(run, mask, *rest):
        asked.append(mask)
        return run.model

    monkeypatch.setattr(counterfactual, "retrained", trained)
    masks = list(counterfactual.draw(run, "tokens", 2))
    first = counterfactual.Trainings(run, tmp_path, quiet=True).without("tokens-0", masks[0])
    again = counterfactual.Trainings(run, tmp_path, quiet=True)
    assert again.without("tokens-0", masks[0]) == first
    assert len(asked) == 1
    again.without("tokens-0", masks[1])  # the name is another training's now
    assert len(asked) == 2


def test_query_loss_differences_are_nats_a_token(counterfactual):
    rng, removal = np.random.default_rng(0), counterfactual.removal
    tokens = rng.integers(1, 9, 50).astype(float)
    random = rng.random((6, 50)) * tokens
    found = removal.difference(random.mean(0) + 0.25 * tokens, random, tokens)
    assert found.value == pytest.approx(0.25)
    assert found.low < 0.25 < found.high
    has_loss = rng.random((20, 50)) < 0.8
    first, second = removal.at_random(has_loss, 2, 0)
    assert first.sum() == second.sum() == int(0.01 * has_loss.sum())
    assert not (first & ~has_loss).any()
    assert (first != second).any()


def test_what_is_left_out_has_a_loss_and_is_whole_documents(counterfactual, finished):
    run = counterfactual.scorers.open_run(finished, None, quiet=True)
    corpus = run.text.corpus
    for unit in counterfactual.UNITS:
        first, second = counterfactual.draw(run, unit, 2)
        assert not np.array_equal(first, second)
        assert not first[~corpus.has_loss].any()
        assert 0.35 < first[corpus.has_loss].mean() < 0.65
    for document in np.unique(corpus.document[corpus.has_loss]):
        assert len(np.unique(first[corpus.has_loss & (corpus.document == document)])) == 1


def test_agreement_is_the_usual_correlation(counterfactual):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 30))
    found = counterfactual.agreement(a, a + b)
    assert found["pearson"].value == pytest.approx(pearsonr(a, a + b).statistic)
    assert found["spearman"].value == pytest.approx(spearmanr(a, a + b).statistic)
    assert found["pearson"].low < found["pearson"].value < found["pearson"].high
    assert counterfactual.correlation(a, np.ones(30)) == 0.0
