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
_WINDOW = {**_GROUPED, "sliding_window": 8}
# families that look at a window, count distances themselves, or remember by something else than
# keys and values
OTHER_FAMILIES = {
    "bloom": {"n_layer": 2, "hidden_size": 16, "n_head": 4},
    "cohere2": _WINDOW,
    "exaone4": _WINDOW,
    "falcon": {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 4, "alibi": True},
    "gemma2": {**_WINDOW, "head_dim": 4},
    "gemma3_text": {**_WINDOW, "head_dim": 4},
    "gpt_neo": {
        "num_layers": 2,
        "hidden_size": 16,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 8,
        "max_position_embeddings": 32,
    },
    "gpt_oss": {**_WINDOW, "head_dim": 4, "num_local_experts": 4, "num_experts_per_tok": 2},
    "mamba": {"num_hidden_layers": 2, "hidden_size": 16, "state_size": 4},
    "mistral": {**_WINDOW, "head_dim": 4},
    "modernbert-decoder": {**_SMALL, "local_attention": 8},
    "mpt": {"n_layers": 2, "d_model": 16, "n_heads": 4, "max_seq_len": 32},
    "olmo3": _WINDOW,
    "opt": {
        "num_hidden_layers": 2,
        "hidden_size": 16,
        "num_attention_heads": 4,
        "ffn_dim": 24,
        "word_embed_proj_dim": 16,
        "max_position_embeddings": 32,
    },
    "phi3": _WINDOW,
    "qwen2": {**_WINDOW, "use_sliding_window": True, "max_window_layers": 0},
    "starcoder2": _WINDOW,
}


def tiny_model(family="llama", dtype=torch.float64, seed=0, **changes):
    torch.manual_seed(seed)
    ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    family_settings = {**OTHER_FAMILIES, **FAMILIES}[family]
    settings = {"vocab_size": VOCABULARY, **ids, **family_settings, **changes}
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


def calibrated_on(model, corpus):
    """Which tokens of a corpus the step of ``difference`` is calibrated on."""
    from ifguide.influence.calibrate import calibration_blocks

    probe = calibration_blocks(model, corpus).numpy()
    rows = [any((block == one).all() for one in probe) for block in np.asarray(corpus.tokens)]
    return corpus.has_loss & np.array(rows)[:, None]
