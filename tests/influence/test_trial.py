"""What a model cannot do is said before any training, with what would work."""

import pytest
import torch
from tiny import FAMILIES, OTHER_FAMILIES, tiny_model
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from ifguide.errors import InputError
from ifguide.influence.config import CurvatureConfig, ScoreConfig
from ifguide.influence.trial import try_out, try_saving

EXPERTS = {"gpt_oss", "mamba"}  # weights of three dimensions
BIDIRECTIONAL = {
    "bert": {},
    "roberta": {},
    "electra": {"embedding_size": 16},
    "xlm": {"emb_dim": 16, "n_layers": 2, "n_heads": 4},
}


@pytest.mark.parametrize("engine", ["jvp", "position", "difference"])
@pytest.mark.parametrize("family", sorted({*FAMILIES, *OTHER_FAMILIES} - EXPERTS - {"bloom"}))
def test_what_works_passes_and_changes_nothing(family, engine):
    model = tiny_model(family, torch.float32)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    random = torch.get_rng_state()
    try_out(model.train(), CurvatureConfig(), ScoreConfig(engine=engine))
    assert model.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("engine", ["jvp", "difference"])
def test_an_engine_that_a_family_lacks_is_refused_with_those_that_work(engine):
    model = tiny_model("bloom", torch.float32)
    with pytest.raises(
        InputError, match=rf"^scores\.engine: {engine} does not work .*jvp"
    ) as caught:
        try_out(model, CurvatureConfig(), ScoreConfig(engine=engine))
    assert str(caught.value).endswith(
        "set scores.engine to position, or to difference with scores.step: 0.01"
    )
    for works in (ScoreConfig(engine="position"), ScoreConfig(engine="difference", step=0.01)):
        try_out(model, CurvatureConfig(), works)
    try_out(model, CurvatureConfig())  # no engine is asked for


@pytest.mark.parametrize("family", sorted(EXPERTS))
def test_weights_that_cannot_be_tracked_are_refused(family):
    with pytest.raises(InputError, match="are not supported; use a dense model"):
        try_out(tiny_model(family, torch.float32))


@pytest.mark.parametrize("family", sorted(BIDIRECTIONAL))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_sees_later_tokens_is_refused(family, dtype):
    small = {"vocab_size": 61, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
    settings = {**small, "intermediate_size": 16, **BIDIRECTIONAL[family]}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **settings)).to(dtype)
    with pytest.raises(InputError, match=r"^model: another last token changes .* no causal"):
        try_out(model)


def test_a_model_that_does_not_run_is_refused():
    model = tiny_model("llama")

    def broken(*args, **kwargs):
        raise ZeroDivisionError("by\nzero")

    model.model.norm.forward = broken
    with pytest.raises(InputError, match=r"^model: it does not run on text: by; use another"):
        try_out(model)


class Wrong(torch.autograd.Function):
    """Twice a tensor, whose derivative by forward mode is said to be -5."""

    generate_vmap_rule = False

    @staticmethod
    def forward(x):
        return x * 2

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2

    @staticmethod
    def jvp(ctx, moved):
        return moved * -5


def test_an_engine_whose_derivatives_are_wrong_is_refused():
    model = tiny_model("llama", torch.float32)
    last = model.model.layers[-1].mlp
    forward = last.forward
    last.forward = lambda x: Wrong.apply(forward(x))
    with pytest.raises(InputError, match=r"jvp does not work .* not those of the backward pass"):
        try_out(model, CurvatureConfig(), ScoreConfig())
    try_out(model, CurvatureConfig(), ScoreConfig(engine="position"))


class Mixed(nn.Module):
    """A linear map of tokens in another order than the model's."""

    def __init__(self, linear):
        super().__init__()
        self.linear = linear

    def forward(self, x):
        rows = x.transpose(0, 1).reshape(-1, x.shape[-1])
        return self.linear(rows).unflatten(0, (x.shape[1], x.shape[0])).transpose(0, 1)


def test_rows_of_another_order_are_refused():
    model = tiny_model("llama", torch.float32)
    model.model.layers[0].mlp.up_proj = Mixed(model.model.layers[0].mlp.up_proj)
    with pytest.raises(InputError, match=r"^curvature\.kind: ekfac .* not told apart by block"):
        try_out(model, CurvatureConfig(), ScoreConfig())


@pytest.mark.parametrize("family", sorted({*FAMILIES, *OTHER_FAMILIES}))
def test_a_family_that_comes_back_as_it_was_passes_and_changes_nothing(family):
    model = tiny_model(family, torch.float32)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    random = torch.get_rng_state()
    try_saving(model.train())
    assert model.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_a_family_that_comes_back_as_another_model_is_refused():
    """Youtu loads the embedding, which is the head too, with a row of zeros for its padding."""
    sizes = {"vocab_size": 61, "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    ranks = {"kv_lora_rank": 8, "q_lora_rank": 8, "v_head_dim": 8}
    widths = {"qk_rope_head_dim": 8, "qk_nope_head_dim": 8}
    config = AutoConfig.for_model("youtu", pad_token_id=3, **sizes, **heads, **ranks, **widths)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(
        InputError, match=r"^model: saved and loaded again it is another model; use"
    ):
        try_saving(model)


def test_what_cannot_be_saved_is_refused_before_any_training(monkeypatch):
    model = tiny_model("llama", torch.float32)

    def fail(self, folder):
        raise TypeError("not serializable")

    monkeypatch.setattr(type(model), "save_pretrained", fail)
    with pytest.raises(InputError, match=r"^model: it cannot be saved and loaded again \(not seri"):
        try_saving(model)


def test_what_is_too_large_to_be_tried_in_seconds_is_not(monkeypatch):
    monkeypatch.setattr("ifguide.influence.trial.SAVED", 1000)
    model = tiny_model("llama", torch.float32)
    monkeypatch.setattr(type(model), "save_pretrained", lambda *_: pytest.fail("it was saved"))
    try_saving(model)
