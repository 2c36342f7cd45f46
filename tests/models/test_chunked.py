"""Sums of functions of token losses in chunks, against all logits at once."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ifguide.models import chunked
from ifguide.models.chunked import Anchor, summed_over_tokens

N, WIDTH, VOCABULARY = 37, 6, 11


def case(dtype=torch.float64, bias=True):
    torch.manual_seed(0)
    states = torch.randn(N, WIDTH, dtype=dtype, requires_grad=True)
    head = nn.Linear(WIDTH, VOCABULARY, bias=bias).to(dtype)
    return states, head, torch.randint(VOCABULARY, (N,))


def weigh(losses, rows):
    """Another function for each token."""
    return torch.where(rows % 3 == 0, -0.5 * losses.clamp(max=2.0), losses + 0.1 * losses**2)


def plainly(states, head, labels):
    losses = F.cross_entropy(head(states), labels, reduction="none")
    return weigh(losses, torch.arange(len(labels)))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 5, 37, 100])
def test_sum_and_gradients_are_those_of_all_logits(monkeypatch, bias, rows):
    monkeypatch.setattr(chunked, "CHUNK_LOGITS", rows * VOCABULARY)
    states, head, labels = case(bias=bias)
    leaves = [states, *head.parameters()]
    expected = plainly(states, head, labels).sum()
    found = summed_over_tokens(states, head, labels, weigh)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)
    for scale in (1.0, -0.3):
        torch.testing.assert_close(
            torch.autograd.grad(scale * found, leaves, retain_graph=True),
            torch.autograd.grad(scale * expected, leaves, retain_graph=True),
            rtol=1e-13,
            atol=1e-14,
        )


def held(dtype=torch.float64):
    """An anchor of another width, which holds some tokens and others not."""
    torch.manual_seed(1)
    states, head = torch.randn(N, WIDTH + 2, dtype=dtype), nn.Linear(WIDTH + 2, VOCABULARY)
    return Anchor(states, head.to(dtype), torch.arange(N).remainder(4) * 0.3)


@pytest.mark.parametrize("rows", [1, 5, 100])
def test_an_anchor_adds_the_divergence_from_its_predictions(monkeypatch, rows):
    monkeypatch.setattr(chunked, "CHUNK_LOGITS", rows * VOCABULARY)
    states, head, labels = case()
    anchor, leaves = held(), [states, *head.parameters()]
    before = anchor.head(anchor.states).detach().log_softmax(1)
    logs = head(states).log_softmax(1)
    divergences = F.kl_div(logs, before, reduction="none", log_target=True).sum(1)
    expected = plainly(states, head, labels).sum() + (anchor.weights * divergences).sum()
    found = summed_over_tokens(states, head, labels, weigh, anchor)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves),
        torch.autograd.grad(expected, leaves),
        rtol=1e-12,
        atol=1e-13,
    )
    assert anchor.head.weight.grad is None


def test_no_token_is_a_sum_of_0():
    states, head, labels = case()
    found = summed_over_tokens(states[:0], head, labels[:0], weigh)
    gradients = torch.autograd.grad(found, [states, *head.parameters()])
    assert found == 0
    assert not any(g.any() for g in gradients)


def test_single_precision_is_as_near_as_all_logits_at_once():
    states, head, labels = case(torch.float32)
    found = summed_over_tokens(states, head, labels, weigh)
    expected = plainly(states, head, labels).sum()
    leaves = [states, *head.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves),
        torch.autograd.grad(expected, leaves),
        rtol=1e-5,
        atol=1e-6,
    )


def test_under_autocast_products_are_narrow_and_gradients_wide():
    states, head, labels = case(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = summed_over_tokens(states, head, labels, weigh)
        expected = plainly(states, head, labels).sum()
    leaves = [states, *head.parameters()]
    gradients = torch.autograd.grad(found, leaves)
    assert {g.dtype for g in gradients} == {torch.float32}
    torch.testing.assert_close(
        gradients, torch.autograd.grad(expected, leaves), rtol=0.02, atol=0.02
    )


def test_without_gradients_there_is_a_sum_alone():
    states, head, labels = case()
    with torch.no_grad():
        found = summed_over_tokens(states, head, labels, weigh)
        expected = plainly(states, head, labels).sum()
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)
    assert not found.requires_grad
