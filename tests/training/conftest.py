"""Trainer collects garbage at its start; with everything imported that takes most of a second."""

import gc

import pytest


@pytest.fixture(scope="package", autouse=True)
def _quick_collection():
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
