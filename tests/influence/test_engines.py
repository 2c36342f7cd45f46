"""The three engines against autograd, for every family."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import random_corpus, tiny_model

from ifguide.errors import InputError
from ifguide.influence.calibrate import (
    PASSES,
    RELATIVE_STEPS,
    TRIED,
    calibrate,
    calibration_blocks,
    exact_scores,
)
from ifguide.influence.config import ScoreConfig
from ifguide.influence.engines.difference import FiniteDifference
from ifguide.influence.engines.jvp import ForwardMode
from ifguide.influence.score import score
from ifguide.models.losses import forward_losses
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Direction

ENGINES = ("difference", "jvp", "position")


def random_direction(model, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return Direction(
        {
            w.name: torch.randn(w.matrix.shape, generator=generator, dtype=torch.float64).to(
                w.parameter
            )
            for w in find_tracked(model)
        }
    )


def scored(engine, tokens):
    """What an engine gives blocks of which every token counts."""
    return engine(tokens, torch.ones_like(tokens, dtype=torch.bool))


def finite_differences(model, direction):
    """An engine by step and number of points."""
    return partial(FiniteDifference, model, find_tracked(model), direction.weights)


def autograd_scores(model, corpus, direction, *, by_token):
    """``v . grad`` of each token's loss, or of each block's, one backward pass each."""
    tracked = find_tracked(model)
    losses = forward_losses(model, torch.from_numpy(corpus.tokens).long())
    losses = losses * torch.from_numpy(corpus.has_loss)
    units = losses.flatten() if by_token else losses.sum(1)
    found = []
    for unit in units:
        gradients = torch.autograd.grad(unit, [w.parameter for w in tracked], retain_graph=True)
        found.append(
            sum(
                (w.oriented(g).double() * direction.weights[w.name].double()).sum().item()
                for w, g in zip(tracked, gradients, strict=True)
            )
        )
    return np.array(found)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_block_sums_equal_autograd(family, engine, dtype, bound):
    model = tiny_model(family, dtype)
    corpus = random_corpus(blocks=4, padding=5)
    direction = random_direction(model)
    expected = autograd_scores(model, corpus, direction, by_token=False)
    found = score(model, corpus, direction, ScoreConfig(engine=engine)).values.sum(1)
    assert np.abs(found - expected).max() <= bound * np.abs(expected).max()


def test_jvp_equals_autograd_token_by_token(family):
    model = tiny_model(family)
    corpus = random_corpus(blocks=2, length=8, padding=3)
    direction = random_direction(model)
    expected = autograd_scores(model, corpus, direction, by_token=True)
    found = score(model, corpus, direction).values.ravel()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("engine", ENGINES)
def test_tied_embeddings_grouped_queries_and_a_gated_mlp(engine):
    """The head's share of the embedding moves nothing: it is not tracked, tied or not."""
    model = tiny_model("llama", tie_word_embeddings=True)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    layer = model.model.layers[0]
    assert layer.self_attn.k_proj.weight.shape[0] < layer.self_attn.q_proj.weight.shape[0]
    assert layer.mlp.gate_proj.weight.shape == layer.mlp.up_proj.weight.shape
    corpus, direction = random_corpus(blocks=3, padding=5), random_direction(model)
    expected = autograd_scores(model, corpus, direction, by_token=False)
    found = score(model, corpus, direction, ScoreConfig(engine=engine)).values.sum(1)
    assert np.abs(found - expected).max() <= 1e-9 * np.abs(expected).max()


def test_position_is_the_share_of_each_input_position():
    """Its own definition: perturb one position's use of the weights, watch the summed loss."""
    model = tiny_model("gpt_neox")
    corpus = random_corpus(blocks=1, length=6)
    direction = random_direction(model)
    tracked = find_tracked(model)
    tokens = torch.from_numpy(corpus.tokens).long()
    found = score(model, corpus, direction, ScoreConfig(engine="position")).values[0]
    strength = torch.zeros(1, 6, 1, dtype=torch.float64, requires_grad=True)  # one a position

    def moved(weight):
        v = direction.weights[weight.name]
        return weight.module.register_forward_hook(
            lambda module, args, output: output + strength * (args[0] @ v.T)
        )

    handles = [moved(weight) for weight in tracked]
    share = torch.autograd.grad(forward_losses(model, tokens).sum(), strength)[0].flatten()
    for handle in handles:
        handle.remove()
    np.testing.assert_allclose(found[1:], share[:-1], rtol=1e-10)
    assert share[-1] == 0


