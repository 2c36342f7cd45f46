"""The commands that look at a finished run folder, or do more with what lies in it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ifguide.attacks import attack
from ifguide.errors import InputError

AddCommand = Callable[[str, str], argparse.ArgumentParser]


def add_finished(command: AddCommand) -> None:
    """Add the commands; ``command`` makes a sub-parser from a name and a line of help."""
    inspect = command("inspect", "show the highest-ranked documents of a run, tokens coloured")
    inspect.add_argument("dir", type=Path, help="the run folder")
    inspect.add_argument("--doc", action="append", default=[], help="a document's id")
    inspect.add_argument("--top", type=int, default=10, help="how many documents (default 10)")
    attack.add_options(command("attack", "attack both models of a run: GCG, relearning, lens"))
    judge = command("judge", "judge the continuations that a run has kept, without generating")
    judge.add_argument("dir", type=Path, help="the run folder")
    judge.add_argument("--judges", nargs="+", required=True, metavar="JUDGE", help="by name")
    judge.add_argument("--unjudged", choices=("stop", "report"), help="as evaluation.unjudged")
    judge.add_argument("--out", type=Path, metavar="FILE", help="also write the figures as JSON")
    harness = command("lm-eval", "run tasks of EleutherAI's lm-eval on a run's model")
    harness.add_argument("dir", type=Path, help="the run folder")
    harness.add_argument("--model", default="suppressed", help="baseline or suppressed (default)")
    harness.add_argument("--tasks", nargs="+", required=True, metavar="TASK", help="by name")
    harness.add_argument("--include", type=Path, metavar="DIR", help="a folder of further tasks")
    harness.add_argument("--limit", type=int, help="at most this many documents a task")
    harness.add_argument("--out", type=Path, metavar="FILE", help="also write the figures as JSON")


def _inspect(parsed: argparse.Namespace, overrides: list[str]) -> int:
    from ifguide.run import runs

    if overrides:
        raise InputError(f"{overrides[0]}: not an option of inspect; see `ifguide inspect --help`")
    if parsed.top < 1:
        raise InputError(f"--top: {parsed.top} is below 1; give the number of documents to show")
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for line in runs.inspect(parsed.dir, parsed.top, parsed.doc, colour=colour):
        print(line)
    return 0


def _attack(parsed: argparse.Namespace, overrides: list[str]) -> int:
    for line in attack.shown_lines(parsed, overrides):
        print(line)
    return 0


def _judge(parsed: argparse.Namespace, overrides: list[str]) -> int:
    from ifguide.evaluation.judges.registry import load_judge
    from ifguide.evaluation.rejudging import rejudge
    from ifguide.evaluation.typed_json import write_typed
    from ifguide.report.judged import judged_text
    from ifguide.run.finished_models import config_of, kept_continuations

    if overrides:
        raise InputError(f"{overrides[0]}: not an option of judge; see `ifguide judge --help`")
    config = config_of(parsed.dir)
    unjudged = parsed.unjudged or config.evaluation.unjudged
    evaluation = replace(config.evaluation, judges=tuple(parsed.judges), unjudged=unjudged)
    kept = kept_continuations(parsed.dir, evaluation)
    judges = [load_judge(name, Path(config.data_dir)) for name in parsed.judges]
    result = rejudge(kept, judges, evaluation, config.seed)
    if parsed.out is not None:
        write_typed(parsed.out, result)
    print(judged_text(result))
    return 0


def _lm_eval(parsed: argparse.Namespace, overrides: list[str]) -> int:
    from ifguide.evaluation.lm_eval import lm_eval_results
    from ifguide.files import write_json
    from ifguide.report.lm_eval import lm_eval_text
    from ifguide.run.finished_models import checkpoint_of

    if overrides:
        raise InputError(f"{overrides[0]}: not an option of lm-eval; see `ifguide lm-eval --help`")
    include, limit = parsed.include, parsed.limit
    checkpoint = checkpoint_of(parsed.dir, parsed.model)
    found = lm_eval_results(checkpoint, parsed.tasks, include=include, limit=limit)
    if parsed.out is not None:
        write_json(parsed.out, found)
    print(lm_eval_text(found))
    return 0


ON_FINISHED = {
    "inspect": _inspect,
    "attack": _attack,
    "judge": _judge,
    "lm-eval": _lm_eval,
}
