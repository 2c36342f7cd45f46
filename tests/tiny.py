"""Tiny models of every family, and corpora of random tokens."""

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from ifguide.nouns import Corpus

VOCABULARY = 61
_SMALL = {
    "num_hidden_layers": 2,
    "hidden_size": 16,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}
_GROUPED = {**_SMALL, "num_key_value_heads": 2}
FAMILIES = {
    "gpt2": {"n_layer": 2, "n_embd": 16, "n_head": 2, "n_positions": 32},
    "gpt_neox": _SMALL,
    "llama": _GROUPED,
    "qwen2": _GROUPED,
    "qwen3": {**_GROUPED, "head_dim": 4},
    "gemma": {**_GROUPED, "head_dim": 4},
    "gemma2": {**_GROUPED, "head_dim": 4},
    "gemma3_text": {**_GROUPED, "head_dim": 4},
    "mistral": {**_GROUPED, "head_dim": 4},
    "olmo": _GROUPED,
    "olmo2": _GROUPED,
    "phi": _SMALL,
    "phi3": _GROUPED,
}


def tiny_model(family="llama", dtype=torch.float64, seed=0, **changes):
    torch.manual_seed(seed)
    ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    settings = {"vocab_size": VOCABULARY, **ids, **FAMILIES[family], **changes}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **settings))
    with torch.no_grad():  # away from initialisation, where half the structure is still zero
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.to(dtype).eval()


def random_corpus(blocks=6, length=12, seed=0, vocabulary=VOCABULARY, padding=0, documents=()):
    """Blocks of random tokens, two documents a block; the last ``padding`` tokens are padding."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, vocabulary, (blocks, length)).astype(np.int32)
    document = (np.arange(blocks * length) // (length // 2)).reshape(blocks, length)
    if padding:
        document.ravel()[-padding:] = -1
        tokens.ravel()[-padding:] = 0
    where = np.zeros_like(tokens)
    return Corpus(
        tokens=tokens,
        document=document.astype(np.int32),
        start=where,
        end=where,
        marked=rng.random(tokens.shape) < 0.1,
        documents=documents,
        end_of_text=0,
        fingerprint=f"random-{blocks}-{length}-{seed}-{padding}",
    )
