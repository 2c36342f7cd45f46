"""``ifguide judge``: the continuations that a run has kept, judged again."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ifguide.commands.command import Command, add_folder, add_output, add_verify, folder_of
from ifguide.files import check_output
from ifguide.lazily import functions_of

if TYPE_CHECKING:
    from ifguide.commands import libraries
    from ifguide.evaluation import typed_json
    from ifguide.report import judged
    from ifguide.run import actions
else:
    actions = functions_of("ifguide.run.actions")
    libraries = functions_of("ifguide.commands.libraries")
    judged = functions_of("ifguide.report.judged")
    typed_json = functions_of("ifguide.evaluation.typed_json")


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_folder(parser)
    parser.add_argument("--judges", nargs="+", required=True, metavar="JUDGE", help="by name")
    parser.add_argument("--unjudged", choices=("stop", "report"), help="as evaluation.unjudged")
    add_output(parser)
    add_verify(parser)


def _do(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    if parsed.out is not None:
        check_output(parsed.out, replace=parsed.replace)
    folder = folder_of(parsed)
    libraries.hush(quiet=parsed.quiet)
    result = actions.judge(
        folder,
        parsed.judges,
        parsed.unjudged,
        verify=parsed.verify,
        trust_remote_code=parsed.trust_remote_code,
    )
    if parsed.out is not None:
        typed_json.write_typed(parsed.out, result)
    print(judged.judged_text(result))
    return 0


JUDGE = Command(
    name="judge",
    about="judge the continuations that a run has kept, without generating",
    add_options=_add_options,
    do=_do,
)
