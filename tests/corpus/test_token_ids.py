"""Token ids that others made: read from every layout, as they are, with what is not learnt."""

import json

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from token_files import write_datatrove, write_megatron

from ifguide.corpus.blocks import pack
from ifguide.corpus.config import Source
from ifguide.corpus.documents import read_documents
from ifguide.corpus.sources import files_of, source_fingerprint
from ifguide.corpus.token_documents import decoded
from ifguide.corpus.tokenizers import encode, end_of_text, ids_of
from ifguide.errors import InputError

TEXTS = ["You stupid fool! 日本", "The old river 👩‍👩‍👧 was calm.", "go away"]


@pytest.fixture
def documents(tokenizer):
    """The ids of three texts, each with its end-of-text."""
    return [[*ids_of(tokenizer, text), end_of_text(tokenizer)] for text in TEXTS]


def rows(documents):
    return [{"input_ids": ids, "n": number} for number, ids in enumerate(documents)]


def write(layout, folder, documents):
    """Write the ids in a layout and return the path."""
    flat = np.concatenate(documents)
    if layout == "jsonl":
        file = folder / "ids.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows(documents)))
    elif layout == "parquet":
        file = folder / "ids.parquet"
        pq.write_table(pa.Table.from_pylist(rows(documents)), file)
    elif layout in ("arrow file", "arrow stream"):
        file, table = folder / "ids.arrow", pa.Table.from_pylist(rows(documents))
        new = pa.ipc.new_file if layout == "arrow file" else pa.ipc.new_stream
        with pa.OSFile(str(file), "wb") as sink, new(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    elif layout == "saved":
        file = folder / "saved"
        datasets.Dataset.from_list(rows(documents)).save_to_disk(file)
    elif layout == "nanoGPT .bin":
        file = folder / "train.bin"
        np.array(flat, np.uint16).tofile(file)
    elif layout == "OLMo .npy":
        file = folder / "part-0.npy"
        map_ = np.memmap(file, np.uint16, "w+", shape=len(flat))
        map_[:] = flat
        map_.flush()
    elif layout == "numpy .npy":
        file = folder / "ids.npy"
        np.save(file, np.array(flat, np.int32))
    elif layout == "Megatron":
        file = folder / "corpus_text_document.bin"
        write_megatron(file.with_suffix(""), documents)
    elif layout == "datatrove":
        file = folder / "00000.ds"
        write_datatrove(file, documents)
    return file


LAYOUTS = [
    *("jsonl", "parquet", "arrow file", "arrow stream", "saved", "nanoGPT .bin", "OLMo .npy"),
    *("numpy .npy", "Megatron", "datatrove"),
]


def read(path, tokenizer, **settings):
    source = Source(path=str(path), tokens="input_ids", **settings)
    return list(read_documents(source, path.parent, tokenizer=tokenizer))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(layout, tokenizer, documents, tmp_path):
    found = read(write(layout, tmp_path, documents), tokenizer)
    assert [document.encoded.tokens.tolist() for document in found] == documents
    assert [document.text for document in found] == TEXTS
    assert [document.encoded.learnt for document in found] == [None] * 3
    for text, document in zip(TEXTS, found, strict=True):
        (cut,) = encode(tokenizer, [text])
        assert document.encoded.start.tolist() == [*cut.start, len(text)]
        assert document.encoded.end.tolist() == [*cut.end, len(text)]


def test_decoding_joins_to_the_text(any_tokenizer):
    texts = [*TEXTS, "a dog", " the  river\n", "ab é e\u0301"]
    for text in texts:
        ids = np.array(ids_of(any_tokenizer, text), np.int64)
        found, start, end = decoded(any_tokenizer, ids)
        expected = any_tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        assert found == expected.rstrip("\N{REPLACEMENT CHARACTER}")
        assert (np.diff(start) >= 0).all()
        assert (end >= start).all()
        assert end.max(initial=0) <= len(found)


def test_packed_anew_and_in_their_own_blocks(tokenizer, documents, tmp_path):
    flat = np.concatenate(documents)[:32]
    blocks = flat.reshape(4, 8)
    file = tmp_path / "blocks.npy"
    np.save(file, blocks)
    found = read(file, tokenizer)
    own = pack(found, tokenizer, 8, tmp_path / "own")
    assert np.array_equal(own.tokens, blocks)
    assert own.document.tolist() == [[number] * 8 for number in range(4)]
    anew = pack(found, tokenizer, 12, tmp_path / "anew")
    assert np.asarray(anew.tokens).ravel()[:32].tolist() == flat.tolist()
    assert np.asarray(anew.document).ravel()[32:].tolist() == [-1] * 4


def test_labels_and_masks(tokenizer, tmp_path):
    record = {
        "input_ids": [70, 71, 72, 73, 0, 0],
        "labels": [-100, 71, 72, -100, -100, -100],
        "completion_mask": [0, 1, 1, 1, 0, 0],
        "attention_mask": [1, 1, 1, 1, 0, 0],
        "bad": [0, 1, 2, 1, 1, 1],
        "few": [1, 0],
    }
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(record))
    cases = [
        ({"labels": "labels"}, 6, [1, 2]),
        ({"loss_mask": "completion_mask"}, 6, [1, 2, 3]),
        ({"loss_mask": "completion_mask", "attention_mask": "attention_mask"}, 4, [1, 2, 3]),
        ({"labels": "labels", "loss_mask": "completion_mask"}, 6, [1, 2]),
    ]
    for settings, length, learnt in cases:
        (document,) = read(file, tokenizer, **settings)
        assert len(document.encoded.tokens) == length
        assert np.flatnonzero(document.encoded.learnt).tolist() == learnt
    for settings, said in (
        ({"labels": "completion_mask"}, "neither -100 nor the token there"),
        ({"loss_mask": "bad"}, "more than 0 and 1"),
        ({"loss_mask": "few"}, "2 entries for 6 tokens"),
        ({"labels": "none"}, "field 'none' is missing"),
    ):
        with pytest.raises(InputError, match=said):
            read(file, tokenizer, **settings)


