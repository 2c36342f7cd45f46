"""File formats by registry: a package outside of ours adds one, and nothing heavy is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ifguide
from ifguide.corpus.formats import FORMATS, format_of, without_suffix

READER = """
import csv

from ifguide.corpus.fields import Record


def read_rows(file, shown, name):
    with file.open(newline="", encoding="utf-8") as stream:
        for number, fields in enumerate(csv.DictReader(stream)):
            if fields["text"] == "fault":
                raise csv.Error("a fault\\n of theirs")
            yield Record(f"{shown}, row {number}", {**fields, "from": name})
"""
SHOW = """
import sys
from pathlib import Path

from ifguide.corpus.config import Source

assert Source(path="table.csv").name == "table"
assert "their_package" not in sys.modules  # a name of a file imports nothing

from ifguide.corpus.documents import read_documents
from ifguide.corpus.sources import files_of

source = Source(path=sys.argv[1], id="number", kind="from")
print([name for _, name in files_of(source, Path())])
for document in read_documents(source, Path()):
    print(document.id, document.text, document.kind)
"""


@pytest.fixture
def theirs(tmp_path):
    """Run a script beside an installed package that reads ``.csv`` and ``.broken``."""
    site = tmp_path / "site"
    described = site / "their_package-1.0.dist-info"
    described.mkdir(parents=True)
    (site / "their_package.py").write_text(READER)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: their_package\nVersion: 1.0")
    points = "[ifguide.formats]\ncsv = their_package:read_rows\nbroken = their_package:gone\n"
    (described / "entry_points.txt").write_text(points)

    def run(script, *arguments):
        ours = Path(ifguide.__file__).parents[1]
        return subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ours}"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_package_adds_a_format(theirs, tmp_path):
    (tmp_path / "table.csv").write_text("number,text\n7,one\n8,two\n")
    told = theirs(SHOW, "table.csv")
    assert told.stderr == ""
    assert told.stdout.splitlines() == ["['table.csv']", "7 one table.csv", "8 two table.csv"]


def test_a_folder_may_mix_formats(theirs, tmp_path):
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "a.jsonl").write_text('{"number": "1", "text": "line", "from": "us"}\n')
    (tmp_path / "all" / "b.csv").write_text("number,text\n2,row\n")
    told = theirs(SHOW, "all")
    assert told.stdout.splitlines() == ["['a.jsonl', 'b.csv']", "1 line us", "2 row b.csv"]


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("a.csv", "InputError: a.csv: cannot be read (a fault of theirs); check the file, or"),
        ("a.broken", "the file format 'broken' is their_package:gone, which cannot be imported"),
        ("a.parq", "a.parq: a file of an unknown kind; give one of .jsonl, .ndjson, "),
    ],
)
def test_what_goes_wrong_in_their_package_is_one_line(theirs, tmp_path, file, said):
    (tmp_path / file).write_text("number,text\n1,fault\n")
    told = theirs(SHOW, file)
    assert told.returncode == 1
    assert said in told.stderr.splitlines()[-1]


def test_the_longest_ending_is_the_format():
    assert format_of("a.b.jsonl.gz") == "jsonl.gz"
    assert format_of("jsonl") is None
    assert format_of("a.gz") is None
    assert without_suffix("v1.json.txt") == "v1.json"


def test_every_format_of_ours_can_be_imported():
    for name in FORMATS.names():
        assert callable(FORMATS.get(name, "test"))


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("ifguide.corpus.config", {"torch", "transformers", "datasets", "pyarrow", "numpy"}),
        ("ifguide.corpus.sources", {"torch", "transformers", "datasets"}),
        ("ifguide.corpus.tokenizer_files", {"torch", "transformers", "datasets", "tokenizers"}),
        ("ifguide.models.model_files", {"torch", "transformers", "datasets"}),
        ("ifguide.models.config", {"torch", "transformers", "datasets"}),
        ("ifguide.nouns", {"torch", "transformers", "datasets"}),
        ("ifguide.evaluation.config", {"torch", "transformers", "datasets", "pyarrow"}),
    ],
)
def test_what_settings_need_imports_nothing_heavy(module, absent):
    script = f"import sys, {module}; print(*({absent!r} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (told.returncode, told.stdout.strip()) == (0, ""), told.stderr
