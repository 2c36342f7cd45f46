import warnings

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from ifguide.corpus.config import TokenizerConfig
from ifguide.corpus.tokenizers import (
    END_OF_TEXT,
    encode,
    load_tokenizer,
    tokenizer_fingerprint,
    train_tokenizer,
)
from ifguide.errors import InputError

from .conftest import SAMPLE

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
TRICKY = f"  a\tb\r\né e\u0301 ☎️ 👩‍👩‍👧 日本語 \u202eabc {END_OF_TEXT} \x00\ufeff"


def cut(tokenizer, texts):
    found = encode(tokenizer, texts)
    return [(e.tokens.tolist(), e.start.tolist(), e.end.tolist()) for e in found]


def test_training_is_deterministic(tokenizer):
    again = train_tokenizer(iter(SAMPLE), 320)
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert tokenizer_fingerprint(again) == tokenizer_fingerprint(tokenizer)
    assert len(tokenizer) == 320
    ends = {tokenizer.eos_token, tokenizer.bos_token, tokenizer.pad_token, tokenizer.unk_token}
    assert ends == {END_OF_TEXT}


def test_saved_and_loaded_it_cuts_alike(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    by_hand = AutoTokenizer.from_pretrained(tmp_path)
    loaded = load_tokenizer(TokenizerConfig(path=str(tmp_path)))
    texts = [*SAMPLE, TRICKY, ""]
    for other in (by_hand, loaded):
        assert cut(other, texts) == cut(tokenizer, texts)
        assert other.eos_token_id == tokenizer.eos_token_id
        assert tokenizer_fingerprint(other) == tokenizer_fingerprint(tokenizer)


@given(text)
@example(TRICKY)
@settings(max_examples=200, deadline=None)
def test_every_text_survives(tokenizer, given_text):
    (encoded,) = encode(tokenizer, [given_text])
    assert tokenizer.decode(encoded.tokens) == given_text
    assert tokenizer.eos_token_id not in encoded.tokens


def test_fingerprint_follows_the_rules_not_the_use(tokenizer):
    before = tokenizer_fingerprint(tokenizer)
    tokenizer(["a b c"], truncation=True, max_length=2, padding="max_length")
    assert tokenizer_fingerprint(tokenizer) == before
    assert tokenizer_fingerprint(train_tokenizer(SAMPLE, 321)) != before


def test_long_texts_do_not_warn(tokenizer, caplog):
    tokenizer.model_max_length, kept = 5, tokenizer.model_max_length
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (encoded,) = encode(tokenizer, ["a b c d e f g h i j"])
    tokenizer.model_max_length = kept
    assert len(encoded.tokens) > 5
    assert not caplog.records


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "neither is set"),
        ({"path": "x", "vocab_size": 300}, "both is set"),
        ({"vocab_size": 256}, "256 is not in"),
    ],
)
def test_contradictions_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        TokenizerConfig(**fields)


def test_training_too_few_is_refused():
    with pytest.raises(InputError, match="give 257 or more"):
        train_tokenizer(SAMPLE, 256)
    assert len(train_tokenizer([], 257)) == 257


def refused(path):
    with pytest.raises(InputError) as caught:
        load_tokenizer(TokenizerConfig(path=str(path)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_loading_what_is_not_there(tmp_path):
    assert "cannot be loaded (" in refused(tmp_path / "gone")
    assert str(tmp_path / "gone") in refused(tmp_path / "gone")
    assert "cannot be loaded (" in refused(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    (tmp_path / "tokenizer_config.json").write_text("{")
    assert "cannot be loaded (" in refused(tmp_path)
    assert "tokenizer.path: 'nobody/no-such': cannot be loaded (" in refused("nobody/no-such")


def test_a_tokenizer_must_be_fast_and_know_the_end(tokenizer, tmp_path, monkeypatch):
    tokenizer.save_pretrained(tmp_path)

    class Slow:
        is_fast = False

    with monkeypatch.context() as patch:
        patch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: Slow())
        assert "has no fast version" in refused(tmp_path)
    endless = AutoTokenizer.from_pretrained(tmp_path)
    endless.eos_token = None
    endless.save_pretrained(tmp_path / "endless")
    assert "has no end-of-text token" in refused(tmp_path / "endless")
