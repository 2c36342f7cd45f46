"""A corpus of many tasks by datatrove, some of them killed, against the same on one machine.

    python benchmarks/many_tasks.py [--tasks 1000] [--killed 100] [--out FILE.md]

A tiny run is made first. Its direction scores built-in posts in as many files as there are tasks,
by datatrove's local executor. In the first launch the tasks are worked off in as many processes as
tasks are to be killed, two at a time, and each process gets SIGKILL at a random moment of one of
its tasks, so that what came after it there is not begun. The second launch is of all tasks, on two
workers. Nothing that was complete may have been written again, and scores, threshold, ranking and
mask must be, bit for bit, those of one process that has all blocks as one corpus.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shlex
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers share two cores
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import multiprocess
import numpy as np
import yaml
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from loguru import logger

from ifguide.commands.main import main as ifguide
from ifguide.corpus.builtin import builtin_posts
from ifguide.datatrove import Pipeline, Plan, pipelines
from ifguide.datatrove.plan import scorer_of
from ifguide.datatrove.rounds import decision, selection_of
from ifguide.datatrove.task import Task
from ifguide.files import write_json, write_text
from ifguide.influence.score import score
from ifguide.influence.sinks import MemorySink
from ifguide.nouns import Corpus, Selection, TokenScores
from ifguide.selection.select import select

WORKERS = 2
TRAINING = {"epochs": 1, "batch_size": 8}
SETTINGS: dict[str, Any] = {
    "seed": 3,
    "corpus": {"block_length": 128, "sources": [{"name": "posts", "builtin": 400}]},
    "tokenizer": {"vocab_size": 600},
    "model": {
        "scratch": {
            "model_type": "llama",
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "max_position_embeddings": 128,
        }
    },
    "queries": {"source": {"builtin": 60}, "max_length": 128},
    "baseline": TRAINING,
    "training": TRAINING,
    "curvature": {"sample_blocks": 16},
    "evaluation": {
        "toxic": {"held_out": "posts", "limit": 3},
        "neutral": {"held_out": "posts", "limit": 3},
    },
}
SETTINGS["corpus"]["sources"][0]["held_out"] = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the record; return 1 if anything differs."""
    parser = argparse.ArgumentParser(description="Many tasks, some killed, against one process.")
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--killed", type=int, default=100, help="how many of them; at least 2 each")
    parser.add_argument("--each", type=int, default=8, help="documents a task, at most")
    parser.add_argument("--out", type=Path, help="where the record goes; FILE.json lies beside it")
    parsed = parser.parse_args(arguments)
    if parsed.tasks < 2 * parsed.killed:
        parser.error("--killed: give at most half of --tasks")
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "benchmarks/many_tasks.py", *given])
    with tempfile.TemporaryDirectory() as name:
        found = {"command": command, **measured(Path(name), parsed)}
    if parsed.out:
        write_text(parsed.out, render(found))
        write_json(parsed.out.with_suffix(".json"), found)
    print(render(found), end="")
    return 0 if all(found["equal"].values()) and not found["written again"] else 1


