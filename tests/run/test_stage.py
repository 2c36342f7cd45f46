"""A stage is given what it declares, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest
from toys import config, scored

from ifguide.run.run import opened
from ifguide.run.stage import Outside, folder_name, needs
from ifguide.run.table import all_stages

TEXT = Outside(name="text", files=lambda config: [], open=lambda config: "text")
NUMBER = scored(lambda work, settings: None, name="number", load=lambda folder, get: 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda work, settings: None,
        lambda work, settings, text: None,
        lambda work, settings, text, number, more: None,
        lambda work, settings, text, *, number: None,
    ],
    ids=["none of two", "one of two", "three of two", "one by name"],
)
def test_a_make_that_asks_for_more_or_less_than_is_declared_is_refused(make):
    with pytest.raises(TypeError, match="'score': make does not take .* the 2 nouns that it needs"):
        scored(make, needs=needs(TEXT, NUMBER))


def test_a_make_is_given_its_settings_and_its_nouns_in_order(tmp_path):
    given = []
    stage = scored(
        lambda work, settings, text, number: given.append((settings, text, number)),
        needs=needs(TEXT, NUMBER),
        load=lambda folder, get: None,
    )
    asked = config(selection__budget=0.3)
    with opened(asked, tmp_path / "run", quiet=True) as run:
        run(stage)
    assert given == [(asked.selection, "text", 3)]


def test_a_load_gets_the_nouns_of_its_needs_and_of_nothing_else(tmp_path):
    def declared(wanted):
        return scored(
            lambda work, settings, number: None,
            name=f"of-{wanted.name}",
            needs=needs(NUMBER),
            load=lambda folder, get: get(wanted),
        )

    with opened(config(), tmp_path / "run", quiet=True) as run:
        assert run(declared(NUMBER)) == 3
        with pytest.raises(TypeError, match="'of-text' asks for 'text', not one of its needs"):
            run(declared(TEXT))


TYPED = """
from pathlib import Path
from ifguide.run.stage import Outside, Stage, needs
from ifguide.run.work import Work

TEXT: Outside[str] = Outside(name="text", files=lambda config: [], open=lambda config: "text")
SIZE: Outside[int] = Outside(name="size", files=lambda config: [], open=lambda config: 3)

def make(work: Work, seed: int, {parameters}) -> int:
    return seed

STAGE = Stage(
    name="stage", needs=needs(TEXT, SIZE), settings=lambda config: config.seed, make=make,
    load=lambda folder, get: 3, files=(),
)
"""


@pytest.mark.parametrize(
    ("parameters", "fits"),
    [
        ("text: str, size: int", True),
        ("text: str", False),
        ("text: str, size: int, more: int", False),
        ("size: int, text: str", False),
        ("text: str, size: str", False),
    ],
)
def test_a_make_of_other_nouns_does_not_type_check(tmp_path, parameters, fits):
    root = Path(__file__).parents[2]
    file = tmp_path / "theirs.py"
    file.write_text(TYPED.format(parameters=parameters))
    command = [sys.executable, "-m", "mypy", "--config-file", str(root / "pyproject.toml")]
    cache = tmp_path.parent / "mypy"  # the first one takes the longest
    shown = subprocess.run(
        [*command, "--follow-imports", "silent", "--cache-dir", str(cache), str(file)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (shown.returncode == 0) == fits, shown.stdout + shown.stderr
    if not fits:
        errors = [line for line in shown.stdout.splitlines() if ": error: " in line]
        assert all("theirs.py" in line for line in errors)
        assert any('"make"' in line or "Stage" in line for line in errors), errors


@pytest.mark.parametrize(
    "name", ["", "Score", "a/b/c", "../up", "/root", ".hidden", "a/../b", "a b", "a/", "ü", "a\n"]
)
def test_a_name_that_is_none_of_a_folder_is_refused(name):
    with pytest.raises(ValueError, match="is no name of a stage"):
        scored(lambda work, settings: None, name=name)


GIVEN = [
    "non-toxic",
    "Non-toxic",
    "rtp/toxic",
    "../up",
    "",
    ".",
    "..",
    "a" * 300,
    "\udc80",
    "ü",
    "Ü",
]


@pytest.mark.parametrize("given", [*GIVEN, "a\0b", "CON", "a.part", "scratch", "a/b/c/d"])
def test_any_name_that_people_gave_is_a_folder_of_its_own(given):
    found = folder_name(given)
    assert len(found) < 64
    assert "/" not in found
    assert scored(lambda work, settings: None, name=f"model/{found}").name == f"model/{found}"


def test_other_names_are_other_folders():
    found = [folder_name(given) for given in GIVEN]
    assert len({name.casefold() for name in found}) == len(found)


def test_stages_of_one_run_lie_in_folders_of_their_own_and_write_no_control_file():
    stages = all_stages()
    names = [stage.name for stage in stages]
    assert len(set(names)) == len(names)
    for name in names:
        assert not name.endswith(".part")
        assert not any(other.startswith(f"{name}/") for other in names)
    for stage in stages:
        assert not {"manifest.json", "made-for.json", "cost.json", "*", "*.json"} & {*stage.files}
