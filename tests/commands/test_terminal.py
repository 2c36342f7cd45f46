"""Streams that lack characters, are closed, are full, or that nobody reads any more."""

import os
import subprocess
import sys
from types import ModuleType

import pytest

from ifguide.__main__ import start
from ifguide.commands.main import main
from ifguide.run import actions

NOWHERE = "/dev/full"  # where every write fails


def shown(*arguments, encoding="utf-8", streams=""):
    """Run a command in a shell that redirects its streams."""
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    command = f'"$@" {streams}'
    words = ["sh", "-c", command, "sh", sys.executable, "-m", "ifguide", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, env=environment, check=False)


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


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["settings", "status"])
def test_closed_streams_are_none_of_the_command_s_business(command, streams, finished):
    words = {"settings": ("run", "--settings"), "status": ("status", finished)}[command]
    found = shown(*words, streams=streams)
    assert (found.returncode, found.stderr) == (0, b"")
    refused = shown("status", finished / "no", streams=streams)
    assert refused.returncode == 2
    assert b"Traceback" not in refused.stderr


@pytest.mark.skipif(not os.path.exists(NOWHERE), reason="there is no device that is always full")
def test_a_full_disk_behind_standard_output_is_named():
    found = shown("run", "--settings", streams=f">{NOWHERE}")
    assert found.returncode == 2
    assert found.stderr.startswith(b"ifguide: error: standard output: No space left on device; ")


def test_a_reader_that_has_enough_of_a_short_output_is_no_error(finished):
    found = shown("status", finished, streams="| true")
    assert (found.returncode, found.stderr) == (0, b"")


def test_work_that_nobody_hears_of_has_not_succeeded(micro_config, tmp_path, monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)

    def work(*_, **__):
        sys.stderr.write("progress")
        sys.stderr.flush()

    monkeypatch.setattr(actions, "run", work)
    with os.fdopen(writing, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        assert main(["run", str(micro_config), "--out", str(tmp_path / "run")]) == 141


def test_an_interruption_while_importing_is_quiet(monkeypatch, capfd):
    class Interrupted(ModuleType):
        def __getattr__(self, name):
            raise KeyboardInterrupt

    name = "ifguide.commands.main"
    monkeypatch.setitem(sys.modules, name, Interrupted(name))
    assert start() == 130
    assert capfd.readouterr() == ("", "")
