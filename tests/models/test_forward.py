"""What is asked of every model: how far it reads, and what stands before a text."""

from types import SimpleNamespace

import pytest
from tiny import tiny_model
from transformers import PreTrainedTokenizerFast

from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.errors import InputError
from ifguide.models.forward import positions_of, start_token


def test_every_family_says_how_far_it_reads(family):
    assert positions_of(tiny_model(family)) == 32


def test_the_text_part_of_a_model_of_several_kinds_counts():
    model = tiny_model()
    text = SimpleNamespace(max_position_embeddings=8)
    model.config = SimpleNamespace(max_position_embeddings=99, get_text_config=lambda: text)
    assert positions_of(model) == 8
    model.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace())
    assert positions_of(model) is None


@pytest.mark.parametrize(
    ("special", "first"),
    [
        ({"eos_token": "a", "bos_token": "b"}, "a"),
        ({"eos_token": "a"}, "a"),
        ({"bos_token": "b"}, "b"),
    ],
)
def test_a_text_follows_end_of_text_or_where_there_is_none_bos(special, first):
    rules = train_tokenizer([], 257).backend_tokenizer
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=rules, **special)
    assert start_token(tokenizer) == tokenizer.convert_tokens_to_ids(first)


def test_a_tokenizer_with_neither_is_refused():
    bare = PreTrainedTokenizerFast(tokenizer_object=train_tokenizer([], 257).backend_tokenizer)
    with pytest.raises(InputError, match=r"has no end-of-text token \(eos_token\); set one"):
        start_token(bare)
