"""The one error that a user can mend, and what others say put in one line."""

from __future__ import annotations

import re

LONGEST = 300  # characters of another's message in a line of ours
# control characters, line and paragraph separators, half surrogates, and what turns text around
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class InputError(ValueError):
    """Input that cannot be used: one line that names the file, the field and the mend.

    Control characters in the line, which names and files may bring along, are escaped. The command
    line prints the line and exits with status 2; library users catch it as a ``ValueError``.
    """

    def __init__(self, line: str) -> None:
        super().__init__(escaped(line))


def escaped(text: str) -> str:
    r"""Return a text whose control characters are written out, so that it is one line.

    >>> escaped("a\tb\x1b[0m, é日")
    'a\\tb\\x1b[0m, é日'
    """
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def one_line(error: BaseException, lines: int | None = None) -> str:
    """Return what an exception says, in one line of at most ``LONGEST`` characters.

    An error of the operating system says its reason, one that says nothing its type's name.

    Args:
        error: of any library.
        lines: only the first so many lines of what it says; by default all, put together.

    >>> one_line(ValueError("no such\\n  thing.")), one_line(KeyError())
    ('no such thing', 'KeyError')
    """
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    said = " ".join(" ".join(said.strip().splitlines()[:lines]).split())
    said = escaped(said).rstrip(".") or type(error).__name__
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"
