"""The command line: help, settings, overrides, and what goes to which stream."""

import dataclasses
import logging
import os
import re
import subprocess
import sys
from typing import get_args, get_type_hints

import datasets
import pytest
import yaml
from micro import settings, write_settings
from transformers.utils import logging as transformers_logging

from ifguide.commands.main import COMMANDS, main
from ifguide.run import actions
from ifguide.settings.config import Config
from ifguide.settings.manual import manual
from ifguide.settings.reader import checked, read_config, to_yaml

WIDEST = 100


@pytest.fixture
def config(tmp_path):
    return write_settings(tmp_path)


def read(config, *options):
    return read_config(config, list(options))


# help


@pytest.mark.parametrize("command", [[], *([command.name] for command in COMMANDS)], ids=str)
def test_help(command, capfd):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert stopped.value.code == 0
    shown = capfd.readouterr()
    assert shown.err == ""
    assert shown.out.startswith(f"usage: {' '.join(['ifguide', *command])}")
    assert max(map(len, shown.out.splitlines())) <= WIDEST


def test_every_command_is_explained(capfd):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capfd.readouterr().out
    for command in COMMANDS:
        assert re.search(rf"^    {command.name}\s+\w", shown, re.MULTILINE)


def groups(kind):
    """All dataclasses that a setting's type holds, itself included."""
    if dataclasses.is_dataclass(kind):
        yield kind
        for inner in get_type_hints(kind).values():
            yield from groups(inner)
    for inner in get_args(kind):
        yield from groups(inner)


def test_all_settings_are_listed_with_their_meaning(capfd):
    assert main(["run", "--settings"]) == 0
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == (manual(Config), "")
    assert max(map(len, shown.out.splitlines())) <= WIDEST
    entries = re.findall(r"^(\S+): .*\n    (?!\S+\.\*:)", shown.out, re.MULTILINE)
    explained = {name.rpartition(".")[2] for name in entries}
    wanted = {field.name for group in groups(Config) for field in dataclasses.fields(group)}
    # of a hub dataset: explained there
    assert wanted - explained <= {"config", "revision", "streaming"}
    assert "selection.budget: number (0.02)\n    share of the corpus's tokens" in shown.out
    assert "corpus: settings (needed)" in shown.out
    assert "training.*: the same settings as baseline.*" in shown.out


# settings


def test_printed_settings_read_back_to_the_same(config, capfd, tmp_path):
    options = ["--selection.budget", "0.1", "--data_dir", str(tmp_path)]
    assert main(["run", str(config), "--print_config", *options]) == 0
    shown = capfd.readouterr()
    assert shown.err == ""
    again = tmp_path / "again.yaml"
    again.write_text(shown.out)
    assert read(again) == read(config, *options)
    assert to_yaml(read(again)) == shown.out
    assert read(again).selection.budget == 0.1
    assert not (tmp_path / "run").exists()


