"""What each format writes, read back by hand: every token and character is where it belongs."""

import gzip
import json
import struct
from itertools import pairwise

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from cutters import MORE, byte_level
from hypothesis import given, settings
from hypothesis import strategies as st

from ifguide import arrays
from ifguide.corpus.blocks import pack
from ifguide.errors import InputError
from ifguide.masks.export import export_mask
from ifguide.masks.registry import MASK_FORMATS
from ifguide.nouns import Document

from .conftest import LENGTH, TEXTS, drawn_mask, selected_characters


@pytest.fixture
def written(masked, tmp_path, monkeypatch):
    """Writes the mask in a format, some blocks at a time."""
    monkeypatch.setattr(arrays, "SLAB_TOKENS", 3 * LENGTH)

    def write(name, of=masked):
        return export_mask(of, name, tmp_path / name)

    return write


def learnt(masked):
    return masked.corpus.has_loss & ~masked.selection.suppress


def test_trl(written, masked):
    rows = datasets.load_from_disk(str(written("trl") / "data")).with_format("numpy")
    tokens = np.asarray(masked.corpus.tokens)
    np.testing.assert_array_equal(rows["input_ids"][:], tokens)
    np.testing.assert_array_equal(rows["labels"][:], np.where(learnt(masked), tokens, -100))
    np.testing.assert_array_equal(rows["completion_mask"][:], learnt(masked))
    assert (rows["attention_mask"][:] == 1).all()


def test_olmo(written, masked):
    folder = written("olmo")
    tokens = np.fromfile(folder / "tokens.npy", "<u2")
    np.testing.assert_array_equal(tokens, masked.corpus.tokens.ravel())
    mask = np.fromfile(folder / "label_mask.npy", bool)
    np.testing.assert_array_equal(mask, learnt(masked).ravel())


def test_datatrove(written, masked):
    folder = written("datatrove")
    tokens = np.fromfile(folder / "corpus.ds", "<u2")
    np.testing.assert_array_equal(tokens, masked.corpus.tokens.ravel())
    loss = np.fromfile(folder / "corpus.ds.loss", "u1")
    np.testing.assert_array_equal(loss, learnt(masked).ravel())
    ends = np.fromfile(folder / "corpus.ds.index", "<u8").astype(int)
    document = np.asarray(masked.corpus.document).ravel()
    for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        of = number if number < len(TEXTS) else -1
        assert (document[start:end] == of).all()
    assert ends[-1] == len(tokens)
    assert len(ends) == len(TEXTS) + (document[-1] == -1)


def test_megatron(written, masked):
    folder = written("megatron")
    blocks, length = masked.corpus.tokens.shape
    for name, kind, code in (("tokens", "<u2", 8), ("loss_mask", "u1", 1)):
        raw = (folder / f"{name}.idx").read_bytes()
        assert raw[:9] == b"MMIDIDX\x00\x00"
        assert struct.unpack("<QBQQ", raw[9:34]) == (1, code, blocks, blocks + 1)
        lengths = np.frombuffer(raw[34 : 34 + 4 * blocks], "<i4")
        pointers = np.frombuffer(raw[34 + 4 * blocks : 34 + 12 * blocks], "<i8")
        numbers = np.frombuffer(raw[34 + 12 * blocks :], "<i8")
        assert (lengths == length).all()
        assert pointers.tolist() == [n * length * np.dtype(kind).itemsize for n in range(blocks)]
        assert numbers.tolist() == list(range(blocks + 1))
        held = np.fromfile(folder / f"{name}.bin", kind)
        expected = masked.corpus.tokens if name == "tokens" else learnt(masked)
        np.testing.assert_array_equal(held, expected.ravel())


def check_spans(masked, found):
    """Whether (id, spans) are the selected characters, joined where they touch."""
    documents, chosen = masked.corpus.documents, selected_characters(masked)
    assert [name for name, _ in found] == [document.id for document in documents]
    for (_, spans), characters in zip(found, chosen, strict=True):
        assert {k for start, end, *_ in spans for k in range(start, end)} == characters
        assert all(a[1] < b[0] for a, b in pairwise(spans))


def test_spans(written, masked):
    folder = written("spans")
    lines = [json.loads(line) for line in (folder / "spans.jsonl").read_text("utf-8").splitlines()]
    check_spans(masked, [(line["id"], line["spans"]) for line in lines])
    assert {line["source"] for line in lines} == {"posts"}
    corpus, values = masked.corpus, masked.scores.values
    for number, line in enumerate(lines):
        for start, end, score in line["spans"]:
            inside = (corpus.document == number) & (corpus.start >= start) & (corpus.end <= end)
            inside &= (corpus.end > corpus.start) & masked.selection.suppress
            assert score == pytest.approx(values[inside].mean(), rel=1e-6)


def test_dolma(written, masked):
    folder = written("dolma")
    documents, attributes = (
        list(map(json.loads, gzip.decompress(file.read_bytes()).decode().splitlines()))
        for file in (folder / f"{n}/corpus.jsonl.gz" for n in ("documents", "attributes/ifguide"))
    )
    assert [line["text"] for line in documents] == TEXTS
    spans = [(a["id"], a["attributes"]["ifguide__ifguide__suppress"]) for a in attributes]
    check_spans(masked, spans)


