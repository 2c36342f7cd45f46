"""A tiny checkpoint, and texts of the built-in corpus in the layout of the data folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from judge_texts import BOLD, CIVIL, DAVIDSON, PARADETOX, TOXIGEN
from transformers import AutoConfig, AutoModelForCausalLM, set_seed

from ifguide.corpus.builtin import builtin_posts
from ifguide.corpus.tokenizers import train_tokenizer

POSTS = 1500


def make_inputs(folder: Path) -> tuple[str, Path]:
    """Write them and return the checkpoint's folder and the data's."""
    posts = builtin_posts(POSTS, seed=5)
    toxic = [post.text for post in posts if post.spans]
    neutral = [post.text for post in posts if not post.spans]
    data = folder / "data"
    tweets = [{"text": t, "label": "hate"} for t in toxic[::2]]
    tweets += [{"text": t, "label": "neither"} for t in neutral[::2]]
    sides = zip(toxic[1::2], neutral[1::2], strict=False)
    pairs = [{"id": f"p{k}", "toxic": a, "neutral": b} for k, (a, b) in enumerate(sides)]
    others = builtin_posts(200, seed=6)
    civil = [
        {"id": p.id, "text": p.text, "toxic_spans": [list(s) for s in p.spans]} for p in others
    ]
    hate = [{"text": p.text, "label": "hate" if p.spans else "neutral"} for p in others[:80]]
    harmless = [{"id": p.id, "text": p.text} for p in others if not p.spans]
    _write(data / DAVIDSON, tweets)
    _write(data / PARADETOX, pairs)
    _write(data / CIVIL, civil)
    _write(data / TOXIGEN, hate)
    _write(data / BOLD, harmless)
    return str(_checkpoint(folder / "model", [*toxic, *neutral])), data


def _write(file: Path, records: Iterable[Mapping[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def _checkpoint(folder: Path, texts: list[str]) -> Path:
    tokenizer = train_tokenizer(texts, 512)
    set_seed(0)
    config = AutoConfig.for_model(
        "llama",
        vocab_size=512,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
