"""What it costs to select tokens by scores that lie in shards on disk.

    python benchmarks/selection.py [--tokens 100000000] [--out FILE.md]
    python benchmarks/selection.py --quick

Scores are random with heavy tails, documents of random lengths; all lies in memory-mapped files in
a temporary folder, just written, so that the system still holds them. A fresh process selects; its
peak memory counts what the package's imports take. `--quick` takes a million tokens, and first
checks that what is selected is bit for bit what the same algorithm selects with all in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ifguide.files import write_json, write_text
from ifguide.nouns import Corpus, Selection, TokenScores
from ifguide.run.artifacts import ScoreShards, load_scores, save_scores
from ifguide.run.memory import peak_rss, reset_peak_rss
from ifguide.selection.config import SelectionConfig, SmoothingConfig
from ifguide.selection.select import select, select_budgets
from ifguide.selection.smooth import smooth

BLOCK = 1024
SHARD_BLOCKS = 1000
QUICK_TOKENS = 1_000_000
DOCUMENT_TOKENS = 300  # about the mean
VOCABULARY = 32_000
BUDGETS = (0.005, 0.01, 0.02, 0.04)
SMOOTHING = SmoothingConfig(neighbours=2, type_share=0.5)
IN_MEMORY = 1_000_000  # scores whose quantile numpy takes, for comparison

Case = Callable[[TokenScores], Sequence[Selection]]
CASES: dict[str, Case] = {
    "select": lambda scores: [select(scores)],
    "four budgets at once": lambda scores: select_budgets(scores, BUDGETS),
    "smooth, then select": lambda scores: [select(smooth(scores, SMOOTHING))],
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if what streams differs from what is done in memory."""
    parsed = _parser().parse_args(arguments)
    if parsed.measure:
        print(json.dumps(measure(open_scores(parsed.measure))))
        return 0
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "benchmarks/selection.py", *given])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_scores(folder, QUICK_TOKENS if parsed.quick else parsed.tokens)
        if parsed.quick and (different := differences(open_scores(folder))):
            print("\n".join(different), file=sys.stderr)
            return 1
        found = {**describe(folder, command, checked=parsed.quick), **measure_apart(folder)}
    if parsed.out:
        write_text(parsed.out, render(found))
        write_json(parsed.out.with_suffix(".json"), found)
    print(render(found), end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="What selecting costs, out of core.")
    parser.add_argument("--tokens", type=int, default=100_000_000, help="how many to select from")
    parser.add_argument("--out", type=Path, help="where the table goes; FILE.json lies beside it")
    parser.add_argument("--quick", action="store_true", help="a million tokens, and the check")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    return parser


# the scores


