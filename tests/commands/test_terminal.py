"""Terminals whose encoding lacks what is shown."""

import os
import subprocess
import sys

import pytest


def shown(*arguments, encoding):
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "ifguide", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, env=environment, check=False)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_what_a_terminal_cannot_show_is_escaped(encoding):
    found = shown("run", "--settings", encoding=encoding)
    assert (found.returncode, found.stderr) == (0, b"")
    signs = "λ".encode(encoding, "backslashreplace")
    assert signs in found.stdout


def test_a_document_is_shown_on_any_terminal(finished):
    found = shown("inspect", finished, "--top", "2", encoding="ascii")
    assert (found.returncode, found.stderr) == (0, b"")
    assert found.stdout.startswith(b"#1")
