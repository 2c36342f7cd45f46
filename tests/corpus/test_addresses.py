"""Sources at an address, in fsspec's memory: read as files are, known by what the store tells."""

import gzip
import io
import json

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from token_files import write_megatron

from ifguide.corpus.addresses import is_address, known_by
from ifguide.corpus.config import Source
from ifguide.corpus.documents import read_documents
from ifguide.corpus.sources import files_of, source_fingerprint
from ifguide.corpus.tokenizers import end_of_text, ids_of
from ifguide.errors import InputError

RECORDS = [{"text": "You fool", "toxic": [[4, 8]]}, {"text": "the river", "toxic": []}]
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()


@pytest.fixture
def store():
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


def read(path, folder, tokenizer=None, **settings):
    return list(read_documents(Source(path=path, **settings), folder, tokenizer=tokenizer))


def parquet():
    raw = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(RECORDS), raw)
    return raw.getvalue()


FILES = {
    "posts.jsonl": LINES,
    "posts.jsonl.gz": gzip.compress(LINES),
    "posts.json": json.dumps(RECORDS).encode(),
    "posts.parquet": parquet(),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file(name, store, tmp_path):
    store.pipe(f"/data/{name}", FILES[name])
    found = read(f"memory://data/{name}", tmp_path, spans="toxic")
    assert [(d.text, d.spans, d.source) for d in found] == [
        ("You fool", ((4, 8),), "posts"),
        ("the river", (), "posts"),
    ]
    assert files_of(Source(path=f"memory://data/{name}"), tmp_path) == []


def test_a_folder_in_sorted_order(store, tmp_path):
    for name in ("b.txt", "a.txt", "deep/c.txt", "notes.md"):
        store.pipe(f"/data/{name}", name.encode())
    found = read("memory://data", tmp_path)
    assert [d.text for d in found] == ["a.txt", "b.txt", "deep/c.txt"]


def test_token_ids_with_their_index(tokenizer, store, tmp_path):
    documents = [[*ids_of(tokenizer, text), end_of_text(tokenizer)] for text in ("a dog", "go")]
    write_megatron(tmp_path / "m", documents)
    for name in ("m.bin", "m.idx"):
        store.pipe(f"/ids/{name}", (tmp_path / name).read_bytes())
    found = read("memory://ids/m.bin", tmp_path, tokenizer, tokens="input_ids")
    assert [d.encoded.tokens.tolist() for d in found] == documents
    assert set(known_by("memory://ids/m.bin", ids=True)) == {"m.bin", "m.bin m.idx"}
    before = source_fingerprint(Source(path="memory://ids/m.bin", tokens="input_ids"), tmp_path)
    store.pipe("/ids/m.idx", b"changed")
    source = Source(path="memory://ids/m.bin", tokens="input_ids")
    assert source_fingerprint(source, tmp_path) != before
    with pytest.raises(InputError, match=r"memory://ids/m\.bin: m\.idx is no index"):
        read("memory://ids/m.bin", tmp_path, tokenizer, tokens="input_ids")


def test_what_is_told_is_the_fingerprint(store, tmp_path):
    store.pipe("/data/posts.jsonl", LINES)
    source = Source(path="memory://data/posts.jsonl")
    before = source_fingerprint(source, tmp_path)
    assert source_fingerprint(source, tmp_path) == before
    store.pipe("/data/posts.jsonl", LINES + LINES[:1])
    assert source_fingerprint(source, tmp_path) != before


def test_a_checksum_comes_before_a_time(store, monkeypatch):
    store.pipe("/data/posts.jsonl", LINES)
    told = {"size": 3, "ETag": "abc", "LastModified": 1}
    monkeypatch.setattr(type(store), "info", lambda self, path, **_: {**told, "type": "file"})
    before = known_by("memory://data/posts.jsonl")
    told["LastModified"] = 2
    assert known_by("memory://data/posts.jsonl") == before
    told["ETag"] = "abd"
    assert known_by("memory://data/posts.jsonl") != before


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("memory://data/gone.jsonl", "no file that can be read is there"),
        ("memory://data/notes.md", "no file that can be read is there"),
        ("nosuch://data/a.jsonl", "nosuch"),
        ("memory://data/bad.jsonl", r"memory://data/bad\.jsonl, line 2: not valid JSON"),
        ("memory://data/ids.bin", "no file that can be read is there"),
        ("memory://data/saved", "read from this machine alone"),
    ],
)
def test_what_cannot_be_read_is_named(path, said, store, tmp_path):
    store.pipe("/data/notes.md", b"x")
    store.pipe("/data/bad.jsonl", b'{"text": "a"}\n{"text": \n')
    store.pipe("/data/ids.bin", np.arange(3, dtype=np.uint16).tobytes())
    store.pipe("/data/saved/dataset_info.json", b"{}")
    with pytest.raises(InputError, match=said) as refused:
        read(path, tmp_path)
    assert path.split("/")[2] in str(refused.value)


def test_what_is_an_address():
    assert all(map(is_address, ("s3://b/k", "hf://datasets/a/b", "zip://a::https://c/d.zip")))
    assert not any(map(is_address, ("data/a.jsonl", "/a/b", "C:/a", "a b://c", "~/x", "")))
