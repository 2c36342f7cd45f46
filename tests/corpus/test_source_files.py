"""The files that decide a source, queries or a tokenizer, listed without reading them."""

import contextlib
import os
from pathlib import Path

import datasets
import numpy as np
import pytest
from reads import files_opened_below
from transformers.models.auto.tokenization_auto import (
    TOKENIZER_MAPPING_NAMES,
    tokenizer_class_from_name,
)

from ifguide.corpus.config import QueriesConfig, Source, TokenizerConfig
from ifguide.corpus.documents import read_documents
from ifguide.corpus.sources import files_of, query_sources
from ifguide.corpus.tokenizer_files import decides, tokenizer_files
from ifguide.corpus.tokenizers import load_tokenizer
from ifguide.errors import InputError

RECORDS = [{"id": f"r{n}", "text": f"post {n}"} for n in range(4)]


def listed(data_dir, **settings):
    found = files_of(Source(**settings), data_dir)
    return [(file.relative_to(data_dir).as_posix(), name) for file, name in found]


@pytest.fixture
def data_dir(tmp_path, write_lines):
    write_lines("posts.jsonl.gz", RECORDS)
    write_lines("all/b.jsonl", RECORDS[:2])
    write_lines("all/deep/a.json", RECORDS[2:])
    write_lines("all/.cache/c.jsonl", RECORDS)
    (tmp_path / "all" / "notes.md").write_text("no data")
    (tmp_path / "some.txt").write_text("r1\n")
    np.save(tmp_path / "some.npy", np.array([0]))
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(RECORDS).save_to_disk(tmp_path / "saved")
    datasets.enable_progress_bars()
    return tmp_path


KINDS = [
    ({"path": "posts.jsonl.gz"}, [("posts.jsonl.gz", "posts.jsonl.gz")]),
    (
        {"path": "all", "subset": "some.txt"},
        [("all/b.jsonl", "b.jsonl"), ("all/deep/a.json", "deep/a.json"), ("some.txt", "subset")],
    ),
    (
        {"path": "posts.jsonl.gz", "subset": "some.npy"},
        [("posts.jsonl.gz",) * 2, ("some.npy", "subset")],
    ),
    ({"builtin": 3}, []),
    ({"builtin": 3, "subset": "some.npy"}, [("some.npy", "subset")]),
    ({"hub": "org/set"}, []),
]


@pytest.mark.parametrize(("settings", "expected"), KINDS)
def test_each_kind_of_source_lists_its_files(settings, expected, data_dir):
    assert listed(data_dir, **settings) == expected


def test_a_saved_dataset_is_all_of_its_files(data_dir):
    names = [name for _, name in listed(data_dir, path="saved")]
    assert names == sorted(file.name for file in (data_dir / "saved").iterdir())
    assert "state.json" in names


@pytest.mark.parametrize(
    "settings",
    [settings for settings, _ in KINDS if "hub" not in settings] + [{"path": "saved"}],
)
def test_reading_opens_no_file_that_is_not_listed(settings, data_dir):
    source = Source(**settings)
    with files_opened_below(data_dir) as opened:
        assert list(read_documents(source, data_dir))
    assert opened <= {file for file, _ in files_of(source, data_dir)}


def test_listing_opens_nothing(data_dir):
    file = data_dir / "posts.jsonl.gz"
    file.chmod(0)
    with files_opened_below(data_dir) as opened:
        assert listed(data_dir, path="posts.jsonl.gz", subset="some.npy")
    assert opened == set()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"path": "gone.jsonl"}, "gone.jsonl: no such file or folder (looked at "),
        ({"path": "posts.csv"}, "posts.csv: a file of an unknown kind; give one of .jsonl, "),
        ({"path": "pipe.jsonl"}, "pipe.jsonl: a pipe or device, which is read once only; give"),
        ({"path": "hollow"}, "hollow: the folder holds no file that can be read (.jsonl, "),
        ({"builtin": 3, "subset": "gone.npy"}, "subset: gone.npy: no such file (looked at "),
    ],
)
def test_what_is_not_there_is_refused(settings, said, data_dir):
    (data_dir / "posts.csv").write_text("a,b")
    (data_dir / "hollow").mkdir()
    os.mkfifo(data_dir / "pipe.jsonl")
    with pytest.raises(InputError) as caught:
        files_of(Source(**settings), data_dir)
    assert str(caught.value).startswith(said)


def test_queries_read_both_sources_and_both_subsets():
    one, other = Source(builtin=3), Source(path="safe.jsonl")
    pairs = QueriesConfig(kind="pairs", source=one, safe_source=other)
    assert query_sources(pairs) == ([one, other], [])
    split = QueriesConfig(kind="rtp", source=other, safe_subset="safe.npy", toxic_subset="t.txt")
    assert query_sources(split) == ([other], ["t.txt", "safe.npy"])
    assert query_sources(QueriesConfig(source=one)) == ([one], [])


# tokenizers


def test_loading_a_tokenizer_opens_no_file_that_is_not_listed(any_tokenizer, tmp_path):
    any_tokenizer.chat_template = "{{ messages }}"
    any_tokenizer.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    config = TokenizerConfig(path=str(tmp_path))
    with files_opened_below(tmp_path) as opened:
        load_tokenizer(config)
    names = {file.name for file in tokenizer_files(config)}
    assert {file.name for file in opened} <= names
    assert {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} <= names
    assert "model.safetensors" not in names


def test_every_family_s_vocabulary_has_a_name_that_is_listed():
    classes = {name for name in TOKENIZER_MAPPING_NAMES.values() if name}
    found = set()
    for name in sorted(classes):
        with contextlib.suppress(ImportError):  # a package that only some families need
            made = tokenizer_class_from_name(name)
            found |= set((getattr(made, "vocab_files_names", None) or {}).values())
    assert "tokenizer.json" in found
    assert [name for name in found if not decides(name)] == []


@pytest.mark.parametrize("trust", [False, True])
def test_code_counts(tmp_path, trust):
    """It decides what is refused where it is not trusted, and what is read where it is."""
    for name in ("tokenizer.json", "tokenization_own.py"):
        (tmp_path / name).write_text("{}")
    templates = tmp_path / "additional_chat_templates"
    templates.mkdir()
    (templates / "tools.jinja").write_text("")

    config = TokenizerConfig(path=str(tmp_path), trust_remote_code=trust)
    names = [file.name for file in tokenizer_files(config)]
    assert names == ["tokenization_own.py", "tokenizer.json", "tools.jinja"]


@pytest.mark.parametrize("settings", [{"path": "owner/name"}, {"vocab_size": 300}])
def test_a_tokenizer_that_lies_in_no_folder_has_no_files(settings):
    assert tokenizer_files(TokenizerConfig(**settings)) == []


def test_relative_and_home_paths_are_found(tmp_path, monkeypatch):
    (tmp_path / "tok").mkdir()
    (tmp_path / "tok" / "tokenizer.json").write_text("{}")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tokenizer_files(TokenizerConfig(path="~/tok")) == [tmp_path / "tok" / "tokenizer.json"]
    monkeypatch.chdir(tmp_path)
    assert tokenizer_files(TokenizerConfig(path="tok")) == [Path("tok/tokenizer.json")]
