"""What one process of several says when another is lost.

torchrun then ends the others with SIGTERM, and they may be waiting in a collective by then, where
Python's own signal handlers do not run, or may have seen the connection break already.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Lock, Thread

LOST = (
    "another process of this run has ended or was killed; what is finished is kept: run the same "
    "command again to go on"
)
_SPEAKING, _SAID = Lock(), Event()


class LostError(RuntimeError):
    """Another process is gone, and the line that says so is written."""


@contextmanager
def announced() -> Iterator[None]:
    """Where there are several processes, say in one line that another is lost.

    Raises LostError where a collective told of it; where it was the launcher, the process ends.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    kept = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    Thread(target=_wait, args=(reading,), daemon=True).start()
    try:
        yield
    except RuntimeError as error:
        if is_loss(error):
            say_lost()  # before SIGTERM has its own meaning again
            raise LostError from error
        raise
    finally:
        signal.set_wakeup_fd(kept)
        signal.signal(signal.SIGTERM, before)
        writing.close()


def is_loss(error: RuntimeError) -> bool:
    """Whether an error is of a collective whose other side is gone.

    >>> is_loss(RuntimeError("[pair.cc:544] Connection closed by peer [127.0.0.1]:40001"))
    True
    """
    import torch.distributed as dist  # which help and refusals need not wait for

    said = str(error).lower()
    return isinstance(error, dist.DistError) or "closed by peer" in said or "reset by peer" in said


def say_lost() -> None:
    """Write the line, once over all processes that are left; return when it is written."""
    with _SPEAKING:
        if not _SAID.is_set() and _is_first():
            sys.stderr.write(f"ifguide: error: {LOST}\n")
            sys.stderr.flush()
        _SAID.set()


def _wait(reading: socket.socket) -> None:
    with reading:
        while signals := reading.recv(1):
            if signals[0] == signal.SIGTERM:
                say_lost()
                os._exit(128 + signal.SIGTERM)


def _is_first() -> bool:
    """Ask the launcher's store, which outlives the processes; without it every process speaks."""
    import torch.distributed as dist

    try:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = dist.TCPStore(  # type: ignore[attr-defined]
            address, port, is_master=False, timeout=timedelta(seconds=5)
        )
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return store.add(f"ifguide/lost/{attempt}", 1) == 1
    except (KeyError, ValueError, RuntimeError):
        return True
