"""Ways to raise the precision of a run's token scores, one row each: what won and what did not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from crossfit import calibrated
from scorers import Row, Run

from ifguide import SmoothingConfig, TokenScores, blend, smooth
from ifguide.corpus.words import Spelling, number_words, spelling, word_keys
from ifguide.selection.lexicon import lexicon

BY_WORDS = SmoothingConfig(neighbours=2, type_share=0.75, unit="word")
TYPES = SmoothingConfig(type_share=1.0, unit="word")
PRIOR = 4.0


def readings(run: Run) -> Iterator[Row]:
    """Other readings of the scores that the run has; all means are over its whole corpus."""
    spelt = spelling(run.text.tokenizer)

    def row(name: str, meaning: str, values: np.ndarray) -> Row:
        return Row(name, meaning, np.asarray(values)[run.rows])

    yield row("own scores", "the run's scores", np.asarray(run.scores.values))
    half = SmoothingConfig(neighbours=2, type_share=0.5)
    yield row(
        "by tokens", "2 neighbours, half the token type's mean", smooth(run.scores, half).values
    )
    yield row("by token types", "the token type's mean", smooth(run.scores, _tokens()).values)
    for share in (0.0, 0.5, 0.75):
        config = replace(BY_WORDS, type_share=share)
        values = smooth(run.scores, config, spelt).values
        yield row(f"by words, share {share:g}", f"unit word, 2 neighbours, share {share:g}", values)
    yield row("by word types", "the word's mean", smooth(run.scores, TYPES, spelt).values)
    yield from _other_means(run, spelt, row)
    yield from _with_lexicon(run, spelt, row)


def _tokens() -> SmoothingConfig:
    return SmoothingConfig(type_share=1.0)


def _other_means(run: Run, spelt: Spelling, row) -> Iterator[Row]:
    """Means of word types in which a word, or a score, counts otherwise."""
    raw, words = _in_memory(run.scores), Words(run, spelt)
    deviation = raw[words.counted].std()
    best = "a word's score is its best token's, a type's the mean over its words"
    yield row("best token", best, words.types(words.best(raw)))
    yield row(
        "best token, prior 3", f"{best} and 3 more of score 0", words.types(words.best(raw), 3)
    )
    total = words.total(raw)
    yield row("sum of tokens", "a word's score is the sum of its tokens'", words.types(total))
    root = np.sqrt(np.maximum(words.size, 1))
    yield row(
        "sum / root of length", "the sum over the root of its length", words.types(total / root)
    )
    shrunk = words.shrunk(total / np.maximum(words.size, 1))
    yield row("empirical Bayes", "means drawn to the mean of all by count and variance", shrunk)
    for limit in (2, 5):
        clipped = np.clip(raw, -limit * deviation, limit * deviation)
        values = smooth(TokenScores(clipped, run.text.corpus), TYPES, spelt).values
        yield row(
            f"clipped at {limit}", f"by word types, scores clipped at {limit} deviations", values
        )
    positive = TokenScores(np.maximum(raw, 0), run.text.corpus)
    values = smooth(positive, TYPES, spelt).values
    yield row("positive part", "by word types, of the scores above 0", values)
    rooted = TokenScores(np.sign(raw) * np.sqrt(np.abs(raw)), run.text.corpus)
    yield row("signed root", "by word types, of roots", smooth(rooted, TYPES, spelt).values)


def _with_lexicon(run: Run, spelt: Spelling, row) -> Iterator[Row]:
    """The words of the queries, alone and beside the scores."""
    corpus = run.text.corpus
    for unit, spelling_or_none in (("tokens", None), ("words", spelt)):
        found = lexicon(corpus, run.contrast, PRIOR, spelling_or_none)
        yield row(f"lexicon of {unit}", f"log-odds, prior of {PRIOR:g}", np.asarray(found.values))
    by_words = smooth(run.scores, BY_WORDS, spelt)
    for share in (0.3, 0.5, 0.7):
        mixed = blend(by_words, found, share)
        yield row(f"blend {share:g}", f"by words, share 0.75; lexicon {share:g}", mixed.values)
    ranks = [_ranks(np.asarray(s.values), corpus.has_loss) for s in (by_words, found)]
    yield row("mean of ranks", "of scores by words and lexicon of words", ranks[0] + ranks[1])
    for kind, meaning in (
        ("posts", "logistic regression on the queries: word type, word and token log-odds"),
        ("neighbours", "the same, with the word types of up to 4 tokens to each side"),
        ("own", "the same, with own scores along directions of the other half of the queries"),
    ):
        yield row(f"calibrated, {kind}", meaning, calibrated(run, spelt, kind))


class Words:
    """The words of a run's whole corpus."""

    def __init__(self, run: Run, spelt: Spelling) -> None:
        corpus = run.text.corpus
        tokens, document = np.asarray(corpus.tokens), np.asarray(corpus.document)
        self.counted, self.number = corpus.has_loss, number_words(spelt, tokens, document)
        keys = word_keys(spelt, tokens, self.number)
        self.type = np.unique(keys, return_inverse=True)[1]
        self.size = self.total(np.ones(tokens.shape))

    def total(self, values: np.ndarray) -> np.ndarray:
        """Sum over each word's tokens with a loss."""
        return np.bincount(self.number.ravel(), weights=(values * self.counted).ravel())

    def best(self, values: np.ndarray) -> np.ndarray:
        """The highest of each word's tokens with a loss; 0 where it has none."""
        found = np.full(len(self.size), -np.inf)
        np.maximum.at(found, self.number[self.counted], values[self.counted])
        return np.where(self.size > 0, found, 0.0)

    def types(self, of_words: np.ndarray, prior: float = 0.0) -> np.ndarray:
        """Mean over each type's words, beside ``prior`` words of score 0, at every token."""
        mean, count = self._means(of_words)
        return (mean * count / np.maximum(count + prior, 1))[self.type][self.number]

    def shrunk(self, of_words: np.ndarray) -> np.ndarray:
        """Normal means with a normal prior: variances within and between types by moments."""
        mean, count = self._means(of_words)
        there = self.size > 0
        within = np.square(of_words - mean[self.type])[there].sum() / (
            there.sum() - (count > 0).sum()
        )
        between = max(of_words[there].var() - within, 0.0)
        centre = of_words[there].mean()
        kept = count * between / (count * between + within)
        return (centre + kept * (mean - centre))[self.type][self.number]

    def _means(self, of_words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        there = self.size > 0
        count = np.bincount(self.type[there], minlength=self.type.max() + 1)
        total = np.bincount(self.type[there], weights=of_words[there], minlength=len(count))
        return total / np.maximum(count, 1), count


def _in_memory(scores: TokenScores) -> np.ndarray:
    return np.asarray(scores.values).astype(np.float64)


def _ranks(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Ranks of the tokens with a loss; ties have their mean."""
    _, place, count = np.unique(values[counted], return_inverse=True, return_counts=True)
    ranks = np.zeros(values.shape)
    ranks[counted] = (np.cumsum(count) - (count - 1) / 2)[place]
    return ranks
