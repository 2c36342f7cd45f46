"""Names that people give are data: kept as they are, never a path, never parsed, shown escaped."""

import json
import os
import re
from html.parser import HTMLParser

import micro
import pytest
from micro import TRAINING, write_settings

from ifguide.commands.main import main
from ifguide.settings.reader import read_config, read_run_config

NASTY = "a|b<script>&\"'\n\N{GRINNING FACE}"
NAMES = ("non-toxic", "rtp/toxic", "../up", "", "\N{GRINNING FACE}", NASTY)
WORDS = "words:<b>|\N{GRINNING FACE}&.txt"
PROMPTS = {"held_out": "posts", "cut": "words", "limit": 1}
WAYS = ("../up", NASTY)
ROWS = ["baseline", *(f"everything@{way}" for way in WAYS)]


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A folder with a comparison whose sets, texts, sources, judges and trainings bear such names.

    It holds the settings, a judge's words and the run folder, and nothing else.
    """
    folder = tmp_path_factory.mktemp("names")
    (folder / WORDS.partition(":")[2]).write_text("donkey\n")
    source = {"name": "posts", "builtin": 120, "held_out": 0.3}
    nasty = {"name": NASTY, "builtin": 20, "held_out": 0.5}
    config = write_settings(
        folder,
        data_dir=str(folder),
        corpus__sources=[source, nasty],
        evaluation__more={name: dict(PROMPTS) for name in NAMES},
        evaluation__perplexity={name: {"held_out": NASTY} for name in NAMES},
        evaluation__judges=["rule", WORDS],
        compare={"trainings": {way: dict(TRAINING) for way in WAYS}},
    )
    assert micro.run("run", config, folder / "run") == 0
    assert micro.run("compare", config, folder / "run", "--methods", "everything") == 0
    return folder


def test_nothing_lies_outside_the_run_folder_nor_under_such_a_name(named):
    assert {entry.name for entry in named.iterdir()} == {
        "run.yaml",
        "run",
        WORDS.partition(":")[2],
    }
    plain = re.compile(r"[A-Za-z0-9_.-]+")
    for _, folders, files in os.walk(named / "run"):
        assert all(plain.fullmatch(name) for name in (*folders, *files))


def test_the_settings_are_kept_as_they_are(named):
    assert read_run_config(named / "run") == read_config(named / "run.yaml")


def test_a_run_s_figures_are_by_the_names(named):
    report = json.loads((named / "run/report.json").read_text())
    assert list(report["models"]) == ["baseline", "suppressed"]
    for model in report["models"].values():
        assert list(model["judges"]) == ["rule", WORDS]
        for found in model["judges"].values():
            assert set(found["emt"]) == {"toxic", "neutral", *NAMES}
        assert set(model["perplexity"]) == set(NAMES)


def test_a_comparison_has_a_row_a_training_and_no_other(named):
    table = json.loads((named / "run/compare/table.json").read_text())
    assert [row["name"] for row in table["rows"]] == ROWS
    for row in table["rows"]:
        assert set(row["figures"]["perplexity"]) == set(NAMES)


@pytest.mark.parametrize("judge", ["rule", WORDS])
def test_judging_again_invents_no_model(named, judge, tmp_path):
    file = tmp_path / "judged.json"
    assert main(["judge", str(named / "run"), "--judges", judge, "--out", str(file)]) == 0
    models = json.loads(file.read_text())["models"]
    assert list(models) == ["baseline", "suppressed", *ROWS[1:]]
    for figures in models.values():
        assert list(figures["judges"]) == [judge]
        assert set(figures["judges"][judge]["emt"]) == {"toxic", "neutral", *NAMES}


class Tags(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self):
        super().__init__()
        self.tags, self.text, self.scripts = set(), "", 0

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.scripts += tag == "script"

    def handle_data(self, data):
        self.text += data


def parsed(file):
    page = Tags()
    page.feed(file.read_text(encoding="utf-8"))
    return page


def test_pages_show_names_and_take_none_for_a_tag(named, finished):
    ordinary = parsed(finished / "report.html")
    report, table = (parsed(named / "run" / file) for file in ("report.html", "compare/index.html"))
    assert report.scripts == ordinary.scripts
    assert "b" not in {*report.tags, *table.tags} - ordinary.tags
    for page in (report, table):
        assert "a|b<script>&\"'" in page.text
    assert table.scripts == 0


def test_a_name_is_one_cell_of_one_line_in_markdown(named):
    page = (named / "run/compare/table.md").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "<b>" not in page
    assert f"- {ROWS[-1].partition('|')[0]}|b&lt;script&gt;&amp;" in page
    tables = re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)
    assert len(tables) == 3  # the methods, and a judge each
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
        assert "| everything@a\\|b&lt;script&gt;&amp;\"'‹U+000A›\N{GRINNING FACE} |" in table


def test_the_terminal_shows_a_name_in_one_line(named, capfd):
    assert main(["judge", str(named / "run"), "--judges", "rule"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert not any(line.startswith("\N{GRINNING FACE}") for line in lines)
    assert sum("a|b<script>&\"'‹U+000A›\N{GRINNING FACE}" in line for line in lines) >= 2
    assert main(["status", str(named / "run")]) == 0
    shown = capfd.readouterr().out
    assert not any(line.startswith("\N{GRINNING FACE}") for line in shown.splitlines())
    assert "model/everything-a-b-script-" in shown
