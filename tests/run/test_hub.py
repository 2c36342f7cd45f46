"""What settings name on the hub is known by its commit, and that commit is what is loaded."""

import micro
import pytest
import torch
from tiny import tiny_model
from transformers import AutoModelForCausalLM

from ifguide.corpus.config import TokenizerConfig
from ifguide.corpus.tokenizers import load_tokenizer, train_tokenizer
from ifguide.models.config import ModelConfig
from ifguide.models.load import load_model
from ifguide.run.outside import CHECKPOINT, TOKENIZER
from ifguide.settings.reader import read_config

COMMITS = ("a" * 40, "b" * 40)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The hub's cache of own/er: two commits of a model and its tokenizer, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    held = tmp_path / "models--own--er"
    for size, commit in zip((260, 264), COMMITS, strict=True):
        tokenizer = train_tokenizer(["a word and another one, and more words of another"], size)
        tokenizer.save_pretrained(held / "snapshots" / commit)
        model = tiny_model("llama", torch.float32, vocab_size=size)
        model.save_pretrained(held / "snapshots" / commit)
    (held / "refs").mkdir()
    return held / "refs"


def known(folder, **model):
    config = read_config(
        micro.write_settings(
            folder, model={"path": "own/er", **model}, tokenizer={"path": "own/er"}
        )
    )
    return CHECKPOINT.known_by(config), TOKENIZER.known_by(config)


def test_a_name_is_known_by_the_commit_that_is_loaded(cache, tmp_path):
    for size, commit in zip((260, 264), COMMITS, strict=True):
        (cache / "main").write_text(commit)
        assert known(tmp_path) == (f"own/er {commit}", f"own/er {commit}")
        tokenizer = load_tokenizer(TokenizerConfig(path="own/er"))
        model = load_model(ModelConfig(path="own/er"), tokenizer, 8, 0)
        assert len(tokenizer) == model.config.vocab_size == size


def test_a_revision_is_known_by_its_own_commit(cache, tmp_path):
    (cache / "main").write_text(COMMITS[0])
    (cache / "v2").write_text(COMMITS[1])
    assert known(tmp_path, revision="v2")[0] == f"own/er {COMMITS[1]}"
    assert known(tmp_path, revision=COMMITS[1])[0] == f"own/er {COMMITS[1]}"


def test_the_branch_may_move_while_it_is_loaded(cache, monkeypatch):
    """The commit that was looked up is asked for, and not the branch."""
    (cache / "main").write_text(COMMITS[0])
    asked = []

    def fail(place, **options):
        asked.append((place, options["revision"]))
        raise OSError("not here")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fail)
    tokenizer = load_tokenizer(TokenizerConfig(path="own/er"))
    with pytest.raises(ValueError, match="not here"):
        load_model(ModelConfig(path="own/er"), tokenizer, 8, 0)
    assert asked == [("own/er", COMMITS[0])]


def test_without_a_copy_or_a_network_the_name_is_all_that_is_known(cache, tmp_path):
    assert known(tmp_path) == ("own/er", "own/er")
