"""What every test shares: one thread, checked shapes, no network, and the model families."""

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from jaxtyping import install_import_hook

install_import_hook("ifguide", "beartype.beartype")

import pytest
import torch
from tiny import FAMILIES
from transformers.utils import logging as transformers_logging

torch.set_num_threads(1)
transformers_logging.set_verbosity_error()


@pytest.fixture(params=sorted(FAMILIES))
def family(request):
    return request.param
