"""The pages: their links lead somewhere, and the commands, options and settings exist."""

import argparse
import ast
import re
import shlex
import tomllib
from dataclasses import fields, is_dataclass
from itertools import pairwise
from pkgutil import resolve_name

import pytest
from pages import PAGES, ROOT, blocks, prose

from ifguide.commands.main import COMMANDS, _parser
from ifguide.files import SEAL
from ifguide.run.folder import FORMAT
from ifguide.run.manifest import Manifest
from ifguide.run.table import STAGES
from ifguide.settings.config import Config
from ifguide.settings.kinds import at, without_null
from ifguide.settings.reader import read_config

README, DESIGN = ROOT / "README.md", ROOT / "docs" / "design.md"
DEMO = ROOT / "ifguide" / "demo.yaml"
YAMLS = [*sorted((ROOT / "examples").glob("*.yaml")), DEMO]
THEIRS = ("stretches", "[capitals]")  # what docs/extending.md adds
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`]+)`")
OPTION = re.compile(r"--[A-Za-z_][\w.-]*")
RECORD = re.compile(r"(?:benchmarks|examples|tests|ifguide|docs)/[\w./-]+\.\w+")


def commands():
    """The parser of each command."""
    (choices,) = (
        a.choices for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)
    )
    return choices


def options_of(parser):
    return {name for action in parser._actions for name in action.option_strings}


def invocations(text):
    """The command lines of ifguide in a text, each with its words."""
    for line in text.replace("\\\n", " ").splitlines():
        found = re.search(r"(?:^|[\s/])ifguide\s+([a-z{].*)", line.partition(" #")[0].lstrip("# "))
        if found:
            yield shlex.split(found.group(1))


def code_in(page):
    """What a page's blocks of shell and its spans of code hold."""
    spans = [span.replace("\n", " ") for span in CODE.findall(prose(page))]
    return [*blocks(page, "sh"), *spans]


