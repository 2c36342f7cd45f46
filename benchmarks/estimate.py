"""What runs are estimated to take, beside what they took, stage by stage.

    python benchmarks/estimate.py --finished FOLDER --run CONFIG [--set a.b=1 ...] [--out FILE.md]

The cost of a finished run is what its report tells, so give one that had the machine to itself. A
run that is made here is timed in seconds of the processor on one thread, which other work on the
machine lengthens little; what stands in --set is overridden in all configs of --run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from ifguide.commands.main import main as ifguide  # noqa: E402
from ifguide.evaluation.figures import Cost, read_report  # noqa: E402
from ifguide.run import work  # noqa: E402
from ifguide.run.estimate import Estimate, estimate  # noqa: E402
from ifguide.settings.reader import read_config, read_run_config  # noqa: E402

LEAST = 0.02  # of a run's cost, below which a stage has no row of its own


def main() -> None:
    """Print the tables, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--finished", type=Path, nargs="*", default=[])
    parser.add_argument("--run", type=Path, nargs="*", default=[])
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    options = [word for one in given.set for word in f"--{one}".split("=", 1)]
    lines = [
        "# What runs are estimated to take",
        "",
        "Made by `python benchmarks/estimate.py`, one thread of a CPU. Stages below "
        f"{LEAST:.0%} of a run stand in its last row alone.",
    ]
    for folder in given.finished:
        config = read_run_config(folder)
        told = _estimated(lambda config=config, folder=folder: estimate(config, folder))
        named = Path(config.model.gguf or config.model.path or folder).name
        lines += _table(f"A run of {named}, by its clock", *told, _taken(folder), alone=True)
        _tell(lines, given.out)
    for file in given.run:
        with tempfile.TemporaryDirectory() as place:
            told = _estimated(lambda file=file: estimate(read_config(file, options), Path(place)))
            folder = Path(place) / "run"
            work.time = SimpleNamespace(monotonic=time.process_time)
            assert ifguide(["run", str(file), "--out", str(folder), "--quiet", *options]) == 0
            named = f"{file.name} ({', '.join(given.set)})" if given.set else file.name
            lines += _table(f"{named}, in processor time", *told, _taken(folder), alone=False)
        _tell(lines, given.out)


def _tell(lines: Sequence[str], out: Path | None) -> None:
    """Print and write what is known so far."""
    print("\n".join(lines), flush=True)
    if out:
        out.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _estimated(make: Callable[[], Estimate]) -> tuple[Estimate, float]:
    """Return an estimate, and the processor's seconds that it took."""
    started = time.process_time()
    found = make()
    return found, time.process_time() - started


def _taken(folder: Path) -> Mapping[str, Cost]:
    return read_report(folder / "report.json").cost


def _table(
    name: str, found: Estimate, spent: float, costs: Mapping[str, Cost], *, alone: bool
) -> list[str]:
    """Return a run's table, with its memory where nothing else was done in its process."""
    taken = {stage: cost.seconds for stage, cost in costs.items()}
    held = max(cost.peak_rss_bytes for cost in costs.values())
    memory = (
        f"| most memory | {found.peak / 2**30:.1f} GiB | {held / 2**30:.1f} GiB "
        f"| {found.peak / held - 1:+.0%} |"
    )
    told = {s.name: float(s.seconds) for s in found.stages if s.name in taken}
    whole = sum(taken[stage] for stage in told)
    rows = [stage for stage in told if max(told[stage], taken[stage]) > LEAST * whole]
    cells = [(stage, told[stage], taken[stage]) for stage in rows]
    cells.append(("all stages", sum(told.values()), whole))
    return [
        "",
        f"## {name}",
        "",
        f"The estimate took {spent:.0f} s of processor time; other work made things "
        f"{found.slowed:.1f} times as long meanwhile.",
        "",
        "| stage | estimated | took | |",
        "|---|---:|---:|---:|",
        *(f"| {s} | {a:,.0f} s | {b:,.0f} s | {a / b - 1:+.0%} |" for s, a, b in cells),
        *([memory] if alone else []),
    ]


if __name__ == "__main__":
    main()
