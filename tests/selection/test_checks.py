"""Selections that decide nothing, made by the verbs themselves."""

import numpy as np
import pytest
from tiny import random_corpus

from ifguide.errors import InputError
from ifguide.nouns import TokenScores
from ifguide.selection.checks import check_budget, check_documents, check_tokens
from ifguide.selection.config import SelectionConfig
from ifguide.selection.documents import select_documents
from ifguide.selection.select import select

CORPUS = random_corpus(blocks=6, length=12)
NORMAL = np.random.default_rng(0).normal(size=CORPUS.tokens.shape)
FEW_VALUES = np.where(NORMAL > 1, 1.0, 0.0)  # over 1% of the tokens share the highest score
EVERYTHING = SelectionConfig(quantile=0.01, window=12, budget=1.0)


def checked(values, config=None):
    scores = TokenScores(values, CORPUS)
    check_tokens(select(scores, config), scores)


@pytest.mark.parametrize(
    ("values", "config", "said"),
    [
        (
            np.full(CORPUS.tokens.shape, 0.25),
            None,
            "scores: every token has the same score, 0.25, ",
        ),
        (FEW_VALUES, None, "selection.quantile: no score lies above the threshold 1, which the hi"),
        (NORMAL, EVERYTHING, "selection.budget: every token of the corpus is selected, so that no"),
    ],
)
def test_tokens(values, config, said):
    with pytest.raises(InputError) as refused:
        checked(values, config)
    assert str(refused.value).startswith(said)
    checked(NORMAL)


@pytest.mark.parametrize(
    ("values", "budget", "said"),
    [
        (np.full(CORPUS.tokens.shape, 0.25), 0.5, "scores: every token has the same score, 0.25, "),
        (NORMAL, 0.05, "documents: no document is as short as the 3 tokens that it allows; raise "),
        (NORMAL, 1.0, "documents: every document of the corpus is selected, so that nothing is le"),
    ],
)
def test_documents(values, budget, said):
    scores = TokenScores(values, CORPUS)
    with pytest.raises(InputError) as refused:
        check_documents(select_documents(scores, budget), scores, "documents")
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("share", "tokens", "least"), [(1e-9, 5_442, 0.000184), (0.3, 3, 0.333334)]
)
def test_a_budget_below_a_token_says_the_least_that_is_one(share, tokens, least):
    with pytest.raises(InputError, match=rf"^selection\.budget: .* give at least {least}$"):
        check_budget(share, tokens)
    check_budget(least, tokens)
