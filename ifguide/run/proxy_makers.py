"""How another run's mask is opened, and carried over to this corpus's tokens."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from ifguide.corpus.prepare import PreparedCorpus
from ifguide.distributed import ranks
from ifguide.errors import InputError
from ifguide.evaluation.figures import ProxySummary
from ifguide.nouns import Selection, TokenScores
from ifguide.run import artifacts
from ifguide.run.folder import check_run_folder, read_mark
from ifguide.run.proxy import (
    SETTING,
    ProxyMask,
    ProxyRun,
    has_proxy_run,
    naming_setting,
    proxy_folder,
)
from ifguide.run.run import Run, looked_at
from ifguide.run.stages import PROXY_MASK, SELECT
from ifguide.run.work import Work
from ifguide.selection.remap import SHARE, remap_onto, spread
from ifguide.settings.config import Config
from ifguide.settings.reader import read_run_config


def open_proxy_run(config: Config) -> ProxyRun:
    """Open the mask of the run that ``training.mask_from`` names; nothing there is changed.

    Raises:
        InputError: it is no run folder, or its mask is not made or does not stand.
    """
    folder = proxy_folder(config)
    with naming_setting():
        check_run_folder(folder)
        theirs = read_run_config(folder)
        with looked_at(theirs, folder) as run:
            selection, scores = mask_and_scores(run)
    scratch = theirs.model.scratch
    model = scratch["model_type"] if scratch else theirs.model.path or theirs.model.gguf
    return ProxyRun(
        selection=selection,
        scores=scores,
        name=str(read_mark(folder)["id"]),
        model=Path(str(model)).name,
        setting=f"{SETTING}: {folder}",
    )


def mask_and_scores(run: Run) -> tuple[Selection, TokenScores]:
    """Return the mask that a run trains by, and the scores that it was made by."""
    if has_proxy_run(run.config):
        mask = run(PROXY_MASK)
        return mask.selection, mask.scores
    selection = run(SELECT)
    return selection, artifacts.load_mask_scores(run.path(SELECT), selection.corpus)


def carry_over(work: Work, share: float | None, text: PreparedCorpus, proxy: ProxyRun) -> ProxyMask:
    """Carry the other run's mask and scores over to this corpus's tokens.

    Raises:
        InputError: the other run's documents are others, or nothing or everything is selected.
    """
    wanted = SHARE if share is None else share
    found, counts = remap_onto(proxy.selection, text.corpus, wanted, proxy.setting)
    selected = int(found.suppress.sum())
    if selected in (0, int(text.corpus.has_loss.sum())):
        every = "every token" if selected else "no token"
        raise InputError(
            f"training.mask_share: {wanted} of a token's characters selects {every} of this "
            "corpus; give another share"
        )
    summary = ProxySummary(run=proxy.name, model=proxy.model, share=wanted, **asdict(counts))
    metadata = {**found.metadata, "proxy": asdict(summary)}
    scores = spread(proxy.scores, text.corpus, proxy.setting)
    return ProxyMask(replace(found, metadata=metadata), scores)


def save_mask(folder: Path, mask: ProxyMask) -> None:
    """Write the mask with each token's score beside it, as a run's own is."""
    if ranks.is_main():
        artifacts.save_selection(folder, mask.selection, mask.scores)


def load_mask(folder: Path, text: PreparedCorpus) -> ProxyMask:
    """Open what ``save_mask`` wrote."""
    selection = artifacts.load_selection(folder, text.corpus)
    return ProxyMask(selection, artifacts.load_mask_scores(folder, text.corpus))
