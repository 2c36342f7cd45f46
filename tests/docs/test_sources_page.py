"""The table of formats in docs/sources.md: each row is what reading such a source comes to."""

import json
import shutil

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from chats import chat_tokenizer, messages
from pages import ROOT
from token_files import write_datatrove, write_megatron

from ifguide.corpus.blocks import pack
from ifguide.corpus.config import Source
from ifguide.corpus.documents import read_documents
from ifguide.corpus.tokenizers import end_of_text, ids_of
from ifguide.nouns import Selection, TokenScores
from ifguide.report.ranked import ranked_documents
from ifguide.report.terminal import inspect_lines

PAGE = ROOT / "docs" / "sources.md"
SAID = ("Well, you stupid fool.", "The old river was calm.")
MARKS = [[10, 16]]  # "stupid"
HEAD = ["Format", "Settings", "Read", "Marks kept", "`inspect` shows the text"]


def _texts(spans=True):
    first = {"text": SAID[0], "toxic_spans": MARKS} if spans else {"text": SAID[0]}
    return [first, {"text": SAID[1], "toxic_spans": []} if spans else {"text": SAID[1]}]


def _chats():
    talks = [messages("What now?", text) for text in SAID]
    talks[0][1]["toxic_spans"] = MARKS
    return [{"messages": talk} for talk in talks]


def _ids(tokenizer):
    return [[*ids_of(tokenizer, text), end_of_text(tokenizer)] for text in SAID]


def _rows_of_ids(tokenizer):
    marks = (MARKS, [])
    both = zip(_ids(tokenizer), marks, strict=True)
    return [{"input_ids": ids, "toxic_spans": spans} for ids, spans in both]


def _json_lines(file, records):
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def _compressed(file, records):
    raw = "".join(json.dumps(record) + "\n" for record in records).encode()
    with pa.CompressedOutputStream(str(file), "gzip") as stream:
        stream.write(raw)


def _plain(file, records):
    for number, record in enumerate(records):
        (file / f"{number}.txt").write_text(record["text"], encoding="utf-8")


def _arrow(file, records):
    table = pa.Table.from_pylist(records)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _parquet(file, records):
    pq.write_table(pa.Table.from_pylist(records), file)


def _saved(file, records):
    datasets.Dataset.from_list(records).save_to_disk(file)


def _webdataset(file, records):
    """Write records by webdataset's own writer."""
    with webdataset.TarWriter(str(file)) as writer:
        for number, record in enumerate(records):
            writer.write({"__key__": str(number), **record})


def _arrays(tokenizer):
    rows = zip(_ids(tokenizer), (MARKS, []), strict=True)
    return [{"npy": np.array(ids), "json": {"toxic_spans": spans}} for ids, spans in rows]


def _mds(file):
    """Lay out what mosaicml-streaming wrote of the same records."""
    shutil.copytree(ROOT / "tests" / "corpus" / "mds" / "plain", file, dirs_exist_ok=True)


