"""Arrays that are read as they are asked for are as if they were in memory."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifguide import arrays as lazy
from ifguide.arrays import LazyArray, read_rows, slabs, with_halo
from ifguide.run.memory import peak_rss, reset_peak_rss


def lazy_and_whole(blocks=9, length=4):
    whole = np.random.default_rng(0).normal(size=(blocks, length)).astype(np.float32)
    return LazyArray(whole.shape, whole.dtype, whole.__getitem__), whole


@pytest.mark.parametrize("slab", [1, 8, 1000])
def test_it_reads_as_in_memory(slab):
    values, whole = lazy_and_whole()
    assert (len(values), values.size, values.shape) == (9, 36, (9, 4))
    with patch.object(lazy, "SLAB_TOKENS", slab):
        np.testing.assert_array_equal(np.asarray(values), whole)
        assert np.asarray(values, dtype=np.float64).dtype == np.float64
        row, column = np.array([8, 0, 3, 3, 5]), np.array([0, 3, 1, 1, 2])
        np.testing.assert_array_equal(values[row, column], whole[row, column])
        nowhere = np.zeros(0, dtype=np.int64)
        assert values[nowhere, nowhere].shape == (0,)
    for rows in (
        slice(2, 5),
        slice(None),
        slice(7, 100),
        slice(-2, None),
        slice(5, 2),
        slice(9, 12),
    ):
        np.testing.assert_array_equal(values[rows], whole[rows])


def test_what_it_cannot_do_is_refused():
    values, _ = lazy_and_whole()
    with pytest.raises(IndexError, match="step"):
        values[::2]
    with pytest.raises(ValueError, match="copy"):
        np.asarray(values, copy=False)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 100), st.integers(0, 30), st.data())
def test_slabs_cover_each_block_once_and_halos_hold_the_tokens(blocks, length, slab, halo, data):
    with patch.object(lazy, "SLAB_TOKENS", slab):
        found = list(slabs((blocks, length)))
    assert [i for rows in found for i in range(rows.start, rows.stop)] == list(range(blocks))
    assert all((rows.stop - rows.start) * length <= max(slab, length) for rows in found)
    rows = data.draw(st.sampled_from(found))
    wide, within = with_halo(rows, (blocks, length), halo)
    assert range(blocks)[wide][within] == range(rows.start, rows.stop)
    assert wide.start == 0 or (rows.start - wide.start) * length >= halo
    assert wide.stop == blocks or (wide.stop - rows.stop) * length >= halo


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_rows_of_a_memory_map_are_read_again_and_again(tmp_path, mode):
    """What was written over a map in memory alone is not lost."""
    file, whole = tmp_path / "a.bin", np.arange(40_000, dtype=np.int32).reshape(-1, 8)
    whole.tofile(file)
    mapped = np.memmap(file, dtype=np.int32, mode=mode, shape=whole.shape)
    if mode == "c":
        mapped[7] = whole[7] = -1
    first = read_rows(mapped, slice(5, 9))
    for rows in (slice(0, 5000), slice(5, 9), slice(4000, 4001)):
        np.testing.assert_array_equal(read_rows(mapped, rows), whole[rows])
    np.testing.assert_array_equal(read_rows(mapped[10:20], slice(2, 4)), whole[12:14])
    np.testing.assert_array_equal(first, whole[5:9])
    np.testing.assert_array_equal(mapped, whole)


def test_memory_does_not_grow_with_what_is_read_of_a_map(tmp_path):
    file = tmp_path / "a.bin"
    with file.open("wb") as stream:
        stream.truncate(128 << 20)
    mapped = np.memmap(file, dtype=np.int32, mode="r", shape=(32 << 10, 1 << 10))
    reset_peak_rss()
    before = peak_rss()
    assert sum(int(read_rows(mapped, rows).sum()) for rows in slabs(mapped.shape)) == 0
    assert peak_rss() - before < 32 << 20


def test_rows_in_memory_are_not_copied():
    _, whole = lazy_and_whole()
    assert np.shares_memory(read_rows(whole, slice(1, 3)), whole)
