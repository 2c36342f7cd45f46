"""Objectives that compare with the start: negative preference optimisation in closed form."""

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from tiny import random_corpus, tiny_model
from transformers import TrainingArguments

from ifguide.errors import InputError
from ifguide.models.losses import forward_losses
from ifguide.models.precision import full_precision
from ifguide.nouns import Checkpoint, Selection
from ifguide.run.factories import TRAINING, training_passes
from ifguide.run.given import TrainSettings
from ifguide.training.config import Objective, TrainingConfig
from ifguide.training.objectives import suppression_loss
from ifguide.training.reference import reference_losses
from ifguide.training.train import MaskedBlocks, SuppressionTrainer, train

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


# the divergence from the start


def batch_of(corpus):
    blocks = MaskedBlocks(corpus, selection_of(corpus))
    return torch.utils.data.default_collate([blocks[i] for i in range(len(blocks))])


def moved(model):
    """Move the weights a little, as training does."""
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)


def in_sum(model, start, batch, weight):
    """The mean of clamped loss and divergence, a token at a time over all logits."""
    logs, before = (m(input_ids=batch["input_ids"]).logits.log_softmax(-1) for m in (model, start))
    total, count = 0.0, 0
    for row, place in (batch["labels"][:, 1:] != -100).nonzero().tolist():
        count += 1
        loss = -logs[row, place, batch["input_ids"][row, place + 1]]
        if batch["suppress"][row, place + 1]:
            total = total - loss.clamp(max=3.0)
        else:
            kept = before[row, place].detach()
            gap = kept - logs[row, place]
            total = total + loss + weight * (kept.exp() * gap).sum()
    return total / count


@pytest.mark.parametrize("name", ["llama", "gpt_neox", "gemma2"])  # the last caps its logits
def test_benign_tokens_are_held_to_the_start(tmp_path, name):
    model, batch = tiny_model(name), batch_of(random_corpus(padding=5))
    start, objective = deepcopy(model), Objective(kind="clamped", ceiling=3.0, kl=0.7)
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, report_to="none")
    trainer = SuppressionTrainer(model=model, args=arguments, objective=objective)
    moved(model)
    weights = list(model.parameters())
    with full_precision(model):
        expected = in_sum(model, start, batch, 0.7)
        gradients = torch.autograd.grad(expected, weights)
        for whole in (False, True):
            found = trainer.compute_loss(model, dict(batch), return_outputs=whole)
            found = found[0] if whole else found
            torch.testing.assert_close(
                [found, *torch.autograd.grad(found, weights)],
                [expected, *gradients],
                rtol=1e-9,
                atol=1e-11,
            )


def test_an_interrupted_training_still_compares_with_its_start(tmp_path):
    """The start is what train was given, not the checkpoint that it goes on from."""
    corpus = random_corpus()
    config = TrainingConfig(
        batch_size=2,
        epochs=2.0,
        learning_rate=1e-2,
        warmup=0.0,
        checkpoint_every=2,
        objective=Objective(kl=5.0),
    )

    def trained(folder, progress=lambda tokens: None):
        model, selection = tiny_model("llama", torch.float32), selection_of(corpus)
        return train(model, corpus, selection, config, folder=folder, progress=progress)

    seen = []

    def stop(tokens):
        seen.append(tokens)
        if len(seen) == 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        trained(tmp_path / "killed", stop)
    expected = trained(tmp_path / "whole").state_dict()
    torch.testing.assert_close(trained(tmp_path / "killed").state_dict(), expected, rtol=0, atol=0)


def test_a_divergence_without_the_start_s_logits_is_refused():
    with pytest.raises(InputError, match=r"training.objective.kl: it compares with the model"):
        suppression_loss(torch.zeros(1, 3, 4), TOKENS, EVERYTHING, EVERYTHING, Objective(kl=1.0))


def test_a_model_in_shards_has_no_start_to_compare_with(tmp_path, monkeypatch):
    model = tiny_model("llama", torch.float32)
    monkeypatch.setattr("ifguide.training.reference.is_sharded", lambda model: True)
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, report_to="none")
    with pytest.raises(InputError, match=r"training.objective.kl: the model lies in shards"):
        SuppressionTrainer(model=model, args=arguments, objective=Objective(kl=1.0))


@pytest.mark.parametrize("kl", [None, 0.5])
def test_the_start_s_forward_passes_are_counted(kl):
    training = TrainingConfig(objective=Objective(kl=kl))
    settings = TrainSettings(training, seed=0, batch_size=1, fine_tunes=True)
    found = training_passes(settings, lambda: Checkpoint(lambda: tiny_model("llama")))
    assert found == (TRAINING if kl is None else TRAINING + 1)
