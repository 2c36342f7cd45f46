"""Whole documents, against loops over the documents."""

from dataclasses import replace

import numpy as np
import pytest
from tiny import random_corpus

from ifguide.errors import InputError
from ifguide.nouns import TokenScores
from ifguide.selection.documents import document_totals, select_documents

TOTALS = {"sum": sum, "mean": lambda v: sum(v) / len(v), "max": max}


def scored(seed=0, padding=3):
    corpus = random_corpus(blocks=5, length=12, seed=seed, padding=padding)
    lengths = np.random.default_rng(seed).integers(1, 9, 40)  # documents of many lengths
    document = np.repeat(np.arange(40), lengths)[: corpus.tokens.size]
    document = document.reshape(corpus.tokens.shape).astype(np.int32)
    document[corpus.document < 0] = -1
    corpus = replace(corpus, document=document)
    values = np.random.default_rng(seed + 1).normal(size=corpus.tokens.shape)
    return TokenScores(values, corpus, {"engine": "made up"})


def tokens_of(scores):
    """The values of each document's tokens with a loss."""
    corpus = scores.corpus
    found = {d: [] for d in range(int(corpus.document.max()) + 1)}
    for i, j in np.argwhere(corpus.has_loss):
        found[int(corpus.document[i, j])].append(float(scores.values[i, j]))
    return found


@pytest.mark.parametrize("total", TOTALS)
def test_totals_are_over_tokens_with_a_loss(total):
    scores = scored()
    value, size = document_totals(scores, total)
    for document, values in tokens_of(scores).items():
        assert size[document] == len(values)
        expected = TOTALS[total](values) if values else 0.0
        assert value[document] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("budget", [0.01, 0.2, 0.5, 1.0])
def test_the_highest_documents_are_taken_while_they_fit(total, budget):
    scores = scored(seed=3)
    found, values = select_documents(scores, budget, total), tokens_of(scores)
    order = sorted(
        (d for d in values if values[d]), key=lambda d: TOTALS[total](values[d]), reverse=True
    )
    left, chosen = int(budget * scores.corpus.token_count + 1e-9), set()
    for document in order:
        if len(values[document]) <= left:
            chosen.add(document)
            left -= len(values[document])
    corpus = scores.corpus
    expected = np.isin(corpus.document, list(chosen)) & corpus.has_loss
    np.testing.assert_array_equal(found.suppress, expected)
    assert found.suppress.sum() <= found.budget
    assert found.ranking.tolist() == order
    if chosen:
        assert found.threshold == pytest.approx(min(TOTALS[total](values[d]) for d in chosen))


def test_padding_is_never_selected():
    scores = scored(padding=7)
    found = select_documents(scores, 1.0)
    np.testing.assert_array_equal(found.suppress, scores.corpus.has_loss)


def test_nonsense_is_refused():
    scores = scored()
    with pytest.raises(InputError, match=r"document budget: 0\.0 is not in"):
        select_documents(scores, 0.0)
    with pytest.raises(InputError, match="score this corpus"):
        select_documents(replace(scores, values=scores.values[1:]), 0.1)
