"""The one error that a user can mend, and what others raise put in one line."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 300  # characters of another's message in a line of ours
FULL = (errno.ENOSPC, errno.EDQUOT)
LINE = 1000  # characters of a line, whatever names and values stand in it
# control characters, line and paragraph separators, half surrogates, and what turns text around
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_STYLE = re.compile(r"\x1b\[[0-9;]*m")  # of a terminal, bold or a colour


class InputError(ValueError):
    """Input that cannot be used: one line that names the file, the field and the mend.

    Control characters in the line, which names and files may bring along, are escaped, and a line
    that they make longer than ``LINE`` loses its middle. The command line prints it and exits with
    status 2; library users catch it as a ``ValueError``.
    """

    def __init__(self, line: str) -> None:
        whole = escaped(line)
        short = f"{whole[: LINE // 2]} ... {whole[-LINE * 9 // 20 :]}"
        super().__init__(whole if len(whole) <= LINE else short)


def escaped(text: str) -> str:
    r"""Return a text whose control characters are written out, so that it is one line.

    >>> escaped("a\tb\x1b[0m, é日")
    'a\\tb\\x1b[0m, é日'
    """
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


@contextmanager
def reading(
    what: str,
    mend: str,
    *,
    fault: str = "cannot be read",
    lines: int | None = None,
    passing: tuple[type[BaseException], ...] = (),
) -> Iterator[None]:
    """Turn whatever is raised while a named thing is read or loaded into a line about that thing.

    Libraries of others raise what they like at what is damaged, SystemExit and panics among it; in
    here all of it is about the thing. So nothing of ours that may fail belongs in here too.

    Args:
        what: the thing, with the setting that names it: ``model.path: 'm'``.
        mend: what to do.
        fault: what is wrong with it.
        lines: as in ``one_line``.
        passing: what is not about the thing, and stays what it is.

    Raises:
        InputError: ``what: fault (what was raised); mend``. A full disk stays one.
    """
    ours: tuple[type[BaseException], ...] = (InputError, KeyboardInterrupt, GeneratorExit, *passing)
    try:
        yield
    except ours:
        raise
    except BaseException as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise InputError(f"{what}: {fault} ({one_line(error, lines)}); {mend}") from error


def one_line(error: BaseException, lines: int | None = None) -> str:
    """Return what an exception says, in one line of at most ``LONGEST`` characters.

    Styles of a terminal are left out. An error of the operating system says its reason, one that
    says nothing its type's name, and a missing key and what is no ``Exception`` (SystemExit, a
    panic) that name too.

    Args:
        error: of any library.
        lines: only the first so many lines of what it says; by default all, put together.

    >>> one_line(ValueError("no such\\n  thing.")), one_line(KeyError())
    ('no such thing', 'KeyError')
    """
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    said = " ".join(" ".join(_STYLE.sub("", said).strip().splitlines()[:lines]).split())
    said, kind = escaped(said).rstrip("."), type(error).__name__
    named = isinstance(error, KeyError) or not isinstance(error, Exception)
    said = f"{kind}: {said}" if said and named else said or kind
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"
