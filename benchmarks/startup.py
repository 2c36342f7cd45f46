"""The processor time that commands take which compute nothing, beside another checkout's.

    python benchmarks/startup.py [--before CHECKOUT] [--out FILE.md]
    python benchmarks/startup.py --quick

Every command runs in a process of its own, by turns with the same command of the other checkout;
the figure is the median of its user and system time, in seconds, as the kernel counts it for the
ended process: what else the machine does lengthens it little.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from ifguide.files import write_json, write_text

ROOT = Path(__file__).resolve().parents[1]
BOUND = 0.4  # seconds, of --help
COMMANDS: dict[str, Sequence[str]] = {
    "ifguide --help": ("--help",),
    "ifguide run --settings": ("run", "--settings"),
    "ifguide run CONFIG --print_config": ("run", "CONFIG", "--print_config"),
    "ifguide run CONFIG --out DIR --selection.budget 2 (refused)": (
        *("run", "CONFIG", "--out", "DIR"),
        *("--selection.budget", "2"),
    ),
    "ifguide schema": ("schema",),
    "ifguide status DIR": ("status", "DIR"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the page, and return 0."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parsed = _parser().parse_args(given)
    checkouts = {"now": ROOT, **({"before": parsed.before} if parsed.before else {})}
    repeats = 1 if parsed.quick else parsed.repeats
    with tempfile.TemporaryDirectory() as scratch:
        prepare(Path(scratch))
        rows = [
            measure(name, words, checkouts, Path(scratch), repeats)
            for name, words in COMMANDS.items()
        ]
    table = {
        "command": shlex.join(["python", "benchmarks/startup.py", *given]),
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()}-core CPU, Python {platform.python_version()}",
        "repeats": repeats,
        "rows": rows,
    }
    page = render(table)
    if parsed.out:
        write_text(parsed.out, page)
        write_json(parsed.out.with_suffix(".json"), table)
    print(page, end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Processor time of commands that show something.")
    parser.add_argument("--before", type=Path, help="another checkout, run from its root")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--out", type=Path, help="where the page goes; FILE.json lies beside it")
    parser.add_argument("--quick", action="store_true", help="each command once")
    return parser


def prepare(folder: Path) -> None:
    """Lay out settings, and a run folder whose corpus is made."""
    config = folder / "run.yaml"
    config.write_bytes((ROOT / "ifguide" / "demo.yaml").read_bytes())
    words = ("corpus", str(config), "--out", str(folder / "run"), "--quiet")
    _, code = spent(ROOT, words)
    if code:
        raise SystemExit(f"startup: ifguide {shlex.join(words)} ended with {code}")


def measure(
    name: str, words: Sequence[str], checkouts: dict[str, Path], folder: Path, repeats: int
) -> dict[str, Any]:
    """Run a command by turns in each checkout; one that does not know it has no figure."""
    places = {"CONFIG": str(folder / "run.yaml"), "DIR": str(folder / "run")}
    arguments = [places.get(word, word) for word in words]
    expected = 2 if "refused" in name else 0
    found: dict[str, list[float]] = {which: [] for which in checkouts}
    for turn in range(repeats):
        for which, root in checkouts.items():
            if len(found[which]) == turn:
                seconds, code = spent(root, arguments)
                found[which] += [seconds] if code == expected else []
    return {
        "name": name,
        **{
            which: {"median": median(values), "least": min(values), "most": max(values)}
            for which, values in found.items()
            if len(values) == repeats
        },
    }


def spent(root: Path, arguments: Sequence[str]) -> tuple[float, int]:
    """Return the processor seconds that ``python -m ifguide`` took, and how it ended."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "ifguide", *arguments], cwd=root, capture_output=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.returncode


def render(table: dict[str, Any]) -> str:
    """Return the Markdown page: one row a command."""
    lines = [
        "# Processor time of commands that compute nothing",
        "",
        f"`{table['command']}`, {table['date']}, {table['machine']}.",
        "",
        f"User and system time of a process, in seconds: the median of {table['repeats']}, in "
        "brackets the least",
        f"and the most. `ifguide --help` is to stay below {BOUND} s.",
        "",
        "| command | now | before |",
        "|---|---|---|",
    ]
    for row in table["rows"]:
        name = row["name"].replace("ifguide", "`ifguide", 1).replace(" (", "` (")
        name += "" if name.endswith(")") else "`"
        lines.append(f"| {name} | {_shown(row.get('now'))} | {_shown(row.get('before'))} |")
    return "\n".join(lines) + "\n"


def _shown(figure: dict[str, float] | None) -> str:
    if figure is None:
        return "–"
    return f"{figure['median']:.2f} [{figure['least']:.2f}, {figure['most']:.2f}]"


if __name__ == "__main__":
    sys.exit(main())
