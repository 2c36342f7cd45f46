"""A stage is given what it declares, and nothing else."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from toys import config, scored

from ifguide.run.overview import known_stages
from ifguide.run.run import opened
from ifguide.run.stage import Outside, folder_name, needs

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
    with pytest.raises(
        TypeError, match=r"'score': make does not take .* the 2 nouns that it needs"
    ):
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
from ifguide.run.stage import Outside, Stage, needs
from ifguide.run.work import Work

TEXT: Outside[str] = Outside(name="text", files=lambda config: [], open=lambda config: "text")
SIZE: Outside[int] = Outside(name="size", files=lambda config: [], open=lambda config: 3)
"""
DECLARED = """
def make_{number}(work: Work, seed: int, {parameters}) -> int:
    return seed

STAGE_{number} = Stage(name="stage", needs=needs(TEXT, SIZE), settings=lambda config: config.seed, \
make=make_{number}, load=lambda folder, get: 3, files=())
"""
FITS = "text: str, size: int"
FITS_NOT = (
    "text: str",
    "text: str, size: int, more: int",
    "size: int, text: str",
    "text: str, size: str",
)


def test_a_make_of_other_nouns_does_not_type_check(tmp_path):
    root, file = Path(__file__).parents[2], tmp_path / "theirs.py"
    parts = [DECLARED.format(number=n, parameters=p) for n, p in enumerate((FITS, *FITS_NOT))]
    file.write_text("".join([TYPED, *parts]).replace("\\\n", ""))
    command = [sys.executable, "-m", "mypy", "--no-pretty", "--hide-error-context", str(file)]
    shown = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    lines = file.read_text().splitlines()
    errors = re.findall(r"theirs\.py:(\d+): error: ", shown.stdout)
    named = [re.findall(r"make=(make_\d)", lines[int(line) - 1]) for line in errors]
    assert {name for names in named for name in names} == {
        f"make_{number}" for number in range(1, 1 + len(FITS_NOT))
    }, shown.stdout


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
    stages = known_stages(config())
    names = [stage.name for stage in stages]
    assert len(set(names)) == len(names)
    for name in names:
        assert not name.endswith(".part")
        assert not any(other.startswith(f"{name}/") for other in names)
    for stage in stages:
        assert not {"manifest.json", "made-for.json", "cost.json", "*", "*.json"} & {*stage.files}
