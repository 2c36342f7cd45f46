"""Malformed input, the command that reads it, and how the command must end.

A command is tried in a child process, so that a hang, an abort or a whole memory is seen as such.
It ends well if it says one line that names what is wrong and the mend and exits with 2, or, where
the input may be taken, if it exits with 0 and its report can be read.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ifguide.commands.main import main

LONGEST = 1100  # characters of the line, whatever it is about
MEMORY = 12 * 2**30  # bytes of address space a command may take
LINE, TAKEN = "one line", "taken"  # how a command may end
_RAW = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Case:
    """One malformed input.

    Args:
        kind: the row of the record that it belongs to.
        name: what tells it apart within its kind.
        make: lays its files into a folder and returns the command's arguments.
        names: the line must hold one of these: the file, the field or the option that is wrong.
        may_pass: whether the command may also take the input, and go through with it.
    """

    kind: str
    name: str
    make: Callable[[Path], Sequence[str]]
    names: tuple[str, ...]
    may_pass: bool = False


def ending(case: Case, folder: Path, seconds: float = 120) -> str:
    """Return ``LINE`` or ``TAKEN`` for a case that ends well, else what is wrong with its end.

    Args:
        case: is made in the folder, which is emptied first.
        folder: where; the command runs in it, and its own run folder is ``out``.
        seconds: longer is a hang.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    arguments = [str(part) for part in case.make(folder)]
    code, said = _in_child(arguments, folder, seconds)
    if code is None:
        return f"still running after {seconds:.0f} s"
    if code == 0:
        return _taken(folder) if case.may_pass else "accepted"
    return _told(case, code, said)


def _in_child(arguments: Sequence[str], folder: Path, seconds: float) -> tuple[int | None, str]:
    """Run a command in a child and return its exit code, None for a hang, and its error stream."""
    errors = folder.with_name(f"{folder.name}.stderr")
    child = os.fork()
    if child == 0:
        code = 70  # a traceback
        try:
            os.setsid()
            _redirect(errors)
            os.chdir(folder)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            code = main(arguments)
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 1
        except BaseException:  # noqa: BLE001 - the child must never go on as the parent
            traceback.print_exc()
        finally:
            os.close(2)
            os._exit(code)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), errors.read_text(errors="backslashreplace")
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None, ""


def _redirect(errors: Path) -> None:
    """Point the standard streams at nothing, and errors at a file."""
    nothing = os.open(os.devnull, os.O_RDWR)
    told = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for source, target in ((nothing, 0), (nothing, 1), (told, 2)):
        os.dup2(source, target)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, encoding="utf-8", buffering=1)  # noqa: SIM115


def _told(case: Case, code: int, said: str) -> str:
    """Return ``LINE`` for a refusal as it should be, else what is wrong with it."""
    if code != 2 or "Traceback (most recent call last)" in said:
        last = said.strip().splitlines()[-1:] or ["nothing"]
        return f"exit {code}, saying {last[0][:160]}"
    lines = [line for line in said.split("\n") if line and not line.startswith("WARNING")]
    if len(lines) != 1 or not lines[0].startswith("ifguide: error: "):
        return f"{len(lines)} lines"
    line = lines[0]
    if len(line) > LONGEST:
        return f"a line of {len(line)} characters"
    if _RAW.search(line):
        return f"a raw control character: {line[:160]!a}"
    if not any(name in line for name in case.names):
        return f"names none of {', '.join(case.names)}: {line[:200]}"
    return LINE if "; " in line else f"no mend: {line[:200]}"


def _taken(folder: Path) -> str:
    """Return ``TAKEN`` if the run that went through left a report that says something."""
    file = folder / "out" / "report.json"
    if not file.exists():
        return TAKEN  # a command without one
    report = json.loads(file.read_text(), parse_constant=lambda name: "nan")

    def numbers(value):
        if isinstance(value, dict | list):
            inner = value.values() if isinstance(value, dict) else value
            return all(map(numbers, inner))
        return value not in ("inf", "-inf", "nan")

    return TAKEN if numbers(report) else "a report with NaN or infinity"
