"""The half-priced second moments against the plain product."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ifguide.influence.curvature.gram import add_lower_gram, mirror_lower


@settings(max_examples=30, deadline=None)
@given(width=st.integers(1, 40), counts=st.lists(st.integers(0, 9), min_size=1, max_size=4))
def test_the_sum_over_batches_is_the_whole_product(width, counts):
    batches = [torch.randn(count, width, dtype=torch.float64) for count in counts]
    total = torch.zeros(width, width, dtype=torch.float64)
    for rows in batches:
        add_lower_gram(total, rows)
    every = torch.cat(batches)
    torch.testing.assert_close(mirror_lower(total), every.T @ every)
    assert torch.equal(total, total.T)