def test_printed_settings_name_folders_in_full(config, tmp_path, monkeypatch):
    (tmp_path / "data" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    options = ["--data_dir", "data", "--model.path", "model", "--model.scratch", "null"]
    plain = yaml.safe_load(to_yaml(read(config, *options)))
    assert plain["data_dir"] == str(tmp_path / "data")
    assert plain["model"]["path"] == str(tmp_path / "data" / "model")
    assert read(config, *options[2:], "--model.path", "owner/name").model.path == "owner/name"


@pytest.mark.parametrize(
    ("options", "value"),
    [
        (["--selection.budget", "1e-2"], lambda c: c.selection.budget == 0.01),
        (["--selection.budget=0.5"], lambda c: c.selection.budget == 0.5),
        (["--seed", "7"], lambda c: c.seed == 7),
        (
            ["--corpus.sources", '[{"builtin": 9, "name": "a"}]'],
            lambda c: len(c.corpus.sources) == 1,
        ),
        (
            ["--baseline.epochs", "9"],
            lambda c: (c.baseline.epochs, c.baseline.batch_size) == (9, 4),
        ),
        (["--model.scratch.hidden_size", "32"], lambda c: c.model.scratch["hidden_size"] == 32),
        (["--model.scratch.hidden_size", "32"], lambda c: len(c.model.scratch) == 6),
        (["--model.scratch", '{"model_type": "gpt2"}'], lambda c: len(c.model.scratch) == 1),
        (
            ["--evaluation.toxic.source.path", "t.jsonl", "--evaluation.toxic.held_out", "null"],
            lambda c: (c.evaluation.toxic.source.path, c.evaluation.toxic.limit) == ("t.jsonl", 3),
        ),
        (
            ["--evaluation.more.new.held_out", "posts"],
            lambda c: c.evaluation.more["new"].held_out == "posts",
        ),
        (
            ["--evaluation.perplexity.benign.marked", "true"],
            lambda c: c.evaluation.perplexity["benign"].marked is True,
        ),
        (["--evaluation.lambada.path", "l.txt"], lambda c: c.evaluation.lambada.name == "l"),
        (["--evaluation.judges", "[rule, hatesonar]"], lambda c: len(c.evaluation.judges) == 2),
    ],
)
def test_overrides(options, value, config):
    assert value(read(config, *options))


def test_the_checker_of_settings_agrees_with_the_reader(config):
    """It runs only where the reader refuses; on what that accepts it makes the same."""
    assert checked(Config, settings()) == read(config)


def test_a_number_that_yaml_takes_for_a_word(tmp_path):
    file = write_settings(tmp_path, training__learning_rate="1e-3")
    assert read(file).training.learning_rate == 1e-3


# streams


PROGRESS = re.compile(r"[\w/]+ *(: +\d+%\|.*\||[\d.]+k? tokens, .*)? ?.*\[\d\d:\d\d.*\]$")


def test_progress_goes_to_the_error_stream_a_line_at_a_time(config, tmp_path, capfd):
    transformers_logging.enable_progress_bar()
    datasets.enable_progress_bars()
    assert main(["run", str(config), "--out", str(tmp_path / "run")]) == 0
    shown = capfd.readouterr()
    lines = shown.err.splitlines()
    assert "\r" not in shown.err
    assert [line for line in lines if not PROGRESS.match(line)] == []
    ends = {line.split()[0]: line for line in lines}
    assert "100%" in ends["train"]
    assert "tokens" in ends["sample/baseline"]
    assert "The page:" in shown.out


def test_a_process_of_its_own_prints_the_same(config, tmp_path):
    command = [sys.executable, "-m", "ifguide", "fit", str(config)]
    command += ["--out", str(tmp_path / "run"), "--queries.max_length", "24"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout == ""
    warnings = [line for line in shown.stderr.splitlines() if not PROGRESS.match(line)]
    assert len(warnings) == 1
    assert re.match(r"WARNING: builtin: dropped \d+ documents without a marked token", warnings[0])


def test_an_interruption_says_how_to_go_on(config, tmp_path, monkeypatch, capfd):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(actions, "run", interrupted)
    assert main(["run", str(config), "--out", str(tmp_path / "run")]) == 130
    assert capfd.readouterr().err == ("ifguide: interrupted; run the same command again to go on\n")


def test_a_warning_is_one_line_whatever_is_in_it(config, tmp_path, monkeypatch, capfd):
    def warn(*_, **__):
        logging.getLogger("ifguide").warning("%s is left out", "ours\x1b[2J\nINFO: fine")

    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(actions, "run", warn)
    assert main(["run", str(config), "--out", str(tmp_path / "run")]) == 0
    assert capfd.readouterr().err == "WARNING: ours\\x1b[2J\\nINFO: fine is left out\n"


def test_a_reader_that_has_enough_is_no_error(monkeypatch, capfd):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert main(["run", "--settings"]) == 0
    assert capfd.readouterr().err == ""
