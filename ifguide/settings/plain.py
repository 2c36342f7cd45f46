"""YAML as data: text to dictionaries, lists and scalars, within bounds, and nothing else.

Scalars are those of YAML 1.2's core schema: ``true`` and ``false`` alone are booleans, so that
``no``, ``on`` and a date are text, and ``1e-3`` is a number. Merge keys (``<<``) work. Tags,
keys given twice, keys that are no text and aliases that refer to themselves are refused; so is
what would grow past the bounds below. Nothing is ever imported or made.
"""

from __future__ import annotations

import copy
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ifguide.errors import InputError

BYTES = 10_000_000  # of a file
DEPTH = 100  # of nesting
NODES = 100_000  # with every alias written out
PATH = 5000  # characters of a file's name in messages: all that a system allows
DIGITS = 400  # of a whole number; no float is as large

_TOO_DEEP = f"nested deeper than {DEPTH} levels; make it flatter"
_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_HIDDEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\u200e\u200f\u202a-\u202e]"
)
UNFIT = re.compile(r"[\x00\ud800-\udfff]")  # no file name and no UTF-8 can hold these
_SHORT = 50_000  # characters; the parser in Python says better what is wrong, in time for these
_FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml_file(file: Path, missing: str = "give the YAML file") -> Any:
    """Return what a YAML file holds.

    Args:
        file: a plain file of UTF-8, with or without a byte order mark.
        missing: the mend of a file that is not there.

    Raises:
        InputError: as ``read_plain_yaml``; or the file cannot be read, is none or is too large.
    """
    shown = visible(str(file), PATH)
    try:
        kind = file.stat().st_mode
        if stat.S_ISDIR(kind):
            raise InputError(f"{shown}: a folder, not a file; {missing}")
        if not stat.S_ISREG(kind):
            raise InputError(f"{shown}: a pipe or a device, not a plain file; {missing}")
        with file.open("rb") as stream:
            raw = stream.read(BYTES + 1)
        if len(raw) > BYTES:
            raise InputError(f"{shown}: larger than {BYTES // 1_000_000} MB; {missing}")
        return read_plain_yaml(raw.decode("utf-8-sig"), shown)
    except FileNotFoundError as error:
        raise InputError(f"{shown}: no such file; {missing}") from error
    except OSError as error:
        raise InputError(f"{shown}: cannot be read ({error.strerror}); mend that") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{shown}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except InputError:
        raise
    except ValueError as error:  # a file name with NUL in it
        raise InputError(f"{shown}: cannot be read ({error}); {missing}") from error


def read_plain_yaml(text: str, shown: str) -> Any:
    """Return what YAML that a person wrote says, as plain data; None for an empty text.

    Args:
        text: one document.
        shown: what messages call it.

    Raises:
        InputError: the text is no YAML, or holds what is refused here; with line and column.
    """
    loader = yaml.SafeLoader if len(text) < _SHORT else _FAST
    try:
        return _Builder(yaml.parse(text, Loader=loader)).document()
    except _Refused as error:
        raise InputError(f"{shown}{_place(error.mark)}: {error.said}") from error
    except yaml.YAMLError as error:
        where = _place(getattr(error, "problem_mark", None))
        said = visible(getattr(error, "problem", None) or " ".join(str(error).split()))
        raise InputError(f"{shown}{where}: not valid YAML ({said}); mend the syntax") from error


def height(value: Any) -> int:
    """Return how many levels plain data has below it.

    >>> height(1), height([]), height({"a": [1]})
    (0, 0, 2)
    """
    levels, layer = -1, [value]
    while layer:
        levels += 1
        groups = [item for item in layer if isinstance(item, dict | list)]
        layer = [item for g in groups for item in (g.values() if isinstance(g, dict) else g)]
    return levels


def visible(text: str, most: int = 400) -> str:
    r"""Return text for a message: one line, control characters escaped, its middle left out.

    >>> visible("a\nb\x1b[31m"), visible("0123456789" * 9, most=20)
    ('a\\nb\\x1b[31m', '0123456789 ... 56789')
    """
    if len(text) > most:
        text = f"{text[: most // 2]} ... {text[-(most // 4) :]}"
    return _HIDDEN.sub(lambda found: ascii(found[0])[1:-1], text)


