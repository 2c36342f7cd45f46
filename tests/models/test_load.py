"""Models from a config or a folder: what they are, and which are refused."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import FAMILIES, tiny_model
from transformers import PreTrainedTokenizerFast

from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.errors import InputError
from ifguide.models.config import ModelConfig
from ifguide.models.load import load_checkpoint, load_model, model_fingerprint
from ifguide.models.model_files import model_files
from ifguide.models.tracked import find_tracked

LLAMA = {"model_type": "llama", **FAMILIES["llama"]}
WEIGHT = "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["a few words to learn from"], 270)


@pytest.fixture
def folder(tmp_path):
    tiny_model(dtype=torch.float32, vocab_size=300).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def made(tokenizer, seed=0, block_length=16, dtype="float32", **scratch):
    config = ModelConfig(scratch={**LLAMA, **scratch}, dtype=dtype)
    return load_model(config, tokenizer, block_length, seed)


def loaded(tokenizer, folder, block_length=16, **settings):
    return load_model(ModelConfig(path=str(folder), **settings), tokenizer, block_length, 0)


def same_weights(first, second):
    pairs = zip(first.named_parameters(), second.named_parameters(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


# from a config


def test_every_family_can_be_made(family, tokenizer):
    config = ModelConfig(scratch={"model_type": family, **FAMILIES[family]})
    model = load_model(config, tokenizer, 16, 0)
    assert model.config.model_type == family
    assert not model.training
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.eos_token_id == model.config.bos_token_id == tokenizer.eos_token_id
    assert find_tracked(model)


def test_the_seed_decides_the_weights(tokenizer):
    model = made(tokenizer, seed=5)
    torch.rand(3)
    assert same_weights(model, made(tokenizer, seed=5))
    assert not same_weights(model, made(tokenizer, seed=6))


def test_a_folder_s_config_may_be_taken_with_random_weights(tokenizer, folder):
    config = ModelConfig(scratch={"config": str(folder), "intermediate_size": 40})
    model, stored = load_model(config, tokenizer, 16, 5), loaded(tokenizer, folder)
    assert model.config.vocab_size == stored.config.vocab_size == 300  # not the tokenizer's
    assert model.config.intermediate_size == 40
    assert model.config.num_key_value_heads == stored.config.num_key_value_heads
    assert model.config.eos_token_id == tokenizer.eos_token_id
    embeddings = [m.get_input_embeddings().weight for m in (model, stored)]
    assert not torch.equal(*embeddings)
    again = ModelConfig(scratch={"config": str(folder), "intermediate_size": 40})
    assert same_weights(model, load_model(again, tokenizer, 16, 5))
    assert model_files(config) == [folder / "config.json"]


@pytest.mark.parametrize(
    ("scratch", "said"),
    [
        ({"config": "x", "model_type": "llama"}, "model_type and config are both set"),
        ({"config": 3}, r"model\.scratch\.config: 3 is no folder and no name"),
    ],
)
def test_a_scratch_of_no_or_two_families_is_refused(scratch, said):
    with pytest.raises(InputError, match=said):
        ModelConfig(scratch=scratch)


def test_a_taken_config_knows_its_own_settings_only(tokenizer, folder, tmp_path):
    for scratch, said in (
        ({"config": str(folder), "n_embd": 8}, r"model\.scratch\.n_embd: llama has no such"),
        ({"config": str(tmp_path / "none")}, r"model\.scratch: no model can be made"),
    ):
        with pytest.raises(InputError, match=said) as refused:
            load_model(ModelConfig(scratch=scratch), tokenizer, 16, 0)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_weights_have_the_type_asked_for(dtype, tokenizer, folder):
    for model in (made(tokenizer, dtype=dtype), loaded(tokenizer, folder, dtype=dtype)):
        assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, dtype)}


def test_settings_of_older_releases_are_understood(tokenizer):
    neox = {"model_type": "gpt_neox", **FAMILIES["gpt_neox"], "rotary_pct": 0.5}
    model = load_model(ModelConfig(scratch=neox), tokenizer, 16, 0)
    assert model.config.rope_parameters["partial_rotary_factor"] == 0.5
    assert made(tokenizer, rope_theta=500.0).config.rope_parameters["rope_theta"] == 500.0


def test_a_vocabulary_may_have_room_to_spare(tokenizer):
    assert made(tokenizer, vocab_size=512).config.vocab_size == 512


# from a folder


def test_a_folder_holds_the_weights_as_they_were(tokenizer, folder):
    model = loaded(tokenizer, folder)
    assert same_weights(model, tiny_model(dtype=torch.float32, vocab_size=300))
    assert not model.training


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_checkpoint_of_ours_keeps_its_type(dtype, tmp_path):
    model = tiny_model(dtype=dtype)
    model.save_pretrained(tmp_path)
    again = load_checkpoint(tmp_path)
    assert same_weights(model, again)
    assert not again.training


def test_the_fingerprint_is_that_of_the_contents(folder):
    config = ModelConfig(path=str(folder))
    before = model_fingerprint(config)
    assert model_fingerprint(config) == before
    tensors = load_file(folder / "model.safetensors")
    tensors[WEIGHT] += 1
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    assert model_fingerprint(config) != before
    assert model_fingerprint(ModelConfig(path="owner/name")) != model_fingerprint(
        ModelConfig(path="owner/name", revision="v2")
    )
    assert model_fingerprint(ModelConfig(scratch=LLAMA)) != model_fingerprint(
        ModelConfig(scratch={**LLAMA, "hidden_size": 32})
    )


# refusals


@pytest.mark.parametrize(
    ("scratch", "said"),
    [
        ({"bogus": 1}, "model.scratch.bogus: llama has no such setting"),
        ({"model_type": "bogus"}, "no bogus can be made of these settings .Unrecognized model"),
        ({"hidden_size": 18}, "no llama can be made of these settings .*multiple of the number"),
        ({"num_hidden_layers": "two"}, "no llama can be made .*expected int, got str"),
        ({"num_attention_heads": 0}, "no llama can be made of these settings .*zero"),
        ({"hidden_act": "bogus"}, "no llama can be made of these settings .KeyError: 'bogus'"),
        ({"vocab_size": 20}, "its vocabulary has 20 entries, the tokenizer 2..; leave out vocab"),
        ({"max_position_embeddings": 8}, "it has 8 positions, corpus.block_length is 16; lower"),
    ],
)
def test_settings_that_make_no_model(scratch, said, tokenizer):
    with pytest.raises(InputError, match=said) as caught:
        made(tokenizer, **scratch)
    assert "\n" not in str(caught.value)


def test_a_vocabulary_smaller_than_the_tokenizer_s(folder):
    larger = PreTrainedTokenizerFast(
        tokenizer_object=train_tokenizer(["the cat sat on the mat"] * 9, 400).backend_tokenizer,
        additional_special_tokens=[f"<{k}>" for k in range(60)],
    )
    with pytest.raises(InputError, match=r"has 300 entries, the tokenizer 3\d\d; use its own tok"):
        loaded(larger, folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite(value, tokenizer, folder):
    tensors = load_file(folder / "model.safetensors")
    tensors[WEIGHT][0, 1] = value
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=f"weight '{WEIGHT}' holds NaN or infinity; use a sound"):
        loaded(tokenizer, folder)


def test_a_weight_that_is_missing(tokenizer, folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors[WEIGHT]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=f"lacks the weight '{WEIGHT}', which would be random"):
        loaded(tokenizer, folder)


def test_a_weight_of_another_shape(tokenizer, folder):
    tensors = load_file(folder / "model.safetensors")
    tensors[WEIGHT] = tensors[WEIGHT][:3].clone()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    said = rf"holds the weight '{WEIGHT}' as \[3, 16\], its config.json says \[16, 16\]; give the"
    with pytest.raises(InputError, match=said):
        loaded(tokenizer, folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "config.json").write_text('{"model_type": "bogus"}'),
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "model.safetensors").write_bytes(b"short"),
    ],
)
def test_a_damaged_folder(damage, tokenizer, folder):
    damage(folder)
    with pytest.raises(InputError, match=r"model.path: '.*': cannot be loaded .*; give a checkp"):
        loaded(tokenizer, folder)


@pytest.mark.parametrize("settings", [{}, {"path": "x", "scratch": LLAMA}])
def test_neither_or_both_of_folder_and_config(settings):
    with pytest.raises(InputError, match=r"set one of path .* and scratch"):
        ModelConfig(**settings)


def test_a_config_without_a_family():
    with pytest.raises(InputError, match=r"model.scratch: model_type is missing; name a family"):
        ModelConfig(scratch={"hidden_size": 8})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("vocab_size", 10**12, "model.scratch.vocab_size: it is above 2147483647; give a smaller"),
        ("vocab_size", 10**400, "model.scratch.vocab_size: it is above"),
        ("num_hidden_layers", 10**6, "model.scratch.num_hidden_layers: it is above 10000; give"),
        ("rms_norm_eps", float("nan"), "model.scratch.rms_norm_eps: nan is not finite; give a"),
        ("rope_parameters", {"rope_theta": float("inf")}, "model.scratch.rope_parameters.rope_th"),
        ("hidden_size", 2**30, "model.scratch: its weights take "),
    ],
)
def test_numbers_that_no_machine_can_hold_are_refused_at_once(tokenizer, name, value, said):
    scratch = {"model_type": "llama", "num_hidden_layers": 1, "num_attention_heads": 2}
    with pytest.raises(InputError) as refused:
        load_model(ModelConfig(scratch={**scratch, name: value}), tokenizer, 16, seed=0)
    assert str(refused.value).startswith(said)
