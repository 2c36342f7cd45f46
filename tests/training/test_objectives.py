"""Objectives against closed forms and independently written gradients, in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import VOCABULARY, random_corpus, tiny_model

from ifguide.training.config import Objective
from ifguide.training.objectives import suppression_loss

KINDS = ("penalty", "clamped", "unlikelihood", "masking")


def example(seed=0, batch=3, length=5, vocabulary=7):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, length, vocabulary, generator=generator, dtype=torch.float64)
    tokens = torch.randint(vocabulary, (batch, length), generator=generator)
    suppress = torch.rand(batch, length, generator=generator) < 0.4
    has_loss = torch.rand(batch, length, generator=generator) < 0.8
    has_loss[0, 1] = True
    return logits, tokens, suppress, has_loss


def by_hand(logits, tokens, suppress, has_loss, objective):
    """The objective and its gradient, token by token; position t - 1 predicts token t."""
    total, count, gradient = 0.0, 0, torch.zeros_like(logits)
    for i in range(len(tokens)):
        for t in range(1, tokens.shape[1]):
            if not has_loss[i, t]:
                continue
            count += 1
            target = tokens[i, t]
            probabilities = logits[i, t - 1].exp() / logits[i, t - 1].exp().sum()
            p = probabilities[target].item()
            term, slope = selected(p, objective) if suppress[i, t] else (-math.log(p), -1 / p)
            total += term
            # dp/dz_k = p (1[k = target] - p_k)
            gradient[i, t - 1] -= slope * p * probabilities
            gradient[i, t - 1, target] += slope * p
    return torch.tensor(total / count, dtype=torch.float64), gradient / count


def selected(p, objective):
    """A selected token's term and its slope in the token's probability p."""
    weight = objective.weight
    if objective.kind == "penalty":
        return weight * math.log(p), weight / p
    if objective.kind == "clamped":
        below = -math.log(p) < objective.ceiling
        return (weight * math.log(p), weight / p) if below else (-weight * objective.ceiling, 0.0)
    if objective.kind == "unlikelihood":
        return -weight * math.log(1 - p), weight / (1 - p)
    return 0.0, 0.0


def objective_of(kind, weight, ceiling):
    """The objective, with those settings that its kind reads."""
    read = {"masking": {}, "clamped": {"weight": weight, "ceiling": ceiling}}
    return Objective(kind=kind, **read.get(kind, {"weight": weight}))


def loss_and_gradient(logits, *others):
    logits = logits.clone().requires_grad_()
    loss = suppression_loss(logits, *others)
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(KINDS),
    weight=st.floats(0, 5),
    ceiling=st.floats(0.5, 4),
)
def test_losses_and_gradients_are_the_formulas(seed, kind, weight, ceiling):
    objective = objective_of(kind, weight=weight, ceiling=ceiling)
    found = loss_and_gradient(*example(seed), objective)
    torch.testing.assert_close(found, by_hand(*example(seed), objective), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "term"),
    [
        ("penalty", -0.5 * math.log(4)),
        ("clamped", -0.5 * 1.25),
        ("unlikelihood", -0.5 * math.log(3 / 4)),
        ("masking", 0.0),
    ],
)
def test_uniform_logits_give_the_closed_form(kind, term):
    """Four equal logits: every loss is log 4; of six counted tokens two are selected."""
    logits = torch.zeros(2, 4, 4, dtype=torch.float64)
    tokens, has_loss = torch.ones(2, 4, dtype=torch.long), torch.ones(2, 4, dtype=torch.bool)
    suppress = torch.zeros(2, 4, dtype=torch.bool)
    suppress[0, 1] = suppress[1, 3] = True
    objective = objective_of(kind, weight=0.5, ceiling=1.25)
    loss = suppression_loss(logits, tokens, suppress, has_loss, objective)
    assert loss.item() == pytest.approx((4 * math.log(4) + 2 * term) / 6, rel=1e-14)


def test_the_default_is_equation_9():
    assert Objective() == Objective(kind="penalty", weight=1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_needs_no_shift(kind):
    """Selecting token t changes the gradient of position t - 1 alone, the one that predicts it."""
    logits, tokens, _, _ = example()
    everything, nothing = torch.ones_like(tokens).bool(), torch.zeros_like(tokens).bool()
    objective = Objective(kind=kind)
    for column in range(1, 5):
        mask = nothing.clone()
        mask[1, column] = True
        _, plain = loss_and_gradient(logits, tokens, nothing, everything, objective)
        _, masked = loss_and_gradient(logits, tokens, mask, everything, objective)
        changed = (plain != masked).any(2).nonzero().tolist()
        assert changed == [[1, column - 1]]


@pytest.mark.parametrize("kind", KINDS)
def test_first_tokens_and_padding_never_count(kind):
    logits, tokens, suppress, has_loss = example(4)
    found = loss_and_gradient(logits, tokens, suppress, has_loss, Objective(kind=kind))
    other_mask, other_tokens = suppress.clone(), tokens.clone()
    other_mask[:, 0] = ~other_mask[:, 0]
    other_mask[~has_loss] = ~other_mask[~has_loss]
    other_tokens[~has_loss] = 0
    with_first = has_loss.clone()
    with_first[:, 0] = True
    other = loss_and_gradient(logits, other_tokens, other_mask, with_first, Objective(kind=kind))
    torch.testing.assert_close(found, other, rtol=0, atol=0)
    assert with_first[:, 0].all()  # the caller's own array is left as it was


@given(seed=st.integers(0, 10**6), ceiling=st.floats(0.1, 5))
@settings(max_examples=30, deadline=None)
def test_limits_meet(seed, ceiling):
    case = example(seed)
    masking = loss_and_gradient(*case, Objective(kind="masking"))
    for kind in KINDS:
        weightless = loss_and_gradient(*case, objective_of(kind, weight=0.0, ceiling=ceiling))
        torch.testing.assert_close(weightless, masking, rtol=0, atol=0)
    penalty = loss_and_gradient(*case, Objective())
    high = loss_and_gradient(*case, Objective(kind="clamped", ceiling=1e3))
    torch.testing.assert_close(high, penalty, rtol=0, atol=0)


def test_an_empty_mask_is_the_model_s_own_loss(family):
    model, corpus = tiny_model(family), random_corpus(padding=5)
    tokens, has_loss = torch.from_numpy(corpus.tokens).long(), torch.from_numpy(corpus.has_loss)
    nothing = torch.zeros_like(has_loss)
    logits = model(input_ids=tokens).logits
    labels = torch.where(has_loss, tokens, -100)
    own = model.loss_function(logits=logits.double(), labels=labels, vocab_size=VOCABULARY)
    for kind in KINDS:
        found = suppression_loss(logits, tokens, nothing, has_loss, Objective(kind=kind))
        assert found.item() == pytest.approx(own.item(), rel=1e-6)  # the library's is in float32


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sure", [0.0, 10.0, 30.0, 1e4, -30.0, -1e4])
def test_certain_and_impossible_tokens_stay_finite(kind, dtype, sure):
    logits = torch.zeros(1, 3, 5, dtype=dtype)
    logits[..., 2] = sure
    tokens, everything = torch.full((1, 3), 2), torch.ones(1, 3, dtype=torch.bool)
    for mask in (everything, ~everything):
        found = loss_and_gradient(logits, tokens, mask, everything, Objective(kind=kind))
        assert all(torch.isfinite(t).all() for t in found)


def test_unlikelihood_still_pushes_a_nearly_certain_token_down():
    """As p -> 1 the gradient of its logit is λ p, not 0: -λ log(1 - p) grows without slowing."""
    logits = torch.zeros(1, 2, 3, dtype=torch.float64)
    logits[0, 0, 1] = 20.0
    tokens, everything = torch.ones(1, 2, dtype=torch.long), torch.ones(1, 2, dtype=torch.bool)
    objective = Objective(kind="unlikelihood", weight=0.7)
    _, gradient = loss_and_gradient(logits, tokens, everything, everything, objective)
    assert gradient[0, 0, 1].item() == pytest.approx(0.7, rel=1e-6)


def test_bounds_are_kept():
    """Unlikelihood is never below 0, the clamped penalty never below -λ ceiling."""
    logits, tokens, _, has_loss = example(2)
    everything = torch.ones_like(has_loss)
    unlike = Objective(kind="unlikelihood", weight=2.0)
    clamped = Objective(kind="clamped", weight=2.0, ceiling=3.0)
    for scale in (1, 10, 1000):
        assert suppression_loss(scale * logits, tokens, everything, has_loss, unlike) >= 0
        assert suppression_loss(scale * logits, tokens, everything, has_loss, clamped) >= -6
    assert suppression_loss(1000 * logits, tokens, everything, has_loss, Objective()) < -100


def test_a_given_count_divides_instead_of_the_batch_s_own():
    case = example(5)
    counted = case[3].clone()
    counted[:, 0] = False
    loss = suppression_loss(*case, Objective())
    for count in (40, torch.tensor(40)):
        given_count = suppression_loss(*case, Objective(), count)
        assert given_count.item() == pytest.approx(loss.item() * counted.sum().item() / 40)


@pytest.mark.parametrize("count", [None, 0, torch.tensor(0)])
def test_a_batch_without_a_counted_token_costs_nothing(count):
    logits, tokens, suppress, has_loss = example()
    found = loss_and_gradient(
        logits, tokens, suppress, torch.zeros_like(has_loss), Objective(), count
    )
    assert not any(t.any() for t in found)


def test_half_precision_logits_are_reduced_in_single_precision():
    logits, tokens, suppress, has_loss = example()
    narrow = logits.bfloat16()
    found = suppression_loss(narrow, tokens, suppress, has_loss, Objective())
    expected = suppression_loss(narrow.float(), tokens, suppress, has_loss, Objective())
    assert found.dtype == torch.float32
    assert found == expected


@pytest.mark.parametrize(("done", "weight"), [(0.0, 0.0), (0.1, 0.5), (0.4, 2.0), (1.0, 2.0)])
def test_the_weight_rises_in_a_line_and_stays(done, weight):
    assert Objective(weight=2.0, ramp=0.4).at(done).weight == pytest.approx(weight)
    assert Objective(weight=2.0).at(done).weight == 2.0
