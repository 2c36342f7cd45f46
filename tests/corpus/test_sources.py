import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from ifguide.corpus.config import Source
from ifguide.corpus.documents import read_documents
from ifguide.corpus.sources import source_fingerprint
from ifguide.errors import InputError


@pytest.fixture
def posts(write_lines):
    records = [
        {"id": f"{'ab'[n % 2]}-{n}", "text": f"post {n}", "spans": [[0, 4]] * (n % 3 == 0)}
        for n in range(12)
    ]
    return write_lines("posts.jsonl", records)


def ids(data_dir, **settings):
    source = Source(path="posts.jsonl", **settings)
    return [document.id for document in read_documents(source, data_dir)]


def refused(data_dir, **settings):
    with pytest.raises(InputError) as caught:
        ids(data_dir, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_filters_keep_file_order(tmp_path, posts):
    assert ids(tmp_path) == [f"{'ab'[n % 2]}-{n}" for n in range(12)]
    assert ids(tmp_path, ids="b-*", limit=2) == ["b-1", "b-3"]
    assert ids(tmp_path, spans="spans", marked=True) == ["a-0", "b-3", "a-6", "b-9"]
    assert ids(tmp_path, spans="spans", marked=False, ids="a-?") == ["a-2", "a-4", "a-8"]


def test_bounds_on_numbers(tmp_path, write_lines):
    values = [0.1, 0.5, None, float("nan"), 0.9, 1]
    write_lines("posts.jsonl", [{"text": "x", "rated": {"toxicity": value}} for value in values])
    assert ids(tmp_path, at_least={"rated.toxicity": 0.5}) == ["1", "4", "5"]
    assert ids(tmp_path, at_most={"rated.toxicity": 0.5}) == ["0", "1"]
    both = {"at_least": {"rated.toxicity": 0.5}, "at_most": {"rated.toxicity": 0.9}}
    assert ids(tmp_path, **both) == ["1", "4"]
    assert ids(tmp_path, **both, limit=1) == ["1"]
    assert refused(tmp_path, at_least={"rated.toxicity": 2.0}) == (
        "posts.jsonl: none of the 6 records left passes at_least=rated.toxicity: 2.0; change that "
        "setting of source posts"
    )
    assert refused(tmp_path, at_most={"text": 0.5}).startswith(
        "posts.jsonl, line 1: field 'text' is text, not a number; name a field of numbers with "
        "the setting at_most of source posts"
    )


@pytest.mark.parametrize("as_ids", [True, False])
@pytest.mark.parametrize("kind", [".txt", ".json", ".npy"])
def test_subsets_by_id_and_by_number(tmp_path, posts, as_ids, kind):
    numbers, names = [7, 2, 2, 11], ["b-7", "a-2", "a-2", "b-11"]
    listed = names if as_ids else numbers
    file = tmp_path / f"subset{kind}"
    if kind == ".npy":
        np.save(file, np.array(numbers))
    elif kind == ".json":
        file.write_text(json.dumps(listed))
    else:
        file.write_text("".join(f"{entry}\r\n" for entry in listed) + "\n")
    assert ids(tmp_path, subset=file.name) == ["a-2", "b-7", "b-11"]
    assert ids(tmp_path, subset=str(file), ids="b*") == ["b-7", "b-11"]


def test_quoted_numbers_are_ids(tmp_path, write_lines):
    write_lines("posts.jsonl", [{"id": 5, "text": "x"}, {"id": 0, "text": "y"}])
    (tmp_path / "quoted.json").write_text('["5"]')
    (tmp_path / "plain.json").write_text("[1]")
    assert ids(tmp_path, subset="quoted.json") == ["5"]
    assert ids(tmp_path, subset="plain.json") == ["0"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('["a-0", "zz"]', "1 of 2 ids are not in posts.jsonl, such as zz"),
        ("[0, 12]", "1 of 2 numbers are not in posts.jsonl, such as 12"),
        ("[]", "the subset is empty"),
        ("[0, -1]", "-1 is no record number"),
        ('[0, "a-0"]', "only one kind of entry"),
        ("[true]", "only one kind of entry"),
        ('{"a": 1}', "holds a record; write one list"),
        ("[0", "cannot be read"),
    ],
)
def test_bad_subsets(tmp_path, posts, content, message):
    (tmp_path / "subset.json").write_text(content)
    said = refused(tmp_path, subset="subset.json")
    assert said.startswith("subset.json: ")
    assert message in said


def test_bad_subset_files(tmp_path, posts):
    assert "no such file" in refused(tmp_path, subset="gone.npy")
    (tmp_path / "subset.csv").write_text("0")
    assert "unknown kind" in refused(tmp_path, subset="subset.csv")
    for name, array in {
        "floats": np.array([0.0]),
        "square": np.zeros((2, 2), int),
        "mask": np.array([True]),
    }.items():
        np.save(tmp_path / f"{name}.npy", array)
        assert "not a flat array of integers" in refused(tmp_path, subset=f"{name}.npy")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    assert "cannot be read" in refused(tmp_path, subset="objects.npy")
    (tmp_path / "latin.txt").write_bytes(b"\xe9\n")
    assert "cannot be read" in refused(tmp_path, subset="latin.txt")


