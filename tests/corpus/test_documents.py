import pickle
import tempfile
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifguide.corpus.config import Source
from ifguide.corpus.documents import BATCH, CHARACTERS, Documents, is_held_out, read_documents
from ifguide.errors import InputError
from ifguide.nouns import Document

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
spans = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=3).map(tuple)
values = st.tuples(text, text, spans, text, text)


def many(count):
    return [Document(str(n), f"text {n} é日", ((0, n + 1),) * (n % 3), "s") for n in range(count)]


@given(st.lists(values, max_size=8))
@settings(max_examples=40, deadline=None)
def test_a_file_gives_back_what_was_written(rows):
    given_documents = [Document(*row) for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        stored = Documents.write(Path(folder) / "d.arrow", iter(given_documents))
        assert list(stored) == given_documents
        assert [stored[index] for index in range(len(stored))] == given_documents


@pytest.mark.parametrize("count", [0, 1, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH + 7])
def test_random_access_across_batches(tmp_path, count):
    expected = many(count)
    stored = Documents.write(tmp_path / "d.arrow", expected)
    assert len(stored) == count
    for index in {0, 1, BATCH - 1, BATCH, count - 1} & set(range(count)):
        assert stored[index] == expected[index]
        assert stored[index - count] == expected[index]
    assert stored[-5:2000] == expected[-5:2000]
    with pytest.raises(IndexError):
        stored[count]


def test_long_documents_close_a_batch_early(tmp_path):
    expected = [replace(document, text="é" * CHARACTERS) for document in many(3)] + many(BATCH)
    stored = Documents.write(tmp_path / "d.arrow", expected)
    with pa.memory_map(str(stored.path)) as file:
        assert pa.ipc.open_file(file).num_record_batches == 4
    assert len(stored) == len(expected)
    assert list(stored) == [stored[number] for number in range(len(stored))] == expected


def test_travels_to_another_process_as_a_path(tmp_path):
    stored = Documents.write(tmp_path / "d.arrow", many(5))
    assert list(pickle.loads(pickle.dumps(stored))) == many(5)


def test_writing_holds_one_batch(tmp_path):
    drawn = []

    def stream():
        for document in many(2 * BATCH):
            drawn.append(document.id)
            yield document

    class StopError(Exception):
        pass

    def stopping():
        yield from stream()
        assert len(drawn) == 2 * BATCH
        assert (tmp_path / "d.arrow").stat().st_size > 1000  # the first batch is on disk already
        raise StopError

    with pytest.raises(StopError):
        Documents.write(tmp_path / "d.arrow", stopping())


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"gone\.arrow: not a readable file of documents"):
        Documents.open(tmp_path / "gone.arrow")
    whole = Documents.write(tmp_path / "d.arrow", many(600)).path.read_bytes()
    (tmp_path / "short.arrow").write_bytes(whole[:-40])
    with pytest.raises(InputError, match=r"short\.arrow: not a readable file"):
        Documents.open(tmp_path / "short.arrow")
    table = pa.table({"a": [1]})
    with pa.ipc.new_file(tmp_path / "other.arrow", table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(InputError, match="not one of documents"):
        Documents.open(tmp_path / "other.arrow")


@given(st.integers(0, 2**31), st.floats(0, 0.99), st.floats(0, 0.99))
@settings(max_examples=30, deadline=None)
def test_held_out_is_stable_and_grows_with_the_fraction(seed, one, other):
    chosen = [
        {d.id for d in many(50) if is_held_out(d, fraction, seed)}
        for fraction in sorted((one, other))
    ]
    assert chosen[0] <= chosen[1]


def test_held_out_share_and_what_it_depends_on():
    out = [is_held_out(document, 0.2, 0) for document in many(5000)]
    assert abs(sum(out) / len(out) - 0.2) < 0.02
    assert not any(is_held_out(document, 0.0, 0) for document in many(500))
    assert out != [is_held_out(document, 0.2, 1) for document in many(5000)]
    renamed = [Document(d.id, "other text", (), d.source) for d in many(5000)]
    assert out == [is_held_out(document, 0.2, 0) for document in renamed]


def test_fields_become_a_document(tmp_path, write_lines):
    record = {
        "meta": {"name": "a1"},
        "post": {"body": "you 👩‍👩‍👧 fool"},
        "marks": [[10, 14], [0, 3]],
        "flat.name": 3,
    }
    write_lines("posts.jsonl", [record])
    source = Source(
        path="posts.jsonl", text="post.body", id="meta.name", spans="marks", kind="flat.name"
    )
    (document,) = read_documents(source, tmp_path)
    assert document == Document("a1", "you 👩‍👩‍👧 fool", ((0, 3), (10, 14)), "posts", "3")


def test_null_spans_mean_none_and_numbers_stand_for_missing_ids(tmp_path, write_lines):
    write_lines("p.jsonl", [{"text": "a", "s": None}, "", {"text": "b", "s": [[0, 1]]}])
    found = list(read_documents(Source(path="p.jsonl", spans="s"), tmp_path))
    assert [(d.id, d.spans) for d in found] == [("0", ()), ("1", ((0, 1),))]


BAD_RECORDS = {
    "missing text": ({"body": "x"}, r"line 2: field 'text' is missing \(fields there: body\)"),
    "null text": ({"text": None}, "line 2: field 'text' is null, not text"),
    "number as text": ({"text": 5}, "line 2: field 'text' is a number, not text"),
    "half a pair": ('{"text": "a\\ud83d"}', "line 2: .* half a surrogate pair at character 1"),
    "missing spans": ({"text": "x"}, r"field 's' is missing .* the setting spans of source p"),
    "text as spans": ({"text": "x", "s": "0-1"}, "field 's' is text, not a list"),
    "offsets as spans": ({"text": "x", "s": [0]}, r"holds 0, which is not a \[start, end\) pair"),
    "three numbers": ({"text": "x", "s": [[0, 1, 2]]}, r"\[0, 1, 2\], which is not"),
    "part of a number": ({"text": "x", "s": [[0, 0.5]]}, r"\[0, 0.5\], which is not"),
    "beyond the text": ({"text": "abc", "s": [[1, 4]]}, r"span \[1, 4\], outside a text of 3"),
    "empty span": ({"text": "abc", "s": [[1, 1]]}, r"the span \[1, 1\]"),
    "backwards": ({"text": "abc", "s": [[2, 1]]}, r"the span \[2, 1\]"),
    "negative": ({"text": "abc", "s": [[-1, 1]]}, r"the span \[-1, 1\]"),
    "no kind": ({"text": "abc", "s": []}, "field 'k' is missing"),
    "list as kind": ({"text": "abc", "s": [], "k": []}, "field 'k' is a list, not text"),
}


@pytest.mark.parametrize(("record", "message"), BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_a_bad_record_is_named(tmp_path, write_lines, record, message):
    write_lines("in/p.jsonl", [{"text": "fine", "s": [[0, 2]], "k": "x"}, record])
    source = Source(path="in/p.jsonl", spans="s", kind="k")
    with pytest.raises(InputError, match=message) as caught:
        list(read_documents(source, tmp_path))
    assert str(caught.value).startswith("in/p.jsonl, line 2: ")
    assert "\n" not in str(caught.value)


def test_a_field_inside_text_is_refused(tmp_path, write_lines):
    write_lines("p.jsonl", [{"prompt": "hello"}])
    with pytest.raises(InputError, match=r"'prompt\.text' is missing \(fields there: prompt\)"):
        list(read_documents(Source(path="p.jsonl", text="prompt.text"), tmp_path))


def test_the_builtin_corpus_is_a_source_like_another(tmp_path):
    def read(seed=0, **changes):
        return list(read_documents(Source(builtin=40, **changes), tmp_path, seed))

    assert len(read()) == 40
    assert read() == read()
    assert read() != read(seed=1)
    assert {d.source for d in read()} == {"builtin"}
    marked = read(marked=True)
    assert marked
    assert all(document.spans for document in marked)
    assert read(ids="*1", limit=2) == [d for d in read() if d.id.endswith("1")][:2]


def test_a_list_of_texts_gives_a_document_each(tmp_path, write_lines):
    records = [
        {"id": "a", "in": {"texts": ["one", "two"]}, "k": "x"},
        {"id": "b", "in": {"texts": []}, "k": "y"},
        {"id": "c", "in": {"texts": None}, "k": "y"},
        {"id": "d", "in": {"texts": ["three"]}, "k": "z"},
    ]
    write_lines("p.jsonl", records)
    source = Source(path="p.jsonl", text="in.texts[]", kind="k")
    found = [(d.id, d.text, d.kind) for d in read_documents(source, tmp_path)]
    assert found == [("a/0", "one", "x"), ("a/1", "two", "x"), ("d/0", "three", "z")]
    few = list(read_documents(replace(source, limit=2), tmp_path))
    assert [d.id for d in few] == ["a/0", "a/1"]
    with pytest.raises(InputError, match=r"none of the 2 records left passes text=in\.texts\[\]"):
        list(read_documents(replace(source, ids="[bc]"), tmp_path))


def test_one_text_of_a_list_is_the_record_s(tmp_path, write_lines):
    records = [
        {"id": "a", "in": {"texts": ["one", "two"]}},
        {"id": "b", "in": {"texts": []}},
        {"id": "c", "in": {"texts": ["three"]}},
        {"id": "d", "in": {"texts": None}},
    ]
    write_lines("p.jsonl", records)

    def read(text):
        return [(d.id, d.text) for d in read_documents(Source(path="p.jsonl", text=text), tmp_path)]

    assert read("in.texts[0]") == [("a", "one"), ("c", "three")]
    assert read("in.texts[1]") == [("a", "two")]
    with pytest.raises(InputError, match=r"none of the 4 records left passes text=in\.texts\[7\]"):
        read("in.texts[7]")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"text": "one"}, r"line 1: field 'text' is text, not a list of texts; .* out the \[\]"),
        ({"text": ["one", 2]}, r"line 1: field 'text\[1\]' is a number, not text"),
        ({"other": []}, "line 1: field 'text' is missing"),
    ],
)
def test_a_bad_list_of_texts_is_named(tmp_path, write_lines, record, message):
    write_lines("p.jsonl", [record])
    with pytest.raises(InputError, match=message):
        list(read_documents(Source(path="p.jsonl", text="text[]"), tmp_path))


def test_a_list_of_texts_has_no_spans():
    with pytest.raises(InputError, match=r"text is 'text\[\]', a list in each record"):
        Source(path="p.jsonl", text="text[]", spans="s")
