import contextlib
import json
import os

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifguide.corpus.config import Source
from ifguide.corpus.documents import read_documents
from ifguide.corpus.sources import files_of
from ifguide.errors import InputError

RECORDS = [
    {"id": f"r{n}", "prompt": {"text": f"né {n}\u2028日"}, "spans": [[0, 2]] if n % 2 else []}
    for n in range(5)
]
FIELDS = {"text": "prompt.text", "spans": "spans"}


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def read(data_dir, **given_settings):
    return list(read_documents(Source(**given_settings), data_dir))


def refused(data_dir, **given_settings):
    with pytest.raises(InputError) as caught:
        read(data_dir, **given_settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def contents(found):
    return [(d.id, d.text, [list(span) for span in d.spans]) for d in found]


EXPECTED = [(r["id"], r["prompt"]["text"], r["spans"]) for r in RECORDS]


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz", "r.ndjson", "r.json", "r.json.gz"])
def test_json_lines(tmp_path, write_lines, name):
    write_lines(name, RECORDS)
    assert contents(read(tmp_path, path=name, **FIELDS)) == EXPECTED


def test_json_list_and_byte_order_mark(tmp_path, write_lines):
    (tmp_path / "r.json").write_bytes(b"\xef\xbb\xbf\n" + json.dumps(RECORDS, indent=1).encode())
    assert contents(read(tmp_path, path="r.json", **FIELDS)) == EXPECTED
    lines = "\r\n".join(json.dumps(record) for record in RECORDS)
    (tmp_path / "r.jsonl").write_bytes(b"\xef\xbb\xbf" + lines.encode())
    assert contents(read(tmp_path, path="r.jsonl", **FIELDS)) == EXPECTED


def test_parquet_in_row_groups(tmp_path):
    pq.write_table(pa.Table.from_pylist(RECORDS), tmp_path / "r.parquet", row_group_size=2)
    assert contents(read(tmp_path, path="r.parquet", **FIELDS)) == EXPECTED
    said = refused(tmp_path, path="r.parquet")
    assert "r.parquet, record 0: field 'text' is missing (fields there: id, prompt, spans)" in said
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "r.parquet").read_bytes()[:-9])
    assert refused(tmp_path, path="cut.parquet").startswith("cut.parquet: cannot be read (")
    broken = pa.array([b"fine", b"\xff"], pa.binary()).cast(pa.string(), safe=False)
    pq.write_table(pa.table({"text": broken}), tmp_path / "latin.parquet")
    assert "latin.parquet, record 1: field 'text' is not UTF-8" in refused(
        tmp_path, path="latin.parquet"
    )
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "none.parquet")
    assert "holds no record" in refused(tmp_path, path="none.parquet")


def test_a_folder_is_read_in_sorted_order(tmp_path, write_lines):
    write_lines("all/b.jsonl", RECORDS[2:4])
    write_lines("all/a.jsonl.gz", RECORDS[:2])
    pq.write_table(pa.Table.from_pylist(RECORDS[4:]), tmp_path / "all" / "c.parquet")
    (tmp_path / "all" / "README.md").write_text("not data")
    write_lines("all/.hidden/a.jsonl", RECORDS)
    assert contents(read(tmp_path, path="all", **FIELDS)) == EXPECTED
    write_lines("all/d.jsonl", [{"id": "x"}])
    assert refused(tmp_path, path="all", **FIELDS).startswith("all/d.jsonl, line 1: ")


def test_a_folder_is_read_through_its_links_and_no_file_is_left_out_unsaid(
    tmp_path, write_lines, caplog
):
    write_lines("elsewhere/b.jsonl", RECORDS[2:4])
    write_lines("all/a.jsonl.gz", RECORDS[:2])
    (tmp_path / "all/a.jsonl.gz").rename(tmp_path / "all/A.JSONL.GZ")
    (tmp_path / "all/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/up").symlink_to(tmp_path / "all")  # around for ever
    pq.write_table(pa.Table.from_pylist(RECORDS[4:]), tmp_path / "all/linked/c.parquet")
    assert contents(read(tmp_path, path="all", **FIELDS)) == EXPECTED
    assert "not read" not in caplog.text
    (tmp_path / "elsewhere/d.jsonl.lz4").write_bytes(b"")
    assert contents(read(tmp_path, path="all", **FIELDS)) == EXPECTED
    assert "all: not read: 1 of its files ('linked/d.jsonl.lz4' is the first)" in caplog.text


