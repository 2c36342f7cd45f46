"""``ifguide judge``: the continuations that a run has kept, judged again."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ifguide.commands.command import Command, add_folder, add_output, add_verify
from ifguide.files import check_output


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_folder(parser)
    parser.add_argument("--judges", nargs="+", required=True, metavar="JUDGE", help="by name")
    parser.add_argument("--unjudged", choices=("stop", "report"), help="as evaluation.unjudged")
    add_output(parser)
    add_verify(parser)


def _do(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    from ifguide.evaluation.typed_json import write_typed
    from ifguide.report.judged import judged_text
    from ifguide.run import actions

    if parsed.out is not None:
        check_output(parsed.out, replace=parsed.replace)
    result = actions.judge(parsed.dir, parsed.judges, parsed.unjudged, verify=parsed.verify)
    if parsed.out is not None:
        write_typed(parsed.out, result)
    print(judged_text(result))
    return 0


JUDGE = Command(
    name="judge",
    about="judge the continuations that a run has kept, without generating",
    add_options=_add_options,
    do=_do,
)
