"""Preference training against the closed form of its loss and steps written by hand."""

import sys
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from tiny import tiny_model
from torch.nn.functional import logsigmoid
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers.utils import logging as transformers_logging

from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.errors import InputError
from ifguide.models.precision import full_precision
from ifguide.training.config import PreferenceConfig
from ifguide.training.preference import train_preference
from ifguide.training.preference_pairs import PreferencePair, tokenised_pair

trl = pytest.importorskip("trl")

PAIRS = [
    PreferencePair("You are", " a fox", " silly"),
    PreferencePair("You", " said the goose", " are silly, you silly goose"),
    PreferencePair("", "The fox", "goose", whole=True),
    PreferencePair("A goose,", " said the fox", " are you silly"),
    PreferencePair("The fox said", " a", " silly silly"),
    PreferencePair("", "are you", "silly you", whole=True),
]
CONFIG = PreferenceConfig(
    batch_size=6,
    epochs=3.0,
    learning_rate=1e-3,
    max_length=32,
    beta=0.5,
    schedule="constant_with_warmup",
    warmup=0.0,
)


@pytest.fixture(scope="module")
def tokenizer():
    tokenizer = train_tokenizer(["You are a silly goose, said the fox. The fox said a"] * 9, 300)
    tokenizer.pad_token = None
    return tokenizer


def model_for(tokenizer, family="gpt_neox", dtype=torch.float32, **changes):
    return tiny_model(family, dtype, vocab_size=len(tokenizer), **changes)


def log_probability(model, tokens, side):
    """log π(completion | prompt), token by token, one sequence at a time."""
    ids = torch.tensor([tokens["prompt_ids"] + tokens[side]])
    with full_precision(model):
        logs = model(ids, use_cache=False).logits.log_softmax(-1)
    first = len(tokens["prompt_ids"])
    return sum(logs[0, t - 1, ids[0, t]] for t in range(first, ids.shape[1]))


def margins(model, tokenizer, pairs=PAIRS, max_length=32):
    """log π(chosen) - log π(rejected) of each pair."""
    tokens = [tokenised_pair(pair, tokenizer, max_length) for pair in pairs]
    return torch.stack(
        [
            log_probability(model, t, "chosen_ids") - log_probability(model, t, "rejected_ids")
            for t in tokens
        ]
    )