def test_datatrove_s_loss(tokenizer, documents, tmp_path):
    loss = [[k % 2 == 0 for k, _ in enumerate(ids)] for ids in documents]
    write_datatrove(tmp_path / "a.ds", documents, loss, width=4)
    found = read(tmp_path / "a.ds", tokenizer)
    assert [document.encoded.tokens.tolist() for document in found] == documents
    assert [document.encoded.learnt.tolist() for document in found] == loss


def test_megatron_s_types_and_documents_of_several_sequences(tokenizer, documents, tmp_path):
    write_megatron(tmp_path / "wide", documents, "i4")
    assert [d.encoded.tokens.tolist() for d in read(tmp_path / "wide.bin", tokenizer)] == documents
    raw = bytearray((tmp_path / "wide.idx").read_bytes())
    raw[26:34] = (2).to_bytes(8, "little")  # one document: the first sequence to the last
    sequences = 34 + 12 * 3
    raw[sequences:] = np.array([0, 3], np.int64).tobytes()
    (tmp_path / "wide.idx").write_bytes(raw)
    (document,) = read(tmp_path / "wide.bin", tokenizer)
    assert document.encoded.tokens.tolist() == [k for ids in documents for k in ids]


def test_marks_are_characters_of_the_decoded_text(tokenizer, documents, tmp_path):
    file = tmp_path / "marked.jsonl"
    file.write_text(json.dumps({"input_ids": documents[0], "toxic": [[4, 10]]}))
    (document,) = read(file, tokenizer, spans="toxic")
    assert [document.text[a:b] for a, b in document.spans] == ["stupid"]
    corpus = pack([document], tokenizer, 8, tmp_path / "packed")
    marked = tokenizer.decode(np.asarray(corpus.tokens)[np.asarray(corpus.marked)])
    assert marked.strip() == "stupid"


@pytest.mark.parametrize("token", [-1, 10**6])
def test_an_id_outside_of_the_vocabulary(token, tokenizer, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"input_ids": [70, 71]}\n' + json.dumps({"input_ids": [70, token]}))
    with pytest.raises(InputError, match=rf"rows\.jsonl, line 2: token 1 is {token}, outside"):
        read(file, tokenizer)
    np.save(tmp_path / "rows.npy", np.array([[70, 71], [token, 70]]))
    with pytest.raises(InputError, match=rf"rows\.npy, row 1: token 0 is {token}, outside"):
        read(tmp_path / "rows.npy", tokenizer)