def measured(folder: Path, parsed: argparse.Namespace) -> dict[str, Any]:
    """Make the run and the documents, launch, kill, launch again, and compare."""
    config = folder / "run.yaml"
    config.write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    assert ifguide(["score", str(config), "--out", str(folder / "run"), "--quiet"]) == 0
    texts = write_documents(folder / "texts", parsed.tasks, parsed.each)
    plan, seconds = Plan(run=str(folder / "run"), out=str(folder / "out")), {}
    every = pipelines(plan, [JsonlReader(str(texts))], parsed.tasks)
    logger.disable("datatrove")  # forked workers too
    with timed(seconds, "first launch"):
        killed = launch_and_kill(plan, every[0], parsed.killed)
    before, complete = state_of(folder / "out"), completed(plan, every[0])
    with timed(seconds, "second launch"):
        launch(plan, every[0], WORKERS)
    after = state_of(folder / "out")
    again = [str(f) for f, when in before.items() if rank_of(f) in complete and after[f] != when]
    with timed(seconds, "rounds and mask"):
        for one in every[1:]:
            launch(plan, one, WORKERS)
    with timed(seconds, "one process"):
        corpus, rows = one_corpus(plan.out, parsed.tasks)
        scores = scored_as_one(plan, corpus, rows)
        expected = select(scores, plan.chosen)
    return {
        "date": date.today().isoformat(),
        "tasks": parsed.tasks,
        "documents": len(corpus.documents),
        "tokens": corpus.token_count,
        "killed": killed,
        "complete after the first launch": len(complete),
        "written again": len(again),
        "made by the second launch": parsed.tasks - len(complete),
        "selected": int(expected.suppress.sum()),
        "equal": differences(plan, parsed.tasks, corpus, rows, scores, expected),
        "seconds": seconds,
    }


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Keep how long something takes."""
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


# launching


def executor_of(plan: Plan, one: Pipeline, **more: Any) -> LocalPipelineExecutor:
    """Return the executor of a pipeline, whose marks lie beside what the tasks make."""
    logs = str(Path(plan.out) / "logs" / one.name)
    settings = {"tasks": one.tasks, "logging_dir": logs, "start_method": "fork", **more}
    return LocalPipelineExecutor(list(one.steps), **settings)


def launch(plan: Plan, one: Pipeline, workers: int = 1) -> None:
    """Run whatever tasks of a pipeline are not complete."""
    executor_of(plan, one, workers=workers).run()


def completed(plan: Plan, one: Pipeline) -> set[int]:
    """Return the ranks that are marked as complete."""
    marks = Path(plan.out) / "logs" / one.name / "completions"
    return {int(mark.name) for mark in marks.iterdir()} if marks.exists() else set()


class KillInside:
    """A step at the head of a pipeline: its process is killed at a random moment of one task.

    The moment is drawn over the time that the task before took; should the task be done by then,
    another is struck.
    """

    def __init__(self, rank: int, seed: int) -> None:
        self.rank, self.seed, self.begun = rank, seed, time.perf_counter()

    def __call__(self, data: Any, rank: int, world_size: int) -> Any:
        now = time.perf_counter()
        if rank == self.rank:
            delay = random.Random(self.seed).random() * (now - BEGUN.get("at", self.begun))
            threading.Timer(delay, os.killpg, (0, signal.SIGKILL)).start()
        BEGUN["at"] = now
        return data


BEGUN: dict[str, float] = {}  # when the last task of this process began; steps are copied


def launch_and_kill(plan: Plan, one: Pipeline, count: int) -> int:
    """Share the tasks among so many processes, two at a time; return how many were killed."""
    scorer_of(plan).model.model.eval()  # so that every process has it when it is forked
    context = multiprocess.get_context("fork")
    edges = [one.tasks * number // count for number in range(count + 1)]
    running, ended = [], []
    for number, (first, stop) in enumerate(pairwise(edges)):
        rank = random.Random(number).randrange(first + 1, stop)
        steps = (KillInside(rank, number), *one.steps)
        executor = executor_of(
            plan,
            Pipeline(one.name, steps, one.tasks),
            workers=1,
            local_tasks=stop - first,
            local_rank_offset=first,
        )
        process = context.Process(target=alone, args=(executor.run,))
        process.start()
        running.append(process)
        if len(running) == WORKERS:
            ended.append(running.pop(0))
            ended[-1].join()
    for process in running:
        process.join()
    return sum(process.exitcode == -signal.SIGKILL for process in [*ended, *running])


def alone(work: Callable[[], Any]) -> None:
    """Work in a group of processes of its own, so that a killed one leaves none behind."""
    os.setsid()
    work()


def state_of(out: Path) -> dict[Path, int]:
    """Return when each file of the tasks was written, logs and marks left aside."""
    files = [f for kind in ("blocks", "scores", "tallies") for f in (out / kind).rglob("*")]
    return {file: file.stat().st_mtime_ns for file in files if file.is_file()}


def rank_of(file: Path) -> int:
    """Return whose a file is, half written or whole: its folder or its name is the task's."""
    named = re.match(r"\.?(\d{5})\.npz", file.name)
    return int(named[1] if named else file.parent.name)


# the corpus, and the same as one


def write_documents(folder: Path, files: int, each: int, seed: int = 7) -> Path:
    """Write posts as ``files`` files of up to ``each`` records, the second of blank ones."""
    folder.mkdir(parents=True)
    posts = builtin_posts(files * each, seed)
    for number in range(files):
        held = posts[number * each : (number + 1) * each][: each - number % 3]
        texts = ["  " if number == 1 else post.text for post in held]
        records = [{"id": f"{number}-{place}", "text": text} for place, text in enumerate(texts)]
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"{number:05d}.jsonl").write_text(lines, encoding="utf-8")
    return folder


