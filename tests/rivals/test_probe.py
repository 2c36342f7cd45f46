"""The probe against what it must find: a plane, the optimum's own condition, and hidden states."""

import sys

import numpy as np
import pytest
import torch
from tiny import random_corpus, tiny_model

from ifguide.errors import InputError
from ifguide.nouns import Contrast, QuerySet
from ifguide.rivals.probe import ProbeConfig, fit_probe, hidden_states, probe, query_states
from ifguide.selection.config import SelectionConfig
from ifguide.selection.select import select


def gaussian(n=600, d=5, seed=0, noise=0.0):
    """Features of unlike scales, labelled by a plane, and groups of ten."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, d)) * 10.0 ** np.arange(d) + 3
    plane = np.array([2.0, -1.0, 0.5, 0.0, 0.0]) / 10.0 ** np.arange(d)
    margin = (features - 3) @ plane
    return features, margin + noise * rng.normal(size=n) > 0.5, np.arange(n) // 10, margin


def test_separates_what_a_plane_separates():
    features, toxic, group, margin = gaussian()
    found = fit_probe(features, toxic, group, ProbeConfig(penalties=(1e-4,), iterations=2000))
    log_odds = features @ found.weight + found.bias
    assert ((log_odds > 0) == toxic).all()
    assert np.corrcoef(log_odds, margin)[0, 1] > 0.99


@pytest.mark.parametrize("penalty", [0.5, 20.0])
def test_is_at_the_optimum_of_the_penalised_loss(penalty):
    """The gradient of sum log loss + penalty / 2 |w|^2 over standardised features vanishes."""
    features, toxic, group, _ = gaussian(noise=2.0)
    config = ProbeConfig(penalties=(penalty,), iterations=5000)
    found = fit_probe(features, toxic, group, config)
    residual = 1 / (1 + np.exp(-(features @ found.weight + found.bias))) - toxic
    scale = features.std(0)
    standard = (features - features.mean(0)) / scale
    gradient = standard.T @ residual + penalty * found.weight * scale
    assert abs(gradient).max() < 0.02
    assert abs(residual.sum()) < 0.02


def test_the_penalty_is_chosen_by_held_out_queries():
    """Where features are noise but for one, a strong penalty holds out better than none."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(90, 80))
    toxic = features[:, 0] + rng.normal(size=90) > 0
    found = fit_probe(features, toxic, np.arange(90), ProbeConfig(penalties=(1e-6, 100.0)))
    assert found.penalty == 100.0


def queries(seed=0, count=7):
    """A marked contrast of random sequences of several lengths."""
    rng = np.random.default_rng(seed)
    tokens = [rng.integers(1, 61, size=rng.integers(4, 9)).astype(np.int32) for _ in range(count)]
    marked = [rng.random(len(t)) < 0.4 for t in tokens]
    for mask in marked:
        mask[0], mask[1], mask[2] = False, True, False
    others = [~mask & (np.arange(len(mask)) > 0) for mask in marked]
    toxic, safe = ([m / 10 for m in side] for side in (marked, others))
    return Contrast(QuerySet(tokens, toxic), QuerySet(tokens, safe), "made in a test")


def test_the_feature_is_the_state_at_the_token(family):
    model = tiny_model(family)
    contrast = queries()
    features, toxic, group = query_states(model, contrast)
    expected = {True: [], False: []}
    for side, label in ((contrast.toxic, True), (contrast.safe, False)):
        for number, (tokens, weights) in enumerate(zip(side.tokens, side.weights, strict=True)):
            states = model(
                torch.as_tensor(tokens)[None].long(), output_hidden_states=True
            ).hidden_states[-1][0]
            expected[label] += [
                (number, states[j].detach().numpy()) for j in np.flatnonzero(weights)
            ]
    for label, side in expected.items():
        order = np.argsort(group[toxic == label], kind="stable")
        numbers, states = zip(*side, strict=True)
        np.testing.assert_array_equal(group[toxic == label][order], numbers)
        # some families cast to float32 inside
        np.testing.assert_allclose(features[toxic == label][order], np.stack(states), atol=1e-4)


def test_states_do_not_see_what_follows():
    model = tiny_model()
    tokens = torch.as_tensor(random_corpus(2).tokens).long()
    changed = tokens.clone()
    changed[:, 6:] = 5
    with torch.no_grad():
        before, after = hidden_states(model, tokens), hidden_states(model, changed)
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert (before[:, 6:] != after[:, 6:]).any()


def test_finds_an_id_that_is_always_marked_in_other_text():
    """The queries mark two ids; the model's states tell the ids apart, so the probe must."""
    rng = np.random.default_rng(3)
    model, corpus = tiny_model(), random_corpus(blocks=20, padding=2)
    tokens = [rng.integers(1, 61, size=12).astype(np.int32) for _ in range(150)]
    marked = [np.isin(t, (7, 8)) & (np.arange(12) > 0) for t in tokens]
    others = [~m & (np.arange(12) > 0) for m in marked]
    contrast = Contrast(
        QuerySet(tokens, [m.astype(float) for m in marked]),
        QuerySet(tokens, [m.astype(float) for m in others]),
        "made in a test",
    )
    seen = []
    scores = probe(model, corpus, contrast, progress=seen.append)
    has_loss = corpus.has_loss
    truth = np.isin(corpus.tokens, (7, 8)) & has_loss
    inside, outside = scores.values[truth], scores.values[has_loss & ~truth]
    assert np.mean(inside[:, None] > outside) > 0.95  # AUROC
    assert not scores.values[~has_loss].any()
    assert sum(seen) == corpus.tokens.size
    assert scores.metadata["control"] == "probe"
    share = (truth.sum() + 0.5) / corpus.token_count
    chosen = select(scores, SelectionConfig(quantile=0.5, window=0, budget=float(share)))
    assert chosen.suppress.sum() == truth.sum()


def test_log_odds_over_a_corpus_are_those_of_the_fitted_plane():
    model, corpus, contrast = tiny_model(), random_corpus(), queries()
    config = ProbeConfig(penalties=(1.0,))
    fitted = fit_probe(*query_states(model, contrast), config)
    with torch.no_grad():
        states = hidden_states(model, torch.as_tensor(corpus.tokens).long()).numpy()
    expected = np.where(corpus.has_loss, states @ fitted.weight + fitted.bias, 0)
    found = probe(model, corpus, contrast, config).values
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_refusals(monkeypatch):
    for wrong in ({"penalties": ()}, {"penalties": (0.0,)}, {"folds": 1}, {"iterations": 0}):
        with pytest.raises(InputError, match=f"probe: {next(iter(wrong))}"):
            ProbeConfig(**wrong)
    features, toxic, group, _ = gaussian(40)
    with pytest.raises(InputError, match="no token with weight"):
        fit_probe(features, np.zeros_like(toxic), group)
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(InputError, match=r"pip install 'ifguide\[probe\]'"):
        fit_probe(features, toxic, group)
