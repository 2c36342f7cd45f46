"""Every setting with its type, default and meaning, read off the dataclasses themselves."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, asdict, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_WIDTH = 98
_WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text", Any: "anything"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting as the manual tells of it; ``same_as`` names a group that holds the same below."""

    name: str
    kind: str
    default: str
    meaning: str
    same_as: str = ""
    below: str = ""


def manual(kind: type) -> str:
    """Return what each setting of a dataclass, and of the dataclasses in it, is and means."""
    return "\n".join(_lines(kind)) + "\n"


def _lines(kind: type) -> Iterator[str]:
    for setting in settings_of(kind):
        if "." not in setting.name:
            yield ""
        default = f" ({setting.default})" if setting.default else ""
        yield textwrap.fill(
            f"{setting.name}: {setting.kind}{default}",
            _WIDTH,
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        if setting.meaning:
            yield textwrap.fill(
                setting.meaning, _WIDTH, initial_indent="    ", subsequent_indent="    "
            )
        if setting.same_as:
            yield f"    {setting.below}.*: the same settings as {setting.same_as}.*"


def settings_of(
    kind: type, where: str = "", known: dict[type, str] | None = None
) -> Iterator[Setting]:
    """Yield the settings of a group; a group that was yielded before is only referred to."""
    known = {} if known is None else known
    types, told = get_type_hints(kind), meanings(kind)
    for field in fields(kind):
        name = f"{where}.{field.name}" if where else field.name
        group, below = _group_in(types[field.name], name)
        before = known.get(group, "") if group is not None else ""
        yield Setting(
            name=name,
            kind=_type(types[field.name]),
            default=_default(field),
            meaning=told.get(field.name, ""),
            same_as=before,
            below=below,
        )
        if group is not None and not before:
            known[group] = below
            yield from settings_of(group, below, known)


def _group_in(kind: Any, name: str) -> tuple[type | None, str]:
    """Return the dataclass that a type holds, if any, and what its settings' names begin with."""
    if is_dataclass(kind):
        return kind, name  # type: ignore[return-value]
    suffix = {tuple: ".0", dict: ".NAME"}.get(get_origin(kind), "")  # type: ignore[arg-type]
    found = [_group_in(inner, name + suffix) for inner in get_args(kind)]
    return next((pair for pair in found if pair[0] is not None), (None, name))


def _type(kind: Any) -> str:
    """Describe a type.

    >>> _type(int | None), _type(tuple[str, ...]), _type(Literal["a", "b"])
    ('whole number or null', 'list of text', 'a, b')
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(map(str, arguments))
    if origin in (Union, UnionType):
        inner = [_type(argument) for argument in arguments if argument is not NoneType]
        return " or ".join([*inner, "null"] if NoneType in arguments else inner)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"{_type(arguments[1])} by name"
    return "settings" if is_dataclass(kind) else _WORDS.get(kind, str(kind))


def _default(field: Field[Any]) -> str:
    value = field.default
    if value is MISSING and field.default_factory is not MISSING:
        value = field.default_factory()
    if value is MISSING:
        return "needed"
    if is_dataclass(value):
        return ""
    return json.dumps(value, default=asdict)  # type: ignore[arg-type]


def about(kind: type) -> str:
    """Return the first paragraph of a class's docstring."""
    return _plain(inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0])


def meanings(kind: type) -> dict[str, str]:
    """Return the entries of the ``Args`` in a class's docstring and those of its bases."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        text = inspect.cleandoc(owner.__dict__.get("__doc__") or "")
        block = textwrap.dedent(text.partition("\nArgs:\n")[2])
        for entry in re.split(r"\n(?=\S)", block):
            names, colon, meaning = entry.partition(":")
            found |= dict.fromkeys(re.split(r",\s*", names), _plain(meaning)) if colon else {}
    return found


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")
