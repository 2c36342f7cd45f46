"""EleutherAI's lm-eval on a run's models: its tasks, its numbers, nothing of ours in between.

A checkpoint of a run is a plain folder of transformers with its tokenizer, which lm-eval loads by
itself. Unlike our own LAMBADA and perplexity, its tasks put no end-of-text token before a text
unless they say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ifguide.errors import InputError
from ifguide.extras import import_extra
from ifguide.report.tables import MISSING, Table, plain_text
from ifguide.run.finished import STAGE_OF
from ifguide.settings.reader import read_config


def lm_eval_results(
    run: Path,
    model: str,
    tasks: Sequence[str],
    *,
    include: Path | None = None,
    limit: int | None = None,
    batch_size: int = 16,
) -> dict[str, Any]:
    """Return lm-eval's figures: ``results``, ``versions``, ``n-shot`` and ``n-samples`` by task.

    Args:
        run: a run folder.
        model: ``baseline``, ``suppressed``, or a checkpoint's folder inside the run folder.
        tasks: names of lm-eval's tasks, or of those in ``include``; each may need the network for
            its data.
        include: a folder of further task files.
        limit: at most this many documents a task, the first ones.
        batch_size: sequences a batch.

    Raises:
        InputError: no such model, lm-eval is not installed or does not know a task.
    """
    checkpoint = checkpoint_of(run, model)
    harness = import_extra("lm_eval", "lm-eval", "lm-eval", "ifguide lm-eval")
    tasks_module = import_extra("lm_eval.tasks", "lm-eval", "lm-eval", "ifguide lm-eval")
    manager = tasks_module.TaskManager(include_path=str(include) if include else None)
    unknown = [task for task in tasks if not manager.match_tasks([task])]
    if unknown:
        raise InputError(
            f"--tasks: lm-eval has no task '{unknown[0]}'; see `lm-eval ls tasks`, or give the "
            "folder of its file with --include"
        )
    found: dict[str, Any] = harness.simple_evaluate(
        model="hf",
        model_args={"pretrained": checkpoint, "dtype": "float32"},
        tasks=list(tasks),
        task_manager=manager,
        batch_size=batch_size,
        device="cuda" if torch.cuda.is_available() else "cpu",
        limit=limit,
        log_samples=False,
    )
    return {key: found[key] for key in ("results", "versions", "n-shot", "n-samples")}


def figures_table(found: dict[str, Any]) -> str:
    """Return every figure of ``lm_eval_results`` as aligned lines: task, metric, value, ± error."""
    rows = [("task", "metric", "value", "± error")]
    for task, figures in found["results"].items():
        for key, value in figures.items():
            metric, _, strategy = key.partition(",")
            if not isinstance(value, float) or metric.endswith("_stderr"):
                continue
            error = figures.get(f"{metric}_stderr,{strategy}")
            shown = f"{error:.4g}" if isinstance(error, float) else MISSING
            rows.append((task, metric, f"{value:.4g}", shown))
    return plain_text(Table("lm-eval", "lm-eval", rows[0], tuple(rows[1:])))


def checkpoint_of(run: Path, model: str) -> str:
    """Return a model's folder, or the name of the checkpoint that a run took as its baseline.

    Raises:
        InputError: there is no such model in the run folder.
    """
    folder = run / STAGE_OF.get(model, model)
    if (folder / "config.json").exists():
        return str(folder)
    if model == "baseline" and (run / "config.yaml").exists():
        config = read_config(run / "config.yaml")
        if config.baseline is None and config.model.path is not None:
            return config.model.path
    raise InputError(
        f"{run}: it holds no model '{model}'; run `ifguide train` first, or name baseline, "
        "suppressed or a checkpoint's folder in it"
    )
