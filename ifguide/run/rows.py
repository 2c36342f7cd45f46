"""Which rows of a comparison can be made, told before any of them is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from math import comb

from ifguide.errors import InputError
from ifguide.influence.trial import try_out
from ifguide.models.forward import check_queries_fit
from ifguide.rivals.methods import Mask, MethodRow
from ifguide.rivals.reward import backbone_of
from ifguide.run.proxy import has_proxy_run
from ifguide.run.rivals import Rivals
from ifguide.run.rivals_given import PairSettings
from ifguide.run.rivals_makers import prompts_of_pairs
from ifguide.run.rivals_sources import APART, GIVEN_PAIRS, PAIR_PROMPTS, REWARD_FOLDER
from ifguide.run.run import Run
from ifguide.run.scorers import BY_PROXY, PROXY_INITIAL, computed
from ifguide.run.stages import CORPUS, INITIAL, PROMPTS, QUERIES
from ifguide.selection.checks import check_budget
from ifguide.training.preference import check_pairs

log = logging.getLogger(__name__)


def possible(run: Run, rows: Sequence[MethodRow], named: Sequence[str]) -> tuple[MethodRow, ...]:
    """Refuse a row that is named and cannot be made; one that came with ``all`` is left out.

    A row cannot be made where a setting is missing, or the data decide nothing: a budget without
    room for a token, a proxy that cannot read the queries, too few pairs or texts for a batch.

    Raises:
        InputError: the setting is named.
    """
    rivals, found = Rivals(run.config), []
    left_out: dict[str, list[str]] = {}
    for row in rows:
        try:
            rivals.check(row)
            _check_data(run, row)
        except InputError as error:
            if {row.name, row.method.name} & set(named):
                raise
            left_out.setdefault(str(error), []).append(row.name)
        else:
            found.append(row)
    for why, names in left_out.items():
        are = "is" if len(names) == 1 else "are"
        log.warning("%s %s left out: %s", ", ".join(names), are, why)
    return tuple(found)


def _check_data(run: Run, row: MethodRow) -> None:
    method = row.owner.method
    if method.mask is not None:
        _check_mask(run, method.mask)
    if method.preferences is not None:
        _PAIRS[method.preferences](run)
    if len(Rivals(run.config).points(row)) > 1:
        run(APART)
    if row.method.reward and run.config.compare.reward_model is not None:
        run(REWARD_FOLDER)
    elif row.method.reward:
        _check_reward_texts(run)
        backbone_of(run(INITIAL).open())


def _check_mask(run: Run, mask: Mask) -> None:
    tokens = run(CORPUS).corpus.token_count
    if mask.documents is None:
        check_budget((mask.selection or run.config.selection).budget, tokens)
    else:
        share = mask.share or run.config.compare.document_budget
        check_budget(share, tokens, "compare.document_budget")
    given = mask.scorer == "proxy" and has_proxy_run(run.config)
    if mask.scorer in BY_PROXY and not given:
        _check_proxy(run)


def _check_proxy(run: Run) -> None:
    contrast = run(QUERIES)
    try:
        model = run(PROXY_INITIAL).open()
        try_out(model, run.config.curvature, computed(run.config))
        check_queries_fit(model, contrast.toxic, contrast.safe)
    except InputError as error:
        raise InputError(f"compare.proxy: {error}") from error


def _check_given_pairs(run: Run) -> None:
    check_pairs(len(run(GIVEN_PAIRS)), run.config.compare.dpo)


def _check_sampled_pairs(run: Run) -> None:
    """Refuse what gives no pairs or too few even if the samples of every prompt differ."""
    if run.config.evaluation.sampling.samples < 2:
        raise InputError(
            "evaluation.sampling.samples: one sample a prompt makes no pair for the method 'dpo'; "
            "give 2 or more"
        )
    settings, data_dir = PairSettings.of(run.config), run(PAIR_PROMPTS)
    prompts, _ = prompts_of_pairs(settings.prompts, run(CORPUS), run(PROMPTS), data_dir)
    most = len(prompts) * comb(run.config.evaluation.sampling.samples, 2)
    check_pairs(min(most, run.config.compare.sampled_pairs), run.config.compare.dpo)


_PAIRS: dict[str, Callable[[Run], None]] = {
    "texts": _check_given_pairs,
    "samples": _check_sampled_pairs,
}


def _check_reward_texts(run: Run) -> None:
    compare, there = run.config.compare, len(run(CORPUS).corpus.documents)
    texts = min(compare.reward_texts, there)
    if texts < compare.reward.batch_size:
        raise InputError(
            f"compare.reward_texts: {texts} texts of the corpus are fewer than one batch of "
            f"{compare.reward.batch_size}; draw more, or lower compare.reward.batch_size"
        )
