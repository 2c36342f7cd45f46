"""Quantised checkpoints: an adapter over them learns, their own weights are refused in a line."""

import json
import re

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny import tiny_model
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.errors import InputError
from ifguide.influence.config import CurvatureConfig, ScoreConfig
from ifguide.influence.trial import try_out
from ifguide.models.config import ModelConfig
from ifguide.models.load import load_checkpoint, load_model
from ifguide.models.quantised import is_quantised
from ifguide.models.tracked import find_tracked

FURTHER = {"bitsandbytes_4bit": {"load_in_4bit": True}, "bitsandbytes_8bit": {"load_in_8bit": True}}
NO_PACKAGE = "gguf"  # transformers takes plain weights for it, and calls them quantised


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["a few words"], 270)


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "base"
    tiny_model(dtype=torch.float32, vocab_size=300).save_pretrained(folder)
    return folder


@pytest.fixture
def adapter(base, tmp_path):
    """The folder of an adapter over the base."""
    lora = LoraConfig(r=3, target_modules=["q_proj", "up_proj"], init_lora_weights=False)
    model = get_peft_model(tiny_model(dtype=torch.float32, vocab_size=300), lora)
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def quantise(folder, method):
    """Say in its config that a checkpoint is quantised."""
    held = json.loads((folder / "config.json").read_text())
    said = {"quant_method": method, **FURTHER.get(method, {})}
    (folder / "config.json").write_text(json.dumps({**held, "quantization_config": said}))


def loaded(tokenizer, folder, dtype="float32"):
    return load_model(ModelConfig(path=str(folder), dtype=dtype), tokenizer, 16, 0)


@pytest.mark.parametrize("method", AUTO_QUANTIZATION_CONFIG_MAPPING)
def test_every_method_gives_a_model_that_learns_and_is_saved_or_one_line(
    method, base, tokenizer, tmp_path
):
    quantise(base, method)
    said, model = "", None
    try:
        model = loaded(tokenizer, base)
    except InputError as error:
        said = str(error)
    if model is None:
        assert re.fullmatch(f"model.path: '{re.escape(str(base))}'.+; .+", said)
    else:
        assert find_tracked(model)
        model.save_pretrained(tmp_path / "again")
        assert load_checkpoint(tmp_path / "again")


def test_quantised_weights_of_their_own_are_refused_with_what_works(base, tokenizer):
    quantise(base, NO_PACKAGE)
    with pytest.raises(InputError, match=r"weights are quantised \(gguf\) and cannot be trained; "):
        loaded(tokenizer, base)


def test_what_needs_a_package_says_so(base, tokenizer, adapter):
    quantise(base, "awq")
    for folder in (base, adapter):
        with pytest.raises(InputError, match=r"\(.*requires.*\); it is quantised: install what"):
            loaded(tokenizer, folder)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_adapter_over_quantised_weights_learns(dtype, base, adapter, tokenizer, tmp_path):
    quantise(base, NO_PACKAGE)
    model = loaded(tokenizer, adapter, dtype)
    assert is_quantised(model)
    assert all("lora_" in weight.name for weight in find_tracked(model))
    for engine in ("difference", "jvp", "position"):
        try_out(model, CurvatureConfig(), ScoreConfig(engine=engine))
    model.save_pretrained(tmp_path / "again")
    assert {file.name for file in (tmp_path / "again").glob("*.safetensors")} == {
        "adapter_model.safetensors"
    }
    assert find_tracked(load_checkpoint(tmp_path / "again"))


@pytest.mark.parametrize("bits", ["load_in_4bit", "load_in_8bit"])
def test_an_adapter_over_bitsandbytes_learns(bits, tokenizer, tmp_path):
    pytest.importorskip("bitsandbytes")
    size = {"hidden_size": 64, "head_dim": 16, "intermediate_size": 64}  # its kernels want 64
    tiny_model(dtype=torch.float32, vocab_size=300, **size).save_pretrained(tmp_path / "plain")
    config = BitsAndBytesConfig(**{bits: True}, bnb_4bit_compute_dtype=torch.float32)
    quantised = AutoModelForCausalLM.from_pretrained(
        tmp_path / "plain", quantization_config=config, dtype=torch.float32
    )
    quantised.save_pretrained(tmp_path / "base")
    lora = LoraConfig(r=3, target_modules=["q_proj", "up_proj"], init_lora_weights=False)
    adapted = get_peft_model(quantised, lora)
    adapted.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    adapted.save_pretrained(tmp_path / "adapter")
    model = loaded(tokenizer, tmp_path / "adapter")
    assert is_quantised(model)
    for scores in (ScoreConfig(engine="difference", step=0.01), ScoreConfig(engine="position")):
        try_out(model, CurvatureConfig(), scores)
