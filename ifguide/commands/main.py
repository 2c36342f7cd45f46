"""The command line; the only place that configures logging."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ifguide.commands import streams
from ifguide.commands.attack import ATTACK
from ifguide.commands.command import Command
from ifguide.commands.compare import COMPARE, SWEEP
from ifguide.commands.demo import DEMO
from ifguide.commands.distil import DISTIL
from ifguide.commands.estimate import ESTIMATE
from ifguide.commands.export_mask import EXPORT_MASK
from ifguide.commands.export_pair import EXPORT_PAIR
from ifguide.commands.init import INIT
from ifguide.commands.inspect import INSPECT
from ifguide.commands.judge import JUDGE
from ifguide.commands.lm_eval import LM_EVAL
from ifguide.commands.push import PUSH
from ifguide.commands.report import REPORT
from ifguide.commands.run import RUN, STAGE_COMMANDS
from ifguide.commands.schema import SCHEMA
from ifguide.commands.score_corpus import SCORE_CORPUS
from ifguide.commands.status import STATUS
from ifguide.distributed import lost
from ifguide.errors import FULL, InputError, escaped, one_line

COMMANDS: tuple[Command, ...] = (
    DEMO,
    INIT,
    ESTIMATE,
    RUN,
    *(REPORT if command.name == REPORT.name else command for command in STAGE_COMMANDS),
    STATUS,
    INSPECT,
    COMPARE,
    SWEEP,
    DISTIL,
    SCORE_CORPUS,
    JUDGE,
    ATTACK,
    LM_EVAL,
    EXPORT_PAIR,
    EXPORT_MASK,
    PUSH,
    SCHEMA,
)
EPILOG = """\
ifguide run CONFIG --out DIR runs all stages; the other stage commands stop after theirs. Any
setting of the YAML can be overridden with a dotted option, e.g. --selection.budget 0.01.
`ifguide run CONFIG --print_config` prints the resolved settings, and
`ifguide run --settings` lists every setting with its meaning.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    0, also when the reader of standard output, such as ``head``, has enough; 2 after one line about
    input that cannot be used, 1 when another process of the run has ended, 130 when interrupted,
    and 141 when nobody reads the error stream any more.
    """
    out: Path | None = None
    streams.prepare()
    try:
        parsed, overrides = _parser().parse_known_args(arguments)
        parsed.arguments = sys.argv[1:] if arguments is None else list(arguments)
        out = getattr(parsed, "out", None)
        command: Command = parsed.command
        if overrides and not command.settles:
            raise InputError(
                f"{overrides[0]}: not an option of {command.name}; see `ifguide {command.name} "
                "--help`"
            )
        _configure_output(quiet=parsed.quiet)
        with lost.announced():
            code = command.do(parsed, overrides)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        unread = streams.silenced()
        if not unread:
            raise
        return 0 if sys.stdout in unread else 128 + signal.SIGPIPE
    except InputError as error:
        print(f"ifguide: error: {error}", file=sys.stderr)
        return 2
    except lost.LostError:
        return 1
    except KeyboardInterrupt:
        print("ifguide: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except OSError as error:
        if error.filename is None and error.errno not in FULL:
            raise
        what = error.filename or out or "standard output"
        mend = "nothing finished is lost: mend it and run the same command again"
        line = InputError(f"{what}: {one_line(error)}; {mend}")
        print(f"ifguide: error: {line}", file=sys.stderr)
        return 2
    except MemoryError:
        print(
            "ifguide: error: there is not enough memory; nothing finished is lost: lower batch "
            "sizes or block lengths, or use a larger machine",
            file=sys.stderr,
        )
        return 2


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, as all others."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments."""
        raise InputError(f"{message}; see `{self.prog} --help`")


class _OneLine(logging.Formatter):
    """Warnings of one line each, whatever names stand in them."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return escaped(super().format(record))


def _configure_output(*, quiet: bool) -> None:
    """Send warnings to the error stream."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.ERROR if quiet else logging.WARNING, handlers=[handler])
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ifguide",
        description="Find the tokens of a corpus that teach a model to be toxic, and train "
        "without learning from them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        added = commands.add_parser(
            command.name, help=command.about, description=command.about, allow_abbrev=False
        )
        added.add_argument("--quiet", action="store_true", help="no progress lines, no warnings")
        command.add_options(added)
        added.set_defaults(command=command, name=command.name)
    return parser
