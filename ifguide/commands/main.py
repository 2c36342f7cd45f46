"""The command line; the only place that configures logging."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import datasets
from huggingface_hub.utils import enable_progress_bars  # type: ignore[attr-defined]
from transformers.utils import logging as transformers_logging

from ifguide.commands.finished import ON_FINISHED, add_finished
from ifguide.distributed import lost
from ifguide.errors import InputError
from ifguide.rivals.methods import METHODS
from ifguide.settings.config import Config

if TYPE_CHECKING:
    from ifguide.evaluation.comparison import Comparison
    from ifguide.influence.perturbed import LogprobFiles

STAGES = ("fit", "aim", "score", "select", "train", "evaluate", "report")
GRID = {"budget": float, "window": int, "quantile": float, "weight": float, "ceiling": float}
EPILOG = """\
ifguide run CONFIG --out DIR runs all stages; the other stage commands stop after theirs. Any
setting of the YAML can be overridden with a dotted option, e.g. --selection.budget 0.01.
`ifguide run CONFIG --print_config` prints the resolved settings, and
`ifguide run --settings` lists every setting with its meaning.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, or 2 after one line about input that cannot be used."""
    out: Path | None = None
    try:
        parsed, overrides = _parser().parse_known_args(arguments)
        parsed.arguments = sys.argv[1:] if arguments is None else list(arguments)
        out = getattr(parsed, "out", None)
        _configure_output(quiet=parsed.quiet)
        with lost.announced():
            code = int(parsed.command(parsed, overrides) or 0)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read our output, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except InputError as error:
        print(f"ifguide: error: {error}", file=sys.stderr)
        return 2
    except lost.LostError:
        return 1
    except KeyboardInterrupt:
        print("ifguide: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS}:
            raise
        print(
            f"ifguide: error: {error.filename or out}: {os.strerror(error.errno)}; nothing "
            "finished is lost: mend it and run the same command again",
            file=sys.stderr,
        )
        return 2


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, as all others."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments."""
        raise InputError(f"{message}; see `{self.prog} --help`")


def _configure_output(*, quiet: bool) -> None:
    """Send warnings to the error stream, and silence what libraries would print of their own."""
    logging.basicConfig(
        level=logging.ERROR if quiet else logging.WARNING,
        format="%(levelname)s: %(message)s",
        stream=sys.stderr,
    )
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()  # and the hub's, which a download needs
    datasets.disable_progress_bars()
    if not quiet:
        enable_progress_bars()


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

    def command(name: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        added.add_argument("--quiet", action="store_true", help="no progress lines, no warnings")
        added.set_defaults(command=_COMMANDS.get(name, _run), name=name)
        return added

    for name in ("run", *STAGES):
        what = "run every stage" if name == "run" else f"run the stages up to '{name}'"
        added = command(name, what)
        _add_run_options(added)
        if name not in {"fit", "aim"}:
            _add_logprob_options(added)
    pair = command("export-pair", "write the models θ+εv and θ-εv, for scores by any engine")
    _add_run_options(pair)
    pair.add_argument("--step", type=float, help="‖εv‖ as a share of the weights' (0.03)")
    pair.add_argument("--to", type=Path, help="where to (the run folder's pair)")
    comparing = command("compare", "run every rival from the same start, and show one table")
    _add_run_options(comparing)
    comparing.add_argument(
        "--methods", default="all", help="all, or METHOD[@TRAINING] with commas between (all)"
    )
    comparing.formatter_class = argparse.RawDescriptionHelpFormatter
    comparing.epilog = "\n".join(
        ["methods:", *(f"  {method.name:<23} {method.about}" for method in METHODS.values())]
    )
    sweep = command("sweep", "draw toxicity against fluency over settings, without scoring again")
    _add_run_options(sweep)
    for name, kind in GRID.items():
        sweep.add_argument(f"--{name}", type=kind, nargs="+", default=[], metavar="VALUE")
    sweep.add_argument("--training", help="one of compare.trainings (the first)")
    add_finished(command)
    demo = command("demo", "run everything on the built-in corpus and show the result")
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="the run folder")
    demo.add_argument("--replace", action="store_true", help="make again what differs")
    return parser


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, nargs="?", help="the YAML file of the run")
    parser.add_argument("--out", type=Path, help="the run folder")
    parser.add_argument("--replace", action="store_true", help="make again what differs")
    parser.add_argument("--print_config", action="store_true", help="print all settings, stop")
    parser.add_argument("--settings", action="store_true", help="list every setting, stop")