@pytest.mark.parametrize(
    ("name", "raw", "said"),
    [
        ("a.bin", b"abc", "no whole number of ids of 2 bytes"),
        ("a.npy", b"\x93NUMPY\x01\x00", "cannot be read"),
        ("a.jsonl", b'{"input_ids": "abc"}', "is text, not a list of whole numbers"),
        ("a.jsonl", b'{"input_ids": [1.5]}', "not a list of whole numbers"),
        ("a.jsonl", b'{"input_ids": [[1]]}', "not a list of whole numbers"),
        ("a.arrow", b"ARROW1 and no more", "cannot be read"),
    ],
)
def test_what_cannot_be_read(name, raw, said, tokenizer, tmp_path):
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(InputError, match=said) as refused:
        read(tmp_path / name, tokenizer)
    assert name in str(refused.value)


@pytest.mark.parametrize("cut", [0, 20, 40, -8])
def test_a_damaged_index(cut, tokenizer, documents, tmp_path):
    write_megatron(tmp_path / "m", documents)
    index = tmp_path / "m.idx"
    index.write_bytes(index.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"m\.idx is no index of Megatron's"):
        read(tmp_path / "m.bin", tokenizer)
    write_datatrove(tmp_path / "d.ds", documents)
    index = tmp_path / "d.ds.index"
    index.write_bytes(index.read_bytes()[:8] * (cut > 0))
    with pytest.raises(InputError, match=r"its index d\.ds\.index tells of"):
        read(tmp_path / "d.ds", tokenizer)


def test_files_beside_count(tokenizer, documents, tmp_path):
    write_megatron(tmp_path / "m", documents)
    source = Source(path="m.bin", tokens="input_ids")
    assert [file.name for file, _ in files_of(source, tmp_path)] == ["m.idx", "m.bin"]
    before = source_fingerprint(source, tmp_path)
    index = (tmp_path / "m.idx").read_bytes()
    (tmp_path / "m.idx").write_bytes(index[:-1] + b"\x01")
    assert source_fingerprint(source, tmp_path) != before


def test_ids_are_read_only_where_they_are_asked_for(tokenizer, documents, tmp_path):
    np.save(tmp_path / "subset.npy", np.arange(3))
    (tmp_path / "texts.jsonl").write_text('{"text": "a dog"}')
    (document,) = read_documents(Source(path=str(tmp_path)), tmp_path)
    assert document.text == "a dog"
    with pytest.raises(InputError, match="set the source's tokens to input_ids"):
        list(read_documents(Source(path="subset.npy"), tmp_path))
    with pytest.raises(InputError, match=r"setting tokens of source texts: .* tokenizer\.path"):
        list(read_documents(Source(path="texts.jsonl", tokens="input_ids"), tmp_path))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tokens": "a", "messages": "b"}, "messages and tokens are both set"),
        ({"tokens": "a", "text": "b"}, "source.text"),
        ({"labels": "a"}, "source.labels"),
    ],
)
def test_settings_that_contradict_one_another(given, said):
    with pytest.raises(InputError, match=said):
        Source(path="x.jsonl", **given)


def test_a_long_flat_file_is_cut(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("ifguide.corpus.token_documents.STRETCH", 8)
    closing = end_of_text(tokenizer)
    ids = [*[70] * 20, closing, *[71] * 5, closing, *[72] * 9]
    np.array(ids, np.uint16).tofile(tmp_path / "long.bin")
    found = [d.encoded.tokens.tolist() for d in read(tmp_path / "long.bin", tokenizer)]
    assert [k for part in found for k in part] == ids
    assert [len(part) for part in found] == [8, 8, 5, 6, 8, 1]


def test_the_writers_here_are_those_of_datatrove(documents, tmp_path):
    tokenizer = pytest.importorskip("datatrove.pipeline.tokens.tokenizer")
    loss = [np.arange(len(ids)) % 2 == 0 for ids in documents]
    (tmp_path / "theirs").mkdir()
    written = tokenizer.TokenizedFile(str(tmp_path / "theirs"), "a.ds", save_loss_metadata=True)
    for ids, flags in zip(documents, loss, strict=True):
        written.write(ids, flags)
    written.close()
    write_datatrove(tmp_path / "a.ds", documents, loss)
    for name in ("a.ds", "a.ds.index", "a.ds.loss"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()


def test_the_writers_here_are_those_of_megatron(documents, tmp_path):
    module = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    builder = module.IndexedDatasetBuilder(str(tmp_path / "theirs.bin"), dtype=np.int32)
    for ids in documents:
        builder.add_document(torch.tensor(ids), [len(ids)])
    builder.finalize(str(tmp_path / "theirs.idx"))
    write_megatron(tmp_path / "ours", documents, "i4")
    for end in (".bin", ".idx"):
        assert (tmp_path / f"ours{end}").read_bytes() == (tmp_path / f"theirs{end}").read_bytes()
