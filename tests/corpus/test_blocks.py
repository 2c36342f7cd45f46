import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ifguide.corpus.blocks import open_corpus, pack
from ifguide.corpus.spans import overlaps
from ifguide.errors import InputError
from ifguide.nouns import Document

from .conftest import SAMPLE

PIECES = [
    "dog",
    " river",
    "é",
    "e\u0301",
    "👩‍👩‍👧",
    "日本",
    "\u202e",
    " ",
    "\n",
    "<|endoftext|>",
    "</s>",
    "ﬁ",
    "🏳️‍🌈",
    "x",
]
texts = st.lists(st.sampled_from(PIECES), max_size=8).map("".join) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=8
)


@st.composite
def rows(draw):
    text = draw(texts)
    ends = st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))
    spans = draw(st.lists(ends, max_size=3)) if text else []
    return text, tuple((min(span), max(span)) for span in spans if span[0] != span[1])


drawn = st.lists(rows(), min_size=1, max_size=6)


def documents_of(given_rows):
    found = [Document(str(n), *row) for n, row in enumerate(given_rows)]
    return [*found, Document("last", "a dog by the river", ((2, 5),))]


def packed(given_rows, tokenizer, length=7, **settings_):
    folder = Path(tempfile.mkdtemp())
    return pack(iter(documents_of(given_rows)), tokenizer, length, folder / "new", **settings_)


def flat(corpus, name):
    return np.asarray(getattr(corpus, name)).ravel()


@given(drawn, st.integers(2, 9))
@settings(max_examples=60, deadline=None)
def test_tokens_of_a_document_decode_to_its_text(tokenizer, given_rows, length):
    corpus = packed(given_rows, tokenizer, length)
    assert corpus.tokens.shape[1] == length
    assert [d for d in documents_of(given_rows) if d.text.strip()] == list(corpus.documents)
    for number, document in enumerate(corpus.documents):
        tokens = flat(corpus, "tokens")[flat(corpus, "document") == number]
        assert tokens[-1] == corpus.end_of_text
        assert tokenizer.decode(tokens[:-1]) == document.text
        assert corpus.end_of_text not in tokens[:-1]


@given(drawn, st.integers(2, 9))
@settings(max_examples=40, deadline=None)
def test_layout(any_tokenizer, given_rows, length):
    corpus = packed(given_rows, any_tokenizer, length)
    document = flat(corpus, "document")
    real = document >= 0
    count = int(real.sum())
    assert corpus.token_count == count
    assert 0 <= document.size - count < length
    assert real[:count].all()
    assert (flat(corpus, "tokens")[count:] == corpus.end_of_text).all()
    assert (np.diff(document[:count]) >= 0).all()
    assert set(document[:count]) == set(range(len(corpus.documents)))
    for name in ("start", "end", "marked"):
        assert not flat(corpus, name)[count:].any()


@given(drawn)
@settings(max_examples=60, deadline=None)
def test_spans_lie_in_the_document_and_marks_are_the_oracles(any_tokenizer, given_rows):
    corpus = packed(given_rows, any_tokenizer)
    columns = [flat(corpus, name) for name in ("document", "start", "end", "marked", "tokens")]
    for number, start, end, marked, token in zip(*columns, strict=True):
        if number < 0:
            continue
        document = corpus.documents[int(number)]
        assert 0 <= start <= end <= len(document.text)
        letters = set(range(start, end))
        assert marked == any(letters & set(range(*span)) for span in document.spans)
        if token == corpus.end_of_text and start == end:
            assert start == len(document.text)


@given(drawn)
@settings(max_examples=30, deadline=None)
def test_every_character_that_is_no_space_has_a_token(any_tokenizer, given_rows):
    assume(all(unicodedata.is_normalized("NFC", text) for text, _ in given_rows))
    corpus = packed(given_rows, any_tokenizer)
    for number, document in enumerate(corpus.documents):
        mine = flat(corpus, "document") == number
        covered = set()
        for start, end in zip(flat(corpus, "start")[mine], flat(corpus, "end")[mine], strict=True):
            covered |= set(range(start, end))
        missing = [c for n, c in enumerate(document.text) if n not in covered]
        assert not "".join(missing).strip()


