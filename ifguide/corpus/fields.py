"""Records and their fields: looked up by (dotted) name, checked, refused with one line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ifguide.errors import InputError

Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Record:
    """The fields of one record, and how a message names the place it came from.

    ``number`` counts the records of the source from 0, before anything is filtered.
    """

    place: str
    fields: Mapping[str, Any]
    number: int = 0
    id: str = ""


def lookup(record: Record, name: str, setting: str) -> Any:
    """Value of the field ``name``, which may be dotted; null inside a null stays null.

    Raises:
        InputError: there is no such field; the message lists those that are there, and says that
            the source's ``setting`` names it.
    """
    try:
        if name in record.fields:
            return record.fields[name]
        value: Any = record.fields
        for part in name.split("."):
            if value is None:
                return None
            if not isinstance(value, Mapping) or part not in value:
                raise _missing(record, name, setting)
            value = value[part]
    except UnicodeDecodeError as error:
        raise InputError(
            f"{record.place}: field '{name}' is not UTF-8; write the file's text as UTF-8"
        ) from error
    return value


def text_field(record: Record, name: str, setting: str) -> str:
    """A field that must be text.

    Raises:
        InputError: it is missing, null, no text, or text that UTF-8 cannot hold.
    """
    value = lookup(record, name, setting)
    if not isinstance(value, str):
        raise InputError(
            f"{record.place}: field '{name}' is {describe(value)}, not text; mend or remove the "
            f"record, or name another field with {setting}"
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{record.place}: field '{name}' holds half a surrogate pair at character "
            f"{error.start}; write that character whole, or remove it"
        ) from error
    return value


def texts_field(record: Record, name: str, setting: str) -> list[str]:
    """A field that must be a list of texts; null means none.

    Raises:
        InputError: it is missing, no list, or an entry is no text that UTF-8 can hold.
    """
    value = lookup(record, name, setting)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InputError(
            f"{record.place}: field '{name}' is {describe(value)}, not a list of texts; name a "
            f"field of lists with {setting}, or leave out the []"
        )
    entries = {f"{name}[{number}]": entry for number, entry in enumerate(value)}
    inside = replace(record, fields=entries)
    return [text_field(inside, entry, setting) for entry in entries]


def label_field(record: Record, name: str, setting: str) -> str:
    """A field of a label: text, a number written out, or nothing for null."""
    value = lookup(record, name, setting)
    if value is None:
        return ""
    return str(value) if isinstance(value, int | float) else text_field(record, name, setting)


def spans_field(
    record: Record, name: str, setting: str, length: int
) -> tuple[tuple[int, int], ...]:
    """Marked spans in a text of ``length`` characters, in order; null means none.

    Raises:
        InputError: not a list of [start, end) pairs of whole numbers, or not inside the text.
    """
    value = lookup(record, name, setting)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InputError(
            f"{record.place}: field '{name}' is {describe(value)}, not a list of [start, end) "
            f"pairs; name the field of the spans with {setting}"
        )
    for span in value:
        if not (isinstance(span, list | tuple) and len(span) == 2 and all(map(_is_whole, span))):
            raise InputError(
                f"{record.place}: field '{name}' holds {span!r}, which is not a [start, end) pair "
                "of character positions; write each span as two whole numbers"
            )
        if not 0 <= span[0] < span[1] <= length:
            raise InputError(
                f"{record.place}: field '{name}' holds the span {list(span)}, outside a text of "
                f"{length} characters; write spans as 0 <= start < end <= {length}"
            )
    return tuple(sorted((int(start), int(end)) for start, end in value))


def number_field(record: Record, name: str, setting: str) -> float | None:
    """A field that must be a number; null, and the NaN of data frames, mean none.

    Raises:
        InputError: it is missing, or no number.
    """
    value = lookup(record, name, setting)
    if value is None or value != value:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(
            f"{record.place}: field '{name}' is {describe(value)}, not a number; name a field of "
            f"numbers with {setting}"
        )
    return float(value)


def identifier(record: Record, name: str, setting: str) -> str:
    """The record's id: text, or a whole number written out."""
    value = lookup(record, name, setting)
    return str(value) if _is_whole(value) else text_field(record, name, setting)


def describe(value: Any) -> str:
    """What a value is, in a reader's words.

    >>> describe(None), describe([1]), describe(0.5)
    ('null', 'a list', 'a number')
    """
    if value is None:
        return "null"
    names = {bool: "true or false", int: "a number", float: "a number", str: "text"}
    names |= {list: "a list", dict: "a record", bytes: "bytes"}
    return names.get(type(value), f"a {type(value).__name__}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _missing(record: Record, name: str, setting: str) -> InputError:
    there = ", ".join(map(str, record.fields)) or "none"
    return InputError(
        f"{record.place}: field '{name}' is missing (fields there: {there}); "
        f"name the right one with {setting}"
    )
