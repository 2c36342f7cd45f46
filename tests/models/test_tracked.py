import pytest
import torch
from tiny import FAMILIES, tiny_model
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
)

from ifguide.errors import InputError
from ifguide.models.hooks import observed
from ifguide.models.losses import forward_losses
from ifguide.models.precision import full_precision
from ifguide.models.tracked import find_tracked


def test_every_family_tracks_its_projections_and_nothing_else(family):
    model = tiny_model(family)
    tracked = find_tracked(model)
    outside = {id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)}
    assert all(id(w.parameter) not in outside and w.parameter.ndim == 2 for w in tracked)
    # Each of the two layers has attention and MLP maps, and the same ones.
    first = [w.name.split(".0.", 1)[1] for w in tracked if ".0." in w.name]
    second = [w.name.split(".1.", 1)[1] for w in tracked if ".1." in w.name]
    assert first == second
    assert len(first) >= 4
    inside = sum(
        p.numel()
        for name, p in model.named_parameters()
        if p.ndim == 2 and (".0." in name or ".1." in name)
    )
    assert sum(w.parameter.numel() for w in tracked) == inside


def test_orientation_of_conv1d_and_linear():
    for family in ("gpt2", "llama"):
        for weight in find_tracked(tiny_model(family)):
            width = weight.matrix.shape[1]
            x = torch.randn(1, 3, width, dtype=torch.float64)
            bias = getattr(weight.module, "bias", None)
            expected = weight.module(x) - (0 if bias is None else bias)
            torch.testing.assert_close(x @ weight.matrix.T, expected)


def test_observed_activations_and_gradients_make_the_weight_gradient(family):
    model = tiny_model(family)
    tracked = find_tracked(model)
    tokens = torch.randint(1, 61, (3, 9))
    gradients = torch.autograd.grad(
        forward_losses(model, tokens).sum(), [w.parameter for w in tracked]
    )
    seen = {}

    def consume(weight, activation, output_gradient):
        seen[weight.name] = torch.einsum("bto,bti->oi", output_gradient, activation)

    with observed(model, tracked, consume):
        forward_losses(model, tokens).sum().backward()
    for weight, gradient in zip(tracked, gradients, strict=True):
        torch.testing.assert_close(seen[weight.name], weight.oriented(gradient))
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_outputs_changed_in_place_are_observed_as_they_left_the_weight():
    model = tiny_model("olmo", clip_qkv=0.2)
    tracked = find_tracked(model)
    tokens = torch.randint(1, 61, (3, 9))
    losses = forward_losses(model, tokens).sum()
    expected = torch.autograd.grad(losses, [w.parameter for w in tracked])
    seen = {}

    def consume(weight, activation, output_gradient):
        seen[weight.name] = torch.einsum("bto,bti->oi", output_gradient, activation)

    with observed(model, tracked, consume):
        forward_losses(model, tokens).sum().backward()
    for weight, gradient in zip(tracked, expected, strict=True):
        torch.testing.assert_close(seen[weight.name], gradient)


def test_token_losses_are_the_models_own(family):
    model = tiny_model(family, torch.float32)
    tokens = torch.randint(1, 61, (2, 9))
    losses = forward_losses(model, tokens)
    assert (losses[:, 0] == 0).all()
    own = model(input_ids=tokens, labels=tokens).loss
    torch.testing.assert_close(losses[:, 1:].mean(), own)


def test_right_padding_changes_no_earlier_loss(family):
    model = tiny_model(family)
    tokens = torch.randint(1, 61, (2, 9))
    padded = torch.nn.functional.pad(tokens, (0, 4))
    torch.testing.assert_close(
        forward_losses(model, padded)[:, :9], forward_losses(model, tokens), rtol=1e-10, atol=1e-12
    )


def test_frozen_weights_are_not_tracked():
    model = tiny_model("llama")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("q_proj" in name)
    assert [w.name for w in find_tracked(model)] == [
        "model.layers.0.self_attn.q_proj",
        "model.layers.1.self_attn.q_proj",
    ]


def test_a_shared_weight_is_refused():
    model = tiny_model("llama")
    model.model.layers[1].mlp.up_proj.weight = model.model.layers[0].mlp.up_proj.weight
    with pytest.raises(InputError, match="shared between modules"):
        find_tracked(model)


