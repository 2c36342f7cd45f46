import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ifguide.errors import InputError
from ifguide.evaluation.metrics import expected_maximum_toxicity, toxicity_probability

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
