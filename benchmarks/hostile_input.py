"""Malformed input of every kind, through the commands that read it; nothing may end otherwise.

python benchmarks/hostile_input.py --out benchmarks/records/hostile.md
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from hostile import command_cases, file_cases, settings_cases  # noqa: E402
from hostile.harness import LINE, TAKEN, ending  # noqa: E402

import ifguide.run.actions  # noqa: E402, F401 - once, and not in every child

HEAD = """\
# Malformed input

Every setting with what does not belong there, YAML that is malformed or asks for too much, options,
and malformed files of every kind that is read, each through the command that reads it. A command
ends well in one line with exit 2 that names the file, field or option and the mend, or, where the
input may be taken, in a finished run. Made by `python benchmarks/hostile_input.py --out FILE`.
"""


def main() -> None:
    """Try all cases, print what ends otherwise as it is found, and write the record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="", help="cases whose kind and name hold this")
    given = parser.parse_args()
    sides = (settings_cases, command_cases, file_cases)
    every = [case for side in sides for case in side.all_cases()]
    cases = [c for c in every if given.only in f"{c.kind}: {c.name}"]
    found: dict[str, Counter[str]] = {}
    otherwise = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            end = ending(case, Path(folder) / "case")
            known = end if end in (LINE, TAKEN) else "otherwise"
            found.setdefault(case.kind, Counter())[known] += 1
            if known == "otherwise":
                otherwise.append(f"- {case.kind}: {case.name}: {end}")
                print(otherwise[-1], flush=True)
    lines = [HEAD, "| kind | inputs | one line | taken | otherwise |", "|---|---|---|---|---|"]
    total: Counter[str] = sum(found.values(), Counter())
    for kind, ends in [*found.items(), ("all", total)]:
        counts = (ends.total(), ends[LINE], ends[TAKEN], ends["otherwise"])
        lines.append(f"| {kind} | {' | '.join(map(str, counts))} |")
    text = "\n".join([*lines, "", *otherwise]).rstrip() + "\n"
    print(text, f"{time.monotonic() - began:.0f} s")
    if given.out:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
