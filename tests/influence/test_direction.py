"""The direction: autograd's gradients of the query losses, solved by dense float64 algebra."""

import numpy as np
import pytest
import torch
from tiny import random_corpus, tiny_model

from ifguide.errors import InputError
from ifguide.influence import direction
from ifguide.influence.config import CurvatureConfig, DirectionConfig
from ifguide.influence.curvature.fit import fit
from ifguide.influence.curvature.operators import Identity
from ifguide.influence.direction import aim, query_loss
from ifguide.models.losses import forward_logits
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Contrast, QuerySet

rng = np.random.default_rng(5)
SHARED, OTHER, LAST = (rng.integers(1, 61, size) for size in (7, 5, 7))


def weighed(*tokens):
    weights = [np.r_[0.0, rng.random(len(t) - 1)] for t in tokens]
    total = sum(w.sum() for w in weights)
    return QuerySet(list(tokens), [w / total for w in weights])


# one sequence on both sides, one twice on a side, and one of another length
CONTRAST = Contrast(weighed(SHARED, OTHER, OTHER), weighed(LAST, SHARED), "by hand")


@pytest.fixture
def model():
    return tiny_model("gpt_neox")


def plain_loss(model, queries):
    """The query loss by PyTorch's own cross entropy, one query at a time."""
    total = 0.0
    for tokens, weights in zip(queries.tokens, queries.weights, strict=True):
        ids = torch.from_numpy(tokens)[None]
        logits = forward_logits(model, ids)[0, :-1]
        losses = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
        total = total + losses @ torch.from_numpy(weights)[1:]
    return total


def expected_gradient(model):
    tracked = find_tracked(model)
    loss = plain_loss(model, CONTRAST.toxic) - plain_loss(model, CONTRAST.safe)
    found = torch.autograd.grad(loss, [w.parameter for w in tracked])
    return {w.name: w.oriented(g) for w, g in zip(tracked, found, strict=True)}


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_without_curvature_it_is_the_difference_of_the_query_gradients(model, batch_size):
    found = aim(model, CONTRAST, Identity(), DirectionConfig(batch_size=batch_size)).weights
    expected = expected_gradient(model)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12)


def test_with_curvature_it_is_the_dense_solution(model):
    curvature = fit(model, random_corpus(), CurvatureConfig(sample_blocks=4, kind="kfac"))
    found = aim(model, CONTRAST, curvature, DirectionConfig(damping=0.3)).weights
    for name, gradient in expected_gradient(model).items():
        basis = curvature.bases[name]
        vectors = torch.kron(basis.output_basis, basis.input_basis).double()
        values = basis.eigenvalues.flatten().double()
        damped = vectors @ torch.diag(values + 0.3 * values.mean()) @ vectors.T
        solved = torch.linalg.solve(damped, gradient.flatten()).view(gradient.shape)
        torch.testing.assert_close(found[name], solved, rtol=1e-6, atol=1e-6 * solved.abs().max())


@pytest.mark.parametrize("kind", ["dense", "ekfac"])
def test_damping_may_be_taken_as_it_is(model, kind):
    curvature = fit(model, random_corpus(), CurvatureConfig(sample_blocks=4, kind=kind))
    name = next(iter(expected_gradient(model)))
    if kind == "dense":
        mean = curvature.matrices[name].diagonal().mean().item()
    else:
        mean = curvature.bases[name].eigenvalues.mean().item()
    as_it_is = aim(model, CONTRAST, curvature, DirectionConfig(damping=0.2, relative=False))
    times_mean = aim(model, CONTRAST, curvature, DirectionConfig(damping=0.2 / mean))
    torch.testing.assert_close(
        as_it_is.weights[name], times_mean.weights[name], rtol=1e-6, atol=1e-9
    )
    assert as_it_is.metadata["relative"] is False


def test_learning_along_it_makes_the_toxic_side_less_likely(model):
    """The sign: moving the weights along +v raises the toxic loss above the safe one."""

    def contrast_loss():
        return query_loss(model, CONTRAST.toxic) - query_loss(model, CONTRAST.safe)

    before, weights = contrast_loss(), aim(model, CONTRAST, Identity()).weights
    with torch.no_grad():
        for weight in find_tracked(model):
            weight.parameter.add_(weight.oriented(weights[weight.name]), alpha=1e-4)
    assert contrast_loss() > before


