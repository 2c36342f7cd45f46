"""Tokens that training is not to learn: no verb counts them.

What is not learnt at the end of every block has no part in anything, so each verb must find what it
finds in the same blocks cut short.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import random_corpus, tiny_model

from ifguide.evaluation.fluency import perplexity
from ifguide.influence.config import CurvatureConfig, ScoreConfig
from ifguide.influence.curvature.fit import fit
from ifguide.influence.score import score
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Direction, TokenScores
from ifguide.selection.blend import blend
from ifguide.selection.config import SelectionConfig, SmoothingConfig
from ifguide.selection.documents import document_totals, select_documents
from ifguide.selection.select import select
from ifguide.selection.smooth import smooth
from ifguide.training.config import Objective
from ifguide.training.objectives import suppression_loss
from ifguide.training.train import MaskedBlocks

KEPT = 8  # of 12 tokens a block


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def masked(blocks=6):
    corpus = random_corpus(blocks)
    learnt = np.zeros(corpus.tokens.shape, dtype=bool)
    learnt[:, :KEPT] = True
    return replace(corpus, learnt=learnt)


def short(corpus):
    names = ("tokens", "document", "start", "end", "marked")
    columns = {name: getattr(corpus, name)[:, :KEPT] for name in names}
    return replace(corpus, **columns, learnt=None)


def partly(seed=0):
    """Random scores of a corpus in which tokens here and there are not learnt."""
    rng, corpus = np.random.default_rng(seed), random_corpus(20)
    corpus = replace(corpus, learnt=rng.random(corpus.tokens.shape) < 0.6)
    return TokenScores(rng.normal(size=corpus.tokens.shape) * corpus.has_loss, corpus)


def test_a_loss_and_a_count():
    corpus = masked()
    assert np.array_equal(corpus.has_loss[:, 1:KEPT], np.ones((6, KEPT - 1), bool))
    assert not corpus.has_loss[:, KEPT:].any()
    assert corpus.token_count == 6 * KEPT
    assert np.array_equal(corpus.has_loss_in(slice(2, 4)), corpus.has_loss[2:4])


@pytest.mark.parametrize("engine", ["jvp", "difference"])
def test_scores(model, engine):
    corpus = masked()
    generator = torch.Generator().manual_seed(0)
    weights = {
        w.name: torch.randn(w.parameter.shape, generator=generator, dtype=torch.float64)
        for w in find_tracked(model)
    }
    direction, config = Direction(weights), ScoreConfig(engine=engine)
    found = np.asarray(score(model, corpus, direction, config).values)
    plain = np.asarray(score(model, replace(corpus, learnt=None), direction, config).values)
    assert not found[~corpus.has_loss].any()
    assert np.allclose(found[corpus.has_loss], plain[corpus.has_loss], rtol=1e-6, atol=1e-9)


def test_the_curvature(model):
    corpus = masked(2)
    config = CurvatureConfig(kind="dense", sample_blocks=2)
    found, expected = fit(model, corpus, config), fit(model, short(corpus), config)
    for name, matrix in expected.tensors().items():
        assert torch.allclose(found.tensors()[name], matrix, rtol=1e-9, atol=1e-12)


def test_a_sample_without_a_loss(model):
    corpus = random_corpus(2)
    nothing = replace(corpus, learnt=np.zeros(corpus.tokens.shape, dtype=bool))
    with pytest.raises(ValueError, match=r"curvature\.sample_blocks: none of the 2 blocks"):
        fit(model, nothing, CurvatureConfig(sample_blocks=2))


def test_perplexity(model):
    corpus = masked()
    assert perplexity(model, corpus, 2) == pytest.approx(perplexity(model, short(corpus), 2))


def test_training(model):
    corpus = masked()
    losses = []
    for of in (corpus, short(corpus)):
        rows = [MaskedBlocks(of, None)[k] for k in range(len(of.tokens))]
        tokens, labels, suppress = (
            torch.stack([row[name] for row in rows]) for name in ("input_ids", "labels", "suppress")
        )
        with torch.no_grad():
            logits = model(input_ids=tokens).logits
        losses.append(suppression_loss(logits, tokens, suppress, labels >= 0, Objective()))
    assert torch.allclose(*losses)


@pytest.mark.parametrize("unit", ["document", "block"])
@pytest.mark.parametrize("window", [0, 2])
def test_selection(window, unit):
    scores = partly()
    corpus = scores.corpus
    config = SelectionConfig(quantile=0.8, window=window, budget=0.1, unit=unit)
    found = select(scores, config)
    learnt = scores.values[corpus.has_loss]
    assert found.threshold == pytest.approx(np.quantile(learnt, 0.8, method="lower"), abs=0.2)
    assert np.mean(learnt > found.threshold) == pytest.approx(0.2, abs=0.02)
    assert not found.suppress[~corpus.has_loss].any()
    assert found.budget == int(0.1 * corpus.token_count) == found.suppress.sum()


def test_whole_documents():
    scores = partly()
    corpus = scores.corpus
    found = select_documents(scores, 0.3)
    assert not found.suppress[~corpus.has_loss].any()
    assert 0 < found.suppress.sum() <= 0.3 * corpus.token_count
    _, size = document_totals(scores, "sum")
    assert size.sum() == corpus.has_loss.sum()


def test_smoothing_and_blending():
    scores = partly()
    counted = scores.corpus.has_loss
    other = partly(1)
    loud = np.where(counted, scores.values, 1e6)  # what has no loss is not looked at
    config = SmoothingConfig(neighbours=2, type_share=0.5)
    found, expected = smooth(replace(scores, values=loud), config), smooth(scores, config)
    assert np.array_equal(found.values, expected.values)
    assert not np.asarray(found.values)[~counted].any()
    mixed = blend(replace(scores, values=loud), replace(other, corpus=scores.corpus), 0.5)
    assert not np.asarray(mixed.values)[~counted].any()
    assert np.abs(mixed.values).max() < 10
