"""docs/masks.md: its commands run as they stand there, and its table is what the tests show."""

import json
import shlex
import shutil

import pytest
from cutters import MORE
from micro import TRAINING, write_settings
from pages import ROOT, blocks
from table_of_masks import CHECKS, table

from ifguide.commands.main import main
from ifguide.masks.registry import MASK_FORMATS

PAGE = ROOT / "docs" / "masks.md"
COMMANDS = [shlex.split(line) for text in blocks(PAGE, "sh") for line in text.splitlines()]


@pytest.fixture(scope="module")
def folder(finished, tmp_path_factory):
    """A folder with a finished run, the settings of a target, and another tokenizer."""
    place = tmp_path_factory.mktemp("guide")
    shutil.copytree(finished, place / "runs" / "mine")
    MORE["unigram"]().save_pretrained(place / "other")
    changes = {"tokenizer": {"vocab_size": 300}, "training": TRAINING}
    write_settings(place, **changes).rename(place / "target.yaml")
    shutil.copy(finished / "config.yaml", place / "proxy.yaml")
    return place


def test_the_commands_run(folder, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    for words in COMMANDS:
        assert words[0] == "ifguide"
        # stops after training: what follows is the same for every run
        until = ["train" if word == "run" and "target.yaml" in words else word for word in words]
        assert main([*until[1:], "--quiet"]) == 0, (words, capfd.readouterr().err)
    exported = {words[words.index("--to") + 1] for words in COMMANDS if "--to" in words}
    assert exported == set(MASK_FORMATS.names())
    assert (folder / "runs/target/proxy/mask/selection.json").is_file()
    cards = {
        file.parent.name: json.loads(file.read_text())
        for file in (folder / "masks").glob("*/ifguide-mask.json")
    }
    assert cards["other"]["blocks"][1] == 32
    assert cards["other"]["characters"]["selected"] > 0
    assert cards["other"]["corpus"] != cards["trl"]["corpus"]
    assert not list((folder / "masks").glob(".*"))


def test_the_table_is_what_the_tests_show():
    assert table() in PAGE.read_text("utf-8")
    assert list(CHECKS) == list(MASK_FORMATS.names())
