"""A model whose generation is not what it says of whole texts is refused before any training."""

import pytest
import torch
from micro import write_settings
from tiny import FAMILIES, OTHER_FAMILIES, tiny_model
from transformers import AutoConfig, AutoModelForCausalLM

from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.errors import InputError
from ifguide.evaluation.generate import longest_text
from ifguide.evaluation.trial import try_generation

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
WINDOWED = {**SMALL, "sliding_window": 8, "max_position_embeddings": 32, "num_key_value_heads": 4}
WRONG = {
    "moshi": {**WINDOWED, "head_dim": 4, "ffn_dim": 24, "num_codebooks": 1},  # beyond its window
    "prophetnet": {"hidden_size": 16, "num_decoder_layers": 2, "num_decoder_attention_heads": 4},
    "xlnet": {"d_model": 16, "n_layer": 2, "n_head": 4, "d_inner": 16},  # reads both ways
}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["a few words"], 270)


def made(family, **settings):
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, vocab_size=300, pad_token_id=0, **settings)
    model = AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("family", sorted({*FAMILIES, *OTHER_FAMILIES}))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_right_passes_and_changes_nothing(family, dtype, tokenizer):
    model = tiny_model(family, dtype, vocab_size=300).train()
    before, random = model.generation_config, torch.get_rng_state()
    try_generation(model, tokenizer, 24)
    assert model.training
    assert model.generation_config is before
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("family", WRONG)
def test_what_is_wrong_is_refused(family, tokenizer):
    with pytest.raises(InputError, match=r"^model: what it generates step by step is not what"):
        try_generation(made(family, **WRONG[family]), tokenizer, 24)


def test_a_text_within_the_window_is_as_right_as_it_is(tokenizer):
    try_generation(made("moshi", **WRONG["moshi"]), tokenizer, 8)


def test_a_model_that_cannot_generate_is_refused(tokenizer):
    model = tiny_model(dtype=torch.float32, vocab_size=300)
    model.prepare_inputs_for_generation = None
    with pytest.raises(InputError, match=r"^model: it does not generate text: .*; use another"):
        try_generation(model, tokenizer, 24)


def test_the_longest_text_is_the_longest_prompt_with_its_start_and_what_is_new(tokenizer):
    model = tiny_model(dtype=torch.float32, vocab_size=300)  # of 32 positions
    assert longest_text(model, tokenizer, ["a", "abcd"], 5) == 1 + len(tokenizer("abcd")[0]) + 5
    assert longest_text(model, tokenizer, ["abcd" * 90], 5) == 32


def test_it_is_tried_before_any_training(tmp_path, refused):
    scratch = {"model_type": "moshi", **WRONG["moshi"], "max_position_embeddings": 64}
    config = write_settings(tmp_path, model__scratch=scratch)
    assert refused("run", config, "--out", tmp_path / "out", "--quiet").startswith(
        "model: what it generates step by step is not what it says of whole texts"
    )
    assert not (tmp_path / "out" / "baseline").exists()
