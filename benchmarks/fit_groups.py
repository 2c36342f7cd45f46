"""What a bound on the curvature's memory costs: the fit whole, in half and in a quarter.

    python benchmarks/fit_groups.py [--width 384] [--layers 4] [--blocks 16] [--out FILE.md]

A Llama of random weights and random tokens; each bound in a fresh process, with one thread, that
writes the factors where there are groups, and then solves for one random gradient with what it has.
Needed is what fitting all weights at once holds by the program's own count, the bounds are that,
a half and a quarter of it. Memory is the process's peak over the fit, above what it held before:
the factors, a batch's activations and what decomposing takes. Times are processor time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from ifguide.files import write_json, write_text
from ifguide.influence.config import CurvatureConfig
from ifguide.influence.curvature.fit import fit
from ifguide.influence.curvature.groups import groups_within
from ifguide.models.hooks import first_readers
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Corpus
from ifguide.run.artifacts import FactorFiles
from ifguide.run.memory import held_memory, peak_rss, reset_peak_rss

SHARES = {"whole": 1.0, "half": 0.5, "quarter": 0.25}
LENGTH, VOCABULARY, BATCH = 128, 512, 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if directions differ."""
    parser = argparse.ArgumentParser(description="The fit within a bound on its memory.")
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--blocks", type=int, default=16)
    parser.add_argument("--out", type=Path, help="where the table goes; FILE.json lies beside it")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    if parsed.measure:
        print(json.dumps(measure(parsed, parsed.measure)))
        return 0
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "benchmarks/fit_groups.py", *given])
    rows = {name: measured_apart(parsed, name) for name in SHARES}
    found = {
        "command": command,
        "date": date.today().isoformat(),
        "threads": 1,
        "rows": rows,
        "same direction": len({row["direction"] for row in rows.values()}) == 1,
    }
    if parsed.out:
        write_text(parsed.out, render(found))
        write_json(parsed.out.with_suffix(".json"), found)
    print(render(found), end="")
    return 0 if found["same direction"] else 1


def measured_apart(parsed: argparse.Namespace, name: str) -> dict[str, Any]:
    """Measure one bound in a process of its own."""
    words = [sys.executable, "-W", "ignore", __file__, "--measure", name]
    for option in ("width", "layers", "blocks"):
        words += [f"--{option}", str(getattr(parsed, option))]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(parsed: argparse.Namespace, name: str) -> dict[str, Any]:
    """Fit within one bound, and solve for a random gradient."""
    torch.set_num_threads(1)
    model, corpus = random_model(parsed.width, parsed.layers), random_corpus(parsed.blocks)
    tracked = find_tracked(model)
    first = first_readers(model, tracked)
    needed = bytes_needed(tracked, first)
    bound = None if name == "whole" else f"{needed * SHARES[name] / 2**20:.6f}MiB"
    config = CurvatureConfig(sample_blocks=parsed.blocks, batch_size=BATCH, memory=bound)
    with tempfile.TemporaryDirectory() as place:
        fit(model, corpus, CurvatureConfig(kind="kfac", damping="factored", sample_blocks=1))
        before, start = held_memory(), time.process_time()
        reset_peak_rss()
        curvature = fit(model, corpus, config, keep=FactorFiles(Path(place)))
        seconds, peak = time.process_time() - start, peak_rss() - before
        generator = torch.Generator().manual_seed(1)
        gradients = {w.name: torch.randn(w.matrix.shape, generator=generator) for w in tracked}
        solved = curvature.solve(gradients, 0.1)
    digest = hashlib.sha256(b"".join(solved[key].numpy().tobytes() for key in sorted(solved)))
    return {
        "needed": needed,
        "bound": bound,
        "groups": len(groups_within(tracked, first, config)),
        "seconds": seconds,
        "peak": peak,
        "direction": digest.hexdigest(),
    }


def bytes_needed(tracked: Any, first: Any) -> int:
    """Return the least bound in bytes under which all weights are one group."""
    low, high = 2**10, 2**50
    while high - low > 2**10:
        middle = (low + high) // 2
        config = CurvatureConfig(memory=f"{middle / 2**20:.6f}MiB") if middle < 2**39 else None
        if config is None or is_one_group(tracked, first, config):
            high = middle
        else:
            low = middle
    return high


def is_one_group(tracked: Any, first: Any, config: CurvatureConfig) -> bool:
    """Whether all weights fit in the bound together."""
    try:
        return len(groups_within(tracked, first, config)) == 1
    except ValueError:
        return False


def random_model(width: int, layers: int) -> nn.Module:
    """Return a Llama of random weights in evaluation mode."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=width * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 64),
        max_position_embeddings=LENGTH,
    )
    return LlamaForCausalLM(config).eval()


def random_corpus(blocks: int) -> Corpus:
    """Return blocks of random tokens, a document each."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, VOCABULARY, (blocks, LENGTH), dtype=np.int32)
    document = np.broadcast_to(np.arange(blocks, dtype=np.int32)[:, None], tokens.shape)
    nothing = np.zeros_like(tokens)
    return Corpus(tokens, document, nothing, nothing, nothing.astype(bool), (), 0, "random")


def render(found: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    needed = found["rows"]["whole"]["needed"] / 2**20
    rows = [
        f"| {name} | {SHARES[name] * needed:,.0f} | {row['groups']} | {row['seconds']:.1f} "
        f"| {row['peak'] / 2**20:,.0f} | {row['direction'][:12]} |"
        for name, row in found["rows"].items()
    ]
    return "\n".join(
        [
            "# The fit within a bound on its memory",
            "",
            f"    {found['command']}",
            "",
            f"Measured on {found['date']}, one thread; see the script.",
            "",
            "| bound | of factors, MiB | groups | processor time, s | peak of the fit, MiB "
            "| sha256 of the direction |",
            "|---|---:|---:|---:|---:|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