def make_scores(folder: Path, tokens: int, seed: int = 0) -> None:
    """Write N blocks of corpus and scores; the last block is half padding."""
    rng = np.random.default_rng(seed)
    blocks = -(-tokens // BLOCK)
    columns = {name: (folder / f"{name}.bin").open("wb") for name in ("tokens", "document")}
    lengths = rng.geometric(1 / DOCUMENT_TOKENS, size=2 * blocks * BLOCK // DOCUMENT_TOKENS + 10)
    ends = np.cumsum(lengths)
    shards = ScoreShards(folder, (blocks, BLOCK), SHARD_BLOCKS)
    for rows in shards.missing():
        places = np.arange(rows.start * BLOCK, rows.stop * BLOCK)
        document = np.searchsorted(ends, places, side="right").astype(np.int32)
        document[places >= blocks * BLOCK - BLOCK // 2] = -1
        common = rng.random(len(places)) ** 3  # some ids are more common than others
        columns["document"].write(document.tobytes())
        columns["tokens"].write((VOCABULARY * common).astype(np.int32).tobytes())
        shards.put(rows, rng.standard_t(3, size=len(places)).reshape(-1, BLOCK))
    for stream in columns.values():
        stream.close()
    save_scores(folder, TokenScores(shards.collect(), _open_corpus(folder), {"engine": "random"}))


def open_scores(folder: Path) -> TokenScores:
    """Open what ``make_scores`` wrote, as memory maps."""
    return load_scores(folder, _open_corpus(folder))


def _open_corpus(folder: Path) -> Corpus:
    tokens, document = (
        np.memmap(folder / f"{name}.bin", dtype=np.int32, mode="r").reshape(-1, BLOCK)
        for name in ("tokens", "document")
    )
    nothing = np.broadcast_to(np.int32(0), tokens.shape)
    return Corpus(
        tokens=tokens,
        document=document,
        start=nothing,
        end=nothing,
        marked=np.broadcast_to(np.False_, tokens.shape),
        documents=(),
        end_of_text=0,
        fingerprint="random",
    )


# the cost


def measure_apart(folder: Path) -> dict[str, Any]:
    """Measure in a fresh process, and numpy's quantile in this one."""
    command = [sys.executable, __file__, "--measure", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    values = np.random.default_rng(1).standard_t(3, size=IN_MEMORY).astype(np.float32)
    turns = []
    for _ in range(5):
        start = time.process_time()
        np.quantile(values, SelectionConfig().quantile)
        turns.append(time.process_time() - start)
    return {**json.loads(done.stdout), "numpy_quantile_seconds": median(turns)}


def measure(scores: TokenScores) -> dict[str, Any]:
    """Time every case in this process, with the most memory it held meanwhile."""
    found: dict[str, Any] = {"imports_bytes": peak_rss(), "cases": {}}
    for name, case in CASES.items():
        reset_peak_rss()
        wall, busy = time.perf_counter(), time.process_time()
        selections = case(scores)
        found["cases"][name] = {
            "seconds": time.perf_counter() - wall,
            "processor_seconds": time.process_time() - busy,
            "peak_bytes": peak_rss(),
            "budgets": [selection.budget for selection in selections],
            "selected": [int(selection.suppress.sum()) for selection in selections],
        }
        del selections
    return found


def describe(folder: Path, command: str, *, checked: bool) -> dict[str, Any]:
    """What the table is of and how it was made."""
    corpus = _open_corpus(folder)
    return {
        "command": command,
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()}-core CPU, one process, numpy {np.__version__}",
        "tokens": corpus.tokens.size,
        "documents": int(corpus.document.max()) + 1,
        "checked": checked,
    }


# the check


def in_memory(scores: TokenScores, config: SelectionConfig) -> dict[str, Any]:
    """Algorithm 1 with everything in memory, the walk walked: numpy's own quantile and sums."""
    corpus = scores.corpus
    document, has_loss = np.array(corpus.document).ravel(), corpus.has_loss.ravel()
    flat = np.array(scores.values).ravel()
    unit = document
    if config.unit == "block":
        unit = np.repeat(np.arange(len(corpus.tokens)), corpus.tokens.shape[1])
    threshold = float(np.quantile(flat[has_loss], config.quantile))
    hits = np.flatnonzero(has_loss & (flat > threshold))
    order, _ = _rank(unit[hits], flat[hits], int(unit.max()) + 1)
    place = np.zeros(int(unit.max()) + 1, dtype=np.int64)
    place[order] = np.arange(len(order))
    walk = hits[np.argsort(place[unit[hits]], kind="stable")]
    around = walk[:, None] + np.arange(-config.window, config.window + 1)
    inside = (around >= 0) & (around < len(flat))
    around = np.where(inside, around, 0)
    met = around[inside & has_loss[around] & (unit[around] == unit[walk][:, None])]
    _, first = np.unique(met, return_index=True)
    budget = int(config.budget * corpus.token_count + 1e-9)
    suppress = np.zeros(len(flat), dtype=bool)
    suppress[met[np.sort(first)[:budget]]] = True
    ranking, value = _rank(document[hits], flat[hits], int(document.max()) + 1)
    return {
        "threshold": threshold,
        "budget": budget,
        "ranking": ranking,
        "rank_value": value,
        "suppress": suppress.reshape(corpus.tokens.shape),
    }


def _rank(of_hit: np.ndarray, score: np.ndarray, documents: int) -> tuple[np.ndarray, np.ndarray]:
    count = np.bincount(of_hit, minlength=documents).astype(float)
    total = np.bincount(of_hit, score, minlength=documents).astype(float)
    a, b = ((v - v.min()) / (v.max() - v.min()) for v in (count, total))
    value = np.divide(2 * a * b, a + b, out=np.zeros_like(a), where=a + b > 0)
    with_hit = np.flatnonzero(count)
    order = with_hit[np.argsort(-value[with_hit], kind="stable")]
    return order, value[order]


def differences(scores: TokenScores) -> list[str]:
    """Name every setting and field in which ``select_budgets`` is not ``in_memory``."""
    rounded = np.round(4 * np.array(scores.values)) / 4  # a great many ties
    found = []
    given = {"scores": scores, "rounded scores": TokenScores(rounded, scores.corpus)}
    for (name, these), unit, window in product(given.items(), ("document", "block"), (1, 4)):
        config = SelectionConfig(unit=unit, window=window)
        for budget, made in zip(BUDGETS, select_budgets(these, BUDGETS, config), strict=True):
            expected = in_memory(these, SelectionConfig(unit=unit, window=window, budget=budget))
            found += [
                f"{name}, {unit}, window {window}, budget {budget}: another {field}"
                for field, value in expected.items()
                if not np.array_equal(getattr(made, field), value)
            ]
    return found


# the page


def render(found: dict[str, Any]) -> str:
    """The whole Markdown page."""
    unit = found["numpy_quantile_seconds"]
    checked = "\nChecked: bit for bit what is selected in memory.\n" if found["checked"] else ""
    lines = [
        f"""# Selection out of core

`{found["command"]}`, {found["date"]}, {found["machine"]}.

{found["tokens"]} tokens with random scores (Student's t, 3 degrees of freedom, float32 shards) in
{found["documents"]} documents, all memory-mapped, the files just written. The ratio is the
processor time a million tokens to that of `numpy.quantile` of a million float32 in memory,
{1000 * unit:.1f} ms. Peak memory is a fresh process's resident memory; its imports alone take
{found["imports_bytes"] / 1e6:.0f} MB. Smoothing: {SMOOTHING.neighbours} neighbours, type share
{SMOOTHING.type_share}; budgets: {", ".join(f"{b:.1%}" for b in BUDGETS)}.
{checked}
| | seconds | processor seconds | ratio | peak memory (MB) | selected |
|---|---|---|---|---|---|""",
    ]
    for name, case in found["cases"].items():
        ratio = case["processor_seconds"] / (found["tokens"] / 1e6) / unit
        lines.append(
            f"| {name} | {case['seconds']:.1f} | {case['processor_seconds']:.1f} | {ratio:.1f} "
            f"| {case['peak_bytes'] / 1e6:.0f} | {', '.join(map(str, case['selected']))} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
