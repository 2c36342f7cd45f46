"""A tokenizer whose ids have a gap: its largest id decides how many there are, everywhere."""

import json

import pytest
import torch
from micro import SETTINGS, write_settings
from tiny import tiny_model
from transformers import AutoTokenizer

from ifguide.attacks.config import GcgConfig
from ifguide.attacks.gcg import gcg
from ifguide.corpus.builtin import builtin_posts
from ifguide.corpus.tokenizers import train_tokenizer, vocabulary_of
from ifguide.corpus.words import spelling
from ifguide.errors import InputError
from ifguide.models.config import ModelConfig
from ifguide.models.load import check_fits, load_model
from ifguide.rivals.decoding import RewardAugmented
from ifguide.rivals.reward import reward_from
from ifguide.run import actions
from ifguide.settings.reader import read_config

LARGEST = 512


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A byte-level tokenizer of 400 tokens whose end-of-text has the id 512."""
    folder = tmp_path_factory.mktemp("gap")
    train_tokenizer([post.text for post in builtin_posts(120, 1)], 400).save_pretrained(folder)
    rules = json.loads((folder / "tokenizer.json").read_text())
    rules["model"]["vocab"]["<|endoftext|>"] = LARGEST
    rules["added_tokens"][0]["id"] = LARGEST
    (folder / "tokenizer.json").write_text(json.dumps(rules))
    return folder


@pytest.fixture
def tokenizer(folder):
    found = AutoTokenizer.from_pretrained(folder)
    assert (len(found), found.eos_token_id) == (400, LARGEST)
    return found


def test_models_have_room_for_the_largest_id(tokenizer):
    assert vocabulary_of(tokenizer) == LARGEST + 1
    scratch = ModelConfig(scratch=dict(SETTINGS["model"]["scratch"]))
    assert load_model(scratch, tokenizer, 64, 0).config.vocab_size == LARGEST + 1
    with pytest.raises(InputError, match=r"^x: its vocabulary has 512 entries, the tokenizer 513;"):
        check_fits(tiny_model(vocab_size=LARGEST), tokenizer, 16, "x")
    check_fits(tiny_model(vocab_size=LARGEST + 1), tokenizer, 16, "x")


def test_words_know_every_id(tokenizer):
    spelt = spelling(tokenizer)
    assert len(spelt.key) == len(spelt.starts) == LARGEST + 1
    assert not spelt.key[400:].any()


def test_an_attack_swaps_in_no_id_that_is_not_there(tokenizer):
    model = tiny_model(vocab_size=LARGEST + 9, max_position_embeddings=64)
    config = GcgConfig(suffix_tokens=2, steps=3, top_k=400, candidates=64, round_trip=False)
    found = gcg(model, tokenizer, "The cat", " sat", config)
    assert {*found.tokens} <= {*tokenizer.get_vocab().values()} - {LARGEST}


def test_steered_decoding_takes_the_whole_vocabulary(tokenizer):
    model = tiny_model(vocab_size=LARGEST + 1, max_position_embeddings=64)
    steered = RewardAugmented(reward_from(model, tokenizer), tokenizer)
    scores = steered(torch.tensor([[LARGEST, 5, 6]]), torch.randn(1, LARGEST + 1))
    assert scores.shape == (1, LARGEST + 1)


def test_a_whole_run_goes_through(folder, tmp_path):
    changes = {"smoothing": {"unit": "word", "type_share": 0.5, "neighbours": 1}}
    changes |= {"lexicon": {"share": 0.2}, "tokenizer": {"path": str(folder)}}
    changes |= {"evaluation__lambada": {"builtin": 5}}
    file = write_settings(tmp_path, **changes)
    report = actions.run(read_config(file), tmp_path / "out", manner=actions.Manner(quiet=True))
    assert report.selection.selected > 0
