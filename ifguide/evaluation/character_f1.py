"""Agreement of selected tokens with marked characters, post by post.

The measure of SemEval-2021 Task 5 (Pavlopoulos et al. 2021): a post's F1 is that of its
predicted against its marked character offsets, 1 if both are empty, and the figure is the mean over
the posts. Posts are the documents of those sources in which anything is marked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ifguide.errors import InputError
from ifguide.evaluation.metrics import percentile_interval
from ifguide.nouns import Corpus, Interval


@dataclass(frozen=True, eq=False)
class PostCharacters:
    """P posts as one row of C characters, and the n corpus tokens that they consist of.

    ``post`` is the post of each character and ``marked`` whether people marked it; a post of which
    the corpus holds a part counts by the characters of that part. Token k has the place ``place``
    in the raveled corpus and the characters [``start``, ``end``) of the row; its first one that is
    not white space is ``visible`` (``end`` if there is none). ``follows`` says whether token k
    begins where token k - 1 of the same post ends.
    """

    post: Int[np.ndarray, " C"]
    marked: Bool[np.ndarray, " C"]
    posts: int
    place: Int[np.ndarray, " n"]
    start: Int[np.ndarray, " n"]
    visible: Int[np.ndarray, " n"]
    end: Int[np.ndarray, " n"]
    follows: Bool[np.ndarray, " n"]


def post_characters(corpus: Corpus) -> PostCharacters:
    """Lay out the characters of the posts of all marked sources.

    Raises:
        InputError: no token of the corpus is marked.
    """
    document = np.asarray(corpus.document).ravel()
    numbers = _posts(corpus, document)
    place = np.flatnonzero(np.isin(document, numbers))
    row = np.searchsorted(numbers, document[place])
    documents = [corpus.documents[int(number)] for number in numbers]
    lengths = np.array([len(item.text) for item in documents], dtype=np.int64)
    offset = np.concatenate(([0], np.cumsum(lengths)))
    start = offset[row] + np.asarray(corpus.start).ravel()[place]
    end = offset[row] + np.asarray(corpus.end).ravel()[place]
    white = np.array([c.isspace() for item in documents for c in item.text], dtype=bool)
    spans = [
        (first + a, first + b)
        for first, item in zip(offset[:-1], documents, strict=True)
        for a, b in item.spans
    ]
    marks = np.array(spans, dtype=np.int64).reshape(-1, 2)
    length = int(offset[-1])
    marked = _covered(marks[:, 0], marks[:, 1], length) & _covered(start, end, length)
    after = (start[1:] <= end[:-1]) & (np.diff(row) == 0)
    return PostCharacters(
        post=np.repeat(np.arange(len(numbers)), lengths),
        marked=marked,
        posts=len(numbers),
        place=place,
        start=start,
        visible=np.minimum(_next_visible(white)[start], end),
        end=end,
        follows=np.concatenate(([False], after)),
    )


def character_f1(
    selected: Bool[np.ndarray, "N T"],
    posts: PostCharacters,
    *,
    resamples: int = 200,
    seed: int = 0,
) -> Interval:
    """Return the mean over the posts of the F1 of predicted against marked characters.

    A selected token predicts its characters; white space that it begins with counts only after
    another selected token, as byte-level tokens hold the space before their word.

    Args:
        selected: the tokens thought to be toxic, over the corpus that ``posts`` was made of.
        posts: from ``post_characters``.
        resamples: bootstrap resamples of the posts; a 95% percentile interval.
        seed: draws them.
    """
    per_post = _f1_of_posts(selected, posts)
    chances = np.full(posts.posts, 1 / posts.posts)
    often = np.random.default_rng(seed).multinomial(posts.posts, chances, size=resamples)
    return percentile_interval(float(per_post.mean()), often @ per_post / posts.posts)


def top_tokens(
    scores: Float[np.ndarray, "N T"],
    has_loss: Bool[np.ndarray, "N T"],
    share: float,
    *,
    seed: int = 0,
) -> Bool[np.ndarray, "N T"]:
    """Select this share of the tokens that have a loss, from the highest score down.

    Of tokens tied across the cut, ``seed`` draws which are in.
    """
    places = np.flatnonzero(has_loss)
    size = max(1, int(share * len(places) + 1e-9))
    drawn = np.random.default_rng(seed).permutation(len(places))
    order = np.lexsort((drawn, -np.asarray(scores).ravel()[places]))
    selected = np.zeros(has_loss.size, dtype=bool)
    selected[places[order[:size]]] = True
    return selected.reshape(has_loss.shape)


def _posts(corpus: Corpus, document: Int[np.ndarray, " NT"]) -> Int[np.ndarray, " P"]:
    """Return the numbers of the documents whose source has a marked document, ascending."""
    with_mark = np.unique(document[np.asarray(corpus.marked).ravel() & (document >= 0)])
    if not len(with_mark):
        raise InputError(
            "localisation: no token is marked; name the spans with corpus.sources.N.spans"
        )
    sources = {corpus.documents[int(number)].source for number in with_mark}
    numbers = np.unique(document[document >= 0])
    return numbers[[corpus.documents[int(number)].source in sources for number in numbers]]


def _f1_of_posts(
    selected: Bool[np.ndarray, "N T"], posts: PostCharacters
) -> Float[np.ndarray, " P"]:
    chosen = selected.ravel()[posts.place]
    after_chosen = posts.follows & np.concatenate(([False], chosen[:-1]))
    start = np.where(after_chosen, posts.start, posts.visible)
    predicted = _covered(start[chosen], posts.end[chosen], len(posts.post))

    def count(characters: Bool[np.ndarray, " C"]) -> Float[np.ndarray, " P"]:
        return np.bincount(posts.post, characters, minlength=posts.posts)

    both, either = count(predicted & posts.marked), count(predicted) + count(posts.marked)
    return np.divide(2 * both, either, out=np.ones(posts.posts), where=either > 0)


def _covered(
    start: Int[np.ndarray, " k"], end: Int[np.ndarray, " k"], length: int
) -> Bool[np.ndarray, " C"]:
    """Which of ``length`` characters lie in one of the spans [start, end)."""
    opened = np.bincount(start, minlength=length + 1)
    closed = np.bincount(end, minlength=length + 1)
    return np.cumsum(opened - closed)[:length] > 0


def _next_visible(white: Bool[np.ndarray, " C"]) -> Int[np.ndarray, " after"]:
    """Return for each character, and the end, the next place that is not white space."""
    places = np.arange(len(white) + 1)
    visible = np.where(np.append(white, False), len(white), places)
    return np.minimum.accumulate(visible[::-1])[::-1]