def test_the_filter_that_leaves_nothing_is_named(tmp_path, posts, write_lines):
    assert "none of the 12 records left passes ids=zz*" in refused(tmp_path, ids="zz*")
    (tmp_path / "s.txt").write_text("b-1\nb-5\n")
    said = refused(tmp_path, subset="s.txt", spans="spans", marked=True)
    assert "none of the 2 records left passes marked=true" in said
    write_lines("posts.jsonl", ["", " "])
    assert "posts.jsonl: holds no record" in refused(tmp_path)


def test_ids_must_differ_and_be_there(tmp_path, write_lines):
    write_lines("posts.jsonl", [{"id": "x", "text": "1"}, {"id": "x", "text": "2"}])
    assert "posts.jsonl, line 2: id 'x' is also that of record 0" in refused(tmp_path)
    write_lines("posts.jsonl", [{"id": "x", "text": "1"}, {"text": "2"}])
    assert "line 2: field 'id' is missing" in refused(tmp_path)
    write_lines("posts.jsonl", [{"text": "1"}, {"id": "x", "text": "2"}])
    assert "line 2: has an id, but the records before it have none" in refused(tmp_path)
    assert "line 1: field 'name' is missing" in refused(tmp_path, id="name")
    write_lines("posts.jsonl", [{"id": None, "text": "1"}])
    assert "line 1: field 'id' is null" in refused(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "exactly one of path, hub and builtin; none of them is set"),
        ({"path": "a", "builtin": 3}, "path and builtin is set"),
        ({"path": "a.jsonl", "held_out": 1.0}, "source a.held_out: 1.0 is not in"),
        ({"path": "a.jsonl", "held_out": -0.1}, "held_out: -0.1 is not in"),
        ({"path": "a.jsonl", "limit": 0}, "limit: 0 is not in"),
        ({"path": "a.jsonl", "marked": True}, "marked is set but spans is not"),
        ({"builtin": 0}, "builtin: 0 is not in"),
    ],
)
def test_contradictions_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Source(**settings)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"path": "data/posts.jsonl.gz"}, "posts"),
        ({"path": "corpus-v1.5/"}, "corpus-v1.5"),
        ({"path": "."}, "corpus"),
        ({"hub": "org/some-set"}, "some-set"),
        ({"builtin": 3}, "builtin"),
        ({"hub": "org/"}, "hub"),
        ({"path": "a.txt", "name": "mine"}, "mine"),
        ({"path": "a.txt", "name": "../mine/"}, "../mine/"),
    ],
)
def test_default_names(settings, name):
    assert Source(**settings).name == name


def test_fingerprint_follows_contents_and_settings(tmp_path, posts):
    source = Source(path="posts.jsonl")
    first = source_fingerprint(source, tmp_path)
    assert source_fingerprint(Source(path=str(posts), name="posts"), tmp_path / "gone") == first
    changes = [{"text": "id"}, {"limit": 3}, {"ids": "a*"}, {"name": "other"}]
    others = [source_fingerprint(dataclasses.replace(source, **c), tmp_path) for c in changes]
    (tmp_path / "subset.json").write_text("[0]")
    subset = Source(path="posts.jsonl", subset="subset.json")
    others.append(source_fingerprint(subset, tmp_path))
    (tmp_path / "subset.json").write_text("[1]")
    others.append(source_fingerprint(subset, tmp_path))
    posts.write_bytes(posts.read_bytes() + b"\n")
    others.append(source_fingerprint(source, tmp_path))
    others.append(source_fingerprint(Source(hub="org/set"), tmp_path))
    others.append(source_fingerprint(Source(hub="org/set", revision="abc"), tmp_path))
    others.append(source_fingerprint(Source(builtin=3), tmp_path))
    assert len({first, *others}) == 1 + len(others)


def test_fingerprint_of_a_folder_counts_names(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("one")
    before = source_fingerprint(Source(path="texts"), tmp_path)
    (folder / "a.txt").rename(folder / "b.txt")
    assert source_fingerprint(Source(path="texts"), tmp_path) != before
    with pytest.raises(InputError, match="no such file or folder"):
        source_fingerprint(Source(path="gone"), tmp_path)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that fails to read")
def test_a_file_that_fails_while_it_is_fingerprinted_is_named(tmp_path):
    (tmp_path / "posts.jsonl").symlink_to("/proc/self/mem")
    with pytest.raises(InputError, match=r"posts\.jsonl: cannot be read \(.*; check the file"):
        source_fingerprint(Source(path="posts.jsonl"), tmp_path)


@pytest.mark.parametrize("licence", ["", "mit\n", "\x1b[31m", "m" * 101, "a|b", "<b>mit</b>"])
def test_a_licence_is_a_name(licence):
    with pytest.raises(InputError, match=r"source posts: licence is .*; give its name as hubs"):
        Source(name="posts", builtin=9, licence=licence)