def test_a_file_that_links_reach_too_is_read_once(tmp_path, write_lines):
    (tmp_path / "all/deep").mkdir(parents=True)
    write_lines("all/c.jsonl", RECORDS[4:])
    write_lines("all/unknown", RECORDS[:4])
    (tmp_path / "all/deep/b.jsonl").symlink_to("../unknown")  # whose own name says no format
    (tmp_path / "all/a.jsonl").symlink_to("deep/b.jsonl")
    (tmp_path / "all/again").symlink_to("deep")
    (tmp_path / "all/deep/c.jsonl").symlink_to("../c.jsonl")
    assert sorted(contents(read(tmp_path, path="all", **FIELDS))) == sorted(EXPECTED)
    source = Source(path="all", **FIELDS)
    assert [name for _, name in files_of(source, tmp_path)] == ["a.jsonl", "c.jsonl"]


def test_text_files_are_a_document_each(tmp_path):
    folder = tmp_path / "texts" / "deep"
    folder.mkdir(parents=True)
    (folder / "b.txt").write_bytes("zwei\r\n日本".encode())
    (tmp_path / "texts" / "a.txt").write_bytes(b"\xef\xbb\xbfone\n")
    assert contents(read(tmp_path, path="texts")) == [
        ("a.txt", "one\n", []),
        ("deep/b.txt", "zwei\r\n日本", []),
    ]
    assert contents(read(tmp_path, path="texts/a.txt")) == [("a.txt", "one\n", [])]


def test_saved_datasets(tmp_path):
    data = datasets.Dataset.from_list(RECORDS)
    data.save_to_disk(tmp_path / "one")
    assert contents(read(tmp_path, path="one", **FIELDS)) == EXPECTED
    both = datasets.DatasetDict({"train": data.select([0]), "test": data.select([3, 1])})
    both.save_to_disk(tmp_path / "two")
    assert contents(read(tmp_path, path="two", **FIELDS)) == EXPECTED[:1]
    assert contents(read(tmp_path, path="two", split="test", **FIELDS)) == [
        EXPECTED[3],
        EXPECTED[1],
    ]
    said = refused(tmp_path, path="two", split="dev")
    assert said == "two: no split 'dev'; set the source's split to train, test"
    (tmp_path / "one" / "state.json").write_text("{")
    assert refused(tmp_path, path="one", **FIELDS).startswith("one: cannot be read (")


