"""Help, settings and refusals come without the libraries that models need."""

import json

import pytest
from micro import write_settings
from outside import python

from ifguide.commands.main import COMMANDS

HEAVY = ("torch", "transformers", "datasets")
SHOW = """
import contextlib, io, json, sys
from ifguide.commands.main import main

seen = []
for arguments in json.loads({given!r}):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            code = main(arguments)
        except SystemExit as stopped:
            code = stopped.code or 0
    heavy = [name for name in {heavy!r} if name in sys.modules]
    seen.append([arguments, code, heavy])
    if heavy:
        break  # whatever follows has them too
print(json.dumps(seen))
"""
REFUSED = [
    ["bogus"],
    ["run"],
    ["run", "gone.yaml", "--out", "new"],
    ["run", "run.yaml"],
    ["run", "run.yaml", "--out", "new", "--selection.budget", "2"],
    ["run", "run.yaml", "--out", "new", "--selektion.budget", "0.1"],
    ["score", "run.yaml", "--out", "new", "--scores.engine", "jpv"],
    ["compare", "run.yaml", "--out", "new", "--compare.thresholds", "[0]"],
    ["sweep", "run.yaml", "--out", "new", "--budget", "much"],
    ["export-pair", "run.yaml"],
    ["attack"],
    ["attack", ".", "--gcg.steps", "0"],
    ["attack", ".", "--kind", "gcc"],
    ["judge", ".", "--judges", "rule", "--top=3"],
    ["lm-eval", "gone"],
    ["inspect", "gone", "--top", "0"],
    ["distil", "gone", "--out", "new"],
    ["distil", ".", "--out", "new", "--layers", "0"],
    ["status"],
    ["status", "gone"],
    ["init", "--corpus", "gone.jsonl", "--model", "owner/name"],
]


@pytest.fixture
def folder(tmp_path):
    """A folder with settings and a corpus."""
    write_settings(tmp_path)
    posts = [{"text": f"post number {k}, you donkey", "spans": [[15, 25]]} for k in range(9)]
    lines = "".join(json.dumps(post) + "\n" for post in posts)
    (tmp_path / "posts.jsonl").write_text(lines, encoding="utf-8")
    return tmp_path


def seen(folder, *given):
    """Give commands one after the other in one process; return code and heavy modules of each."""
    done = python(folder, SHOW.format(given=json.dumps(given), heavy=HEAVY))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_help(folder):
    every = [["--help"], *([command.name, "--help"] for command in COMMANDS)]
    assert seen(folder, *every) == [[arguments, 0, []] for arguments in every]


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--settings"],
        ["attack", "--settings"],
        ["run", "run.yaml", "--print_config", "--selection.budget", "0.1"],
        ["schema"],
        ["init", "--corpus", "posts.jsonl", "--model", "owner/name", "--out", "new.yaml"],
    ],
    ids=" ".join,
)
def test_what_only_shows_or_writes_settings(folder, arguments):
    assert seen(folder, arguments) == [[arguments, 0, []]]


def test_every_refusal_of_an_option(folder):
    assert seen(folder, *REFUSED) == [[arguments, 2, []] for arguments in REFUSED]


def test_status(folder, finished):
    assert seen(folder, ["status", str(finished)]) == [[["status", str(finished)], 0, []]]


def test_the_package_itself(folder):
    done = python(folder, f"import sys, ifguide\nprint([n for n in {HEAVY} if n in sys.modules])")
    assert done.stdout == "[]\n", done.stderr
