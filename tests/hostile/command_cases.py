"""Malformed values of every option that a command declares itself.

The options are walked along the parser, so that a new one is covered by itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from hostile.file_cases import lay_finished, lay_model
from hostile.harness import Case
from hostile.settings_cases import LONG, NUMBERS, PLACES, TEXTS, lay_places, visible_start
from micro import write_settings

from ifguide.commands.main import COMMANDS

# what each command is given beside the option that is tried
SOUND: dict[str, dict[str, Sequence[str]]] = {
    "init": {"--corpus": ["a-corpus.jsonl"], "--model": ["model"], "--out": ["made.yaml"]},
    "run": {"config": ["run.yaml"], "--out": ["out"]},
    "inspect": {"dir": ["done"]},
    "compare": {"config": ["run.yaml"], "--out": ["out"], "--methods": ["baseline"]},
    "sweep": {"config": ["run.yaml"], "--out": ["out"], "--budget": ["0.1"]},
    "judge": {"dir": ["done"], "--judges": ["rule"]},
    "attack": {"dir": ["done"], "--kind": ["lens"]},
    "lm-eval": {"dir": ["done"], "--tasks": ["none"]},
    "export-pair": {"config": ["run.yaml"], "--out": ["done"]},
    "report": {"config": ["done"], "other": ["too"], "--out": ["made.html"]},
    "status": {"dir": ["done"]},
    "estimate": {"config": ["run.yaml"]},
    "export-mask": {"dir": ["done"], "--to": ["spans"], "--out": ["made"]},
    "score-corpus": {"dir": ["done"], "--source": ["a-corpus.jsonl"], "--out": ["made"]},
    "distil": {"dir": ["done"], "--out": ["made"]},
    "push": {"dir": ["done"], "--mask": ["me/mask"], "--dry": ["made"]},
}
MISTAKES = ("x", "", LONG, "\x1b[31m")  # instead of a number


def all_cases() -> list[Case]:
    """Return all of this side."""
    return [case for command, option in _options() for case in _cases(command, option)]


def _options() -> Iterator[tuple[str, argparse.Action]]:
    """Yield the options of each command that take a value."""
    for command in COMMANDS:
        if command.name in SOUND:
            parser = argparse.ArgumentParser(add_help=False)
            command.add_options(parser)
            yield from ((command.name, option) for option in parser._actions if option.nargs != 0)


def _cases(command: str, option: argparse.Action) -> Iterator[Case]:
    name = option.option_strings[0] if option.option_strings else option.dest
    if option.type is Path:
        tried = {**PLACES, "a byte": "\udcff"}
    elif option.type in (int, float):
        tried = {what: yaml.safe_dump(value).split("\n")[0] for what, value in NUMBERS.items()}
        tried |= {f"the text {value[:9]!a}": value for value in MISTAKES}
    else:
        tried = {**TEXTS, "a byte": "\udcff", "nothing": "", "a comma": ","}
    for what, value in tried.items():
        if what not in ("NUL", "half a surrogate"):  # which no command line can hold
            yield _case(command, name, what, value)


def _case(command: str, name: str, what: str, value: str) -> Case:
    def make(folder: Path) -> list[str]:
        lay_places(folder)
        write_settings(folder)
        (folder / "a-corpus.jsonl").write_text('{"text": "You fool.", "spans": [[4, 8]]}\n')
        lay_finished(folder)
        if command == "report":
            lay_finished(folder, "too")
        lay_model(folder)
        given = {**SOUND[command], name: [value]}
        named = [part for key, parts in given.items() if key[:2] == "--" for part in (key, *parts)]
        return [
            command,
            "--quiet",
            *(v for key in given if key[:2] != "--" for v in given[key]),
            *named,
        ]

    # a command whose package is not installed says that first
    names = (name, name.removeprefix("--"), visible_start(value), "lm-eval is not installed")
    return Case("commands' own options", f"{command} {name}: {what}", make, names, may_pass=True)
