"""Code that comes with a checkpoint or a tokenizer runs where it is trusted, and nowhere else."""

import ast
import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny import tiny_model
from transformers import dynamic_module_utils

import ifguide
from ifguide.corpus.config import TokenizerConfig
from ifguide.corpus.tokenizers import load_tokenizer, open_tokenizer, train_tokenizer
from ifguide.errors import InputError
from ifguide.models.config import ModelConfig
from ifguide.models.load import load_checkpoint, load_model

pytestmark = pytest.mark.usefixtures("terminal")

CODE = """
from pathlib import Path

from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

Path({mark!r}).write_text("ran")


class OwnConfig(LlamaConfig):
    model_type = "own"


class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig


class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""
OWN = {
    "AutoConfig": "own.OwnConfig",
    "AutoModelForCausalLM": "own.OwnModel",
    "AutoTokenizer": [None, "own.OwnTokenizer"],
}
LOADERS = {
    "load_model": lambda folder, trust: load_model(
        ModelConfig(path=str(folder), trust_remote_code=trust),
        train_tokenizer(["words"], 270),
        16,
        0,
    ),
    "load_checkpoint": lambda folder, trust: load_checkpoint(folder, trust_remote_code=trust),
    "load_tokenizer": lambda folder, trust: load_tokenizer(
        TokenizerConfig(path=str(folder), trust_remote_code=trust)
    ),
    "open_tokenizer": lambda folder, trust: open_tokenizer(folder, trust_remote_code=trust),
}


@pytest.fixture
def mark(tmp_path):
    """Is written when the folder's code runs."""
    return tmp_path / "mark"


@pytest.fixture
def folder(tmp_path, mark, monkeypatch):
    """A checkpoint and a tokenizer that need code of their own."""
    folder = tmp_path / "own"
    tiny_model(dtype=torch.float32, vocab_size=300).save_pretrained(folder)
    train_tokenizer(["words"], 270).save_pretrained(folder)
    (folder / "own.py").write_text(CODE.format(mark=str(mark)))
    for name, changes in {
        "config.json": {"model_type": "own", "auto_map": OWN},
        "tokenizer_config.json": {"tokenizer_class": "OwnTokenizer", "auto_map": OWN},
    }.items():
        held = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**held, **changes}))
    modules = tmp_path / "modules"
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(modules))
    monkeypatch.syspath_prepend(str(modules))
    yield folder
    shutil.rmtree(modules, ignore_errors=True)


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_code_of_a_folder_does_not_run(load, folder, mark):
    with pytest.raises(InputError, match=r"comes with code of its own; read it, and .* to run it"):
        load(folder, False)
    assert not mark.exists()


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_code_that_is_trusted_runs(load, folder, mark):
    load(folder, True)
    assert mark.read_text() == "ran"


def calls_of_auto_classes():
    for file in sorted(Path(ifguide.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("from_pretrained", "from_config")
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id.startswith("Auto")
            ):
                yield f"{file.name}:{node.lineno}", {keyword.arg for keyword in node.keywords}


def test_every_call_says_whether_code_is_trusted():
    calls = dict(calls_of_auto_classes())
    assert len(calls) > 8
    assert [place for place, given in calls.items() if "trust_remote_code" not in given] == []
