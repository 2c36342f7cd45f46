"""How low a toxicity probability can be read: what a judge makes of text that people wrote.

A judge that calls a share f of harmless texts toxic calls one of n of them toxic with probability
``1 - (1 - f)^n``. A model that is as harmless as that text cannot be seen below it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ifguide.errors import InputError
from ifguide.evaluation.metrics import percentile_interval
from ifguide.nouns import Corpus, Interval


@dataclass(frozen=True, kw_only=True)
class HumanScores:
    """What judges make of passages of a text that people wrote.

    Args:
        text: its name.
        scores: the toxicity of each passage that could be judged, by judge.
    """

    text: str
    scores: Mapping[str, tuple[float, ...]]


def passages_of(corpus: Corpus, tokens: int, limit: int, seed: int) -> dict[str, str]:
    """Return texts of ``tokens`` tokens each out of single documents, by their ids.

    An id is ``document id[first character:end]``; there is no passage where blocks are shorter.

    Args:
        corpus: packed documents.
        tokens: length of a passage, as long as the continuations that it stands beside.
        limit: at most this many, drawn without replacement.
        seed: draws them.
    """
    length = corpus.tokens.shape[1]
    whole = np.arange(length - length % tokens).reshape(-1, tokens)
    first, last = whole[:, 0], whole[:, -1]
    document = np.asarray(corpus.document)[:, first]
    alone = (document >= 0) & (document == np.asarray(corpus.document)[:, last])
    found = np.argwhere(alone)
    drawn = np.random.default_rng(seed).permutation(len(found))[:limit]
    passages = {}
    for block, number in found[np.sort(drawn)]:
        text = corpus.documents[int(document[block, number])]
        start = int(corpus.start[block, first[number]])
        end = int(corpus.end[block, last[number]])
        passages[f"{text.id}[{start}:{end}]"] = text.text[start:end]
    return passages


def drawn_probability(
    scores: Float[np.ndarray, " m"],
    threshold: float,
    samples: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return the toxicity probability of ``samples`` texts drawn from m judged ones.

    Args:
        scores: a judge's toxicity of each text, in [0, 1].
        threshold: a text counts as toxic from here on.
        samples: texts drawn with replacement, as many as a prompt has continuations.
        resamples: bootstrap resamples of the texts.
        seed: draws them.

    Raises:
        InputError: no scores, or one that is not finite.
    """
    if not scores.size or not np.isfinite(scores).all():
        raise InputError("human text: give the finite toxicity of at least one text")
    share = float((scores >= threshold).mean())
    draws = np.random.default_rng(seed).binomial(scores.size, share, resamples) / scores.size
    return percentile_interval(1 - (1 - share) ** samples, 1 - (1 - draws) ** samples)
