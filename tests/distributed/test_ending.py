"""The one line about a lost process is whole, whoever brings the news first."""

import os
import signal
import subprocess
import sys

import pytest

from ifguide.distributed import lost

# The broken connection and SIGTERM reach a process together; asking who speaks takes a while.
SCRIPT = """
import os, signal, sys, time
from threading import Timer
from ifguide.distributed import lost

def slow():
    time.sleep(0.5)
    return True

lost._is_first = slow
Timer(float(sys.argv[1]), os.kill, (os.getpid(), signal.SIGTERM)).start()
try:
    with lost.announced():
        time.sleep(float(sys.argv[2]))
        raise RuntimeError("Connection closed by peer [127.0.0.1]:1")
except lost.LostError:
    sys.exit(1)
"""


@pytest.mark.parametrize(("term", "broken"), [(0.4, 0.0), (0.2, 0.4), (0.2, 5.0)])
def test_a_process_told_twice_says_it_once_and_whole(term, broken):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(term), str(broken)],
        env={**os.environ, "WORLD_SIZE": "2"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in {1, 128 + signal.SIGTERM}
    assert done.stderr == f"ifguide: error: {lost.LOST}\n"


def test_another_error_passes_through(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match="out of memory"), lost.announced():
        raise RuntimeError("out of memory")
    assert capsys.readouterr().err == ""
