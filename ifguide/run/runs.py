"""Drive a run folder: make what is asked for, or look at what is there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ifguide.corpus.prepare import open_prepared
from ifguide.distributed import ranks
from ifguide.influence.perturbed import DEFAULT_STEP, LogprobFiles, PerturbedPair, export_pair
from ifguide.report.ranked import ranked_documents
from ifguide.report.terminal import inspect_lines
from ifguide.run import artifacts
from ifguide.run.finished import check_finished
from ifguide.run.pipeline import Pipeline
from ifguide.run.provenance import STAGES
from ifguide.run.store import Store
from ifguide.settings.config import Config
from ifguide.settings.reader import to_yaml


def run(
    config: Config,
    out: Path,
    until: str = "report",
    *,
    quiet: bool = False,
    replace: bool = False,
    logprobs: LogprobFiles | None = None,
) -> Any:
    """Run the stages up to ``until`` in the folder ``out``; what is there already is reused.

    With ``logprobs`` the scores are made from these files instead of being computed.

    Returns:
        what the last stage made (for ``report``, the contents of report.json) on the main rank,
        None on the others.

    Raises:
        InputError: something given cannot be used; it is found before a model is trained where
            that is possible.
    """
    ranks.start()
    try:
        with Store(out, to_yaml(config), replace=replace) as store:
            pipeline = Pipeline(config, store, quiet=quiet, logprobs=logprobs)
            pipeline.check()
            result = getattr(pipeline, STAGES[until][0])
            if until == "report" and ranks.is_main():
                for name in ("report.json", "report.html"):
                    shutil.copyfile(out / "report" / name, out / name)
            return result if ranks.is_main() else None
    finally:
        ranks.stop()


def write_pair(
    config: Config,
    out: Path,
    to: Path,
    *,
    step: float | None = None,
    quiet: bool = False,
    replace: bool = False,
) -> PerturbedPair | None:
    """Run the stages up to ``aim`` and write the perturbed checkpoints θ+εv and θ-εv to ``to``.

    Returns:
        what the pair was made with, on the main rank.
    """
    ranks.start()
    try:
        with Store(out, to_yaml(config), replace=replace) as store:
            pipeline = Pipeline(config, store, quiet=quiet)
            pipeline.check()
            direction, text = pipeline.direction, pipeline.text
            if not ranks.is_main():
                return None
            size = DEFAULT_STEP if step is None else step
            model = pipeline.baseline
            return export_pair(model, text.tokenizer, text.corpus, direction, to, size)
    finally:
        ranks.stop()


def inspect(out: Path, top: int, ids: Sequence[str], *, colour: bool) -> Iterator[str]:
    """Yield lines that show the highest-ranked documents of a finished run, or those named."""
    check_finished(out, "corpus", "select")
    corpus = open_prepared(out / "corpus").corpus
    selection = artifacts.load_selection(out / "select", corpus)
    scores = artifacts.load_mask_scores(out / "select", corpus)
    documents = ranked_documents(corpus, scores, selection, 0 if ids else top, ids)
    yield from inspect_lines(documents, selection.threshold, colour=colour)
