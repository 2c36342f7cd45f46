"""What cuts a corpus into tasks, and puts it together again, is the benchmark's."""

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="session")
def many():
    sys.path.insert(0, str(FOLDER))
    try:
        import many_tasks
    finally:
        sys.path.remove(str(FOLDER))
    return many_tasks
