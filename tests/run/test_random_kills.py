"""Commands that are killed at random times end as if they never were, and two never share a folder.

``IFGUIDE_KILLS=100 python -m pytest -s tests/run/test_random_kills.py`` kills a hundred times, and
says where.
"""

import multiprocessing
import os
import random
import shutil
import signal
import time
from itertools import count
from pathlib import Path

import pytest
from kills import held, told
from micro import TRAINING, contents, figures, write_settings

from ifguide.files import read_json

KILLS = int(os.environ.get("IFGUIDE_KILLS", "6"))
COMPARE = {
    "trainings": {"tuned": {**TRAINING, "start": "baseline"}},
    "reward_texts": 40,
    "reward": {"batch_size": 8, "epochs": 1, "max_length": 64},
}
METHODS = "baseline,ours,classifier-tokens,lexicon-tokens,rad"
ATTACK = [
    *("--gcg.pairs", "1", "--gcg.steps", "2", "--gcg.candidates", "4"),
    *("--gcg.suffix_tokens", "3", "--gcg.target_tokens", "2"),
    *("--relearn.posts", "[0, 4]", "--relearn.epochs", "1"),
    *("--lens.queries", "3"),
]


@pytest.fixture(scope="module")
def processes():
    """Makes processes in which ifguide is imported already, but nothing has run."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ifguide.commands.main", "ifguide.run.actions", "kills"])
    return context


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return write_settings(tmp_path_factory.mktemp("settings"), compare=COMPARE)


def arguments(command, settings, out):
    """What is typed."""
    if command == "attack":
        return ["attack", str(out), "--quiet", *ATTACK]
    more = {"compare": ["--methods", METHODS], "sweep": ["--budget", "0.1"]}.get(command, [])
    return [command, str(settings), "--out", str(out), "--quiet", *more]


class Command:
    """A command as processes that run it, and what it comes to where nothing disturbs it."""

    def __init__(self, name, processes, settings, folder, start=None):
        self.name, self.processes, self.settings = name, processes, settings
        self.start = start  # the folder that it is given; a new one if None
        whole = self.fresh(folder / f"{name}-whole")
        began = self.begin(whole)
        assert self.end() == 0
        self.seconds = time.monotonic() - began
        self.wanted = self.outcome(whole)

    def fresh(self, out):
        return out if self.start is None else Path(shutil.copytree(self.start, out))

    def begin(self, out):
        """Start it; return when it began."""
        begun, typed = self.processes.Event(), arguments(self.name, self.settings, out)
        self.process = self.processes.Process(target=told, args=(typed, begun))
        self.process.start()
        begun.wait()
        return time.monotonic()

    def end(self):
        self.process.join()
        return self.process.exitcode

    def kill_after(self, seconds):
        self.process.join(seconds)
        self.process.kill()
        return self.end() == -signal.SIGKILL

    def outcome(self, out):
        """The bits of weights, scores, masks and samples; the figures without their cost."""
        assert not list(out.rglob("*.part"))
        assert not list(out.rglob("*.ifguide-tmp"))
        found = {
            "files": contents(out),
            "figures": figures(out) if self.name != "compare" else None,
        }
        if self.name == "compare":
            table = read_json(out / "compare" / "table.json")
            found["table"] = [
                {k: v for k, v in row.items() if k != "cost"} for row in table["rows"]
            ]
        if self.name == "attack":
            attacks = read_json(out / "attacks" / "attacks.json")
            found["attacks"] = without_seconds(attacks)
        return found


def without_seconds(value):
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if k != "seconds"}
    return [without_seconds(v) for v in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def commands(processes, settings, finished, tmp_path_factory):
    """The commands that are killed; ``compare`` and ``attack`` go on from a finished run."""
    folder = tmp_path_factory.mktemp("commands")
    whole = Command("run", processes, settings, folder)
    start = folder / "run-whole"
    others = [Command(name, processes, settings, folder, start) for name in ("compare", "attack")]
    assert whole.wanted["files"] == contents(finished)
    return [whole, *others]


def test_killed_at_random_times_and_run_again(commands, tmp_path):
    """As many kills as asked for; one that comes too late is drawn again."""
    draws, killed = random.Random(0), 0
    for number in count():
        assert number < 3 * KILLS + 10, f"only {killed} of {number} came in time"
        command, out = commands[killed % len(commands)], tmp_path / str(number)
        share = draws.random()
        command.begin(command.fresh(out))
        if command.kill_after(share * command.seconds):
            killed += 1
            places = sorted(str(p.relative_to(out)) for p in out.rglob("*.part"))
            command.begin(out)
            assert command.end() == 0, (command.name, share, places)
            assert command.outcome(out) == command.wanted, (command.name, share, places)
            where = ", ".join(places) or "between stages"
            print(f"{killed}: {command.name}, {share * command.seconds:.2f} s, {where}: same bits")  # noqa: T201
        shutil.rmtree(out)
        if killed == KILLS:
            return


def contents_of(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


WRITERS = ("run", "select", "compare", "sweep", "export-pair", "attack")


@pytest.mark.parametrize("first", WRITERS)
def test_two_writers_never_share_a_folder(first, processes, settings, finished, refused, tmp_path):
    """Whatever the first does, any second one is refused, and lets the first go on."""
    out = shutil.copytree(finished, tmp_path / "run")
    holds, released = processes.Event(), processes.Event()
    typed = arguments(first, settings, out)
    process = processes.Process(target=held, args=(typed, holds, released))
    process.start()
    try:
        assert holds.wait(120)
        before = contents_of(out)
        for second in WRITERS:
            line = refused(*arguments(second, settings, out), "--replace")
            assert "another process is working in this folder" in line, second
        assert contents_of(out) == before
    finally:
        released.set()
        process.join()
    assert process.exitcode == 0
