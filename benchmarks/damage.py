"""Damage to the files of finished and half-made runs, and to what runs read.

    python benchmarks/damage.py --journal build/damage.jsonl --out benchmarks/records/damage.md

A file has a bit flipped, is cut short, or is deleted, at a place that a seed draws; then a command
is run. It must tell of the damage in one line, make the file again to the same bits, or show and
leave what it would have without. What was tried stands in the journal, so that the same command
goes on after an interruption.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from damage import (  # noqa: E402
    COMMANDS,
    ENDS,
    FAULT,
    WAYS,
    built,
    changed_outside,
    drawn,
    held,
    outside_settings,
    tried_of,
)
from kills import AT_WORK, killed_run  # noqa: E402
from micro import TRAINING, write_settings  # noqa: E402

COMPARE = {"trainings": {"tuned": {**TRAINING, "start": "baseline"}}}
HALF = ("run", "status", "judge")  # on a run that was killed
FINISHED, OUTSIDE = "finished", "outside"
Counts = dict[tuple[str, str, str], Counter[str]]  # of ends, by state, command and way of damage


def main() -> None:
    """Damage, print faults as they are found, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--share", type=float, default=1.0, help="of all trials (1)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    known = _read(given.journal)
    with tempfile.TemporaryDirectory() as name, given.journal.open("a") as journal:
        for trial in _trials(Path(name), given.share, given.seed, set(known)):
            key, (end, why) = trial
            known[key] = end, why
            journal.write(json.dumps([key, end, why]) + "\n")
            journal.flush()
            if end == FAULT:
                print(*key, why, sep=" · ", flush=True)
    text = record(known, given.share, given.seed)
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


Key = tuple[str, str, str, str]  # state, command, file, way
End = tuple[str, str]


def _read(journal: Path) -> dict[Key, End]:
    journal.parent.mkdir(parents=True, exist_ok=True)
    lines = journal.read_text("utf-8").splitlines() if journal.exists() else []
    return {tuple(key): (end, why) for key, end, why in map(json.loads, lines)}


def _trials(folder: Path, share: float, seed: int, known: set[Key]) -> Iterator[tuple[Key, End]]:
    config = write_settings(folder, compare=COMPARE)
    whole = built(config, folder / "whole")
    yield from _of_folder(FINISHED, config, whole, folder, list(COMMANDS), share, seed, known)
    for stage in AT_WORK:
        part = folder / "half"
        _kill(config, part, stage)
        state = f"killed in {stage}"
        yield from _of_folder(state, config, part, folder, HALF, share, seed, known)
        shutil.rmtree(part)
    place = folder / OUTSIDE
    place.mkdir()
    config, files = outside_settings(place)
    start = built(config, place / "whole", ("run",))
    for file in files:
        for way in WAYS:
            key = (OUTSIDE, "run", file.relative_to(place).as_posix(), way)
            if key not in known:
                yield key, changed_outside(config, start, folder, file, way, seed)


def _of_folder(
    state: str,
    config: Path,
    start: Path,
    folder: Path,
    commands: tuple[str, ...] | list[str],
    share: float,
    seed: int,
    known: set[Key],
) -> Iterator[tuple[Key, End]]:
    every = drawn(start, commands, share=share, seed=seed)
    wanted = [triple for triple in every if (state, *triple) not in known]
    print(f"{state}: {len(wanted)} of {len(every)} to try", flush=True)
    for *triple, end in tried_of(config, start, folder, wanted, seed=seed):
        yield (state, *triple), end


def _kill(config: Path, out: Path, stage: str) -> None:
    """Leave a run that was killed in a stage which had kept something."""
    process = multiprocessing.get_context("spawn").Process(
        target=killed_run, args=(config, out, stage, "at work")
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL, (stage, process.exitcode)
    assert any(name.startswith(f"{stage}.part/") for name in held(out))


def record(known: dict[Key, End], share: float, seed: int) -> str:
    """Return the page: a row for each state, command and way of damage, then every fault."""
    counts: Counts = {}
    for (state, command, _, way), (end, _) in known.items():
        counts.setdefault((state, command, way), Counter())[end] += 1
    lines = [
        "# Damage in runs, finished and half made, and in what they read",
        "",
        "Made by `python benchmarks/damage.py`: one file at a time of a finished micro run with",
        "its comparison, attack and exported pair, of runs that were killed in a stage, and of",
        "what lies outside; then a command. *noticed*: one line and exit 2, or told by `status`;",
        "*made again*: to the same bits as without the damage; *without effect*: all that is shown",
        f"and left is the same. {sum(c.total() for c in counts.values()):,} trials, {share:.0%} of",
        f"all that there are, drawn by seed {seed}.",
        "",
        "| state | command | damage | trials | " + " | ".join(ENDS) + " |",
        "|---|---|---|---:|" + "---:|" * len(ENDS),
    ]
    for (state, command, way), ends in sorted(counts.items()):
        cells = " | ".join(str(ends[end]) for end in ENDS)
        lines.append(f"| {state} | `{command}` | {way} | {ends.total()} | {cells} |")
    faults = [
        f"- {', '.join(key)}: {why}" for key, (end, why) in sorted(known.items()) if end == FAULT
    ]
    return "\n".join([*lines, "", *(faults or ["No faults."])]) + "\n"


if __name__ == "__main__":
    main()
