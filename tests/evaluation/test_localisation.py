"""The oracle is scikit-learn, with the resample's weights as sample_weight."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from ifguide.errors import InputError
from ifguide.evaluation.localisation import _figures, _rank, localisation
from ifguide.nouns import Interval


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    size, documents = draw(st.integers(4, 60)), draw(st.integers(1, 6))
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
    precision, top, auroc = _figures(ranking, drawn[np.unique(document)].astype(float))
    expected = average_precision_score(marked, scores, sample_weight=weight)
    assert precision == pytest.approx(expected, abs=1e-9)
    # scikit-learn's own AUROC drops points of weight 0 inexactly: repeat the tokens instead
    often = weight.astype(int)
    assert auroc == pytest.approx(
        roc_auc_score(np.repeat(marked, often), np.repeat(scores, often)), abs=1e-9
    )
    best = scores == scores[weight > 0].max()
    at_best = np.average(marked[best], weights=weight[best])
    if weight.sum() < 200:  # the top 1% is then one token, or a share of the best step
        assert top == pytest.approx(at_best)


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
    for interval in (ap, auroc, top):
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


def test_perfect_and_constant_scores() -> None:
    _, marked, document, has_loss = grid(3)
    perfect = localisation(marked.astype(np.float32), marked, document, has_loss, resamples=5)
    assert perfect["average_precision"] == Interval(1.0, 1.0, 1.0)
    assert perfect["auroc"] == Interval(1.0, 1.0, 1.0)
    assert perfect["in_marked_documents"] == 1.0
    flat = localisation(np.zeros(marked.shape), marked, document, has_loss, resamples=5)
    for name in ("average_precision", "precision_at_1_percent"):
        interval = flat[name]
        assert isinstance(interval, Interval)
        assert interval.value == pytest.approx(flat["base_rate"])


def test_refuses_what_has_no_answer() -> None:
    scores, marked, document, has_loss = grid()
    for none_or_all in (np.zeros_like(marked), np.ones_like(marked)):
        with pytest.raises(InputError, match="marked"):
            localisation(scores, none_or_all, document, has_loss)
    with pytest.raises(InputError, match="not finite"):
        localisation(np.where(marked, np.nan, scores), marked, document, has_loss)


def test_fast_on_a_large_corpus() -> None:
    scores, marked, document, has_loss = grid(0, blocks=1000, length=256)
    started = time.perf_counter()
    localisation(scores.astype(np.float32), marked, document, has_loss, resamples=20)
    assert time.perf_counter() - started < 5  # 2M tokens x 200 take 80 times as long
