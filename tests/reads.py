"""Which files of a folder Python opens, so that what is listed can be held against it."""

import os
import sys
from contextlib import contextmanager
from pathlib import Path

_watched = []


def _audit(event, arguments):
    if event == "open" and _watched and isinstance(arguments[0], str | bytes | os.PathLike):
        _watched[-1].append(Path(os.fsdecode(arguments[0])).absolute())


sys.addaudithook(_audit)  # for good: a hook cannot be removed


@contextmanager
def files_opened_below(folder):
    """Collect the files below a folder that are opened meanwhile."""
    opened, found = [], set()
    _watched.append(opened)
    try:
        yield found
    finally:
        _watched.pop()
        found.update(file for file in opened if file.is_relative_to(folder) and file.is_file())