@pytest.mark.parametrize("streaming", [False, True])
def test_hub_datasets(tmp_path, monkeypatch, streaming):
    asked = {}

    def stand_in(*args, **kwargs):
        asked.update(kwargs, args=args)
        data = datasets.Dataset.from_list(RECORDS)
        return data.to_iterable_dataset() if kwargs["streaming"] else data

    monkeypatch.setattr(datasets, "load_dataset", stand_in)
    where = {"hub": "org/set", "config": "en", "split": "dev", "revision": "v1"}
    found = read(tmp_path, **where, streaming=streaming, **FIELDS)
    assert contents(found) == EXPECTED
    assert asked == {
        "args": ("org/set", "en"),
        "split": "dev",
        "revision": "v1",
        "streaming": streaming,
    }
    said = refused(tmp_path, **where, streaming=streaming)
    assert said.startswith("hub dataset org/set (en), split dev, record 0: field 'text' is missing")


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("Couldn't reach 'org/set' on the Hub\n(LocalEntryNotFoundError)"),
        datasets.exceptions.DatasetNotFoundError("Dataset 'org/set' doesn't exist\non the Hub."),
        ValueError('Unknown split "dev".\nShould be one of [train].'),
        RuntimeError("Dataset scripts are no longer supported"),
        datasets.exceptions.DatasetGenerationError("An error occurred"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_what_the_hub_says_is_one_line(tmp_path, monkeypatch, error, late):
    def rows():
        yield RECORDS[0]
        raise error

    def stand_in(*_, **__):
        if late:
            return datasets.IterableDataset.from_generator(rows)
        raise error

    monkeypatch.setattr(datasets, "load_dataset", stand_in)
    said = refused(tmp_path, hub="org/set", split="dev", streaming=True, **FIELDS)
    assert said.startswith("hub dataset org/set, split dev: cannot be read (")
    assert said.endswith("check the name, config and split, or give the path of a local copy")


def test_an_unknown_hub_name_without_network(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    said = refused(tmp_path, hub="nobody/no-such-set")
    assert said.startswith("hub dataset nobody/no-such-set, split train: cannot be read (")


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("e.jsonl", b"", "e.jsonl: the file is empty"),
        ("e.txt", b"", "e.txt: the file is empty"),
        ("e.parquet", b"", "e.parquet: the file is empty"),
        ("e.csv", b"a,b", "e.csv: a file of an unknown kind; give one of .jsonl,"),
        ("e.jsonl", b'{"text": "a"}\n{"text"', "e.jsonl, line 2: not valid JSON ("),
        ("e.jsonl", b'{"text": "a"}\n[1]\n', "e.jsonl, line 2: a list, not a record"),
        ("e.json", b'["a"]', "e.json, record 0: text, not a record"),
        ("e.json", b'{\n "text": "a"\n}', "e.json, line 1: not valid JSON ("),
        ("e.json", b'[{"text": "a"}', "e.json: not valid JSON ("),
        ("e.jsonl", b"[" * 100_000, "e.jsonl, line 1: not valid JSON ("),
        ("e.jsonl", b'{"text": ' + b"1" * 5000 + b"}", "e.jsonl, line 1: not valid JSON ("),
        ("e.jsonl", b'{"text": "ok"}\n{"text": "\xe9"}', "line 2, byte 10: not UTF-8 (0xe9)"),
        ("e.json", b'[{"text":\n "\xe9"}]', "e.json, line 2, byte 2: not UTF-8 (0xe9)"),
        ("e.txt", b"ok\nab\xe9", "e.txt, line 2, byte 2: not UTF-8 (0xe9)"),
        ("e.jsonl", "{}".encode("utf-16"), "e.jsonl, line 1, byte 0: not UTF-8 (0xff)"),
        ("e.jsonl.gz", b'{"text": "a"}', "e.jsonl.gz: cannot be read ("),
        ("e.jsonl.gz", b"\x1f\x8b\x08\x00", "e.jsonl.gz: cannot be read ("),
    ],
)
def test_bad_files(tmp_path, name, raw, message):
    (tmp_path / name).write_bytes(raw)
    assert message in refused(tmp_path, path=name)


def test_bad_paths(tmp_path):
    assert refused(tmp_path, path="gone.jsonl").startswith("gone.jsonl: no such file or folder")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.md").write_text("x")
    said = refused(tmp_path, path="empty")
    assert said.startswith("empty: the folder holds no file that can be read (.jsonl, ")
    assert said.endswith("; put one there, or name another path")


def test_what_is_no_file_in_a_folder_is_named(tmp_path, write_lines, caplog):
    (tmp_path / "posts").mkdir()
    write_lines("posts/b.jsonl", [{"text": "kept"}])
    os.mkfifo(tmp_path / "posts" / "a.jsonl")
    (tmp_path / "posts" / "c.jsonl").symlink_to("gone")
    assert [document.text for document in read(tmp_path, path="posts")] == ["kept"]
    assert "posts: not read: 2 of its files ('a.jsonl' is the first)" in caplog.text


def test_reading_is_a_stream(tmp_path, write_lines):
    write_lines("r.jsonl", [{"text": "a"}, "not JSON"])
    stream = read_documents(Source(path="r.jsonl"), tmp_path)
    assert next(stream).text == "a"
    with pytest.raises(InputError, match="line 2"):
        next(stream)


@given(st.binary(max_size=60))
@settings(max_examples=80, deadline=None)
def test_any_bytes_are_read_or_refused(tmp_path_factory, raw):
    folder = tmp_path_factory.getbasetemp()
    for name in ("any.jsonl", "any.json", "any.txt", "any.parquet", "any.jsonl.gz"):
        (folder / name).write_bytes(raw)
        with contextlib.suppress(InputError):
            read(folder, path=name)
