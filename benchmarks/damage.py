"""Damage to every file of a finished run, for each command that reads it.

    python benchmarks/damage.py --out benchmarks/records/damage.md

Each file has a bit flipped, is cut short, or is deleted, at a place that a seed draws; then a
command is run. It must tell of the damage in one line, make the file again to the same bits, or
show and leave what it would have without. Kills and half-made runs: see ``kills.md``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from damage import COMMANDS, ENDS, FAULT, WAYS, outcome, tried  # noqa: E402
from micro import TRAINING, write_settings  # noqa: E402

COMPARE = {"trainings": {"tuned": {**TRAINING, "start": "baseline"}}}


def main() -> None:
    """Damage, print faults as they are found, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--commands", nargs="+", choices=list(COMMANDS), default=list(COMMANDS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    counts: Counts = {}
    faults = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config, whole = write_settings(folder, compare=COMPARE), folder / "whole"
        made = outcome("run", config, whole)
        if made.code != 0:
            raise SystemExit(f"the run itself failed: {made.complaint}")
        trials = tried(config, whole, folder, given.commands, ways=given.ways, seed=given.seed)
        for command, file, way, (end, why) in trials:
            counts.setdefault((command, way), Counter())[end] += 1
            if end == FAULT:
                faults.append(f"- `{command}`, {file}, {way}: {why}")
                print(faults[-1], flush=True)
    text = record(counts, faults, given.seed)
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


Counts = dict[tuple[str, str], Counter[str]]  # of ends, by command and way of damage


def record(counts: Counts, faults: list[str], seed: int) -> str:
    """Return the page: a row for each command and way of damage, then every fault."""
    lines = [
        "# Damage in a finished run",
        "",
        f"`python benchmarks/damage.py --seed {seed}`: every file of a finished micro run, one at a",
        "time, and each command that reads the run.",
        "",
        "| command | damage | files | " + " | ".join(ENDS) + " |",
        "|---|---|---:|" + "---:|" * len(ENDS),
    ]
    for (command, way), ends in counts.items():
        cells = " | ".join(str(ends[end]) for end in ENDS)
        lines.append(f"| `{command}` | {way} | {ends.total()} | {cells} |")
    return "\n".join([*lines, "", *(faults or ["No faults."])]) + "\n"


if __name__ == "__main__":
    main()
