"""Weights of several scores, learnt from the queries, each scored by what the others taught."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scorers import Run
from sklearn.linear_model import LogisticRegression

from ifguide import Contrast, Corpus, QuerySet, SmoothingConfig, TokenScores, aim, score, smooth
from ifguide.corpus.words import Spelling, number_words, word_keys
from ifguide.selection.lexicon import lexicon

FOLDS = 5
PRIOR = 4.0
AROUND = SmoothingConfig(neighbours=4)
TYPES = SmoothingConfig(type_share=1.0, unit="word")


def calibrated(run: Run, spelt: Spelling, kind: str) -> np.ndarray:
    """Log-odds [N, T] of "marked" by a logistic regression on the queries' tokens.

    Features: the word type's mean score; log-odds of the word and of the token, of each query by a
    lexicon of the others. Kind ``neighbours`` adds the word types around; ``own`` also own scores
    along a direction of the other half of the queries.
    """
    queries = as_corpus(run.contrast)
    pairs = [_types(run, queries, spelt), *_log_odds(run, queries, spelt)]
    if kind in ("neighbours", "own"):
        around = [TokenScores(v, c) for v, c in zip(pairs[0], _corpora(run, queries), strict=True)]
        pairs.append(tuple(np.asarray(smooth(scores, AROUND).values) for scores in around))
    if kind == "own":
        pairs.append((_own(run, queries), np.asarray(run.scores.values).astype(np.float64)))
    labelled, counted = queries.marked[queries.has_loss], queries.has_loss
    learn = np.stack([of_queries[counted] for of_queries, _ in pairs], 1)
    mean, scale = learn.mean(0), learn.std(0)
    found = LogisticRegression(max_iter=1000).fit((learn - mean) / scale, labelled)
    weights = found.coef_[0] / scale
    return sum(w * of_corpus for w, (_, of_corpus) in zip(weights, pairs, strict=True))


def as_corpus(contrast: Contrast) -> Corpus:
    """The marked queries as a corpus of one query a block; ``marked`` is their toxic side."""
    shape = (len(contrast.toxic.tokens), max(len(t) for t in contrast.toxic.tokens))
    tokens, document = np.zeros(shape, dtype=np.int32), np.full(shape, -1, dtype=np.int32)
    marked = np.zeros(shape, dtype=bool)
    for q, ids in enumerate(contrast.toxic.tokens):
        tokens[q, : len(ids)], document[q, : len(ids)] = ids, q
        marked[q, : len(ids)] = contrast.toxic.weights[q] > 0
    nowhere = np.zeros(shape, dtype=np.int32)
    return Corpus(tokens, document, nowhere, nowhere, marked, (), 0, contrast.fingerprint)


def part_of(contrast: Contrast, numbers: np.ndarray) -> Contrast:
    """Some of the queries; the weights of each side sum to 1 again."""
    sides = []
    for side in (contrast.toxic, contrast.safe):
        weights = [side.weights[q] for q in numbers]
        total = sum(float(w.sum()) for w in weights)
        sides.append(QuerySet([side.tokens[q] for q in numbers], [w / total for w in weights]))
    return Contrast(*sides, f"{contrast.fingerprint}, {len(numbers)} queries")


def _corpora(run: Run, queries: Corpus) -> tuple[Corpus, Corpus]:
    return queries, run.text.corpus


def _types(run: Run, queries: Corpus, spelt: Spelling) -> tuple[np.ndarray, np.ndarray]:
    """The mean score of the word's type in the run's corpus; 0 for a word that is not there."""
    keys = [
        word_keys(spelt, tokens, number)[number]
        for tokens, document in ((np.asarray(c.tokens), c.document) for c in _corpora(run, queries))
        for number in [number_words(spelt, tokens, np.asarray(document))]
    ]
    values = np.asarray(smooth(run.scores, TYPES, spelt).values).astype(np.float64)
    counted = run.text.corpus.has_loss
    known, first = np.unique(keys[1][counted], return_index=True)
    place = np.minimum(np.searchsorted(known, keys[0]), len(known) - 1)
    of_queries = np.where(known[place] == keys[0], values[counted][first][place], 0.0)
    return of_queries * queries.has_loss, values


def _log_odds(run: Run, queries: Corpus, spelt: Spelling) -> list[tuple[np.ndarray, np.ndarray]]:
    """Log-odds by words and by tokens; a query's own are by the queries of the other folds."""
    pairs = []
    for unit in (spelt, None):
        of_queries = np.zeros(queries.tokens.shape)
        for fold, kept in _folds(len(queries.tokens), FOLDS):
            found = lexicon(queries, part_of(run.contrast, kept), PRIOR, unit)
            of_queries[fold] = np.asarray(found.values)[fold]
        found = lexicon(run.text.corpus, run.contrast, PRIOR, unit)
        pairs.append((of_queries, np.asarray(found.values)))
    return pairs


def _own(run: Run, queries: Corpus) -> np.ndarray:
    """Own scores of each half of the queries along the direction of the other half."""
    values = np.zeros(queries.tokens.shape)
    for fold, kept in _folds(len(queries.tokens), 2):
        direction = aim(run.model, part_of(run.contrast, kept), run.curvature, run.config.direction)
        columns = ("tokens", "document", "start", "end", "marked")
        part = replace(queries, **{name: getattr(queries, name)[fold] for name in columns})
        settings = run.config.scores.by("jvp")
        values[fold] = np.asarray(score(run.model, part, direction, settings).values)
    return values


def _folds(count: int, folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The numbers held out and those kept, of each fold."""
    fold = np.arange(count) % folds
    return [(np.flatnonzero(fold == k), np.flatnonzero(fold != k)) for k in range(folds)]