TEXT = {"spans": "toxic_spans"}
CHAT = {"messages": "messages", "spans": "toxic_spans"}
IDS = {"tokens": "input_ids"}
MARKED_IDS = {**IDS, "spans": "toxic_spans"}
# what the row is called, the file, what writes it, and the settings
ROWS = [
    ("JSON Lines", "a.jsonl", lambda f, t: _json_lines(f, _texts()), TEXT),
    ("JSON Lines, compressed", "a.jsonl.gz", lambda f, t: _compressed(f, _texts()), TEXT),
    ("JSON", "a.json", lambda f, t: f.write_text(json.dumps(_texts())), TEXT),
    ("plain text, a document a file", "a", lambda f, t: _plain(f, _texts()), {}),
    ("Parquet", "a.parquet", lambda f, t: _parquet(f, _texts()), TEXT),
    ("Arrow", "a.arrow", lambda f, t: _arrow(f, _texts()), TEXT),
    ("saved by `datasets`", "saved", lambda f, t: _saved(f, _texts()), TEXT),
    (
        "WebDataset's `.tar`",
        "a.tar",
        lambda f, t: _webdataset(f, [{"json": row} for row in _texts()]),
        {"text": "json.text", "spans": "json.toxic_spans"},
    ),
    ("MDS shards", "mds", lambda f, t: _mds(f), TEXT),
    ("conversations, JSON Lines", "a.jsonl", lambda f, t: _json_lines(f, _chats()), CHAT),
    ("conversations, Parquet", "a.parquet", lambda f, t: _parquet(f, _chats()), CHAT),
    ("conversations, saved by `datasets`", "saved", lambda f, t: _saved(f, _chats()), CHAT),
    (
        "conversations, WebDataset's `.tar`",
        "a.tar",
        lambda f, t: _webdataset(f, [{"json": row} for row in _chats()]),
        {"messages": "json.messages", "spans": "toxic_spans"},
    ),
    (
        "prompt and completion",
        "a.jsonl",
        lambda f, t: _json_lines(
            f, [{"p": "Say:", "c": r["text"], "toxic_spans": r["toxic_spans"]} for r in _texts()]
        ),
        {"prompt": "p", "completion": "c", "spans": "toxic_spans"},
    ),
    ("token ids, JSON Lines", "a.jsonl", lambda f, t: _json_lines(f, _rows_of_ids(t)), MARKED_IDS),
    ("token ids, Parquet", "a.parquet", lambda f, t: _parquet(f, _rows_of_ids(t)), MARKED_IDS),
    ("token ids, Arrow", "a.arrow", lambda f, t: _arrow(f, _rows_of_ids(t)), MARKED_IDS),
    (
        "token ids, saved by `datasets`",
        "saved",
        lambda f, t: _saved(f, _rows_of_ids(t)),
        MARKED_IDS,
    ),
    (
        "token ids, WebDataset's `.tar`",
        "a.tar",
        lambda f, t: _webdataset(f, _arrays(t)),
        {"tokens": "npy", "spans": "json.toxic_spans"},
    ),
    (
        "nanoGPT's `.bin`",
        "a.bin",
        lambda f, t: np.concatenate(_ids(t)).astype(np.uint16).tofile(f),
        IDS,
    ),
    (
        "OLMo's `.npy`",
        "a.npy",
        lambda f, t: np.concatenate(_ids(t)).astype(np.uint16).tofile(f),
        IDS,
    ),
    ("`.npy` with numpy's header", "a.npy", lambda f, t: np.save(f, np.concatenate(_ids(t))), IDS),
    (
        "Megatron's `.bin` and `.idx`",
        "a.bin",
        lambda f, t: write_megatron(f.with_suffix(""), _ids(t)),
        IDS,
    ),
    ("datatrove's `.ds`", "a.ds", lambda f, t: write_datatrove(f, _ids(t)), IDS),
]


@pytest.fixture(scope="module")
def tokenizer():
    return chat_tokenizer("chatml")


def _row(case, tokenizer, folder):
    """Read a source, and tell what came of it."""
    name, file, write, settings = case
    folder.mkdir()
    place = folder / file
    if "." not in file and "saved" not in file:
        place.mkdir()
    write(place, tokenizer)
    given = Source(path=str(place), **settings)
    documents = list(read_documents(given, folder, tokenizer=tokenizer))
    read = len(documents) == 2
    marks = [[d.text[a:b] for a, b in d.spans] for d in documents] == [["stupid"], []]
    corpus = pack(documents, tokenizer, 16, folder / "packed")
    zeros = np.zeros(corpus.tokens.shape)
    scores, nothing = TokenScores(zeros, corpus), np.zeros(0)
    mask = Selection(zeros > 0, 1.0, 0, nothing.astype(int), nothing, corpus)
    ranked = ranked_documents(corpus, scores, mask, 0, [d.id for d in documents])
    shown = "\n".join(inspect_lines(ranked, 1.0, colour=False))
    texts = all(text in shown for text in SAID)
    said = ", ".join(f"`{key}`" for key in settings) or "none"
    return [name, said, *("yes" if fits else "no" for fits in (read, marks, texts))]


def test_the_table_of_formats(tokenizer, tmp_path):
    rows = [_row(case, tokenizer, tmp_path / str(k)) for k, case in enumerate(ROWS)]
    lines = [HEAD, ["---"] * len(HEAD), *rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    assert table in PAGE.read_text(encoding="utf-8"), f"the table is now\n{table}"
