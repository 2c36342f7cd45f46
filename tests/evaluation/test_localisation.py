"""The oracle is scikit-learn, with the resample's weights as sample_weight."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from ifguide.errors import InputError
from ifguide.evaluation.localisation import (
    SHARES,
    _figures,
    _rank,
    in_marked_documents,
    localisation,
)
from ifguide.nouns import Interval


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    size, documents = draw(st.integers(4, 300)), draw(st.integers(1, 6))
    levels = draw(st.sampled_from([2, 5, 10_000]))  # few levels: many ties
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    scores = rng.integers(levels, size=size) / levels - 0.5
    marked = rng.random(size) < draw(st.floats(0.1, 0.9))
    marked[:2] = True, False
    document = np.sort(rng.integers(documents, size=size)) * 7  # numbers need not be dense
    return scores, marked, document, rng.integers(0, 4, size=documents * 7)


@given(cases())
@settings(max_examples=100)
def test_weighted_figures_agree_with_scikit_learn(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    scores, marked, document, drawn = case
    weight = drawn[document].astype(float)
    if not (weight[marked].any() and weight[~marked].any()):
        return
    ranking = _rank(scores, marked, document)
    found = _figures(ranking, drawn[np.unique(document)].astype(float))
    expected = average_precision_score(marked, scores, sample_weight=weight)
    assert found["average_precision"] == pytest.approx(expected, abs=1e-9)
    # scikit-learn's own AUROC drops points of weight 0 inexactly: repeat the tokens instead
    often = weight.astype(int)
    assert found["auroc"] == pytest.approx(
        roc_auc_score(np.repeat(marked, often), np.repeat(scores, often)), abs=1e-9
    )
    repeated = np.repeat(scores, often), np.repeat(marked, often)
    for percent, share in SHARES.items():
        hits, size = expected_hits(*repeated, share)
        assert found[f"precision_at_{percent}_percent"] == pytest.approx(hits / size)
        assert found[f"recall_at_{percent}_percent"] == pytest.approx(hits / repeated[1].sum())


def expected_hits(scores: np.ndarray, marked: np.ndarray, share: float) -> tuple[float, int]:
    """Marked tokens to expect in the top share if ties are broken by chance, in a plain loop."""
    size = max(1, int(share * len(scores) + 1e-9))
    left, hits = size, 0.0
    for level in sorted(set(scores), reverse=True):
        tied = marked[scores == level]
        taken = min(left, len(tied))
        hits += taken * tied.mean()
        left -= taken
    return hits, size


def grid(seed: int = 0, blocks: int = 40, length: int = 50) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    marked = rng.random((blocks, length)) < 0.05
    scores = rng.normal(size=(blocks, length)) + marked
    document = np.sort(rng.integers(100, size=blocks * length)).reshape(blocks, length)
    has_loss = np.ones((blocks, length), dtype=bool)
    has_loss[:, 0] = False
    return scores, marked, document, has_loss


def test_whole_grid_with_intervals() -> None:
    scores, marked, document, has_loss = grid()
    found = localisation(scores, marked, document, has_loss)
    truth, ranked = marked[has_loss], scores[has_loss]
    order = np.argsort(-ranked)[: len(ranked) // 100]
    ap, auroc, top = (found[k] for k in ("average_precision", "auroc", "precision_at_1_percent"))
    assert isinstance(ap, Interval)
    assert isinstance(auroc, Interval)
    assert isinstance(top, Interval)
    assert ap.value == pytest.approx(average_precision_score(truth, ranked))
    assert auroc.value == pytest.approx(roc_auc_score(truth, ranked))
    assert top.value == pytest.approx(truth[order].mean())
    assert found["base_rate"] == pytest.approx(truth.mean())
    with_marks = np.isin(document[has_loss], np.unique(document[has_loss][truth]))
    assert found["in_marked_documents"] == pytest.approx(with_marks[order].mean())
    best = np.argsort(-ranked)[: len(ranked) // 50]
    expected = {
        "recall_at_1_percent": truth[order].sum() / truth.sum(),
        "precision_at_2_percent": truth[best].mean(),
        "recall_at_2_percent": truth[best].sum() / truth.sum(),
    }
    wide = [found[name] for name in expected]
    for interval, value in zip(wide, expected.values(), strict=True):
        assert isinstance(interval, Interval)
        assert interval.value == pytest.approx(value)
    for interval in (ap, auroc, top, *wide):
        assert isinstance(interval, Interval)
        assert interval.low < interval.value < interval.high
    assert found == localisation(scores, marked, document, has_loss)


def test_bootstrap_agrees_with_resampling_by_hand() -> None:
    scores, marked, document, has_loss = grid(1)
    found = localisation(scores, marked, document, has_loss, resamples=400)["auroc"]
    rng = np.random.default_rng(9)
    names = np.unique(document[has_loss])
    draws = []
    for _ in range(400):
        often = np.bincount(rng.choice(names, len(names)), minlength=100)[document[has_loss]]
        draws.append(roc_auc_score(marked[has_loss], scores[has_loss], sample_weight=often))
    assert isinstance(found, Interval)
    assert found.low == pytest.approx(np.quantile(draws, 0.025), abs=0.015)
    assert found.high == pytest.approx(np.quantile(draws, 0.975), abs=0.015)


def test_tokens_without_loss_do_not_count() -> None:
    scores, marked, document, has_loss = grid(2)
    other = np.where(has_loss, scores, np.nan)
    assert localisation(scores, marked, document, has_loss, resamples=3) == localisation(
        other, marked, document, has_loss, resamples=3
    )


def test_restricted_to_marked_documents() -> None:
    scores, marked, document, has_loss = grid(4)
    document[-1, -10:] = -1  # padding, even if something says that it is marked
    marked[-1, -1] = True
    inside = in_marked_documents(marked, document)
    by_hand = [
        [number >= 0 and bool(marked[document == number].any()) for number in row]
        for row in document
    ]
    np.testing.assert_array_equal(inside, by_hand)
    assert 0 < inside.sum() < inside.size
    kept = has_loss & inside
    found = localisation(scores, marked, document, kept, resamples=3)["average_precision"]
    assert isinstance(found, Interval)
    assert found.value == pytest.approx(average_precision_score(marked[kept], scores[kept]))


def test_perfect_and_constant_scores() -> None:
    _, marked, document, has_loss = grid(3)
    perfect = localisation(marked.astype(np.float32), marked, document, has_loss, resamples=5)
    assert perfect["average_precision"] == Interval(1.0, 1.0, 1.0)
    assert perfect["auroc"] == Interval(1.0, 1.0, 1.0)
    assert perfect["in_marked_documents"] == 1.0
    assert perfect["precision_at_1_percent"] == Interval(1.0, 1.0, 1.0)
    flat = localisation(np.zeros(marked.shape), marked, document, has_loss, resamples=5)
    for name in ("average_precision", "precision_at_1_percent"):
        interval = flat[name]
        assert isinstance(interval, Interval)
        assert interval.value == pytest.approx(flat["base_rate"])
    for percent, share in (("1", 0.01), ("2", 0.02)):
        recall = flat[f"recall_at_{percent}_percent"]
        assert isinstance(recall, Interval)
        size = int(share * has_loss.sum())
        assert recall.value == pytest.approx(size / has_loss.sum())


def test_refuses_what_has_no_answer() -> None:
    scores, marked, document, has_loss = grid()
    for none_or_all in (np.zeros_like(marked), np.ones_like(marked)):
        with pytest.raises(InputError, match="marked"):
            localisation(scores, none_or_all, document, has_loss)
    with pytest.raises(InputError, match="not finite"):
        localisation(np.where(marked, np.nan, scores), marked, document, has_loss)