def test_fused_experts_are_refused():
    config = AutoConfig.for_model(
        "mixtral",
        vocab_size=61,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=2,
    )
    with pytest.raises(InputError, match="mixture-of-experts"):
        find_tracked(AutoModelForCausalLM.from_config(config))


def test_a_model_without_blocks_is_refused():
    with pytest.raises(InputError, match="no weight can be tracked"):
        find_tracked(nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5)))


def test_full_precision_keeps_float64_where_the_family_casts_down():
    model = tiny_model("llama")
    norm = model.model.layers[0].input_layernorm
    x = torch.randn(2, 16, dtype=torch.float64)
    root = (x.square().mean(-1, keepdim=True) + norm.variance_epsilon).rsqrt()
    with full_precision(model):
        exact = norm(x)
    torch.testing.assert_close(exact, norm.weight * x * root, rtol=1e-14, atol=1e-15)
    assert not torch.allclose(norm(x), exact, rtol=1e-10, atol=0)


def vision_language_model():
    """A Gemma 3 that reads images too: its tower has linear maps in blocks of its own."""
    text = {**FAMILIES["gemma3_text"], "vocab_size": 61, "pad_token_id": 0}
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = Gemma3Config(
        text_config=text,
        vision_config=vision,
        image_token_index=60,
        boi_token_index=59,
        eoi_token_index=58,
        mm_tokens_per_image=4,
    )
    torch.manual_seed(0)
    return Gemma3ForConditionalGeneration(config).double().eval()


def test_weights_that_text_never_reaches_are_not_tracked_and_said_once(caplog):
    model = vision_language_model()
    names = [w.name for w in find_tracked(model)]
    find_tracked(model)
    assert len(names) == 14
    assert all("language_model.layers" in name for name in names)
    (record,) = caplog.records
    assert record.getMessage().startswith("model: text does not reach 6 weights ('model.vision")
    losses = forward_losses(model, torch.randint(1, 50, (2, 9))).sum()
    torch.autograd.grad(losses, [w.parameter for w in find_tracked(model)])


def test_the_cross_attention_of_a_decoder_without_an_encoder_is_not_tracked():
    config = AutoConfig.for_model(
        "bart",
        vocab_size=61,
        d_model=16,
        decoder_layers=2,
        decoder_attention_heads=4,
        decoder_ffn_dim=16,
        is_decoder=True,
        is_encoder_decoder=False,
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    names = [w.name for w in find_tracked(model)]
    assert len(names) == 2 * 6
    assert not any("encoder_attn" in name for name in names)


class Experts(nn.Module):
    """Two experts, of which a token has one: the first where its first feature is positive."""

    def __init__(self, width):
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(width, width) for _ in range(2))

    def forward(self, x):
        y = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            chosen = (x[..., 0] > 0) == (number == 0)
            if chosen.any():
                y[chosen] = expert(x[chosen])
        return y


def test_an_expert_that_two_tokens_do_not_reach_is_tracked():
    model = tiny_model("llama", torch.float32)
    for layer in model.model.layers:
        layer.mlp = Experts(16)
    names = [w.name for w in find_tracked(model)]
    assert sum("experts" in name for name in names) == 4


def test_a_linear_map_of_rows_is_told_apart_by_block():
    """OPT's MLP sees [B * T, width]."""
    model = tiny_model("opt")
    tracked = find_tracked(model)
    tokens = torch.randint(1, 61, (3, 9))
    seen = {}

    def consume(weight, activation, output_gradient):
        assert activation.shape[:2] == output_gradient.shape[:2] == (3, 9)
        seen[weight.name] = torch.einsum("bto,bti->boi", output_gradient, activation)

    with observed(model, tracked, consume):
        forward_losses(model, tokens).sum().backward()
    assert any("fc1" in name for name in seen)
    for number, block in enumerate(tokens):
        losses = forward_losses(model, block[None]).sum()
        expected = torch.autograd.grad(losses, [w.parameter for w in tracked])
        for weight, gradient in zip(tracked, expected, strict=True):
            torch.testing.assert_close(seen[weight.name][number], gradient)
