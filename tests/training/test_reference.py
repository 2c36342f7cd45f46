"""Objectives that compare with the start: negative preference optimisation in closed form."""

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from tiny import random_corpus, tiny_model

from ifguide.errors import InputError
from ifguide.models.losses import forward_losses
from ifguide.nouns import Selection
from ifguide.training.config import Objective, TrainingConfig
from ifguide.training.objectives import suppression_loss
from ifguide.training.reference import reference_losses
from ifguide.training.train import train

EVERYTHING = torch.ones(1, 3, dtype=torch.bool)
TOKENS = torch.ones(1, 3, dtype=torch.long)


def selection_of(corpus):
    suppress, nothing = np.random.default_rng(1).random(corpus.tokens.shape) < 0.2, np.zeros(0)
    return Selection(suppress, 0.0, int(suppress.sum()), nothing.astype(int), nothing, corpus)


def mean_losses(model, corpus, selection):
    """Mean loss of the selected tokens and of the others."""
    with torch.no_grad():
        losses = forward_losses(model, torch.from_numpy(corpus.tokens).long()).numpy()
    chosen = selection.suppress & corpus.has_loss
    return losses[chosen].mean(), losses[corpus.has_loss & ~chosen].mean()


def loss_and_gradient(logits, reference, **settings):
    logits = logits.detach().requires_grad_()
    objective = Objective(kind="npo", **settings)
    loss = suppression_loss(logits, TOKENS, EVERYTHING, EVERYTHING, objective, reference=reference)
    return loss.item(), torch.autograd.grad(loss, logits)[0]


@pytest.mark.parametrize("beta", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("times", [0.25, 1.0, 2.0])
def test_uniform_logits_give_the_closed_form(beta, times):
    """p = 1/4 throughout, and ``times`` the reference's probability."""
    reference = torch.full((1, 3), math.log(4) + math.log(times), dtype=torch.float64)
    found, _ = loss_and_gradient(
        torch.zeros(1, 3, 4, dtype=torch.float64), reference, beta=beta, weight=0.5
    )
    assert found == pytest.approx(0.5 * 2 / beta * math.log(1 + times**beta), rel=1e-13)


def test_at_the_start_its_gradient_is_the_penalty_s():
    logits = torch.randn(1, 3, 4, dtype=torch.float64)
    reference = torch.zeros(1, 3, dtype=torch.float64)
    reference[:, 1:] = torch.nn.functional.cross_entropy(
        logits[0, :-1], TOKENS[0, 1:], reduction="none"
    )
    _, found = loss_and_gradient(logits, reference, weight=0.7)
    plain = logits.detach().requires_grad_()
    penalty = suppression_loss(plain, TOKENS, EVERYTHING, EVERYTHING, Objective(weight=0.7))
    torch.testing.assert_close(found, torch.autograd.grad(penalty, plain)[0], rtol=1e-12, atol=0)


def test_a_token_far_below_the_reference_is_pushed_no_further():
    logits = torch.zeros(1, 3, 4, dtype=torch.float64)
    logits[..., 1] = -400.0
    reference = torch.full((1, 3), 0.1, dtype=torch.float64)
    found, gradient = loss_and_gradient(logits, reference, beta=1.0)
    assert found == pytest.approx(0.0, abs=1e-12)
    assert gradient.abs().max() < 1e-12


def test_without_a_reference_it_is_refused():
    with pytest.raises(InputError, match="give the batch that model's losses as 'reference'"):
        loss_and_gradient(torch.zeros(1, 3, 4), None)


def test_reference_losses_are_the_model_s_where_something_is_selected():
    model, corpus = tiny_model("llama"), random_corpus()
    selection = selection_of(corpus)
    selection.suppress[2] = False
    model.train()
    found = reference_losses(model, selection, batch_size=4)
    assert model.training
    with torch.no_grad():
        expected = forward_losses(model.eval(), torch.from_numpy(corpus.tokens).long()).numpy()
    expected[2] = 0
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_selected_tokens_are_unlearnt_and_the_others_learnt(tmp_path):
    start, corpus = tiny_model("llama", torch.float32), random_corpus()
    selection, objective = selection_of(corpus), Objective(kind="npo")
    config = TrainingConfig(
        batch_size=2, epochs=12.0, learning_rate=5e-3, warmup=0.0, objective=objective
    )
    before = mean_losses(start, corpus, selection)
    model = train(deepcopy(start), corpus, selection, config, folder=tmp_path)
    after = mean_losses(model, corpus, selection)
    assert after[0] > before[0]
    assert after[1] < before[1] - 0.5
