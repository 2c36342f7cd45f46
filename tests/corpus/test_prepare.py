"""The prepared corpus: what lies in its folder, and that names of sources are no part of that."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ifguide.corpus.config import CorpusConfig, Source, TokenizerConfig
from ifguide.corpus.documents import is_held_out, read_documents
from ifguide.corpus.prepare import open_prepared, prepare
from ifguide.errors import InputError

TRAINED = TokenizerConfig(vocab_size=300)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def prepared(folder, *sources):
    config = CorpusConfig(sources=sources, block_length=16)
    return prepare(config, TRAINED, folder, 0, folder)


def files(folder):
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


@given(st.lists(names, min_size=2, max_size=2, unique=True))
@example(["a/b", "../../up"])
@example(["/etc/passwd", "C:\\x"])
@example(["a", "A"])
@example([".", " "])
@example(["\x00", "\x1b[31m\n"])
@example(["x" * 300, "é" * 300])
@settings(max_examples=15, deadline=None)
def test_any_text_names_a_source(given_names):
    with tempfile.TemporaryDirectory() as outer:
        folder = Path(outer) / "run" / "corpus"
        folder.mkdir(parents=True)
        sources = [Source(name=name, builtin=20, held_out=0.4) for name in given_names]
        prepared(folder, *sources)
        again = open_prepared(folder)
        assert list(again.held_out) == given_names
        for source in sources:
            expected = [d for d in read_documents(source, folder) if is_held_out(d, 0.4, 0)]
            assert list(again.held_out[source.name]) == expected
        held_out = {name for name in files(Path(outer)) if "held_out" in name}
        assert held_out == {
            f"run/corpus/held_out/{f}" for f in ("0.arrow", "1.arrow", "names.json")
        }
        assert all(name.startswith("run/corpus/") for name in files(Path(outer)))


def test_only_sources_that_are_split_have_held_out_documents(tmp_path):
    sources = [
        Source(name="whole", builtin=20),
        Source(name="split", builtin=30, held_out=0.5),
    ]
    text = prepared(tmp_path, *sources)
    assert list(text.held_out) == ["split"]
    assert json.loads((tmp_path / "held_out" / "names.json").read_text()) == ["split"]
    assert {d.source for d in text.corpus.documents} == {"whole", "split"}


@pytest.mark.parametrize("missing", ["held_out/names.json", "held_out/0.arrow", "tokenizer"])
def test_what_is_missing_is_one_line(missing, tmp_path):
    prepared(tmp_path, Source(builtin=20, held_out=0.5))
    for file in [tmp_path / missing, *(tmp_path / missing).glob("*")]:
        if file.is_file():
            file.unlink()
    with pytest.raises(InputError) as caught:
        open_prepared(tmp_path)
    assert str(tmp_path / missing) in str(caught.value)


def test_two_sources_of_one_name_are_refused():
    with pytest.raises(InputError, match=r"corpus\.sources: two are named 'a/b'; give each its"):
        CorpusConfig(sources=(Source(name="a/b", builtin=2), Source(name="a/b", builtin=3)))


def test_half_a_surrogate_pair_is_no_text():
    with pytest.raises(InputError, match=r"source \\ud800: the name holds half a surrogate pair"):
        Source(name="\ud800", builtin=2)
