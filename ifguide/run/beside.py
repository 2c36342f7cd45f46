"""Two finished runs, opened to be shown beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ifguide.errors import InputError
from ifguide.files import plain
from ifguide.report.beside import FinishedRun, beside_text, render_beside
from ifguide.run.run import Run, closure, looked_at
from ifguide.run.stage import AnyStage
from ifguide.run.stages import (
    CORPUS,
    HELD_OUT,
    PROMPTS,
    QUERIES,
    REPORT,
    SELECTED,
    SELECTED_BY,
)
from ifguide.run.standing import flat
from ifguide.settings.reader import read_run_config

RESTS_ON: dict[str, AnyStage] = {
    "corpus": CORPUS,
    "queries": QUERIES,
    "prompts": PROMPTS,
    "texts": HELD_OUT,
}


@dataclass(frozen=True)
class Beside:
    """Two runs beside each other, as plain text and as a page."""

    text: str
    page: str


def beside(
    first: Path, second: Path, *, verify: bool = False, trust_remote_code: bool = False
) -> Beside:
    """Return the figures, settings and documents of two finished runs beside each other.

    Args:
        first, second: the run folders.
        verify: read every byte.
        trust_remote_code: let a tokenizer's own code run.

    Raises:
        InputError: they are one folder, or a run is not finished or does not stand.
    """
    if first.resolve() == second.resolve():
        raise InputError(f"{second}: it is the first run itself; give another run's folder")
    configs = [
        read_run_config(folder, trust_remote_code=trust_remote_code) for folder in (first, second)
    ]
    with (
        looked_at(configs[0], first, verify=verify) as a,
        looked_at(configs[1], second, verify=verify) as b,
    ):
        runs = _finished(a), _finished(b)
        return Beside(beside_text(*runs), render_beside(*runs))


def _finished(run: Run) -> FinishedRun:
    rested = {stage.name for stage in closure([REPORT], run.config)}
    report, text = run(REPORT), run(CORPUS)
    return FinishedRun(
        name=str(run.folder.root),
        settings=flat(plain(run.config)),
        rests={
            name: run.fingerprint(stage) for name, stage in RESTS_ON.items() if stage.name in rested
        },
        report=report,
        corpus=text.corpus,
        scores=run(SELECTED_BY),
        selection=run(SELECTED),
        top=run.config.report.top,
    )
