"""Quantiles of values that come in parts against numpy's, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifguide.selection.quantile import order_statistics, quantile

LARGEST = {2: 3e4, 4: 1e38, 8: 1e307}  # the difference of two is still finite


@st.composite
def values_in_parts(draw):
    width = draw(st.sampled_from([2, 4, 8]))
    bound = float(np.array(LARGEST[width], f"f{width}"))
    one = st.one_of(
        st.floats(-bound, bound, width=8 * width),
        st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5]),
    )
    values = np.array(draw(st.lists(one, min_size=1, max_size=60)), dtype=f"f{width}")
    cuts = draw(st.lists(st.integers(0, len(values)), max_size=4))
    return values, np.split(values, sorted(cuts))


@settings(max_examples=400, deadline=None)
@given(given=values_in_parts(), q=st.one_of(st.floats(0, 1), st.sampled_from([0.99, 1 - 2**-53])))
def test_quantiles_are_numpy_s(given, q):
    values, parts = given
    found = quantile(lambda: parts, values.dtype, len(values), q)
    assert found == float(np.quantile(values, q))


@settings(max_examples=200, deadline=None)
@given(given=values_in_parts(), data=st.data())
def test_order_statistics_are_those_of_the_sorted_values(given, data):
    values, parts = given
    ranks = data.draw(st.lists(st.integers(0, len(values) - 1), min_size=1, max_size=4))
    found = order_statistics(lambda: parts, values.dtype, ranks)
    np.testing.assert_array_equal(found, np.sort(values)[ranks])
    assert found.dtype == values.dtype


@pytest.mark.parametrize(("dtype", "passes"), [(np.float16, 1), (np.float32, 2), (np.float64, 4)])
def test_many_values_take_few_passes(dtype, passes):
    values = np.random.default_rng(0).standard_t(3, size=300_000).astype(dtype)
    made = []

    def parts():
        made.append(1)
        return np.array_split(values, 7)

    found = quantile(parts, values.dtype, len(values), 0.99)
    assert found == float(np.quantile(values, 0.99))
    assert len(made) == passes
