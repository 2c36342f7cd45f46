"""Between YAML and ``Config``: strict reading, dotted overrides, and writing it back."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from ifguide.errors import InputError
from ifguide.settings.config import Config
from ifguide.settings.faults import checked
from ifguide.settings.manual import manual

Settings = TypeVar("Settings")


def read_config(file: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, apply overrides such as ``["--selection.budget", "0.01"]``, and check it.

    Raises:
        InputError: the file cannot be read, a key is unknown or a value does not fit.
    """
    parser = _parser()
    settings = _read_yaml(file)
    try:
        parsed = parser.instantiate(parser.parse_args(["--config", str(file), *overrides]))
        fields = parsed.as_dict()
        fields.pop("config")
        return _with_whole_paths(Config(**fields))
    except (ArgumentError, TypeError, ValueError) as error:
        raise _refusal(file, settings, overrides, error) from error


def to_yaml(config: Config) -> str:
    """Return the whole configuration as YAML that ``read_config`` reads back to an equal one."""
    plain = json.loads(json.dumps(asdict(config)))
    plain["data_dir"] = str(Path(config.data_dir).resolve())
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def with_overrides(defaults: Settings, overrides: Sequence[str]) -> Settings:
    """Return other settings than a run's, with overrides such as ``["--gcg.steps", "9"]`` put in.

    Raises:
        InputError: a word is no option, an option is unknown or its value does not fit.
    """
    words = [part for word in overrides for part in _split_option(word)]
    for place, word in enumerate(words):
        if place % 2 == 0 and (not word.startswith("--") or place + 1 == len(words)):
            raise InputError(f"command line: '{word}' is no option with a value; see --help")
    plain = json.loads(json.dumps(asdict(cast(Any, defaults))))
    try:
        return checked(type(defaults), _overridden(plain, overrides))
    except InputError as error:
        raise InputError(f"command line: {error}") from error


def describe() -> str:
    """Return every setting with its type, default and meaning."""
    return manual(Config)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="ifguide run CONFIG --out DIR", exit_on_error=False)
    parser.add_argument("--config", action="config", help="the YAML file")
    parser.add_class_arguments(Config)
    return parser


def _with_whole_paths(config: Config) -> Config:
    """Write local folders of models out in full, so that the settings hold from anywhere."""
    whole = {}
    for name in ("model", "tokenizer"):
        section = getattr(config, name)
        folder = Path(section.path or "").expanduser()
        if section.path and folder.is_dir():
            whole[name] = replace(section, path=str(folder.resolve()))
    return replace(config, **whole)


def _read_yaml(file: Path) -> Any:
    """Return a file's YAML as plain data."""
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file; give the YAML file of the run") from error
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); mend that") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        said = getattr(error, "problem", None) or " ".join(str(error).split())
        raise InputError(f"{file}{where}: not valid YAML ({said}); mend the syntax") from error
    if settings is None:
        raise InputError(f"{file}: the file is empty; write the run's settings into it")
    return settings


def _refusal(
    file: Path, settings: Any, overrides: Sequence[str], error: BaseException
) -> InputError:
    """Name the setting that does not fit and where it was given; else what the parser said."""
    fault = _fault(_overridden(settings, overrides))
    if fault is None:
        said = " ".join(str(error).split())
        return InputError(f"{'command line' if overrides else file}: {said}")
    return InputError(f"{file if fault == _fault(settings) else 'command line'}: {fault}")


def _fault(settings: Any) -> str | None:
    try:
        checked(Config, settings)
    except InputError as error:
        return str(error)
    return None


def _overridden(settings: Any, overrides: Sequence[str]) -> Any:
    """Return settings with ``--a.b value`` or ``--a.b=value`` put in, as far as they can be."""
    changed = copy.deepcopy(settings)
    words = [part for word in overrides for part in _split_option(word)]
    for option, value in itertools.pairwise(words):
        *groups, name = option.removeprefix("--").split(".")
        place = changed
        for group in groups if option.startswith("--") else ():
            place = place.setdefault(group, {}) if isinstance(place, dict) else None
        if option.startswith("--") and isinstance(place, dict):
            place[name] = _plain(value)
    return changed


def _split_option(word: str) -> list[str]:
    return word.split("=", 1) if word.startswith("--") and "=" in word else [word]


def _plain(value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value