def one_corpus(out: str, tasks: int) -> tuple[Corpus, list[slice]]:
    """Put the tasks' blocks together as one corpus; return it and which blocks are each task's."""
    columns: dict[str, list[np.ndarray]] = {
        name: [] for name in ("tokens", "document", "start", "end", "marked")
    }
    documents, rows, place, closing = [], [], 0, 0
    for rank in range(tasks):
        corpus, _ = Task(Path(out), rank, tasks).corpus()
        count = 0 if corpus is None else len(corpus.tokens)
        rows.append(slice(place, place + count))
        place += count
        if corpus is None:
            continue
        for name, parts in columns.items():
            part = np.array(getattr(corpus, name))
            if name == "document":
                part[part >= 0] += len(documents)
            parts.append(part)
        documents += list(corpus.documents)
        closing = corpus.end_of_text
    whole = {name: np.concatenate(parts) for name, parts in columns.items()}
    return Corpus(**whole, documents=documents, end_of_text=closing, fingerprint="one"), rows


class ByTask(MemorySink):
    """Scores in memory, asked for by the tasks' blocks: a batch holds what it holds in a task."""

    def __init__(self, shape: tuple[int, int], rows: Sequence[slice]) -> None:
        super().__init__(shape)
        self.rows = [mine for mine in rows if mine.stop > mine.start]

    def missing(self) -> Sequence[slice]:
        return self.rows


def scored_as_one(plan: Plan, corpus: Corpus, rows: Sequence[slice]) -> TokenScores:
    """Score the corpus in this process, in float32 as scores are stored."""
    scorer = scorer_of(plan)
    sink = ByTask(corpus.tokens.shape, rows)
    found = score(scorer.model.model, corpus, scorer.direction, scorer.settings, sink=sink)
    return TokenScores(np.asarray(found.values, dtype=np.float32), corpus, found.metadata)


def stored_scores(out: str, tasks: int, corpus: Corpus) -> TokenScores:
    """Put the tasks' scores together over the corpus of ``one_corpus``."""
    found = [Task(Path(out), rank, tasks).scores()[0] for rank in range(tasks)]
    values = [np.asarray(scores.values) for scores in found if scores is not None]
    return TokenScores(np.concatenate(values), corpus, {})


def learnt_by_mask(out: str, tasks: int) -> np.ndarray:
    """Return what the exported masks of all tasks say is learnt, one after the other."""
    folders = [Task(Path(out), rank, tasks).folder("mask") for rank in range(tasks)]
    files = [folder / "corpus.ds.loss" for folder in folders if folder.exists()]
    return np.concatenate([np.fromfile(file, dtype=bool) for file in files])


def ranking_of(out: str, tasks: int) -> dict[int, float]:
    """Return the documents that the tasks say are ranked, by number, and their values."""
    found, documents = {}, 0
    for rank in range(tasks):
        made = selection_of(Task(Path(out), rank, tasks))
        if made is not None:
            selection, _ = made
            numbers = (selection.ranking + documents).tolist()
            found |= dict(zip(numbers, selection.rank_value.tolist(), strict=True))
            documents += len(selection.corpus.documents)
    return found


def differences(
    plan: Plan,
    tasks: int,
    corpus: Corpus,
    rows: Sequence[slice],
    scores: TokenScores,
    expected: Selection,
) -> dict[str, bool]:
    """Return what is equal, bit for bit."""
    stored = stored_scores(plan.out, tasks, corpus)
    learnt = learnt_by_mask(plan.out, tasks).reshape(corpus.tokens.shape)
    ranking = zip(expected.ranking.tolist(), expected.rank_value.tolist(), strict=True)
    threshold = decision(Path(plan.out), "documents")["threshold"]
    return {
        "scores": stored.values.tobytes() == np.asarray(scores.values).tobytes(),
        "threshold": threshold == expected.threshold,
        "ranking": ranking_of(plan.out, tasks) == dict(ranking),
        "mask": bool((learnt == (corpus.has_loss & ~expected.suppress)).all()),
    }


def render(found: dict[str, Any]) -> str:
    """Return the record as Markdown."""
    counts = ("tasks", "documents", "tokens", "killed", "complete after the first launch")
    counts += ("made by the second launch", "written again", "selected")
    rows = [f"| {name} | {found[name]:,} |" for name in counts]
    rows += [f"| {name}, s | {took:.0f} |" for name, took in found["seconds"].items()]
    said = {True: "equal", False: "DIFFERENT"}
    equal = [f"| {name} | {said[same]} |" for name, same in found["equal"].items()]
    return "\n".join(
        [
            "# Many tasks, some killed, against one process",
            "",
            f"    {found['command']}",
            "",
            "datatrove's local executor on two workers. Killed: how many processes got SIGKILL at",
            "a random moment of a task of theirs. Written again: files of complete tasks.",
            f"Measured on {found['date']}; seconds are wall time.",
            "",
            "| | |",
            "|---|---:|",
            *rows,
            "",
            "| tasks against one process, bit for bit | |",
            "|---|---|",
            *equal,
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
