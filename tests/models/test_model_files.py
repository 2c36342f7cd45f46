"""The files that decide a model, listed without loading it."""

import json

import pytest
import torch
from reads import files_opened_below
from tiny import FAMILIES, tiny_model

from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.errors import InputError
from ifguide.models.config import ModelConfig
from ifguide.models.load import load_model
from ifguide.models.model_files import model_files


def names(folder, **settings):
    return [file.name for file in model_files(ModelConfig(path=str(folder), **settings))]


@pytest.fixture
def folder(tmp_path):
    model = tiny_model(dtype=torch.float32, vocab_size=300)
    model.save_pretrained(tmp_path / "model", max_shard_size="20KB")
    return tmp_path / "model"


def test_all_shards_and_settings_of_a_checkpoint(folder):
    (folder / "README.md").write_text("words")
    (folder / "checkpoint-3").mkdir()
    (folder / "checkpoint-3" / "config.json").write_text("{}")
    found = names(folder)
    shards = sorted(file.name for file in folder.glob("*.safetensors"))
    assert len(shards) > 1
    others = ["config.json", "generation_config.json", "model.safetensors.index.json"]
    assert found == sorted([*shards, *others])


def test_loading_opens_no_file_that_is_not_listed(folder):
    tokenizer = train_tokenizer(["a few words"], 270)
    config = ModelConfig(path=str(folder))
    with files_opened_below(folder) as opened:
        load_model(config, tokenizer, 16, 0)
    assert opened
    assert opened <= set(model_files(config))


@pytest.mark.parametrize("trust", [False, True])
def test_code_counts(folder, trust):
    """It decides what is refused where it is not trusted, and what is run where it is."""
    (folder / "modeling_own.py").write_text("")
    assert "modeling_own.py" in names(folder, trust_remote_code=trust)


def test_an_adapter_s_base_counts(folder, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    described = adapter / "adapter_config.json"
    described.write_text(json.dumps({"base_model_name_or_path": str(folder)}))
    assert names(adapter) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        *names(folder),
    ]
    described.write_text(json.dumps({"base_model_name_or_path": "owner/name"}))
    assert names(adapter) == ["adapter_config.json", "adapter_model.safetensors"]
    described.write_text("{")
    with pytest.raises(InputError, match=r"adapter_config\.json: cannot be read"):
        names(adapter)


def test_models_that_lie_in_no_folder_have_no_files():
    assert names("owner/name") == []
    assert model_files(ModelConfig(scratch={"model_type": "llama", **FAMILIES["llama"]})) == []
