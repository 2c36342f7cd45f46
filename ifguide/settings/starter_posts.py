"""What a file's first records look like: which fields are text, ids and marked spans."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ifguide.corpus.readers import read_path
from ifguide.errors import InputError
from ifguide.settings.plain import read_plain_yaml, visible, write_plain_yaml

LOOK = 20_000  # records of a file that are looked at


@dataclass(frozen=True)
class Post:
    """A text with marked characters."""

    id: str
    text: str
    spans: tuple[tuple[int, int], ...]

    @property
    def before(self) -> int:
        """Words before the first marked character."""
        return len(self.text[: min((s for s, _ in self.spans), default=0)].split())


@dataclass(frozen=True)
class Posts:
    """What a file's first records look like; names of fields, and the posts themselves."""

    file: Path
    text: str
    id: str | None
    spans: str | None
    posts: Sequence[Post]

    @property
    def marked(self) -> list[Post]:
        """Those with marked characters."""
        return [post for post in self.posts if post.spans]

    def source(self, folder: Path, *, ids: str = "", name: str = "", more: str = "") -> str:
        """Return the settings that read them, in braces."""
        path = self.file.relative_to(folder) if self.file.is_relative_to(folder) else self.file
        given = {
            "name": name,
            "path": str(path),
            "text": "" if self.text == "text" else self.text,
            "id": "" if self.id in (None, "id") else self.id,
            "spans": self.spans or "",
            "ids": ids,
        }
        settings = [f"{key}: {scalar(value)}" for key, value in given.items() if value]
        return "{" + ", ".join([*settings, *([more] if more else [])]) + "}"


def look_at(file: Path) -> Posts:
    """Return a file's text, id and span fields, and its first posts."""
    found = fields_of(file)
    records = len(next(iter(found.values())))
    texts = {
        name: values for name, values in found.items() if all(isinstance(v, str) for v in values)
    }
    names = {name: values for name, values in found.items() if _are_ids(values)}
    own = next((name for name in names if name.lower().endswith("id")), None)
    identifier = "id" if "id" in names else own
    if "id" in found and identifier is None:
        raise InputError(
            f"{visible(str(file))}: the field 'id' does not tell its records apart; make its "
            "values unique, or remove it"
        )
    texts = {name: values for name, values in texts.items() if name != identifier}
    if not texts:
        there = visible(", ".join(found), 200)
        raise InputError(
            f"{visible(str(file))}: no field holds text in each of the first {records} records "
            f"(fields there: {there}); give every record one"
        )
    text = max(texts, key=lambda name: sum(map(len, texts[name])))
    spans = next((name for name in found if _are_spans(found[name], texts[text])), None)
    marks = found[spans] if spans else [()] * records
    known = map(str, names[identifier]) if identifier else map(str, range(records))
    posts = [
        Post(name, written, tuple((start, end) for start, end in spans_of or ()))
        for name, written, spans_of in zip(known, texts[text], marks, strict=True)
    ]
    return Posts(file.expanduser().resolve(), text, identifier, spans, posts)


def fields_of(file: Path) -> dict[str, list[Any]]:
    """Return the values of each field of a file's first records, None where one has none."""
    shown, path = visible(str(file)), file.expanduser()
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{shown}: a pipe or a device, not a plain file; give a file of records")
    records = [
        dict(_flat(record.fields)) for record in islice(read_path(path, shown, "train"), LOOK)
    ]
    if not records:
        raise InputError(f"{shown}: holds no record; fill it or name another file")
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def _flat(fields: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{within}{name}.")
        else:
            yield f"{within}{name}", value


def _are_ids(values: Sequence[Any]) -> bool:
    fit = all(isinstance(v, str | int) and not isinstance(v, bool) for v in values)
    return fit and len(set(map(str, values))) == len(values)


def _are_spans(values: Sequence[Any], texts: Sequence[str]) -> bool:
    """Whether each value is a list of [start, end) within its text, and one has any."""
    return any(values) and all(
        value is None
        or (isinstance(value, list) and all(_is_span(span, len(text)) for span in value))
        for value, text in zip(values, texts, strict=True)
    )


def _is_span(span: Any, length: int) -> bool:
    return (
        isinstance(span, list | tuple)
        and len(span) == 2
        and all(isinstance(edge, int) and not isinstance(edge, bool) for edge in span)
        and 0 <= span[0] < span[1] <= length
    )


def scalar(value: str) -> str:
    """Return a text as YAML on one line, within braces too."""
    if re.fullmatch(r"[A-Za-z_/.][\w/.-]*", value) and read_plain_yaml(value, "") == value:
        return value
    quoted = write_plain_yaml([value], quotes=True)
    return quoted[2:].strip()
