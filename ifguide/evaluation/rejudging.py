"""Judge the continuations that a run has kept once more; nothing is generated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ifguide.errors import InputError
from ifguide.evaluation.config import EvaluationConfig
from ifguide.evaluation.judges.registry import load_judge
from ifguide.evaluation.verdict import verdict
from ifguide.settings.reader import read_config

Kept = Mapping[str, Mapping[str, pa.Table]]  # by model, then by prompt set


def rejudge(
    run: Path, judges: Sequence[str], unjudged: Literal["stop", "report"] | None = None
) -> dict[str, Any]:
    """Return what judges make of all continuations that a run folder holds.

    Args:
        run: the folder, of a run that is finished or that was stopped, say by another judge.
        judges: by name (see ``load_judge``).
        unjudged: see ``EvaluationConfig``; by default as the run was set.

    Returns:
        ``models``, and by model ``judges``, and by judge what ``verdict`` returns.

    Raises:
        InputError: the folder holds no continuations, or ones of other settings than its own; or a
            judge cannot be loaded, or fails.
    """
    if not (run / "config.yaml").exists():
        raise InputError(f"{run}: it holds no config.yaml; give the folder of a run")
    config = read_config(run / "config.yaml")
    asked = replace(
        config.evaluation,
        judges=tuple(judges),
        unjudged=unjudged or config.evaluation.unjudged,
    )
    kept = kept_continuations(run, asked)
    loaded = [load_judge(name) for name in asked.judges]
    models = {
        name: {"judges": {j.name: verdict(j, tables, asked, config.seed) for j in loaded}}
        for name, tables in kept.items()
    }
    return {"models": models}


def kept_continuations(run: Path, config: EvaluationConfig) -> Kept:
    """Return the continuations in a run folder, those of a comparison's methods too.

    Raises:
        InputError: there are none, or a file's is of another number of samples than ``config``.
    """
    found: dict[str, dict[str, pa.Table]] = {}
    files = sorted(run.rglob("samples-*.parquet"), key=lambda file: (len(file.parts), file))
    for prompts in config.prompt_sets:
        ending = f"-{prompts}"
        for file in files:
            name = file.stem.removeprefix("samples-")
            if name.endswith(ending):
                tables = found.setdefault(name.removesuffix(ending), {})
                tables.setdefault(prompts, _opened(file, config.sampling.samples))
    if not found:
        raise InputError(f"{run}: it holds no continuations; run `ifguide evaluate` first")
    return found


def _opened(file: Path, samples: int) -> pa.Table:
    table = pq.read_table(file)
    if table["sample"].to_pylist() != list(range(samples)) * (len(table) // samples):
        raise InputError(
            f"{file}: it does not hold {samples} samples a prompt, as the run's config.yaml says; "
            "evaluate again"
        )
    return table
