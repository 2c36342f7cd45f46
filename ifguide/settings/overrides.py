"""Dotted options of the command line, put into plain settings: ``--corpus.sources.0.limit 5``."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, get_origin

from ifguide.errors import InputError
from ifguide.settings.kinds import below, is_scalar, takes_null, without_null
from ifguide.settings.plain import DEPTH, UNFIT, height, read_plain_yaml, visible


def overridden(kind: Any, settings: Any, overrides: Sequence[str]) -> Any:
    """Return settings with options put in; the given ones stay as they are.

    A value is read as YAML, except that a text setting takes it as it stands: ``null`` where the
    setting may be null, and what stands in quotes without them. Whether a value fits its setting
    is not checked here.

    Args:
        kind: the dataclass that the settings are meant for.
        settings: plain data.
        overrides: ``["--selection.budget", "0.01", "--seed=7"]``.

    Raises:
        InputError: a word is no option with a value, or an option leads nowhere.
    """
    changed = copy.deepcopy(settings)
    for name, value in _options(overrides):
        _put(kind, changed, name, value)
    return changed


def _options(overrides: Sequence[str]) -> list[tuple[str, str]]:
    """Return ``["--a.b", "1", "--c=2"]`` as ``[("a.b", "1"), ("c", "2")]``."""
    words = iter(overrides)
    found = []
    for word in words:
        name, equals, value = word.partition("=")
        given = value if equals else next(words, None)
        named = name.startswith("--") and name != "--"
        if not named or given is None or (not equals and given.startswith("--")):
            raise InputError(f"'{visible(word, 60)}' is no option with a value; see --help")
        found.append((name.removeprefix("--"), given))
    return found


def _put(kind: Any, settings: Any, name: str, value: str) -> None:
    """Put the value where its dotted name leads, making groups on the way that are not there."""
    shown = visible(name, 120)
    *groups, last = name.split(".", DEPTH)
    place = settings
    for number, group in enumerate(groups):
        if get_origin(without_null(kind)) is dict and is_scalar(below(kind, group)):
            last = ".".join([*groups[number:], last])  # a name with dots, of a record's field
            break
        kind, key = below(kind, group), _key(place, group, shown)
        if isinstance(place, dict) and place.get(key) is None:
            place[key] = {}
        place = place[key]
    given = _value(below(kind, last), value, shown)
    if len(groups) + height(given) >= DEPTH:
        raise InputError(f"{shown}: nested deeper than {DEPTH} levels; make it flatter")
    place[_key(place, last, shown)] = given


def _key(place: Any, part: str, shown: str) -> Any:
    """Return what a part of a name is called in a group or a list of settings."""
    if isinstance(place, dict):
        return part
    if not isinstance(place, list):
        raise InputError(f"{shown}: there is no such setting; nothing lies above '{part}'")
    if not (part.isascii() and part.isdigit() and len(part) < 9 and int(part) < len(place)):
        raise InputError(
            f"{shown}: '{part}' is no element of that list; it has {len(place)}, from 0 on"
        )
    return int(part)


def _value(kind: Any, text: str, shown: str) -> Any:
    if UNFIT.search(text):
        raise InputError(f"{shown}: the value is not UTF-8, or holds NUL; write it as UTF-8")
    try:
        plain = read_plain_yaml(text, shown)
    except InputError:
        return text  # such as C:\data or a[0], which is no YAML
    if without_null(kind) is not str or (plain is None and takes_null(kind)):
        return plain
    quoted = isinstance(plain, str) and text.lstrip()[:1] in ("'", '"')
    return plain if quoted else text
