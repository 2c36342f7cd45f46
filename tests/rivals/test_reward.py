"""Reward models: what they compute, and checkpoints of both layouts."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_model
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.errors import InputError
from ifguide.rivals.reward import load_reward, reward_from, save_reward


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["You are a silly goose, said the fox."] * 9, 300)


def random_reward(tokenizer, family="gpt_neox", dtype=torch.float32):
    reward = reward_from(tiny_model(family, dtype, vocab_size=len(tokenizer)), tokenizer)
    torch.manual_seed(1)
    torch.nn.init.normal_(reward.head.weight)
    torch.nn.init.constant_(reward.head.bias, 0.3)
    return reward.eval()


def test_a_figure_a_token_from_the_last_hidden_states(tokenizer, family):
    model = tiny_model(family, torch.float64, vocab_size=len(tokenizer))
    reward = reward_from(model, tokenizer)
    tokens = torch.randint(0, 200, (3, 9))
    assert torch.equal(reward(tokens), torch.zeros(3, 9, dtype=torch.float64))
    torch.nn.init.normal_(reward.head.weight)
    states = model(tokens, output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(reward(tokens), states @ reward.head.weight[0] + reward.head.bias)
    with torch.no_grad():  # the language model keeps its own weights
        next(reward.backbone.parameters()).zero_()
    assert model.get_input_embeddings().weight.abs().sum() > 0


def test_later_tokens_change_no_earlier_figure(tokenizer):
    reward = random_reward(tokenizer, dtype=torch.float64)
    tokens = torch.randint(0, 200, (2, 12))
    torch.testing.assert_close(reward(tokens)[:, :7], reward(tokens[:, :7]))


def test_saved_and_loaded_it_is_the_same(tokenizer, family, tmp_path):
    reward = random_reward(tokenizer, family)
    save_reward(reward, tmp_path / "reward")
    loaded = load_reward(str(tmp_path / "reward"))
    tokens = torch.randint(0, 200, (2, 8))
    assert torch.equal(loaded(tokens), reward(tokens))
    assert loaded.starts
    assert not loaded.training
    assert loaded.tokenizer.get_vocab() == tokenizer.get_vocab()


class Released(torch.nn.Module):
    """The authors' module: a GPT-2 under ``model`` whose head gives seven figures."""

    def __init__(self, config, figures=7):
        super().__init__()
        self.model = GPT2LMHeadModel(config)
        self.model.lm_head = torch.nn.Linear(config.n_embd, figures)


def released(tokenizer, folder, width=64, heads=1, config=False, old=False, name="bin"):
    """Write a checkpoint of their layout and return the module."""
    torch.manual_seed(2)
    sizes = {"n_embd": width, "n_head": heads, "n_layer": 3, "n_positions": 40}
    settings = GPT2Config(vocab_size=len(tokenizer), initializer_range=0.3, **sizes)
    module = Released(settings).eval()
    weights = dict(module.state_dict())
    if old:
        for layer in range(3):
            weights[f"model.transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, 40, 40).bool()
            weights[f"model.transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    folder.mkdir(exist_ok=True)
    if name == "bin":
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        save_file(weights, folder / "model.safetensors")
    tokenizer.save_pretrained(folder)
    if config:
        settings.save_pretrained(folder)
    return module


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"width": 128, "heads": 2, "old": True},
        {"width": 24, "heads": 3, "config": True},
        {"name": "safetensors"},
    ],
)
def test_the_authors_layout(tokenizer, tmp_path, layout):
    module = released(tokenizer, tmp_path / "rad", **layout)
    reward = load_reward(tmp_path / "rad")
    tokens = torch.randint(0, 200, (2, 11))
    with torch.no_grad():
        torch.testing.assert_close(reward(tokens), module.model(tokens).logits[..., 0])
    assert not reward.starts
    save_reward(reward, tmp_path / "ours")
    again = load_reward(tmp_path / "ours")
    assert torch.equal(again(tokens), reward(tokens))
    assert not again.starts


def test_what_is_no_reward_model_is_refused(tokenizer, tmp_path):
    def refused(said, place=tmp_path / "rad"):
        with pytest.raises(InputError, match=said) as error:
            load_reward(place)
        assert "\n" not in str(error.value)

    refused("holds neither model.safetensors nor pytorch_model.bin", tmp_path / "nowhere")
    released(tokenizer, tmp_path / "rad", width=24, heads=3)
    refused("a width of 24 is no GPT-2's; put the model's config.json")
    released(tokenizer, tmp_path / "rad")
    weights = torch.load(tmp_path / "rad" / "pytorch_model.bin", weights_only=True)
    del weights["model.transformer.h.1.ln_1.weight"]
    torch.save(weights, tmp_path / "rad" / "pytorch_model.bin")
    refused("cannot be loaded")
    (tmp_path / "rad" / "pytorch_model.bin").write_bytes(b"not a checkpoint")
    refused("cannot be loaded")
    torch.save([1, 2], tmp_path / "rad" / "pytorch_model.bin")
    refused("holds no tensors by name")
    released(tokenizer, tmp_path / "rad")
    for file in (tmp_path / "rad").glob("tokenizer*"):
        file.unlink()
    refused("holds no tokenizer")


def test_hostile_pickles_are_not_run(tokenizer, tmp_path):
    class Hostile:
        def __reduce__(self):
            return (shutil.rmtree, (str(tmp_path / "precious"),))

    (tmp_path / "precious").mkdir()
    released(tokenizer, tmp_path / "rad")
    torch.save({"model.lm_head.weight": Hostile()}, tmp_path / "rad" / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_reward(tmp_path / "rad")
    assert (tmp_path / "precious").exists()


def test_a_saved_folder_that_was_spoilt_is_refused(tokenizer, tmp_path):
    save_reward(random_reward(tokenizer), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    spoilt = weights | {"head.bias": torch.tensor([torch.nan])}
    save_file(spoilt, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"weight 'head\.bias' in .* is not finite"):
        load_reward(tmp_path)
    del spoilt["head.bias"]
    save_file(spoilt, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_reward(tmp_path)
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "reward.json").write_text(json.dumps({}))
    with pytest.raises(InputError, match=r"cannot be loaded \(KeyError: 'starts'\)"):
        load_reward(tmp_path)


@pytest.mark.parametrize("family", ["bart", "marian", "pegasus"])
def test_a_decoder_cut_out_of_a_pair_makes_no_reward_model(tokenizer, family):
    small = {"d_model": 16, "decoder_layers": 1, "decoder_attention_heads": 2}
    ids = {"pad_token_id": 0, "decoder_start_token_id": 0, "is_encoder_decoder": False}
    config = AutoConfig.for_model(family, vocab_size=300, decoder_ffn_dim=16, **small, **ids)
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(InputError, match=r"^reward: no reward model can be made of \w+CausalLM, "):
        reward_from(model, tokenizer)


def test_a_family_whose_base_model_is_the_whole_makes_no_reward_model(tokenizer):
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 8}
    wide = {"intermediate_size": 16, "intermediate_size_mlp": 16, "num_key_value_heads": 2}
    config = AutoConfig.for_model("llama4_text", vocab_size=300, **small, **wide)
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(InputError, match=r"^reward: no reward model .* gives no states; use a lan"):
        reward_from(model, tokenizer)
