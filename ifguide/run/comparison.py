"""Comparisons over one run: every method from the same start, as rows of one table."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import torch
from torch import nn

from ifguide.distributed import ranks
from ifguide.errors import InputError
from ifguide.files import json_text
from ifguide.models.tracked import find_tracked
from ifguide.report.comparison import methods_markdown, render_methods
from ifguide.report.tradeoff import tradeoff_figure
from ifguide.rivals.methods import MethodRow
from ifguide.rivals.result import result_of
from ifguide.run.rivals import HUMAN_TEXT, REWARD, Rivals, labeller_of
from ifguide.run.run import Run, closure
from ifguide.run.scorers import PROXY_BASELINE
from ifguide.run.stage import AnyStage
from ifguide.run.stages import BASELINE, CORPUS

log = logging.getLogger(__name__)

TABLE = ("table.json", "table.md", "tradeoff.svg", "index.html")


def possible(
    rivals: Rivals, rows: Sequence[MethodRow], named: Sequence[str]
) -> tuple[MethodRow, ...]:
    """Refuse a row that is named and lacks a setting; one that came with ``all`` is left out.

    Raises:
        InputError: the setting is named.
    """
    found = []
    for row in rows:
        try:
            rivals.check(row)
        except InputError as error:
            if {row.name, row.method.name} & set(named):
                raise
            log.warning("%s is left out: %s", row.name, error)
        else:
            found.append(row)
    return tuple(found)


def write_table(
    run: Run, rows: Sequence[MethodRow], folder: str, command: str
) -> dict[str, Any] | None:
    """Make the rows one by one, and write the table anew after each.

    Args:
        run: the run.
        rows: what is compared, the first one being what the others are set against.
        folder: in the run folder, where the table goes.
        command: what the table says that it was made with.

    Returns:
        the contents of table.json, on the main rank.
    """
    if ranks.is_main():
        run.folder.check_outputs(f"{folder}/{name}" for name in TABLE)
    done: list[dict[str, Any]] = []
    result, human = None, human_text(run)
    labelled = any(row.is_labelled for row in rows)
    for row in rows:
        done.append(entry(run, row))
        if ranks.is_main():
            labeller = labeller_of(run.config) if labelled else None
            result = {
                **result_of(done, run.config, labeller, human),
                "command": command,
                "date": date.today().isoformat(),
                "machine": f"{os.cpu_count()}-core {_device()}, torch {torch.__version__}",
            }
            _write(run, result, folder)
    return result


def human_text(run: Run) -> dict[str, Any] | None:
    """Return what judges make of text that people wrote; None where there is none to judge."""
    found = run(HUMAN_TEXT)
    return found if found and all(found["scores"].values()) else None


def entry(run: Run, row: MethodRow) -> dict[str, Any]:
    """Return what the table says of a row: what it is, its figures, and what it cost."""
    rivals = Rivals(run.config)
    toxicity, fluency = run(rivals.judged(row)), run(rivals.fluency(row))
    decoding = run.config.compare.decoding.top_k if row.method.reward else 0
    return {
        "name": row.name,
        "about": row.method.about,
        "figures": {**toxicity, **fluency},
        "cost": {**cost(run, row), "passes_a_generated_token": 1 + decoding},
    }


def cost(run: Run, row: MethodRow) -> dict[str, float]:
    """Return what a row's model costs beside the baseline's training.

    Returns:
        ``seconds``, and ``passes``: forward passes of the compared model over the corpus.
    """
    corpus_tokens = int(run(CORPUS).corpus.tokens.size)
    seconds = passes = 0.0
    for stage in _beside_the_baseline(run, row):
        spent, settings = run.cost(stage), stage.settings(run.config)
        seconds += spent.seconds
        worth = stage.passes(settings, lambda stage=stage: run(stage)) * _size(run, stage)  # type: ignore[misc]
        passes += spent.tokens * worth / corpus_tokens
    return {"seconds": round(seconds, 1), "passes": round(passes, 3)}


def _beside_the_baseline(run: Run, row: MethodRow) -> Iterator[AnyStage]:
    """Yield the stages that a row's model and decoding take beside the baseline's training."""
    common = closure([BASELINE])
    wanted = [Rivals(run.config).model(row), *([REWARD] if row.method.reward else [])]
    for stage in closure(wanted):
        if stage not in common and stage.kept(run.config):
            yield stage


def _size(run: Run, stage: AnyStage) -> float:
    """Return the size of the model that a stage runs, as a share of the compared one's."""
    if PROXY_BASELINE not in closure([stage]) or BASELINE in closure([stage]):
        return 1.0
    return _weights(run(PROXY_BASELINE).model) / _weights(run(BASELINE).model)


def _weights(model: nn.Module) -> int:
    return sum(weight.parameter.numel() for weight in find_tracked(model))


def _write(run: Run, result: Mapping[str, Any], folder: str) -> None:
    texts = {
        "table.json": json_text(result),
        "table.md": methods_markdown(result),
        "tradeoff.svg": str(tradeoff_figure(result["rows"])),
        "index.html": render_methods(result),
    }
    for name, text in texts.items():
        run.folder.output(f"{folder}/{name}", text)


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
