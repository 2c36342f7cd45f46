"""EleutherAI's lm-eval on a model: its tasks, its numbers, nothing of ours in between.

A checkpoint is a plain folder of transformers with its tokenizer, which lm-eval loads by itself.
Unlike our own LAMBADA and perplexity, its tasks put no token before a text unless they say so.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ifguide.errors import InputError
from ifguide.extras import import_extra


def lm_eval_results(
    checkpoint: str | Path,
    tasks: Sequence[str],
    *,
    include: Path | None = None,
    limit: int | None = None,
    batch_size: int = 16,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Return lm-eval's figures: ``results``, ``versions``, ``n-shot`` and ``n-samples`` by task.

    Args:
        checkpoint: a model's folder, or its name on the hub.
        tasks: names of lm-eval's tasks, or of those in ``include``; each may need the network for
            its data.
        include: a folder of further task files.
        limit: at most this many documents a task, the first ones.
        batch_size: sequences a batch.
        trust_remote_code: run code that the checkpoint brings along.

    Raises:
        InputError: lm-eval is not installed or does not know a task, there is no such folder, or
            no document would be asked.
    """
    if limit is not None and limit < 1:
        raise InputError(f"--limit: {limit} is below 1; give the number of documents a task")
    if include is not None and not os.path.isdir(include):
        raise InputError(f"--include: {include} is no folder; give the folder of the task files")
    package = import_extra("lm_eval", "lm-eval", "lm-eval", "ifguide lm-eval")
    tasks_module = import_extra("lm_eval.tasks", "lm-eval", "lm-eval", "ifguide lm-eval")
    manager = tasks_module.TaskManager(include_path=str(include) if include else None)
    _check_tasks(manager, tasks)
    results: dict[str, Any] = package.simple_evaluate(
        model="hf",
        model_args={
            "pretrained": str(checkpoint),
            "dtype": "float32",
            "trust_remote_code": trust_remote_code,
        },
        tasks=list(tasks),
        task_manager=manager,
        batch_size=batch_size,
        device="cuda" if torch.cuda.is_available() else "cpu",
        limit=limit,
        log_samples=False,
    )
    return {key: results[key] for key in ("results", "versions", "n-shot", "n-samples")}


def _check_tasks(manager: Any, tasks: Sequence[str]) -> None:
    for task in tasks:
        if not manager.match_tasks([task]):
            raise InputError(
                f"--tasks: lm-eval has no task '{task}'; see `lm-eval ls tasks`, or give the "
                "folder of its file with --include"
            )
