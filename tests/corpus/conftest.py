"""Tokenizers of different families, and files of records."""

import gzip
import json

import pytest
from cutters import MAKERS, SAMPLE, byte_level

__all__ = ["SAMPLE"]


@pytest.fixture(scope="session")
def tokenizer():
    return byte_level()


@pytest.fixture(scope="session", params=sorted(MAKERS))
def any_tokenizer(request):
    return MAKERS[request.param]()


@pytest.fixture
def write_lines(tmp_path):
    """Write records as JSON Lines under the data folder; strings go in as they are."""

    def write(name, records):
        lines = [line if isinstance(line, str) else json.dumps(line) for line in records]
        raw = "".join(f"{line}\n" for line in lines).encode()
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return file

    return write
