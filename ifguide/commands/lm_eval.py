"""``ifguide lm-eval``: tasks of EleutherAI's lm-eval on a run's model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ifguide.commands.command import Command, add_folder, add_output, folder_of
from ifguide.files import check_output, write_json
from ifguide.lazily import functions_of

if TYPE_CHECKING:
    from ifguide.commands import libraries
    from ifguide.report import lm_eval
    from ifguide.run import actions
else:
    actions = functions_of("ifguide.run.actions")
    libraries = functions_of("ifguide.commands.libraries")
    lm_eval = functions_of("ifguide.report.lm_eval")


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_folder(parser)
    parser.add_argument("--model", default="suppressed", help="by name (default: suppressed)")
    parser.add_argument("--tasks", nargs="+", required=True, metavar="TASK", help="by name")
    parser.add_argument("--include", type=Path, metavar="DIR", help="a folder of further tasks")
    parser.add_argument("--limit", type=int, help="at most this many documents a task")
    add_output(parser)


def _do(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    if parsed.out is not None:
        check_output(parsed.out, replace=parsed.replace)
    folder = folder_of(parsed)
    libraries.hush(quiet=parsed.quiet)
    found = actions.lm_eval(
        folder,
        parsed.model,
        parsed.tasks,
        parsed.include,
        parsed.limit,
        trust_remote_code=parsed.trust_remote_code,
    )
    if parsed.out is not None:
        write_json(parsed.out, found)
    print(lm_eval.lm_eval_text(found))
    return 0


LM_EVAL = Command(
    name="lm-eval",
    about="run tasks of EleutherAI's lm-eval on a run's model",
    add_options=_add_options,
    do=_do,
)