class _Refused(Exception):  # noqa: N818 (it becomes an InputError that names the text)
    def __init__(self, event: yaml.Event, said: str) -> None:
        super().__init__(said)
        self.mark, self.said = event.start_mark, said


def _place(mark: Any) -> str:
    return f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""


@dataclass
class _Builder:
    """Plain data of a stream of events; depth and size are bounded before anything is built."""

    events: Iterator[yaml.Event]
    nodes: int = 0
    anchored: dict[str, tuple[Any, int]] = field(default_factory=dict)  # with its size
    open: set[str] = field(default_factory=set)  # anchors of what is still being built

    def document(self) -> Any:
        """Return the only document of the stream."""
        value = None
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if self.nodes:
                    raise _Refused(event, "a second document; write one")
                value = self._node(next(self.events), 0)
        return value

    def _node(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        if getattr(event, "tag", None) is not None:
            raise _Refused(event, f"the tag {visible(event.tag, 60)} is refused; remove it")
        if depth > DEPTH:
            raise _Refused(event, _TOO_DEEP)
        before = self.nodes
        self._count(event, 1)
        if event.anchor is not None:
            self.open.add(event.anchor)
        value: Any
        if isinstance(event, yaml.MappingStartEvent):
            value = self._mapping(depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(depth)
        else:
            value = _scalar(event)
        if event.anchor is not None:
            self.open.discard(event.anchor)
            self.anchored[event.anchor] = value, self.nodes - before
        return value

    def _alias(self, event: Any, depth: int) -> Any:
        name = visible(event.anchor, 60)
        if event.anchor in self.open:
            raise _Refused(event, f"the alias *{name} stands within what it names; remove it")
        if event.anchor not in self.anchored:
            raise _Refused(event, f"the alias *{name} names nothing above it; write &{name} there")
        value, size = self.anchored[event.anchor]
        self._count(event, size)
        if depth + height(value) > DEPTH:
            raise _Refused(event, _TOO_DEEP)
        return copy.deepcopy(value)

    def _count(self, event: yaml.Event, more: int) -> None:
        self.nodes += more
        if self.nodes > NODES:
            raise _Refused(event, f"more than {NODES} values, aliases written out; shorten it")

    def _sequence(self, depth: int) -> list[Any]:
        items = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, Any]:
        given: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        merges = 0
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if _is_merge(event):
                merges += 1
                if merges > 1:
                    raise _Refused(event, "the key << is given twice; write <<: [*one, *other]")
                self._count(event, 1)
                merged = self._merged(next(self.events), depth)
                continue
            key = self._node(event, depth + 1)
            if not isinstance(key, str):
                what = "null" if key is None else visible(str(key), 60)
                raise _Refused(event, f"the key {what} is not text; put it in quotes")
            if key in given:
                raise _Refused(event, f"the key '{visible(key, 60)}' is given twice; remove one")
            given[key] = self._node(next(self.events), depth + 1)
        return {**merged, **given}

    def _merged(self, event: yaml.Event, depth: int) -> dict[str, Any]:
        """Return what ``<<`` brings; of several mappings the earlier ones win."""
        value = self._node(event, depth + 1)
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, dict) for part in parts):
            raise _Refused(event, "the key << takes settings by name, such as *other; mend it")
        return {key: item for part in reversed(parts) for key, item in part.items()}


def _is_merge(event: yaml.Event) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    found = UNFIT.search(text)
    if found:
        raise _Refused(event, f"the character {found[0]!a} is no text; remove it")
    if not event.implicit[0]:  # in quotes, or a block of text
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        if len(text) > DIGITS:
            raise _Refused(event, f"a number of {len(text)} digits; shorten it")
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
    return text


class _Dumper(yaml.SafeDumper):
    """Writes text in quotes wherever YAML 1.2 would read something else."""


for _pattern in (_BOOL, _INT, _FLOAT):
    _Dumper.add_implicit_resolver(
        "tag:ifguide,2026:scalar", re.compile(f"(?:{_pattern.pattern})$"), list("-+.0123456789tTfF")
    )


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if _HIDDEN.search(text) else None  # which folds no line and escapes what is hidden
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _write_text)


def write_plain_yaml(value: Any, *, quotes: bool = False) -> str:
    """Return plain data as YAML that ``read_plain_yaml`` reads back to the same.

    With ``quotes`` every text stands in double quotes, on one line.
    """
    return yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=2**31,  # a text is one line
        default_style='"' if quotes else None,
    )
