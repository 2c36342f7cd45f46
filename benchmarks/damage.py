"""Damage to every file that a command reads: of finished and half-made runs, and from outside.

    python benchmarks/damage.py --log /tmp/damage.jsonl --out benchmarks/records/damage.md

A file has a bit flipped, is cut short, or is deleted, at a place that a seed draws; then a command
is run. It must tell of the damage in one line, make the file again to the same bits, or show and
leave what it would have without. Each trial is a line of the log; what the log has is not tried
again, so a run that is stopped goes on. With ``--trials`` so many pairs of a file and a way are
drawn for a command and a tree: every file once before any a second time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from damage import COMMANDS, ENDS, FAULT, WAYS, drawn, held, tried  # noqa: E402
from damaged_trees import TREES, made_at  # noqa: E402

Trial = dict[str, Any]  # tree, command, file, way, end, why, and of how many pairs it was drawn


def main() -> None:
    """Damage, print faults as they are found, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="the record")
    parser.add_argument("--log", type=Path, help="a line a trial; those in it are done")
    parser.add_argument("--trees", nargs="+", choices=list(TREES), default=list(TREES))
    parser.add_argument("--commands", nargs="+", choices=list(COMMANDS), default=list(COMMANDS))
    parser.add_argument("--trials", type=int, help="a command and tree (all)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    trials = [*_logged(given.log)]
    before = {_key(trial) for trial in trials}
    for trial in _all(given, before):
        trials.append(trial)
        if given.log:
            with given.log.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(trial) + "\n")
    text = record(trials, given.seed)
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


def _all(given: argparse.Namespace, before: set[tuple[str, ...]]) -> Iterator[Trial]:
    """Yield the trials that are asked for and were not done before."""
    with tempfile.TemporaryDirectory() as folder:
        for name in given.trees:
            tree, place, start = TREES[name], Path(folder, "tree"), Path(folder, f"start-{name}")
            made_at(name, place, start)
            files = [file for file in held(start) if tree.names(file)]
            for command in (c for c in tree.commands if c in given.commands):
                seed = f"{given.seed} {name} {command}"
                pairs = drawn(files, WAYS, seed, given.trials)
                left = [p for p in pairs if (name, command, *p) not in before]
                began = time.monotonic()
                for file, way, (end, why) in tried(start, place, command, left, seed):
                    if end == FAULT:
                        print(_line(name, command, file, way, why), flush=True)
                    yield {
                        **{"tree": name, "command": command, "file": file, "way": way},
                        **{"end": end, "why": why, "pairs": len(files) * len(WAYS)},
                    }
                spent = time.monotonic() - began
                print(f"{name} {command}: {len(left)} in {spent:.0f} s", flush=True)


def _logged(log: Path | None) -> Iterator[Trial]:
    if log is not None and log.is_file():
        yield from map(json.loads, log.read_text(encoding="utf-8").splitlines())


def _key(trial: Trial) -> tuple[str, ...]:
    return tuple(trial[name] for name in ("tree", "command", "file", "way"))


def _line(tree: str, command: str, file: str, way: str, why: str) -> str:
    return f"- {tree}, `{command}`, {file}, {way}: {why}"


def record(trials: list[Trial], seed: int) -> str:
    """Return the page: a row for each tree and command, then every fault."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    pairs: dict[tuple[str, str], int] = {}
    for trial in trials:
        row = trial["tree"], trial["command"]
        counts.setdefault(row, Counter())[trial["end"]] += 1
        pairs[row] = trial["pairs"]
    ways = Counter(trial["way"] for trial in trials)
    faults = [_line(*_key(t), t["why"]) for t in trials if t["end"] == FAULT]
    tried_of = f"{len(trials):,} of {sum(pairs.values()):,}"
    lines = [
        "# Damage to what commands read",
        "",
        f"Made by `python benchmarks/damage.py`, seed {seed}: micro runs, finished and killed; a",
        "file at a time has a bit flipped, is cut short or is deleted, and a command is run.",
        f"Tried: {tried_of} pairs of a file and a way ("
        + ", ".join(f"{way} {ways[way]:,}" for way in WAYS)
        + "), drawn by the",
        "seed so that each file comes once before any comes again. Without damage each of these",
        "commands exits with 0; what it then prints and leaves is the oracle.",
        "",
        "*Noticed*: one line and exit 2, a warning that names the changed input, or a state that",
        "`status` shows. *Made again*: to the same bits. *Without effect*: on what is shown and",
        "made. *Fault*: all else, such as other output without a word, or a traceback.",
        "",
        "| run | command | tried | of | " + " | ".join(ENDS) + " |",
        "|---|---|---:|---:|" + "---:|" * len(ENDS),
    ]
    for (tree, command), ends in counts.items():
        cells = " | ".join(str(ends[end]) for end in ENDS)
        row = f"| {TREES[tree].about} | `{command}` | {ends.total()} | "
        lines.append(f"{row}{pairs[tree, command]} | {cells} |")
    return "\n".join([*lines, "", *(faults or ["No faults."])]) + "\n"


if __name__ == "__main__":
    main()
