"""Between YAML and ``Config``: strict reading, dotted overrides, and writing it back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml

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
    settings = _read_yaml(file)
    words = _options(overrides)
    try:
        config: Config = checked(Config, _overridden(settings, words))
    except InputError as error:
        fault = str(error)
        raise InputError(
            f"{file if fault == _fault(settings) else 'command line'}: {fault}"
        ) from error
    return _with_whole_paths(config)


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
    words = _options(overrides)
    plain = json.loads(json.dumps(asdict(cast(Any, defaults))))
    try:
        return checked(type(defaults), _overridden(plain, words))
    except InputError as error:
        raise InputError(f"command line: {error}") from error


def describe() -> str:
    """Return every setting with its type, default and meaning."""
    return manual(Config)


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


def _fault(settings: Any) -> str | None:
    try:
        checked(Config, settings)
    except InputError as error:
        return str(error)
    return None


def _options(overrides: Sequence[str]) -> list[tuple[str, str]]:
    """Return ``["--a.b", "1", "--c=2"]`` as ``[("a.b", "1"), ("c", "2")]``."""
    words = iter(overrides)
    found = []
    for word in words:
        name, equals, value = word.partition("=")
        given = value if equals else next(words, None)
        if not name.startswith("--") or given is None:
            raise InputError(f"command line: '{word}' is no option with a value; see --help")
        found.append((name.removeprefix("--"), given))
    return found


def _overridden(settings: Any, options: Sequence[tuple[str, str]]) -> Any:
    """Return settings with dotted options put in, as far as they can be."""
    changed = json.loads(json.dumps(settings, default=str))  # an alias of YAML becomes a copy
    for option, value in options:
        *groups, name = option.split(".")
        place = changed
        for group in groups:
            if isinstance(place, dict) and place.get(group) is None:
                place[group] = {}
            place = place[group] if isinstance(place, dict) else None
        if isinstance(place, dict):
            place[name] = _plain(value)
    return changed


def _plain(value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value