@given(drawn, st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_the_batch_size_does_not_matter(tokenizer, given_rows, characters):
    one = packed(given_rows, tokenizer)
    other = packed(given_rows, tokenizer, batch_characters=characters)
    assert one.fingerprint == other.fingerprint
    for name in ("tokens", "document", "start", "end", "marked"):
        assert (flat(one, name) == flat(other, name)).all()


def test_bytes_of_one_character_share_its_span(tokenizer, tmp_path):
    corpus = pack([Document("0", "a👩b", ((1, 2),))], tokenizer, 2, tmp_path)
    spans = list(zip(flat(corpus, "start"), flat(corpus, "end"), strict=True))
    assert spans[0] == (0, 1)
    assert (1, 2) in spans
    marked = flat(corpus, "marked")
    assert [span for span, mark in zip(spans, marked, strict=True) if mark] == [(1, 2)] * sum(
        marked
    )
    assert sum(marked) >= 1


def test_fingerprint_follows_every_part(tokenizer, any_tokenizer, tmp_path):
    def fingerprint(documents, tokenizer=tokenizer, length=4):
        return pack(documents, tokenizer, length, tmp_path).fingerprint

    document = Document("0", "the dog")
    found = [
        fingerprint([document]),
        fingerprint([Document("0", "the dog", ((0, 3),))]),
        fingerprint([Document("0", "the"), Document("1", " dog")]),
        fingerprint([Document("0", "the cat")]),
        fingerprint([document], length=5),
    ]
    assert len(set(found)) == len(found)
    assert fingerprint([document]) == found[0]


def test_white_space_documents_are_left_out_and_counted(tokenizer, tmp_path, caplog):
    documents = [Document("a", " \n\t"), Document("b", "dog"), Document("c", "")]
    corpus = pack(documents, tokenizer, 4, tmp_path)
    assert [d.id for d in corpus.documents] == ["b"]
    assert "left out 2 documents" in caplog.text


def test_arrays_are_read_only_maps(tokenizer, tmp_path):
    corpus = pack([Document("0", text) for text in SAMPLE[:1]], tokenizer, 8, tmp_path)
    assert isinstance(corpus.tokens, np.memmap)
    assert corpus.tokens.dtype == np.int32
    assert corpus.marked.dtype == np.bool_
    with pytest.raises(ValueError, match="read-only"):
        corpus.tokens[0, 0] = 1
    again = open_corpus(tmp_path)
    assert again.fingerprint == corpus.fingerprint
    assert (again.tokens == corpus.tokens).all()


def test_documents_are_taken_one_at_a_time(tokenizer, tmp_path):
    taken = []

    def stream():
        for number in range(600):
            taken.append(number)
            yield Document(str(number), "the dog")

    corpus = pack(stream(), tokenizer, 16, tmp_path, batch_characters=50)
    assert len(corpus.documents) == len(taken) == 600


def test_bad_input(tokenizer, tmp_path):
    with pytest.raises(InputError, match="block_length: 1 is too short"):
        pack([Document("0", "x")], tokenizer, 1, tmp_path)
    with pytest.raises(InputError, match="no document has any text"):
        pack([Document("0", " ")], tokenizer, 4, tmp_path)
    with pytest.raises(InputError, match="no packed corpus"):
        open_corpus(tmp_path / "gone")
    pack([Document("0", "some dog")], tokenizer, 4, tmp_path)
    (tmp_path / "end.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"end\.bin: missing or not of its size"):
        open_corpus(tmp_path)
    (tmp_path / "corpus.json").write_text("{}")
    with pytest.raises(InputError, match=r"corpus\.json: cannot be read"):
        open_corpus(tmp_path)


pairs = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=5)


@given(pairs, pairs)
@settings(max_examples=200, deadline=None)
def test_overlaps_is_the_brute_force(tokens, marks):
    tokens = [(min(pair), max(pair)) for pair in tokens]
    marks = [(min(pair), max(pair)) for pair in marks if pair[0] != pair[1]]
    start, end = np.array(tokens, dtype=int).reshape(-1, 2).T
    expected = [any(set(range(*t)) & set(range(*m)) for m in marks) for t in tokens]
    assert overlaps(start, end, marks).tolist() == expected
