"""Whatever a library raises at a checkpoint is one line about it, and none asks on the terminal."""

import json
import pickle
import re

import pytest
import torch
from safetensors.torch import save_file
from tiny import tiny_model
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
)

from ifguide.corpus.config import TokenizerConfig
from ifguide.corpus.tokenizers import load_tokenizer, open_tokenizer, train_tokenizer
from ifguide.errors import InputError
from ifguide.evaluation.judges.registry import load_judge
from ifguide.models.config import ModelConfig
from ifguide.models.load import load_checkpoint, load_model
from ifguide.rivals.reward import load_reward, reward_from, save_reward

AUTO = (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
LOADERS = {  # with the setting, or the thing, that each line starts with
    "load_model": (
        lambda f: load_model(ModelConfig(path=str(f / "model")), tokenizer_of(f), 16, 0),
        "model.path: '{0}/model'",
    ),
    "load_checkpoint": (lambda f: load_checkpoint(f / "model"), "{0}/model: the model"),
    "load_tokenizer": (
        lambda f: load_tokenizer(TokenizerConfig(path=str(f / "model"))),
        "tokenizer.path: '{0}/model'",
    ),
    "open_tokenizer": (lambda f: open_tokenizer(f / "model"), "{0}/model: the tokenizer"),
    "hf": (lambda f: load_judge(f"hf:{f}/judge"), "judge 'hf:{0}/judge'"),
    "detoxify": (
        lambda f: load_judge(f"detoxify:{f}/judge/weights.safetensors"),
        "judge 'detoxify:{0}/judge/weights.safetensors'",
    ),
    "load_reward": (lambda f: load_reward(f / "reward"), "reward: {0}/reward"),
}


class OddError(BaseException):
    """As a panic of Rust arrives."""


RAISED = [
    ImportError("no\nsuch module"),
    MemoryError(),
    NotImplementedError("not\x1b[2J here"),
    OSError(5, "an error of the disk"),
    OddError("index 3"),
    RecursionError("too deep"),
    StopIteration(),
    SystemExit(3),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    KeyError("a" * 5000),
    AssertionError(),
]


def tokenizer_of(folder):
    return train_tokenizer(["a few words"], 270)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder of checkpoints that all loaders can load."""
    folder = tmp_path_factory.mktemp("whole")
    model, tokenizer = tiny_model(dtype=torch.float32, vocab_size=300), tokenizer_of(None)
    model.save_pretrained(folder / "model")
    save_reward(reward_from(model, tokenizer), folder / "reward")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(
        **sizes, vocab_size=300, intermediate_size=16, id2label={0: "a", 1: "toxic"}
    )
    judge = BertForSequenceClassification(config)
    judge.save_pretrained(folder / "judge")
    described = {
        "arch": {"args": {"model_type": "x"}},
        "dataset": {"args": {"classes": ["a", "toxic"]}},
    }
    weights = {name: tensor.contiguous() for name, tensor in judge.state_dict().items()}
    held = {"config": json.dumps(described)}
    save_file(weights, folder / "judge" / "weights.safetensors", metadata=held)
    for name in ("model", "judge"):
        tokenizer.save_pretrained(folder / name)
    return folder


@pytest.fixture
def handed(monkeypatch):
    """What the Auto classes are given, a call each; they then do what they do."""
    calls = []

    def watch(kind, name):
        original = getattr(kind, name)

        def call(*args, **kwargs):
            calls.append((f"{kind.__name__}.{name}", kwargs))
            return original(*args, **kwargs)

        monkeypatch.setattr(kind, name, call)

    for kind in AUTO:
        for name in ("from_pretrained", "from_config"):
            if hasattr(kind, name):
                watch(kind, name)
    return calls


@pytest.mark.parametrize("loader", LOADERS)
def test_every_class_is_told_whether_code_may_run(loader, whole, handed):
    load, _ = LOADERS[loader]
    assert load(whole)
    assert handed
    assert [name for name, given in handed if given.get("trust_remote_code") is not False] == []


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("loader", LOADERS)
def test_whatever_is_raised_is_one_line_about_what_was_loaded(loader, error, whole, monkeypatch):
    load, name = LOADERS[loader]
    started = name.format(whole)

    def fail(*args, **kwargs):
        raise error

    for kind in AUTO:
        monkeypatch.setattr(kind, "from_pretrained", fail)
        monkeypatch.setattr(kind, "from_config", fail, raising=False)
    with pytest.raises(InputError) as caught:
        load(whole)
    line = str(caught.value)
    assert line.startswith(started)
    assert re.fullmatch(r"[^\x00-\x1f]{1,1000}; [^\x00-\x1f]+", line)
    assert caught.value.__cause__ is error


class Planted:
    """Runs code when it is unpickled as Python does."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return exec, (f"open({str(self.mark)!r}, 'w').close()",)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


def pickled(mark):
    return pickle.dumps({"model.embed_tokens.weight": Planted(mark)})


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize("content", [pickled, lambda mark: POINTER, lambda mark: b""])
@pytest.mark.parametrize("where", ["model", "judge", "reward"])
def test_what_lies_in_place_of_weights_is_named_and_runs_nothing(
    name, content, where, whole, tmp_path
):
    folder = tmp_path / "at"
    folder.mkdir()
    for file in (whole / where).iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    (folder / name).write_bytes(content(tmp_path / "mark"))
    load, started = {
        "model": (
            lambda: load_model(ModelConfig(path=str(folder)), tokenizer_of(None), 16, 0),
            f"model.path: '{folder}'",
        ),
        "judge": (lambda: load_judge(f"hf:{folder}"), f"judge 'hf:{folder}'"),
        "reward": (lambda: load_reward(folder), f"reward: {folder}"),
    }[where]
    with pytest.raises(InputError, match=rf"^{re.escape(started)}.*cannot be loaded.*; "):
        load()
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("content", [POINTER, b"", b"{", b"[]", b'{"model": {"type": "New"}}'])
@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_what_lies_in_place_of_a_tokenizer_is_named(name, content, whole, tmp_path):
    folder = tmp_path / "at"
    folder.mkdir()
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).write_bytes((whole / "model" / file).read_bytes())
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"^tokenizer.path: '{re.escape(str(folder))}'.*; "):
        load_tokenizer(TokenizerConfig(path=str(folder)))