@settings(max_examples=8, deadline=None)
@given(batch_tokens=st.integers(1, 100), padding=st.integers(0, 9))
def test_scores_do_not_depend_on_the_batch(batch_tokens, padding):
    model = tiny_model("llama")
    corpus = random_corpus(blocks=5, padding=padding)
    direction = random_direction(model)
    for engine in ENGINES:
        step = {"step": 1e-3} if engine == "difference" else {}
        whole = score(model, corpus, direction, ScoreConfig(engine=engine, **step)).values
        batched = score(
            model,
            corpus,
            direction,
            ScoreConfig(engine=engine, **step, batch_tokens=batch_tokens),
        ).values
        np.testing.assert_allclose(batched, whole, rtol=1e-7, atol=1e-9)
        assert (whole[~corpus.has_loss] == 0).all()


def test_scores_are_linear_in_the_direction():
    model, corpus = tiny_model("qwen3"), random_corpus()
    a, b = random_direction(model, 1), random_direction(model, 2)
    both = Direction({name: 2 * a.weights[name] - b.weights[name] for name in a.weights})
    expected = 2 * score(model, corpus, a).values - score(model, corpus, b).values
    np.testing.assert_allclose(score(model, corpus, both).values, expected, rtol=1e-9, atol=1e-11)


def test_difference_keeps_the_model_and_shares_what_is_not_tracked():
    model = tiny_model("gpt2")
    before = copy.deepcopy(model.state_dict())
    tracked, direction = find_tracked(model), random_direction(model)
    engine = FiniteDifference(model, tracked, direction.weights, 1e-3)
    scored(engine, torch.randint(1, 61, (2, 8)))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    own = {id(w.parameter) for w in tracked}
    moved = engine.readout.model.named_parameters()
    for (_, p), (_, q) in zip(model.named_parameters(), moved, strict=True):
        assert (p is q) == (id(p) not in own)


def test_difference_leaves_frozen_weights_frozen():
    model = tiny_model("llama")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("mlp" in name)
    tracked, direction = find_tracked(model), random_direction(model)
    engine = FiniteDifference(model, tracked, direction.weights, 1e-3)
    scored(engine, torch.randint(1, 61, (2, 8)))
    assert [w.name for w in find_tracked(model)] == [w.name for w in tracked]


def test_difference_falls_back_to_jvp_and_says_so(caplog):
    model, corpus = tiny_model("llama", torch.float32), random_corpus()
    direction = random_direction(model)
    config = ScoreConfig(engine="difference", tolerance=1e-12)
    made = score(model, corpus, direction, config)
    assert made.metadata["engine"] == "jvp"
    assert made.metadata["refused_difference"]["sum_error"] > 1e-12
    assert "falling back to jvp" in caplog.text
    loose = score(model, corpus, direction, ScoreConfig(engine="difference", tolerance=0.05))
    assert loose.metadata["engine"] == "difference"


def test_calibration_of_a_bfloat16_model_is_by_rank():
    model = tiny_model("llama", torch.bfloat16)
    direction = random_direction(model)
    tokens = torch.randint(1, 61, (8, 16))
    engine_at = finite_differences(model, direction)
    float32 = tiny_model("llama", torch.float32)
    float32.load_state_dict(model.state_dict())
    wide = scored(ForwardMode(float32, find_tracked(float32), direction.weights), tokens)
    exact = exact_scores(model, direction.weights, tokens)
    torch.testing.assert_close(exact, wide.double(), rtol=0, atol=1e-2)  # it rotates in bfloat16
    found = calibrate(engine_at, exact, tokens, by_rank=True)
    near = scored(engine_at(found.step, 2), tokens)
    ranks = [t[:, 1:].flatten().argsort().argsort().double() for t in (exact, near)]
    assert found.spearman == pytest.approx(torch.corrcoef(torch.stack(ranks))[0, 1].item())
    assert found.spearman > 0.8


