from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ifguide.errors import InputError
from ifguide.evaluation.metrics import (
    expected_maximum_toxicity,
    paired_difference,
    paired_ratio,
    toxicity_probability,
)

SCORES = arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(1, 4)),
    elements=st.floats(0, 1, allow_nan=False),
)


def test_worst_continuation_counts() -> None:
    scores = np.array([[0.1, 0.9, 0.2], [0.3, 0.2, 0.1], [0.5, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert expected_maximum_toxicity(scores).value == pytest.approx((0.9 + 0.3 + 0.5) / 4)
    assert toxicity_probability(scores).value == 0.5  # 0.5 itself is toxic
    assert toxicity_probability(scores, threshold=0.51).value == 0.25


def test_interval_of_a_share_is_the_binomial_one() -> None:
    prompts, share = 400, 0.3
    scores = (np.arange(prompts) < share * prompts).astype(float)[:, None]
    found = toxicity_probability(scores, resamples=4000, seed=1)
    half = 1.96 * np.sqrt(share * (1 - share) / prompts)
    assert found.low == pytest.approx(share - half, abs=0.006)
    assert found.high == pytest.approx(share + half, abs=0.006)


def test_interval_of_a_mean_is_the_normal_one() -> None:
    draws = np.random.default_rng(0).random((500, 1))
    found = expected_maximum_toxicity(draws, resamples=4000)
    half = 1.96 * draws.std() / np.sqrt(len(draws))
    assert found.low == pytest.approx(draws.mean() - half, abs=0.002)
    assert found.high == pytest.approx(draws.mean() + half, abs=0.002)


@given(SCORES)
def test_bounds_and_order_of_samples(scores: np.ndarray) -> None:
    for measure in (expected_maximum_toxicity, toxicity_probability):
        found = measure(scores, resamples=50)
        assert 0 <= found.low <= found.high <= 1 + 1e-12
        assert found == measure(scores[:, ::-1], resamples=50)
    assert toxicity_probability(scores).value <= 2 * expected_maximum_toxicity(scores).value + 1e-12


def test_same_for_all_prompts_leaves_no_doubt() -> None:
    found = expected_maximum_toxicity(np.full((7, 3), 0.25))
    assert (found.low, found.value, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_same_seed_same_interval() -> None:
    scores = np.random.default_rng(0).random((30, 2))
    assert expected_maximum_toxicity(scores, seed=4) == expected_maximum_toxicity(scores, seed=4)
    assert expected_maximum_toxicity(scores, seed=4) != expected_maximum_toxicity(scores, seed=5)


@pytest.mark.parametrize("scores", [np.zeros((0, 3)), np.array([[0.1, np.nan]])])
def test_nothing_or_nan_is_refused(scores: np.ndarray) -> None:
    with pytest.raises(InputError):
        expected_maximum_toxicity(scores)
    with pytest.raises(InputError):
        toxicity_probability(scores)


def drawn(prompts: int, seed: int = 0) -> tuple[list[float], list[float]]:
    """Two methods that find the same prompts hard; the second is less toxic."""
    rng = np.random.default_rng(seed)
    hard = rng.random(prompts)
    noise = rng.normal(0, 0.1, prompts)
    return hard.tolist(), np.clip(0.6 * hard + noise, 0, 1).tolist()


def by_brute_force(
    before: list[float], after: list[float], measure: Callable[[np.ndarray, np.ndarray], float]
) -> tuple[float, float]:
    """The 95% interval over resamples of whole prompts, drawn one by one."""
    rng, one, two = np.random.default_rng(99), np.array(before), np.array(after)
    values = []
    for _ in range(6000):
        rows = rng.integers(0, len(one), len(one))
        values.append(measure(one[rows], two[rows]))
    return tuple(np.quantile(values, (0.025, 0.975)))  # type: ignore[return-value]


@pytest.mark.parametrize("threshold", [None, 0.5])
def test_paired_intervals_by_brute_force(threshold: float | None) -> None:
    before, after = drawn(200)

    def mean(x: np.ndarray) -> float:
        return float(x.mean() if threshold is None else (x >= threshold).mean())

    settings = {"threshold": threshold, "resamples": 6000, "seed": 5}
    for found, measure in (
        (paired_difference(before, after, **settings), lambda a, b: mean(b) - mean(a)),
        (paired_ratio(before, after, **settings), lambda a, b: mean(a) / mean(b)),
    ):
        low, high = by_brute_force(before, after, measure)
        assert found.value == pytest.approx(measure(np.array(before), np.array(after)))
        assert found.low == pytest.approx(low, abs=0.03 * abs(high - low) + 0.004)
        assert found.high == pytest.approx(high, abs=0.03 * abs(high - low) + 0.004)


def test_pairing_takes_out_what_both_prompts_share() -> None:
    """In closed form: the spread of the differences, not of the two methods by themselves."""
    before, after = drawn(300)
    found = paired_difference(before, after, resamples=4000)
    half = 1.96 * (np.array(after) - before).std() / np.sqrt(300)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.06)
    alone = expected_maximum_toxicity(np.array(before)[:, None], resamples=4000)
    assert found.high - found.low < 0.6 * (alone.high - alone.low)


def test_paired_differences_are_those_of_the_two_measures() -> None:
    before, after = drawn(40)
    one, two = np.array(before)[:, None], np.array(after)[:, None]
    emt = expected_maximum_toxicity(two).value - expected_maximum_toxicity(one).value
    tp = toxicity_probability(two).value - toxicity_probability(one).value
    assert paired_difference(before, after).value == pytest.approx(emt)
    assert paired_difference(before, after, threshold=0.5).value == pytest.approx(tp)
    turned = paired_difference(after, before, seed=2)
    found = paired_difference(before, after, seed=2)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    same = paired_difference(before, before)
    assert (same.low, same.value, same.high) == (0, 0, 0)


def test_prompts_without_a_judgement_are_left_out_of_both() -> None:
    before: list[float | None] = [0.9, None, 0.5, 0.1]
    after: list[float | None] = [0.3, 0.8, None, 0.1]
    for measure in (paired_difference, paired_ratio):
        assert measure(before, after) == measure([0.9, 0.1], [0.3, 0.1])


def test_ratio_over_nothing() -> None:
    toxic, clean = [1.0] * 8 + [0.0] * 8, [0.0] * 16
    none_left = paired_ratio(toxic, clean)
    assert (none_left.value, none_left.high) == (np.inf, np.inf)
    # by the exact bound on a share that 16 prompts did not show, 0.206; half were toxic before
    assert 0.024 < (1 - 0.206) ** 16 < 0.026
    assert 0.25 / 0.206 - 0.05 < none_left.low < 0.5 / 0.206
    rare = paired_ratio(toxic, [1.0] + [0.0] * 15)
    assert rare.value == 8
    assert 1 < rare.low < 8
    assert rare.high == np.inf  # a third of the resamples holds no toxic prompt after
    assert paired_ratio(clean, clean).value == 1
    assert paired_ratio(clean, toxic).value == 0


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ([0.1, 0.2], [0.1], "2 prompts against 1"),
        ([None, 0.2], [0.1, None], "no prompt is judged for both"),
        ([], [], "no prompt is judged for both"),
        ([0.1, float("nan")], [0.1, 0.2], r"not in \[0, 1\]"),
        ([0.1, 1.5], [0.1, 0.2], r"not in \[0, 1\]"),
    ],
)
def test_what_cannot_be_paired_is_refused(
    before: list[float | None], after: list[float | None], message: str
) -> None:
    for measure in (paired_difference, paired_ratio):
        with pytest.raises(InputError, match=message):
            measure(before, after)
