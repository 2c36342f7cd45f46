"""A list of JSON is decoded an item at a time, and says what ``json`` says of the whole."""

import io
import json
import re
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifguide.corpus import json_list
from ifguide.corpus.config import Source
from ifguide.corpus.documents import read_documents
from ifguide.corpus.json_list import items_of
from ifguide.corpus.raw import BLOCK, texts_of
from ifguide.errors import InputError

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(LEAVES, lambda v: st.lists(v) | st.dictionaries(st.text(), v), max_leaves=9)
SPOILT = ["", "{}", "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1] 2", "[1]]", "[tru]", '["a]']
SPOILT += ['["\\x"]', '["\\ud83d\\u00"]', "[-]", "[1e]", "[1.]", '[{"a" 1}]', "[{'a': 1}]"]
SPOILT += ['[{"a": 1,}]', "[" * 3000]


def taken(text, size, longest=10**6):
    pieces = (text[at : at + size] for at in range(0, len(text), size))
    return list(items_of(pieces, "a.json", longest))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(json_list, "BLOCK", 2)


@settings(max_examples=150)
@given(st.lists(VALUES), st.sampled_from([None, 1]), st.booleans(), st.integers(1, 9))
def test_items_are_those_of_the_whole_wherever_pieces_end(items, indent, ascii_only, size):
    text = json.dumps(items, indent=indent, ensure_ascii=ascii_only)
    assert taken(f" {text}\n", size) == json.loads(text)


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("text", SPOILT)
def test_what_is_no_list_is_refused_as_such(text, size):
    with pytest.raises(InputError, match=r"^a\.json(, record \d+)?: not valid JSON \("):
        taken(text, size)


@pytest.mark.parametrize("text", ['[{"a": 1}, {"b" 2}]', '[0, {"b": [1 2]}]', '[0,\n "\\x"]'])
def test_a_fault_is_told_by_its_record_and_character(text):
    with pytest.raises(json.JSONDecodeError) as expected:
        json.loads(text)
    said = f"a.json, record 1: not valid JSON ({expected.value.msg} at char"
    with pytest.raises(InputError, match=re.escape(f"{said}acter {expected.value.pos})")):
        taken(text, 5)


@pytest.mark.parametrize("text", ['[1, "aaaaaaaa"]', '[1, "aaaaaaaaaaaa', "[1, 10000000000]"])
def test_an_item_is_bounded_whether_it_ends_or_not(text):
    with pytest.raises(InputError, match=r"^a\.json, record 1: a record of more than 9 characters"):
        taken(text, 4, longest=9)


def test_a_fault_in_a_short_item_is_not_called_long():
    with pytest.raises(InputError, match="record 0: not valid JSON"):
        taken('[{"a" 1}' + "," * 5000, 100, longest=20)


def test_a_long_list_takes_the_memory_of_an_item(tmp_path, monkeypatch):
    monkeypatch.setattr(json_list, "BLOCK", BLOCK)
    line = json.dumps({"text": "word " * 2000})
    (tmp_path / "a.json").write_text(f"[{','.join([line] * 2000)}]")  # 20 MB
    tracemalloc.start()
    assert sum(1 for _ in read_documents(Source(path="a.json"), tmp_path)) == 2000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * BLOCK


@pytest.mark.parametrize(
    "before", ["", "é" * 3, "a\né", "\ufeff", "x" * (BLOCK - 1), "y\n" * BLOCK]
)
def test_bytes_that_are_not_utf_8_are_named_by_line_and_byte(before):
    raw = before.encode() + "é".encode()[:1] + b'"]'
    with pytest.raises(InputError) as told:
        list(texts_of(io.BytesIO(raw), "a.json"))
    line = raw[: len(before.encode())].split(b"\n")
    assert str(told.value).startswith(f"a.json, line {len(line)}, byte {len(line[-1])}: not UTF-8")


def test_a_text_is_the_same_wherever_blocks_end():
    text = "\ufeff" + "a" * (BLOCK - 4) + "é日🙂" * 3
    assert "".join(texts_of(io.BytesIO(text.encode()), "a.json")) == text[1:]