def test_calibration_goes_from_the_first_guess_to_where_rounding_sets_in():
    model = tiny_model("gpt_neox", torch.float32)
    direction, tokens = random_direction(model), torch.randint(1, 61, (8, 16))
    engine_at, tried = finite_differences(model, direction), []

    def counted(step, points):
        tried.append(step)
        return engine_at(step, points)

    exact = exact_scores(model, direction.weights, tokens)
    errors = {s: calibrate(engine_at, exact, tokens, steps=[s]).sum_error for s in RELATIVE_STEPS}
    best = min(errors, key=errors.get)
    for first in RELATIVE_STEPS:
        tried.clear()
        found = calibrate(counted, exact, tokens, first=first)
        assert tried[0] == first
        assert len(set(tried)) == len(tried) <= TRIED
        assert found.sum_error == min(errors[step] for step in tried)
        if abs(RELATIVE_STEPS.index(first) - RELATIVE_STEPS.index(best)) <= 1:
            assert found.step == best
    tried.clear()
    calibrate(counted, exact, tokens, first=best, enough=lambda one: one.sum_error < 1)
    assert tried == [best]


@pytest.mark.parametrize("blocks", [3, 300, 2000, 50_000])
def test_calibration_costs_a_twentieth_of_the_scoring_or_two_blocks(blocks):
    model, corpus = tiny_model("llama", torch.float32), random_corpus(blocks=blocks, length=16)
    probe = calibration_blocks(model, corpus)
    passes = PASSES * probe.numel()
    assert len(probe) == 2 or passes <= 0.05 * 2 * corpus.tokens.size
    assert 2 <= len(probe) <= 4096 // 16
    assert len(probe) == {3: 2, 300: 2, 2000: 18, 50_000: 256}[blocks]


def test_a_zero_direction_scores_zero():
    model, corpus = tiny_model("llama"), random_corpus()
    zero = Direction({w.name: torch.zeros_like(w.matrix) for w in find_tracked(model)})
    for engine in ENGINES:
        assert not score(model, corpus, zero, ScoreConfig(engine=engine)).values.any()


def test_a_direction_of_another_model_is_refused():
    model, corpus = tiny_model("llama"), random_corpus()
    with pytest.raises(InputError, match="does not fit weight"):
        score(model, corpus, random_direction(tiny_model("gpt2")))


def test_a_score_that_is_not_finite_names_the_block():
    model, corpus = tiny_model("llama"), random_corpus()
    corpus.tokens[:] = 1
    corpus.tokens[4, 3] = 60
    with torch.no_grad():
        model.get_input_embeddings().weight[60] = torch.nan
    with pytest.raises(InputError, match="block 4 "):
        score(model, corpus, random_direction(model))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_finite_differences_of_a_batch_do_not_depend_on_those_before(dtype):
    """The two points are each other's mirror image, and stay it however often they change."""
    model = tiny_model("llama", dtype)
    tracked, generator = find_tracked(model), torch.Generator().manual_seed(3)
    direction = {w.name: torch.randn(w.matrix.shape, generator=generator) for w in tracked}
    batches = torch.from_numpy(random_corpus(8, 12).tokens).long().split(2)
    engine = FiniteDifference(model, tracked, direction, 0.05)
    first = [scored(engine, batch) for batch in batches]
    again = [scored(engine, batch) for batch in reversed(batches)][::-1]
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)
    for moved, source in engine.weights:  # of the copy, and θ as it was
        assert not torch.equal(moved, source)
    for (_, source), weight in zip(engine.weights, tracked, strict=True):
        assert torch.equal(source, weight.parameter)