def test_a_sequence_on_both_sides_is_run_once(model, monkeypatch):
    run, forward = [], direction.forward_losses

    def counting(model, tokens):
        run.append(len(tokens))
        return forward(model, tokens)

    monkeypatch.setattr(direction, "forward_losses", counting)
    aim(model, CONTRAST, Identity())
    assert sum(run) == 3  # of the five queries, three are different


def test_an_empty_side_leaves_the_other(model):
    found = aim(model, Contrast(CONTRAST.toxic, QuerySet([], []), "one side"), Identity())
    loss = plain_loss(model, CONTRAST.toxic)
    tracked = find_tracked(model)
    for weight, expected in zip(
        tracked, torch.autograd.grad(loss, [w.parameter for w in tracked]), strict=True
    ):
        torch.testing.assert_close(found.weights[weight.name], weight.oriented(expected))


def test_a_weight_that_is_not_finite_is_named(model):
    with torch.no_grad():
        find_tracked(model)[1].parameter[0, 0] = float("nan")
    with pytest.raises(InputError, match=r"^direction: the query gradient of weight '.+' is not"):
        aim(model, CONTRAST, Identity())


def without_a_gradient(model):
    """Output maps of 0: what enters them has no gradient."""
    layer = model.gpt_neox.layers[1]
    with torch.no_grad():
        layer.attention.dense.weight.zero_()
        layer.mlp.dense_4h_to_h.weight.zero_()
    return {
        "gpt_neox.layers.1.attention.query_key_value",
        "gpt_neox.layers.1.mlp.dense_h_to_4h",
    }


@pytest.mark.parametrize("kind", ["identity", "kfac", "ekfac", "dense"])
def test_a_weight_without_a_gradient_has_direction_0(model, kind, caplog):
    still = without_a_gradient(model)
    curvature = fit(model, random_corpus(), CurvatureConfig(kind=kind, **sample_of(kind)))
    found = aim(model, CONTRAST, curvature).weights
    assert list(found) == [w.name for w in find_tracked(model)]
    assert {name for name, weight in found.items() if not weight.any()} == still
    assert all(weight.isfinite().all() for weight in found.values())
    for name, gradient in expected_gradient(model).items():
        if name not in still:  # as if it were alone
            alone = curvature.solve({name: gradient}, 0.1)[name]
            torch.testing.assert_close(found[name], alone)
    (record,) = caplog.records
    assert record.getMessage().startswith("direction: 2 of 8 weights get no gradient from the")


def sample_of(kind):
    return {} if kind == "identity" else {"sample_blocks": 4}


@pytest.mark.parametrize("kind", ["kfac", "ekfac", "dense"])
def test_a_weight_without_curvature_but_with_a_gradient_is_named(model, kind):
    before = expected_gradient(model)
    without_a_gradient(model)
    curvature = fit(model, random_corpus(), CurvatureConfig(kind=kind, sample_blocks=4))
    with pytest.raises(InputError, match=r"no token of the sample gives weight '.*1\.attention"):
        curvature.solve(before, 0.1)


@pytest.mark.parametrize(
    "alike",
    [
        CONTRAST.toxic,
        QuerySet(CONTRAST.toxic.tokens[::-1], CONTRAST.toxic.weights[::-1]),
        QuerySet([*CONTRAST.toxic.tokens] * 3, [w / 3 for w in CONTRAST.toxic.weights] * 3),
    ],
    ids=["the same", "in another order", "three times a third"],
)
def test_two_sides_that_are_alike_are_refused(alike, model):
    with pytest.raises(InputError, match=r"^queries: .* the same tokens .*; give two sides that"):
        aim(model, Contrast(CONTRAST.toxic, alike, "alike"), Identity())


def test_a_model_without_any_gradient_is_blamed_itself(model):
    with torch.no_grad():
        model.lm_head.weight.zero_()
    with pytest.raises(InputError, match=r"^direction: no weight has a gradient .*checkpoint"):
        aim(model, CONTRAST, Identity())