def weights_of(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


class KilledError(Exception):
    """Stands for a kill: nothing after it runs."""


def test_the_loss_is_the_closed_form(tokenizer, tmp_path, monkeypatch):
    """Away from the start, where it would be log 2 whatever the pairs."""
    model, seen = model_for(tokenizer), []
    start = deepcopy(model).double()
    original = trl.DPOTrainer.compute_loss

    def recording(self, model, *args, **kwargs):
        loss = original(self, model, *args, **kwargs)
        seen.append((loss.item(), deepcopy(model.state_dict())))
        return loss

    monkeypatch.setattr(trl.DPOTrainer, "compute_loss", recording)
    train_preference(model, tokenizer, PAIRS, CONFIG, folder=tmp_path)
    assert len(seen) == 3
    with torch.no_grad():
        reference = margins(start, tokenizer)
        for loss, weights in seen:
            policy = deepcopy(start)
            policy.load_state_dict(weights)
            moved = margins(policy, tokenizer) - reference
            expected = -logsigmoid(0.5 * moved).mean().item()
            assert loss == pytest.approx(expected, rel=1e-5)
    assert seen[0][0] == pytest.approx(0.6931472)
    assert seen[2][0] < 0.6


@contextmanager
def observed_updates(model):
    """Collect the weights before each update of any optimizer, and the gradients it is given."""
    seen = []

    def observe(optimizer, *_):
        gradients = {name: p.grad.detach().clone() for name, p in model.named_parameters()}
        seen.append((weights_of(model), gradients))

    handle = register_optimizer_step_pre_hook(observe)
    try:
        yield seen
    finally:
        handle.remove()


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama"])
def test_training_is_adamw_on_that_loss(tokenizer, tmp_path, family):
    """Every gradient is the closed form's at its weights, and the updates are AdamW's along them.

    The end of it all is not compared with training by hand: AdamW's first steps are the signs of
    gradients, and near 0 the sign is that of the rounding. GPT-2 has dropout, which must be off.
    """
    model = model_for(tokenizer, family)
    config = replace(CONFIG, max_grad_norm=0.3)
    by_hand, exact = deepcopy(model), deepcopy(model).double()
    with observed_updates(model) as updates:
        trained = train_preference(model, tokenizer, PAIRS, config, folder=tmp_path)
    assert trained is model
    assert not model.training
    assert len(updates) == 3
    reference = margins(exact, tokenizer).detach()
    optimizer = torch.optim.AdamW(by_hand.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0)
    for weights, gradients in updates:
        exact.load_state_dict(weights, strict=False)
        exact.zero_grad()
        (-logsigmoid(0.5 * (margins(exact, tokenizer) - reference))).mean().backward()
        torch.nn.utils.clip_grad_norm_(exact.parameters(), 0.3)
        bound = 1e-4 * max(p.grad.abs().max().item() for p in exact.parameters())
        for name, p in exact.named_parameters():
            torch.testing.assert_close(gradients[name].double(), p.grad, rtol=0, atol=bound)
        for name, p in by_hand.named_parameters():
            torch.testing.assert_close(p.detach(), weights[name], rtol=1e-6, atol=1e-8)
            p.grad = gradients[name]
        optimizer.step()
    torch.testing.assert_close(weights_of(model), weights_of(by_hand), rtol=1e-6, atol=1e-8)


def test_every_margin_grows(tokenizer, tmp_path):
    model = model_for(tokenizer)
    config = replace(CONFIG, batch_size=3, epochs=8.0)
    with torch.no_grad():
        before = margins(model, tokenizer)
    train_preference(model, tokenizer, PAIRS, config, folder=tmp_path)
    with torch.no_grad():
        assert (margins(model, tokenizer) - before).min() > 1


def test_an_interrupted_run_ends_with_the_same_bits(tokenizer, tmp_path):
    start = model_for(tokenizer)
    config = replace(CONFIG, batch_size=2, epochs=2.0, checkpoint_every=2, limit=5)
    whole = train_preference(
        deepcopy(start), tokenizer, PAIRS, config, folder=tmp_path / "whole", seed=4
    )
    done = []

    def killing(tokens):
        if len(done) == 3:
            raise KilledError
        done.append(tokens)

    folder = tmp_path / "interrupted"
    with pytest.raises(KilledError):
        train_preference(
            deepcopy(start), tokenizer, PAIRS, config, folder=folder, seed=4, progress=killing
        )
    left = []
    resumed = train_preference(
        deepcopy(start), tokenizer, PAIRS, config, folder=folder, seed=4, progress=left.append
    )
    assert len(left) == 6 - 2
    torch.testing.assert_close(weights_of(resumed), weights_of(whole), rtol=0, atol=0)


def test_it_is_silent_and_leaves_no_trace(tokenizer, tmp_path, capfd):
    model = model_for(tokenizer, "gpt2", pad_token_id=None, resid_pdrop=0.3)
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    before = [getattr(c, n) for c in (model.config, model.generation_config) for n in names]
    transformers_logging.disable_progress_bar()  # of the file writer, as the command line does
    train_preference(model, tokenizer, PAIRS, replace(CONFIG, epochs=1.0), folder=tmp_path)
    transformers_logging.enable_progress_bar()
    assert capfd.readouterr() == ("", "")
    assert before == [getattr(c, n) for c in (model.config, model.generation_config) for n in names]
    assert model.transformer.h[0].mlp.dropout.p == 0.3
    assert {"forward", "_original_forward", "model_tags"}.isdisjoint(vars(model))
    assert tokenizer.pad_token is None
    deepcopy(model)


def test_the_seed_draws_the_pairs_under_the_limit(tokenizer, tmp_path):
    config = replace(CONFIG, limit=2, batch_size=2, epochs=1.0)
    trained = [
        weights_of(
            train_preference(
                model_for(tokenizer), tokenizer, PAIRS, config, folder=tmp_path / str(k), seed=seed
            )
        )
        for k, seed in enumerate((0, 0, 1))
    ]
    torch.testing.assert_close(trained[0], trained[1], rtol=0, atol=0)
    assert any(not torch.equal(p, trained[2][name]) for name, p in trained[0].items())


def test_bfloat16_stays_near(tokenizer, tmp_path):
    model = model_for(tokenizer)
    start = weights_of(model)
    config = replace(CONFIG, precision="bfloat16", epochs=1.0)
    train_preference(model, tokenizer, PAIRS, config, folder=tmp_path)
    assert all(p.dtype == torch.float32 for p in model.parameters())
    torch.testing.assert_close(weights_of(model), start, rtol=0, atol=2e-3)
    assert any(not torch.equal(p, start[name]) for name, p in weights_of(model).items())


def test_pairs_that_cannot_be_learnt_from_are_refused(tokenizer, tmp_path):
    model = model_for(tokenizer)

    def refused(pairs, said, **changes):
        with pytest.raises(InputError, match=said):
            train_preference(model, tokenizer, pairs, replace(CONFIG, **changes), folder=tmp_path)

    refused(PAIRS[:5], "5 pairs are fewer than one batch of 6; give more prompts")
    refused(PAIRS, "4 pairs are fewer than one batch of 6", limit=4)
    refused(PAIRS, r"max_length: 33 is more than the model's 32 positions", max_length=33)
    refused([*PAIRS[:5], PreferencePair("You are", "", " silly")], r"of pair 5 is empty \('You are")


def test_what_is_not_finite_stops_the_run(tokenizer, tmp_path):
    model = model_for(tokenizer)
    with torch.no_grad():
        model.gpt_neox.final_layer_norm.weight[0] = torch.nan
    with pytest.raises(
        InputError, match=r"^compare\.dpo: .* nan at update 1; lower compare\.dpo\.l"
    ):
        train_preference(model, tokenizer, PAIRS, CONFIG, folder=tmp_path / "start")
    with pytest.raises(InputError, match=r"dpo: the loss is (nan|inf) at update 2; lower"):
        train_preference(
            model_for(tokenizer),
            tokenizer,
            PAIRS,
            replace(CONFIG, learning_rate=1e9),
            folder=tmp_path / "diverging",
        )


def test_without_trl_one_line_names_the_extra(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "trl", None)
    with pytest.raises(
        InputError, match=r"^compare\.dpo: trl is not installed .*'ifguide\[dpo\]'$"
    ):
        train_preference(model_for(tokenizer), tokenizer, PAIRS, CONFIG, folder=tmp_path)
