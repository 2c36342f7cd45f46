"""The items of a JSON list, decoded from its stream one at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, final

from ifguide.corpus.raw import BLOCK, too_long
from ifguide.errors import InputError, one_line

TOKEN = (
    12  # characters before which what is held tells whether the next token is whole: two escapes
)
_BLANKS = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def items_of(parts: Iterator[str], shown: str, longest: int) -> Iterator[Any]:
    """Yield the items of a list; in memory are one of them and two blocks at most.

    Args:
        parts: the list's text, in pieces, none of them empty.
        shown: what messages call it.
        longest: characters that an item may have.

    Raises:
        InputError: an item has more, or the text is no list.
    """
    text = _Unread(parts)
    _take(text, "[", shown)
    number = 0
    while number or text.next() != "]":
        text.next()
        yield _item(text, f"{shown}, record {number}", longest)
        number += 1
        if text.next() != ",":
            break
        text.at += 1
    _take(text, "]", shown)
    if text.next():
        raise InputError(_not_valid(shown, f"Extra data at character {text.place}"))


def parse(text: str, place: str) -> Any:
    """Return the value that a whole text is.

    Raises:
        InputError: it is no JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(_not_valid(place, _said(error))) from error


@final
class _Unread:
    """What of a text is read and not yet taken; ``at`` is where in ``held`` that begins."""

    def __init__(self, parts: Iterator[str]) -> None:
        self._parts = parts
        self._before = 0  # characters before those held
        self.held, self.at = "", 0

    @property
    def place(self) -> int:
        """The character of the whole text that comes next."""
        return self._before + self.at

    def next(self) -> str:
        """Go to the next character that is not blank and return it; "" at the end."""
        while True:
            blanks = _BLANKS.match(self.held, self.at)
            self.at = blanks.end() if blanks else self.at
            if self.at < len(self.held) or not self.more():
                return self.held[self.at : self.at + 1]

    def more(self) -> bool:
        """Hold twice as much, or a block more; whether there was any more."""
        wanted, found = max(BLOCK, len(self.held) - self.at), list[str]()
        while wanted > 0 and (part := next(self._parts, "")):
            found.append(part)
            wanted -= len(part)
        if found:
            self.held = "".join([self.held[self.at :], *found])
            self._before, self.at = self.place, 0
        return bool(found)


def _item(text: _Unread, place: str, longest: int) -> Any:
    """Take the next item; more is read for as long as what is held may be its beginning."""
    while True:
        item, end, error = None, len(text.held), None
        try:
            item, end = _DECODER.raw_decode(text.held, text.at)
            reached = end
        except json.JSONDecodeError as found:
            error = found
            reached = end if found.msg.startswith("Unterminated string") else found.pos
        except (ValueError, RecursionError) as found:
            raise InputError(_not_valid(place, _said(found))) from found
        may_go_on = reached >= len(text.held) - TOKEN
        if (may_go_on or not error) and end - text.at > longest:
            raise InputError(too_long(place, longest, "characters"))
        if not (may_go_on and text.more()):
            break
    if error:
        said = f"{error.msg} at character {text.place + error.pos - text.at}"
        raise InputError(_not_valid(place, said)) from error
    text.at = end
    return item


def _take(text: _Unread, mark: str, shown: str) -> None:
    """Go past the mark that must come next."""
    if text.next() != mark:
        raise InputError(_not_valid(shown, f"Expecting '{mark}' at character {text.place}"))
    text.at += 1


def _said(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos}"
    return one_line(error)


def _not_valid(place: str, said: str) -> str:
    return f"{place}: not valid JSON ({said}); write one JSON record a line"
