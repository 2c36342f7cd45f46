"""A model tuned on one side of the queries; the difference of two models' losses."""

import numpy as np
import pytest
import torch
from tiny import random_corpus, tiny_model

from ifguide.errors import InputError
from ifguide.models.losses import forward_losses
from ifguide.nouns import QuerySet
from ifguide.rivals.config import SidesConfig
from ifguide.rivals.token_loss import loss_difference
from ifguide.training.query_side import tune_on_queries

QUERIES = QuerySet(
    tokens=[np.array([0, 5, 6, 7, 8]), np.array([0, 9, 10]), np.array([0, 11, 12, 13])],
    weights=[np.array([0, 0, 0.25, 0, 0.25]), np.array([0, 0.5, 0]), np.zeros(4)],
)


def sum_of_losses(model):
    with torch.no_grad():
        return {
            (int(a), int(b)): float(forward_losses(model, torch.as_tensor(t)[None].long())[0, k])
            for t in QUERIES.tokens
            for k, (a, b) in enumerate(zip([0, *t[:-1]], t, strict=True))
            if k
        }


def test_only_the_counted_tokens_are_learnt(tmp_path):
    """One step is one of the gradient of their mean loss, padding and order aside."""
    model, plain = tiny_model(dtype=torch.float32), tiny_model(dtype=torch.float32)
    config = SidesConfig(epochs=1.0, batch_size=3, learning_rate=1e-4)
    tuned = tune_on_queries(model, QUERIES, config, 0, folder=tmp_path, seed=0)
    assert not tuned.training
    counted = [
        forward_losses(plain, torch.as_tensor(tokens)[None].long())[0, k]
        for tokens, weights in zip(QUERIES.tokens, QUERIES.weights, strict=True)
        for k in np.flatnonzero(weights)
    ]
    torch.stack(counted).mean().backward()
    for (name, after), before in zip(tuned.named_parameters(), plain.parameters(), strict=True):
        gradient = before.grad
        moved = (after - before).detach()
        clear = gradient.abs() > 1e-4 * gradient.abs().max()
        # AdamW's first step is the sign of the gradient
        assert (moved.sign() == -gradient.sign())[clear & (moved != 0)].all(), name
    before, after = sum_of_losses(plain), sum_of_losses(tuned)
    assert after[(5, 6)] + after[(7, 8)] + after[(0, 9)] < (
        before[(5, 6)] + before[(7, 8)] + before[(0, 9)]
    )


def test_a_side_without_a_token_is_refused(tmp_path):
    nothing = QuerySet(tokens=[np.array([0, 5])], weights=[np.zeros(2)])
    with pytest.raises(InputError, match=r"compare\.sides: a side of the queries has no token"):
        tune_on_queries(tiny_model(), nothing, SidesConfig(), 0, folder=tmp_path)


def test_the_score_is_the_difference_of_two_plain_losses():
    safe, toxic, corpus = tiny_model(seed=1), tiny_model(seed=2), random_corpus(padding=3)
    done = []
    found = loss_difference(safe, toxic, corpus, done.append).values
    tokens = torch.as_tensor(corpus.tokens).long()
    with torch.no_grad():
        expected = forward_losses(safe, tokens) - forward_losses(toxic, tokens)
    np.testing.assert_allclose(found, np.where(corpus.has_loss, expected.numpy(), 0), atol=1e-12)
    assert sum(done) == 2 * corpus.tokens.size
