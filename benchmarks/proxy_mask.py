"""A target by its own scores, and by the mask of a run of another family.

    python benchmarks/proxy_mask.py TARGET.yaml --mask-from RUN --out FOLDER [--data_dir DATA]
        [--training NAME ...] [--share 0.5 0] [--page FILE]

From a small GPT-NeoX to SmolLM2, over the same documents of civil comments, and back:

    ifguide select benchmarks/proxy_neox.yaml --data_dir DATA --out runs/proxy
    python benchmarks/proxy_mask.py examples/smollm2.yaml --mask-from runs/proxy
        --out runs/to-smollm2 --data_dir DATA --share 0.5 0
    python benchmarks/proxy_mask.py benchmarks/proxy_neox.yaml --mask-from runs/smollm2
        --out runs/to-neox --data_dir DATA

where runs/smollm2 is a run of examples/smollm2.yaml with its own mask.
For each share a run folder below FOLDER is compared: the baseline, the target by its own scores
(`ours`) and by RUN's mask (`proxy`), under the trainings that the settings compare. RUN is only
read. What is made once stays: an interrupted command goes on where it was, and the shares after
the first begin with copies of what does not depend on the mask. The page has toxicity probability
and perplexity of each row, and what became of the characters.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ifguide.errors import InputError
from ifguide.evaluation.comparison import Comparison
from ifguide.evaluation.figures import ProxySummary
from ifguide.files import write_text
from ifguide.report.tables import shown
from ifguide.run import actions
from ifguide.run.run import looked_at
from ifguide.run.stages import PROXY_MASK
from ifguide.settings.config import Config
from ifguide.settings.reader import read_config

METHODS = ("ours", "proxy")


@dataclass(frozen=True)
class Compared:
    """What one share came to."""

    share: float
    proxy: ProxySummary
    table: Comparison


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare at every share and print the page; return 2 after a line about bad input."""
    parser = argparse.ArgumentParser(description="A target by its own scores and by another mask.")
    parser.add_argument("config", type=Path, help="the target's settings")
    parser.add_argument("--mask-from", type=Path, required=True, help="the other run's folder")
    parser.add_argument("--out", type=Path, required=True, help="where the run folders go")
    parser.add_argument("--data_dir", help="as in the settings")
    parser.add_argument("--training", nargs="+", help="of compare.trainings (all)")
    parser.add_argument("--share", type=float, nargs="+", default=[0.5], help="shares (0.5)")
    parser.add_argument("--page", type=Path, help="also write the page")
    parsed = parser.parse_args(arguments)
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        found = list(compared(parsed, shlex.join(["proxy_mask.py", *given])))
    except InputError as error:
        print(f"proxy_mask: error: {error}", file=sys.stderr)
        return 2
    page = render(found)
    print(page, end="")
    if parsed.page is not None:
        write_text(parsed.page, page)
    return 0


def compared(parsed: argparse.Namespace, command: str) -> Iterator[Compared]:
    """Make the rows at each share."""
    first: Path | None = None
    for share in parsed.share:
        config, out = settings(parsed, share), parsed.out / f"share-{share:g}"
        if first is not None and not out.exists():
            shutil.copytree(first, out)
        names = parsed.training or [""]
        rows = [f"{method}@{name}".rstrip("@") for method in METHODS for name in names]
        manner = actions.Manner(replace=first is not None)
        table = actions.compare(config, out, rows, manner, command=command)
        with looked_at(config, out) as run:
            summary = run(PROXY_MASK).summary
        assert table is not None
        yield Compared(share, summary, table)
        first = first or out


def settings(parsed: argparse.Namespace, share: float) -> Config:
    """Return the target's settings with the other run's mask."""
    given = [] if parsed.data_dir is None else ["--data_dir", parsed.data_dir]
    config = read_config(parsed.config, given)
    folder = str(parsed.mask_from.absolute())
    return replace(config, training=replace(config.training, mask_from=folder, mask_share=share))


def render(found: Sequence[Compared]) -> str:
    """Return the page as Markdown."""
    first = found[0]
    names = list(first.table.rows[0].figures.perplexity)
    judges = list(first.table.rows[0].figures.judges)
    sets = list(first.table.rows[0].figures.tp)
    columns = [f"{judge}, {name}" for judge in judges for name in sets]
    header = ["row", *columns, *(f"perplexity, {name}" for name in names), "passes"]
    lines = ["# A target by its own scores, and by the mask of another family", ""]
    lines += [
        f"`{first.table.command}`, {first.table.date}, {first.table.machine}.",
        "",
        "Toxicity probability by judge and prompt set, with 95% intervals; perplexity on held-out",
        "text; cost in forward passes over the corpus, without what the other run has cost.",
        "",
    ]
    for item in found:
        proxy = item.proxy
        lines += [
            f"## Share {item.share:g}: the mask of {proxy.model} (run {proxy.run[:12]})",
            "",
            f"{proxy.selected:,} characters are selected there; {proxy.lost:,} of them are learnt",
            f"here all the same, and {proxy.gained:,} others are not.",
            "",
            f"| {' | '.join(header)} |",
            f"|{'---|' * len(header)}",
        ]
        for row in item.table.rows:
            figures = row.figures
            tp = [shown(figures.judges[judge].tp[name]) for judge in judges for name in sets]
            fluency = [f"{figures.perplexity[name]:.2f}" for name in names]
            lines.append(f"| {' | '.join([row.name, *tp, *fluency, f'{row.cost.passes:.2f}'])} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