def _add_logprob_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from-logprobs",
        type=Path,
        nargs=2,
        metavar=("PLUS", "MINUS"),
        help="scores from these log-probabilities",
    )
    parser.add_argument("--pair", type=Path, help="folder of the pair (the run folder's pair)")
    parser.add_argument("--force", action="store_true", help="take them below Spearman 0.98 too")


def _run(parsed: argparse.Namespace, overrides: list[str]) -> int:
    config = _config(parsed, overrides)
    if config is not None:
        _run_and_show(config, "report" if parsed.name == "run" else parsed.name, parsed)
    return 0


def _export_pair(parsed: argparse.Namespace, overrides: list[str]) -> int:
    config = _config(parsed, overrides)
    if config is not None:
        from ifguide.run import runs

        to = parsed.to or parsed.out / "pair"
        options = {"quiet": parsed.quiet, "replace": parsed.replace}
        if runs.write_pair(config, parsed.out, to, step=parsed.step, **options):
            print(f"The pair: {to} (its README.md says how to go on)")
    return 0


def _config(parsed: argparse.Namespace, overrides: list[str]) -> Config | None:
    """Return the settings of a run, or None if they were only to be shown."""
    from ifguide.settings.reader import describe, read_config, to_yaml

    if parsed.settings:
        print(describe(), end="")
        return None
    if parsed.config is None:
        raise InputError(f"ifguide {parsed.name}: no YAML file given; see `ifguide --help`")
    config = read_config(parsed.config, overrides)
    if parsed.print_config:
        print(to_yaml(config), end="")
        return None
    if parsed.out is None:
        raise InputError("--out: no run folder given; add --out DIR")
    return config


def _run_and_show(config: Config, until: str, parsed: argparse.Namespace) -> None:
    from ifguide.report.tables import comparison_table
    from ifguide.run import runs

    given = _logprobs(parsed)
    options = {"quiet": parsed.quiet, "replace": parsed.replace}
    result = runs.run(config, parsed.out, until, logprobs=given, **options)
    if until == "score" and result is not None and "spearman" in result.metadata:
        print(f"Spearman with float32 jvp on a probe: {result.metadata['spearman']:.4f}")
    if until == "report" and result is not None:
        print(comparison_table(result))
        print(f"\nThe page: {parsed.out / 'report.html'}")


def _compare(parsed: argparse.Namespace, overrides: list[str]) -> int:
    config = _config(parsed, overrides)
    if config is not None:
        from ifguide.rivals.comparing import compare

        wanted = [name.strip() for name in parsed.methods.split(",") if name.strip()]
        _show_methods(parsed, compare(config, parsed.out, wanted, **_comparing(parsed)))
    return 0


def _sweep(parsed: argparse.Namespace, overrides: list[str]) -> int:
    config = _config(parsed, overrides)
    if config is not None:
        from ifguide.rivals.comparing import sweep
        from ifguide.rivals.sweep import Grid

        grid = Grid(**{name: tuple(getattr(parsed, name)) for name in GRID})
        options = _comparing(parsed)
        _show_methods(parsed, sweep(config, parsed.out, grid, parsed.training, **options))
    return 0


def _comparing(parsed: argparse.Namespace) -> dict[str, Any]:
    command = shlex.join(["ifguide", *parsed.arguments])
    return {"command": command, "quiet": parsed.quiet, "replace": parsed.replace}


def _show_methods(parsed: argparse.Namespace, result: Comparison | None) -> None:
    from ifguide.report.comparison import methods_table
    from ifguide.report.tables import plain_text

    if result is not None:
        print(plain_text(methods_table(result)))
        print(f"\nThe page: {parsed.out / parsed.name / 'index.html'}")


def _logprobs(parsed: argparse.Namespace) -> LogprobFiles | None:
    if getattr(parsed, "from_logprobs", None) is None:
        return None
    from ifguide.influence.perturbed import LogprobFiles

    plus, minus = parsed.from_logprobs
    pair = parsed.pair or parsed.out / "pair"
    return LogprobFiles(plus=plus, minus=minus, pair=pair, force=parsed.force)


def _demo(parsed: argparse.Namespace, overrides: list[str]) -> int:
    from ifguide.settings.reader import read_config

    with resources.as_file(resources.files("ifguide") / "demo.yaml") as file:
        config = read_config(file, overrides)
    _run_and_show(config, "report", parsed)
    return 0


_COMMANDS = {
    "demo": _demo,
    "export-pair": _export_pair,
    "compare": _compare,
    "sweep": _sweep,
    **ON_FINISHED,
}
