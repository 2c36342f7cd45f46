"""Between YAML and ``Config``: strict reading, dotted overrides, and writing it back.

What stands in a YAML, an override or a run folder is data: it is held against the types of the
settings' dataclasses, and nothing in it is imported or made.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NewType, TypeVar, cast, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ifguide.errors import InputError
from ifguide.files import fingerprint_of
from ifguide.settings.config import Config
from ifguide.settings.kinds import at, without_null
from ifguide.settings.manual import manual
from ifguide.settings.overrides import overridden
from ifguide.settings.places import in_full
from ifguide.settings.plain import PATH, read_plain_yaml, read_yaml_file, visible, write_plain_yaml

Settings = TypeVar("Settings")
Place = tuple[str | int, ...]

RUN_MARK = "ifguide-run.json"  # what a run folder is known by
TRUST = "trust_remote_code"
_SEAL = "# checksum of these settings: "  # how the settings begin that a run folder keeps
_MISSING = "give the YAML file of the run"
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    tuple: "a list",
    dict: "settings by name",
    NoneType: "null",
}
_ORDER = {"unexpected_keyword_argument": 0, "missing": 1}  # a misspelt name, then what it leaves


def read_config(file: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, apply overrides such as ``["--selection.budget", "0.01"]``, and check it.

    The settings that a run folder keeps trust no remote code, whatever they say: whoever sent the
    folder may have written them. An override may.

    Raises:
        InputError: the file cannot be read, a key is unknown or a value does not fit.
    """
    plain, shown = _settings_in(file), visible(str(file), PATH)
    if any((place.parent / RUN_MARK).exists() for place in (file, file.resolve())):
        plain = _as_kept(file, plain)
    try:
        given = overridden(Config, plain, overrides) if isinstance(plain, dict) else plain
        return in_full(checked(Config, given))
    except InputError as error:
        own = not overrides or str(error) == _fault(plain)
        raise InputError(f"{shown if own else 'command line'}: {error}") from error


def read_run_config(folder: Path, *, trust_remote_code: bool = False) -> Config:
    """Read the settings that a run folder keeps.

    Args:
        folder: of the run.
        trust_remote_code: whether code that comes with its models and tokenizers may run; what
            the folder itself says about that is not heard.

    Raises:
        InputError: there are none, or they do not fit.
    """
    file = folder / "config.yaml"
    shown = visible(str(folder), PATH)
    if not file.exists():
        raise InputError(f"{shown}: it holds no config.yaml; give the folder of a run")
    plain = _as_kept(file, _settings_in(file))
    try:
        config = checked(Config, plain)
    except InputError as error:
        raise InputError(f"{shown}/config.yaml: {error}") from error
    return _trusting(config) if trust_remote_code else config


def to_yaml(config: Config, *, trust: bool = True) -> str:
    """Return the whole configuration as YAML that ``read_config`` reads back to an equal one.

    Without ``trust`` it says nothing about remote code, as a run folder must not.
    """
    plain = json.loads(json.dumps(asdict(config)))
    plain["data_dir"] = str(Path(config.data_dir).resolve())
    return write_plain_yaml(plain if trust else _without_trust(plain))


def to_kept_yaml(config: Config) -> str:
    """Return the configuration as a run folder keeps it: a checksum, and nothing about trust."""
    text = to_yaml(config, trust=False)
    return f"{_SEAL}{fingerprint_of(read_plain_yaml(text, 'settings'))}\n{text}"


def with_overrides(defaults: Settings, overrides: Sequence[str]) -> Settings:
    """Return other settings than a run's, with overrides such as ``["--gcg.steps", "9"]`` put in.

    Raises:
        InputError: a word is no option, an option is unknown or its value does not fit.
    """
    kind = type(defaults)
    try:
        plain = json.loads(json.dumps(asdict(cast(Any, defaults))))
        return checked(kind, overridden(kind, plain, overrides))
    except InputError as error:
        raise InputError(f"command line: {error}") from error


def describe() -> str:
    """Return every setting with its type, default and meaning."""
    return manual(Config)


def checked(kind: type[Settings], plain: Any) -> Settings:
    """Return plain data as a dataclass of settings.

    Raises:
        InputError: the first setting that does not fit, named as in ``corpus.sources.0.limit``.
    """
    try:
        return cast(Settings, adapter(cast(Any, kind)).validate_json(json.dumps(plain)))
    except ValidationError as error:
        faults = error.errors(include_url=False)
        first = min(faults, key=lambda fault: _ORDER.get(fault["type"], len(_ORDER)))
        raise InputError(visible(_told(kind, cast(Mapping[str, Any], first)), 900)) from error