def test_fast_llm(written, masked):
    rows = pq.read_table(written("fast-llm") / "documents.parquet").to_pylist()
    assert [row["text"] for row in rows] == TEXTS
    spans = [
        (r["id"], [(begin, last + 1) for begin, last in r["loss_masking_spans"]]) for r in rows
    ]
    check_spans(masked, spans)


def test_axolotl(written, masked):
    folder = written("axolotl")
    lines = (folder / "segments.jsonl").read_text("utf-8").splitlines()
    ends, chosen = selected_ends(masked), selected_characters(masked)
    for number, line in enumerate(lines):
        *parts, last = json.loads(line)["segments"]
        assert last == {"label": number not in ends, "text": "<|endoftext|>"}
        assert "".join(part["text"] for part in parts) == TEXTS[number]
        labels = [part["label"] for part in parts for _ in part["text"]]
        assert {k for k, label in enumerate(labels) if not label} == chosen[number]
    assert len(lines) == len(TEXTS)
    assert ends


def selected_ends(masked):
    """The documents whose end-of-text is selected."""
    corpus = masked.corpus
    ends = masked.selection.suppress & (corpus.tokens == corpus.end_of_text)
    return set(corpus.document[ends].tolist())


@pytest.mark.parametrize("kind", ["unigram", "word_piece", "with_byte_fallback"])
@pytest.mark.parametrize("name", ["axolotl", "spans", "olmo", "datatrove"])
def test_other_tokenizers(kind, name, tmp_path):
    tokenizer = MORE[kind]()
    documents = [Document(str(n), f"{text} 日本 ﬁ <unk></s>") for n, text in enumerate(TEXTS[:6])]
    corpus = pack(documents, tokenizer, 9, tmp_path / "packed")
    of = drawn_mask(corpus, tokenizer, rate=0.3)
    folder = export_mask(of, name, tmp_path / "out")
    if name == "axolotl":
        lines = (folder / "segments.jsonl").read_text("utf-8").splitlines()
        whole = ["".join(part["text"] for part in json.loads(x)["segments"][:-1]) for x in lines]
        assert whole == [document.text for document in documents]
        assert "of 6 documents are cut" in (folder / "README.md").read_text()
    elif name == "spans":
        lines = (folder / "spans.jsonl").read_text("utf-8").splitlines()
        check_spans(of, [(x["id"], x["spans"]) for x in map(json.loads, lines)])


def test_ids_beyond_16_bits_take_32(tmp_path):
    tokenizer = byte_level()
    tokenizer.add_tokens([f"word{n}" for n in range(1 << 16)])
    corpus = pack([Document("0", "a word65000 b")], tokenizer, 4, tmp_path / "packed")
    assert corpus.tokens.max() > 1 << 16 - 1
    of = drawn_mask(corpus, tokenizer)
    tokens = np.asarray(corpus.tokens).ravel()
    olmo = np.fromfile(export_mask(of, "olmo", tmp_path / "olmo") / "tokens.npy", "<u4")
    megatron = export_mask(of, "megatron", tmp_path / "megatron")
    np.testing.assert_array_equal(olmo, tokens)
    np.testing.assert_array_equal(np.fromfile(megatron / "tokens.bin", "<i4"), tokens)
    assert (megatron / "tokens.idx").read_bytes()[17] == 4


@given(seed=st.integers(0, 2**32 - 1), slab=st.integers(1, 200), rate=st.floats(0.01, 1.0))
@settings(max_examples=20, deadline=None)
def test_texts_do_not_depend_on_the_slabs(masked, seed, slab, rate):
    of = drawn_mask(masked.corpus, masked.tokenizer, seed, rate)
    whole = list(of.texts())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "SLAB_TOKENS", slab)
        assert [(t.document, t.spans, t.has_end) for t in of.texts()] == [
            (t.document, t.spans, t.has_end) for t in whole
        ]
    check_spans(of, [(text.document.id, text.spans) for text in whole])
    assert {n for n, text in enumerate(whole) if text.has_end} == selected_ends(of)


@pytest.mark.parametrize("name", MASK_FORMATS.names())
def test_every_format_says_how_it_is_read(written, masked, name):
    folder = written(name)
    card = json.loads((folder / "ifguide-mask.json").read_text())
    held = {f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()}
    assert {*card["files"], "ifguide-mask.json"} == held
    assert (card["mask"], card["corpus"]) == (name, masked.corpus.fingerprint)
    assert card["selected"] == masked.selection.suppress.sum()
    text = (folder / "README.md").read_text()
    assert f"{card['selected']:,} of {card['tokens']:,} tokens" in text
    assert "{" not in text.partition("```")[0]
    for block in text.split("```")[1::2]:
        kind, _, code = block.partition("\n")
        if kind == "python":
            compile(code, name, "exec")
        else:
            assert yaml.safe_load(code)


def test_an_unknown_format_is_refused(masked, tmp_path):
    with pytest.raises(InputError, match="--to: 'gguf' is not known; give one of trl"):
        export_mask(masked, "gguf", tmp_path / "out")
