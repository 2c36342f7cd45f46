"""The logit lens against models that are cut short, and against the model's own losses."""

import numpy as np
import pytest
import torch
from tiny import VOCABULARY, tiny_model
from torch import nn
from transformers import OPTConfig, OPTForCausalLM

from ifguide.attacks.config import LensConfig
from ifguide.attacks.lens import layer_logprobs, logit_lens
from ifguide.errors import InputError
from ifguide.models.losses import forward_losses
from ifguide.models.tracked import find_blocks
from ifguide.nouns import QuerySet

TOKENS = torch.tensor([0, 5, 9, 3, 60, 17, 2, 44])
CHOSEN = torch.tensor([1, 4, 5, 7])


def own_logprobs(model):
    with torch.no_grad():
        return -forward_losses(model, TOKENS[None])[0, CHOSEN].numpy()


def cut_short(model, layers):
    """Drop all blocks after the first few, so that the model itself stops there."""
    blocks = find_blocks(model)
    for module in model.modules():
        for child_name, child in module.named_children():
            if child is blocks:
                setattr(module, child_name, blocks[:layers])
                model.config.num_hidden_layers = layers
                return
    raise AssertionError


def check(model):
    found = layer_logprobs(model, TOKENS, CHOSEN)
    assert found.shape == (3, len(CHOSEN))
    for layers in (2, 1, 0):
        cut_short(model, layers)
        np.testing.assert_allclose(found[layers], own_logprobs(model), rtol=1e-9, atol=1e-9)
    assert np.abs(np.diff(found, axis=0)).min() > 1e-4


def test_each_layer_says_what_the_model_cut_short_there_says(family):
    check(tiny_model(family))


def test_a_model_without_a_final_norm():
    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        word_embed_proj_dim=8,  # and a projection where others have a norm
        ffn_dim=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        do_layer_norm_before=False,
        init_std=0.5,
    )
    model = OPTForCausalLM(config).double().eval()
    assert model.model.decoder.final_layer_norm is None
    check(model)


def test_the_embedding_layer_goes_through_the_final_norm_and_the_head():
    model = tiny_model("llama")
    states = model.model.norm(model.model.embed_tokens(TOKENS))
    expected = (states @ model.lm_head.weight.T).log_softmax(-1)
    expected = expected[CHOSEN - 1, TOKENS[CHOSEN]].detach().numpy()
    found = layer_logprobs(model, TOKENS, CHOSEN)[0]
    # the family's own norm casts to float32, here outside of full precision
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_lens_is_the_weighted_mean_and_ends_at_the_model_s_own_loss():
    model = tiny_model("gpt2").train()
    sequences = [TOKENS.numpy(), TOKENS.numpy()[:5], TOKENS.numpy()[:3]]
    weights = [np.zeros(8), np.array([0, 0.25, 0, 0.5, 0]), np.zeros(3)]
    weights[0][[2, 7]] = (1.0, 0.25)
    found = logit_lens(model, QuerySet(sequences, weights))
    assert model.training
    model.eval()
    losses = [forward_losses(model, torch.as_tensor(s)[None])[0].detach() for s in sequences]
    own = -sum(float(w @ loss.numpy()) for w, loss in zip(weights, losses, strict=True)) / 2.0
    assert found.shape == (3,)
    assert found[-1] == pytest.approx(own, rel=1e-12)
    doubled = logit_lens(model, QuerySet(sequences, [2 * w for w in weights]))
    np.testing.assert_allclose(doubled, found, rtol=1e-12)
    assert len(find_blocks(model)[-1]._forward_hooks) == 0


def test_what_cannot_be_looked_at_is_refused():
    model = tiny_model("llama")
    with pytest.raises(InputError, match=r"^lens: no token of the queries counts"):
        logit_lens(model, QuerySet([TOKENS.numpy()], [np.zeros(8)]))
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.fill_(float("nan"))
    with pytest.raises(InputError, match="query 0 has a log-probability at layer 2"):
        logit_lens(model, QuerySet([TOKENS.numpy()], [np.ones(8) - np.eye(8)[0]]))
    model.other = nn.ModuleList([nn.Linear(2, 2)])
    with pytest.raises(InputError, match=r"found are: model\.layers, other; use"):
        find_blocks(model)
    with pytest.raises(InputError, match="found are: none; use"):
        find_blocks(nn.Linear(2, 2))
    with pytest.raises(InputError, match=r"^lens.queries: 0 is not in"):
        LensConfig(queries=0)
