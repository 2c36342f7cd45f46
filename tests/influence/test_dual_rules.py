"""The forward-mode rules against PyTorch's own derivatives."""

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from ifguide.influence.engines import dual_rules
from ifguide.influence.engines.dual_rules import DualRules


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def both_ways(function, values, moved):
    """Value and derivative by the rules, and by reverse mode twice (no forward-mode rule)."""
    with forward_ad.dual_level(), DualRules():
        duals = [
            v if d is None else forward_ad.make_dual(v, d)
            for v, d in zip(values, moved, strict=True)
        ]
        found = forward_ad.unpack_dual(function(*duals))
    chosen = [v for v, d in zip(values, moved, strict=True) if d is not None]

    def of_chosen(*some):
        rest = iter(some)
        return function(
            *(v if d is None else next(rest) for v, d in zip(values, moved, strict=True))
        )

    with sdpa_kernel(SDPBackend.MATH):
        expected = torch.autograd.functional.jvp(
            of_chosen, tuple(chosen), tuple(d for d in moved if d is not None)
        )
    return found, expected


def check(function, values, moved):
    (value, derivative), (expected, expected_derivative) = both_ways(function, values, moved)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(derivative, expected_derivative)


MASKS = {
    "none": {},
    "causal": {"is_causal": True},
    "bool": {"attn_mask": torch.ones(9, 9, dtype=torch.bool).tril().triu(-3)},
    "bool, one a block": {
        "attn_mask": torch.ones(9, 9, dtype=torch.bool).tril().expand(2, 1, 9, 9)
    },
    "added": {"attn_mask": draw(1, 1, 9, 9, seed=7)},
    "added, one row": {"attn_mask": draw(2, 1, 1, 9, seed=7)},
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("moving", [(True, True, True), (False, True, True), (True, False, False)])
def test_attention(monkeypatch, mask, grouped, moving):
    monkeypatch.setattr(dual_rules, "LEAST_QUERIES", 4)  # 9 queries: two chunks and a rest
    monkeypatch.setattr(dual_rules, "CHUNK_SCORES", 1)
    shapes = (2, 4, 9, 6), (2, 2 if grouped else 4, 9, 6), (2, 2 if grouped else 4, 9, 5)
    values = [draw(*shape, seed=i) for i, shape in enumerate(shapes)]
    moved = [draw(*s, seed=9 + i) if moving[i] else None for i, s in enumerate(shapes)]

    def attend(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, scale=0.3, enable_gqa=grouped, **MASKS[mask])

    check(attend, values, moved)


@pytest.mark.parametrize("moving", [(True, True), (False, True), (True, False)])
@pytest.mark.parametrize("biased", [False, True])
def test_linear_maps(moving, biased):
    x, weight = draw(2, 3, 5), draw(4, 5, seed=1)
    bias = draw(4, seed=2) if biased else None
    moved = [
        draw(*t.shape, seed=5) if m else None for t, m in zip((x, weight), moving, strict=True)
    ]
    check(lambda x, w: F.linear(x, w, bias), (x, weight), moved)
    flat = [x.view(6, 5), weight.T]
    flat_moved = [
        None if moved[0] is None else moved[0].view(6, 5),
        None if moved[1] is None else moved[1].T,
    ]
    check(lambda x, w: torch.addmm(draw(4), x, w), flat, flat_moved)
    check(lambda x, w: torch.addmm(draw(4), x, w, beta=2, alpha=3), flat, flat_moved)


@pytest.mark.parametrize("affine", [False, True])
def test_layer_norm(affine):
    weight, bias = (draw(5, seed=1), draw(5, seed=2)) if affine else (None, None)
    x = draw(2, 3, 5)
    check(lambda x: F.layer_norm(x, (5,), weight, bias, 1e-3), [x], [draw(2, 3, 5, seed=3)])


def test_moving_norms_and_biases_are_left_to_pytorch():
    x, weight = draw(2, 5), draw(5, seed=1)
    moved = [draw(2, 5, seed=2), draw(5, seed=3)]
    check(lambda x, w: F.layer_norm(x, (5,), w), [x, weight], moved)
    check(lambda x, b: F.linear(x, draw(5, 5), b), [x, weight], moved)


def test_what_does_not_move_has_no_derivative():
    x = draw(2, 3, 4)
    with forward_ad.dual_level(), DualRules():
        for y in (F.linear(x, draw(4, 4)), F.scaled_dot_product_attention(x, x, x)):
            assert forward_ad.unpack_dual(y).tangent is None
