"""The readout, a few rows at a time, against the model's own logits and autograd."""

import pytest
import torch
from tiny import tiny_model

from ifguide.models import readout as module
from ifguide.models.losses import forward_logits, forward_losses
from ifguide.models.precision import full_precision
from ifguide.models.readout import next_tokens, readout_of


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_LOGITS", 1)
    monkeypatch.setattr(module, "LEAST_ROWS", 4)


def some_tokens(shape=(3, 9)):
    return torch.randint(1, 61, shape, generator=torch.Generator().manual_seed(0))


def states_and_gradients(model, tokens):
    """What enters the head (the logits, where it is not plain) and each own loss's gradient."""
    seen = []
    head = model.get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    logits = forward_logits(model, tokens)
    handle.remove()
    states = logits if readout_of(model).head is None else seen[0]
    log_p = torch.nn.functional.pad(logits.log_softmax(-1)[:, :-1], (0, 0, 0, 1))
    losses = -log_p.gather(-1, next_tokens(tokens)[..., None])[:, :-1]
    return states.detach(), torch.autograd.grad(losses.sum(), states)[0][:, :-1]


def test_losses_and_gradients_are_the_models_own(family):
    model, tokens = tiny_model(family), some_tokens()
    readout = readout_of(model)
    found = readout.states(tokens)
    states, gradients = states_and_gradients(model, tokens)
    torch.testing.assert_close(found.detach(), states)
    with full_precision(model):
        expected = forward_losses(model, tokens)
    torch.testing.assert_close(readout.losses(found, tokens), expected.detach())
    own = readout.gradients(found, next_tokens(tokens))
    torch.testing.assert_close(own[:, :-1], gradients, rtol=1e-9, atol=1e-12)
    change = torch.randn(states.shape, generator=torch.Generator().manual_seed(1)).to(states)
    along = readout.derivatives(found, change, tokens)
    expected = (gradients * change[:, :-1]).sum(-1)
    torch.testing.assert_close(along[:, 1:], expected, rtol=1e-9, atol=1e-12)
    assert not along[:, 0].any()


def test_labels_may_be_drawn_from_the_probabilities():
    model, tokens = tiny_model("phi"), some_tokens()
    readout = readout_of(model)
    states, p = readout.states(tokens).detach(), forward_logits(model, tokens).softmax(-1)
    given = []

    def likeliest(rows, probabilities):
        torch.testing.assert_close(probabilities, p.flatten(0, 1)[rows].detach())
        given.append(rows)
        return probabilities.argmax(-1)

    drawn = readout.gradients(states, likeliest)
    torch.testing.assert_close(drawn, readout.gradients(states, p.argmax(-1)))
    assert [row for rows in given for row in range(rows.start, rows.stop)] == list(range(27))


@pytest.mark.parametrize(
    ("family", "changes", "plain"),
    [
        ("llama", {}, True),
        ("llama", {"tie_word_embeddings": True}, True),
        ("phi", {}, True),  # its head has a bias
        ("gemma2", {"final_logit_softcapping": 30.0}, False),
        ("gemma2", {"final_logit_softcapping": None}, True),
    ],
)
def test_a_head_is_plain_where_its_output_is_the_logits(family, changes, plain):
    model = tiny_model(family, **changes)
    assert (readout_of(model).head is model.get_output_embeddings()) == plain


def test_logits_scaled_in_place_are_not_plain():
    model = tiny_model("llama")

    def scale(module, args, kwargs, output):
        output.logits.mul_(2.0)

    model.register_forward_hook(scale, with_kwargs=True)
    assert readout_of(model).head is None


def test_half_precision_is_reduced_in_float32():
    model, tokens = tiny_model("llama", torch.bfloat16), some_tokens()
    readout = readout_of(model)
    found = readout.losses(readout.states(tokens), tokens)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, forward_losses(model, tokens).detach())
    assert readout.gradients(readout.states(tokens), next_tokens(tokens)).dtype == torch.bfloat16
    states = readout.states(tokens)
    assert readout.derivatives(states.float(), states.float(), tokens).dtype == torch.float32
