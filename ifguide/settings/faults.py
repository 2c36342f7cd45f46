"""What is wrong with settings: the first one that does not fit its type, by its dotted name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ifguide.errors import InputError

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "settings by name",
    NoneType: "null",
}


def checked(kind: Any, value: Any, where: str = "") -> Any:
    """Return plain YAML data as the type ``kind``: a dataclass, or what its fields may be.

    Raises:
        InputError: the first setting that does not fit, named as in ``corpus.sources.0.limit``.
    """
    if is_dataclass(kind):
        return _group(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        return checked(next(a for a in arguments if a is not NoneType), value, where)
    if origin is Literal:
        if value not in arguments:
            known = ", ".join(map(str, arguments))
            raise InputError(f"{where}: {_shown(value)} is not known; give one of {known}")
        return value
    if origin is tuple:
        items = _instance(list, value, where)
        return tuple(checked(arguments[0], item, f"{where}.{k}") for k, item in enumerate(items))
    if origin is dict:
        named = _instance(dict, value, where)
        return {key: checked(arguments[1], item, f"{where}.{key}") for key, item in named.items()}
    return value if kind is Any else _scalar(kind, value, where)


def _group(kind: Any, value: Any, where: str) -> Any:
    """Make a dataclass of its settings; what it refuses itself is reported under ``where``."""
    settings, types = _instance(dict, value, where), get_type_hints(kind)
    for key in settings:
        if key not in types:
            raise InputError(f"{_join(where, key)}: there is no such setting{_hint(key, types)}")
    for field in fields(kind):
        has_default = field.default is not MISSING or field.default_factory is not MISSING
        if field.name not in settings and not has_default:
            raise InputError(f"{_join(where, field.name)}: it is missing; add it")
    made = {key: checked(types[key], item, _join(where, key)) for key, item in settings.items()}
    try:
        return kind(**made)
    except InputError as error:
        raise InputError(_placed(str(error), where, types)) from error


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is float and not isinstance(value, bool):
        try:
            return float(value)  # also of a text such as 1e-3, which YAML takes for a word
        except (TypeError, ValueError):
            pass
    return _instance(kind, value, where)


def _instance(kind: Any, value: Any, where: str) -> Any:
    if isinstance(value, kind) and isinstance(value, bool) == (kind is bool):
        return value
    wanted = _WORDS.get(kind, str(kind))
    place = f"{where}: " if where else ""
    raise InputError(f"{place}{_shown(value)} is not {wanted}; give {wanted}")


def _placed(message: str, where: str, names: Iterable[str]) -> str:
    """Name a refused setting by where it stands, whatever section its class expects to be.

    >>> _placed("training.epochs: -1 is not above 0", "baseline", ["epochs"])
    'baseline.epochs: -1 is not above 0'
    """
    head, _, rest = message.partition(": ")
    last = head.rpartition(".")[2]
    if not where or head == where or head.startswith(f"{where}."):
        return message
    if where.startswith(f"{head}."):
        return f"{where}: {rest}"
    return f"{where}.{last}: {rest}" if last in names else f"{where}: {message}"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, bool | int | float):
        return str(value).lower()
    return _WORDS.get(type(value), str(value))


def _hint(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(key), list(known), n=1)
    return f"; did you mean {close[0]}?" if close else f"; use one of {', '.join(known)}"


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else str(key)