def shown_commands():
    """Every command line in the pages and in the comments of YAML files."""
    for page in PAGES:
        for text in code_in(page):
            for words in invocations(text):
                yield pytest.param(words, id=f"{page.stem}: {' '.join(words)[:50]}")
    for file in YAMLS:
        comments = "\n".join(
            line for line in file.read_text("utf-8").splitlines() if line.startswith("#")
        )
        for words in invocations(comments.replace("\\\n# ", " ")):
            yield pytest.param(words, id=f"{file.stem}: {' '.join(words)[:50]}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_within_the_project_leads_to_a_file_and_a_heading(page):
    for link in LINK.findall(prose(page)):
        if "://" in link:
            continue
        name, _, heading = link.partition("#")
        file = page.parent / name if name else page
        assert file.is_file(), link
        if heading:
            assert heading in headings(file), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_picture_is_there_small_and_described(page):
    for told, name in IMAGE.findall(prose(page)):
        assert told, name
        assert (page.parent / name).stat().st_size < 200_000, name


def headings(page):
    """The anchors of a page's headings, as they are linked to."""
    found = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_file_of_the_project_that_is_named_is_there(page):
    for name in RECORD.findall(page.read_text("utf-8")):
        assert (ROOT / name).is_file(), name


@pytest.mark.parametrize("words", list(shown_commands()))
def test_a_command_that_is_shown_exists_and_takes_what_it_is_given(words):
    known = commands()
    for name in words[0].split("|"):
        if name in THEIRS:
            continue
        assert name in known, name
        check_options(known[name], name, [word for word in words[1:] if word.startswith("--")])


def check_options(parser, name, given):
    settles = {command.name: command.settles for command in COMMANDS}[name]
    for option in given:
        option = option.partition("=")[0]
        if option not in options_of(parser):
            assert settles, option
            assert is_setting(option.removeprefix("--")), option


def is_setting(name):
    """Whether there is a setting of this dotted name."""
    *groups, last = name.split(".")
    kind = without_null(at(Config, groups)) if groups else Config
    return is_dataclass(kind) and last in {field.name for field in fields(kind)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_an_option_that_is_mentioned_alone_is_one_of_a_command_or_a_setting(page):
    every = set().union(*map(options_of, commands().values()))
    for span in CODE.findall(prose(page)):
        words = span.split()
        if not words or not words[0].startswith("--"):
            continue
        for option in OPTION.findall(span):
            assert option in every or is_setting(option.removeprefix("--")), (option, span)


def test_the_readme_s_settings_are_accepted(tmp_path):
    shown = blocks(README, "yaml")
    assert shown
    for number, text in enumerate(shown):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text, encoding="utf-8")
        read_config(file)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_setting_that_is_shown_with_its_value_is_accepted(page):
    """Such as ``evaluation.unjudged: report``, which names its section, put into the demo's."""
    for span in CODE.findall(prose(page)):
        found = re.fullmatch(r"([a-z_]+(?:\.[a-z_]+)+): (.+)", span.replace("\n", " "))
        if found and found[2] not in THEIRS:
            read_config(DEMO, [f"--{found[1]}", found[2]])


def test_the_readme_lists_the_stage_commands_in_their_order():
    lists = [span for span in CODE.findall(prose(README)) if span.count("|") > 3]
    assert lists == [f"ifguide {'|'.join(STAGES.names())}"]


@pytest.mark.parametrize("page", [p for p in PAGES if p.stem != "CHANGELOG"], ids=lambda p: p.stem)
def test_a_module_or_name_of_the_package_that_is_mentioned_is_there(page):
    groups = groups_of_entry_points()
    for name in CODE.findall(prose(page)):
        if re.fullmatch(r"ifguide(\.\w+)+", name) and name not in groups:
            assert resolve_name(name), name


def groups_of_entry_points():
    """The groups that docs/extending.md has lines for."""
    lines = blocks(ROOT / "docs" / "extending.md", "toml")
    return [group for text in lines for group in tomllib.loads(text)["project"]["entry-points"]]


def test_what_the_readme_s_code_imports_is_there():
    shown = blocks(README, "python")
    assert shown
    for statement in (node for text in shown for node in ast.parse(text).body):
        if isinstance(statement, ast.ImportFrom):
            for imported in statement.names:
                assert resolve_name(f"{statement.module}:{imported.name}")


def first_cells(page, header):
    """What the first column of the table under this header names in code, row by row."""
    table = page.read_text("utf-8").partition(f"| {header} |")[2].partition("\n\n")[0]
    return [
        name
        for row in table.splitlines()[2:]
        for name in CODE.findall(row.removeprefix("|").partition("|")[0])
    ]


def test_the_design_tells_of_every_stage_and_every_field_of_manifest_and_mark():
    assert set(STAGES.names()) <= set(first_cells(DESIGN, "folder"))
    fields_told = first_cells(DESIGN, "field of a manifest")
    assert sorted(fields_told) == sorted([*(field.name for field in fields(Manifest)), SEAL])
    assert f"holds `format` ({FORMAT}), `id`, `made_by` (the version) and `wrote`" in prose(DESIGN)


def test_the_glossary_is_in_order_and_gives_each_word_once():
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs" / "glossary.md").read_text("utf-8"), re.M)
    words = [row.lower() for row in rows[1:]]
    assert len(words) > 60
    assert all(first < second for first, second in pairwise(words))


ROW = re.compile(r"^\| `([^`]+)`[^|]*\|(.*)\|$", re.MULTILINE)


def test_the_readme_s_figures_are_those_of_the_records_that_it_names():
    """Each table stands below the record that it is from; its rows are named as there."""
    checked = 0
    for section in re.split(r"^## ", README.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        named = re.findall(r"`(benchmarks/records/[\w-]+\.md)`", section)
        for name, cells in ROW.findall(section):
            record = (ROOT / named[0]).read_text("utf-8")
            rows = [row for row in record.splitlines() if row.startswith(f"| {name} |")]
            known = [cell.strip() for row in rows for cell in row.split("|")[2:]]
            for cell in (cell.strip() for cell in cells.split("|")):
                found = [k for k in known if k == cell or k.partition(" [")[0] == cell]
                assert found, (name, cell)
                checked += 1
    assert checked > 30