@cache
def adapter(kind: Any) -> TypeAdapter:
    """Return pydantic's strict reader of a dataclass: tuples are lists in JSON, groups objects."""
    named = cast(Any, NewType)(kind.__name__, kind)  # a dataclass itself takes no config
    return TypeAdapter(named, config=ConfigDict(extra="forbid", strict=True))


def _settings_in(file: Path) -> Any:
    plain = read_yaml_file(file, _MISSING)
    if plain is None:
        shown = visible(str(file), PATH)
        raise InputError(f"{shown}: the file is empty; write the run's settings into it")
    return plain


def _fault(plain: Any) -> str | None:
    try:
        in_full(checked(Config, plain))
    except InputError as error:
        return str(error)
    return None


def _told(kind: type, fault: Mapping[str, Any]) -> str:
    """Return one line about what pydantic found wrong."""
    place: Place = fault["loc"]
    where, value = ".".join(visible(str(part), 60) for part in place), fault["input"]
    refusal = fault.get("ctx", {}).get("error")
    if isinstance(refusal, InputError):
        return _placed(str(refusal), where, _names(kind, place))
    if fault["type"] == "unexpected_keyword_argument":
        known = _names(kind, place[:-1])
        return f"{where}: there is no such setting{_hint(str(place[-1]), known)}"
    if fault["type"] == "missing":
        return f"{where}: it is missing; add it"
    wanted = without_null(at(kind, place))
    head = f"{where}: " if where else ""
    if get_origin(wanted) is Literal:
        known = list(map(str, get_args(wanted)))
        return f"{head}{_shown(value)} is not known; give one of {', '.join(known)}"
    group = dict if is_dataclass(wanted) else get_origin(wanted) or wanted
    word = _WORDS.get(group, str(fault["msg"]))
    return f"{head}{_shown(value)} is not {word}; give {word}"


def _names(kind: type, place: Place) -> list[str]:
    group = without_null(at(kind, place))
    return [field.name for field in fields(group)] if is_dataclass(group) else []


def _placed(message: str, where: str, names: Iterable[str]) -> str:
    """Name a refused setting by where it stands, whatever section its class expects to be.

    >>> _placed("training.epochs: -1 is not above 0", "baseline", ["epochs"])
    'baseline.epochs: -1 is not above 0'
    """
    head, _, rest = message.partition(": ")
    parts = head.split(".")
    if not where or head == where or head.startswith(f"{where}."):
        return message
    if where.startswith(f"{head}."):
        return f"{where}: {rest}"
    known = next((k for k, part in enumerate(parts) if part in names), None)
    return f"{where}: {message}" if known is None else f"{where}.{'.'.join(parts[known:])}: {rest}"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f"'{visible(value, 60)}'"
    if isinstance(value, bool | int | float):
        return visible(str(value).lower(), 60)
    return _WORDS[type(value)]


def _hint(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key[:60], known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; use one of {', '.join(known)}"


def _as_kept(file: Path, plain: Any) -> Any:
    """Return what a run folder's settings say, nothing about remote code.

    Raises:
        InputError: they begin with a checksum that is not theirs.
    """
    held = _without_trust(plain)
    first = file.read_text(encoding="utf-8-sig").partition("\n")[0]
    if first.startswith(_SEAL) and first.removeprefix(_SEAL) != fingerprint_of(held):
        raise InputError(
            f"{visible(str(file), PATH)}: it is damaged, or was changed by hand; give `ifguide "
            "run` your own YAML to write it again, or delete its first line if it is as you want it"
        )
    return held


def _without_trust(plain: Any) -> Any:
    """Return plain settings that say nothing about remote code."""
    if isinstance(plain, dict):
        return {key: _without_trust(item) for key, item in plain.items() if key != TRUST}
    return [_without_trust(item) for item in plain] if isinstance(plain, list) else plain


def _trusting(settings: Settings) -> Settings:
    """Return settings that trust the code of every model and tokenizer that they name."""
    held = {field.name: getattr(settings, field.name) for field in fields(cast(Any, settings))}
    changes: dict[str, Any] = {
        name: _trusting(value) for name, value in held.items() if is_dataclass(value)
    }
    if TRUST in held and held["path"] is not None:
        changes[TRUST] = True
    return replace(cast(Any, settings), **changes)
