"""Records longer than their source allows are refused by name; compressed files are read."""

import bz2
import gzip
import io
import json
import lzma
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ifguide.corpus.config import Source
from ifguide.corpus.documents import read_documents
from ifguide.corpus.raw import BLOCK, lines_of
from ifguide.corpus.tokenizers import LEARNT_WITHIN, train_tokenizer
from ifguide.errors import InputError


def zstandard(raw):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(raw)
    return sink.getvalue().to_pybytes()


PACKERS = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard,
}
TEXTS = ["one", "two " * 50]
FORMS = {
    "jsonl": "\n".join(json.dumps({"text": text}) for text in TEXTS),
    "json": json.dumps([{"text": text} for text in TEXTS]),
    "txt": TEXTS[1],
}


def read(folder, name, **settings):
    return [document.text for document in read_documents(Source(path=name, **settings), folder)]


@pytest.mark.parametrize("ending", PACKERS)
@pytest.mark.parametrize("form", FORMS)
def test_compressed_files_are_read_and_bounded(tmp_path, form, ending):
    name = f"a.{form}{ending}".upper() if ending else f"a.{form}"
    (tmp_path / name).write_bytes(PACKERS[ending](FORMS[form].encode()))
    assert read(tmp_path, name) == TEXTS[-1 if form == "txt" else 0 :]
    with pytest.raises(InputError, match="longest_record"):
        read(tmp_path, name, longest_record=199 if form == "txt" else 2)


@pytest.mark.parametrize("ending", [end for end in PACKERS if end])
def test_a_compressed_file_that_is_damaged_is_named(tmp_path, ending):
    whole = PACKERS[ending](FORMS["jsonl"].encode() * 100)
    (tmp_path / f"a.jsonl{ending}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=rf"^a\.jsonl{ending}: cannot be read"):
        read(tmp_path, f"a.jsonl{ending}")


def test_rows_are_bounded(tmp_path):
    pq.write_table(pa.table({"text": TEXTS}), tmp_path / "a.parquet")
    assert read(tmp_path, "a.parquet", longest_record=200) == TEXTS
    with pytest.raises(InputError, match=r"^a\.parquet, record 1: a record of more than 199 char"):
        read(tmp_path, "a.parquet", longest_record=199)


def test_an_endless_line_is_refused_before_more_of_it_is_read(tmp_path):
    with gzip.open(tmp_path / "a.jsonl.gz", "wb", compresslevel=1) as stream:
        stream.write(b'{"text": "short"}\n')
        for _ in range(64):
            stream.write(b"a" * BLOCK)
    tracemalloc.start()
    with pytest.raises(
        InputError, match=r"^a\.jsonl\.gz, line 2: a record of more than 1000 bytes"
    ):
        read(tmp_path, "a.jsonl.gz", longest_record=1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * BLOCK


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_are_the_same_wherever_blocks_end(end):
    raw = end.join([b"a" * (BLOCK - 1), b"", b"b" * (2 * BLOCK), b" ", b"c"])
    lines = list(lines_of(io.BytesIO(raw), "a.jsonl", 2 * BLOCK))
    assert [(number, line[:1], len(line)) for number, line in lines] == [
        (1, b"a", BLOCK - 1),
        (3, b"b", 2 * BLOCK),
        (5, b"c", 1),
    ]


def test_blank_lines_count_and_cost_no_memory():
    raw = io.BytesIO(b"\n" * (3 * BLOCK) + b"x\n")
    assert list(lines_of(raw, "a.jsonl", 10)) == [(3 * BLOCK + 1, b"x")]


def test_long_words_are_learnt_from_in_stretches_and_cut_whole():
    word = "ab" * LEARNT_WITHIN
    tokenizer = train_tokenizer([word], 260)
    whole = tokenizer.backend_tokenizer
    assert whole.pre_tokenizer.pre_tokenize_str(word) == [(word, (0, len(word)))]
    assert tokenizer.decode(tokenizer(word)["input_ids"]) == word
