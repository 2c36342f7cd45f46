"""What every test shares: checked shapes, no network, the model families, one thread by default."""

import io
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from jaxtyping import install_import_hook

install_import_hook("ifguide", "beartype.beartype")

import pytest
import torch
from tiny import FAMILIES
from transformers.utils import logging as transformers_logging

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
transformers_logging.set_verbosity_error()


@pytest.fixture(params=sorted(FAMILIES))
def family(request):
    return request.param


@pytest.fixture(scope="session")
def micro_config(tmp_path_factory):
    """The settings of a run that takes seconds."""
    from micro import write_settings

    return write_settings(tmp_path_factory.mktemp("settings"))


@pytest.fixture(scope="session")
def finished(micro_config, tmp_path_factory):
    """A whole run's folder, which no test may change."""
    from micro import run

    out = tmp_path_factory.mktemp("runs") / "finished"
    assert run("run", micro_config, out) == 0
    return out


@pytest.fixture
def refused(capfd):
    """Runs a command that must be refused, and returns what its one line says."""

    from ifguide.commands.main import main

    def refuse(*arguments):
        assert main([str(argument) for argument in arguments]) == 2
        shown = capfd.readouterr()
        assert shown.out == ""
        assert shown.err.startswith("ifguide: error: ")
        assert shown.err.endswith("\n")
        assert shown.err.count("\n") == 1
        return shown.err.removeprefix("ifguide: error: ").rstrip("\n")

    return refuse


@pytest.fixture
def terminal(monkeypatch):
    """Would say yes to whatever is asked; nothing is."""
    answers = io.StringIO("y\n" * 9)
    monkeypatch.setattr("sys.stdin", answers)
    yield
    assert answers.tell() == 0
