"""A token scorer that is learnt from scores: a model's first blocks, and one number a token.

A token's score depends on no later token, so that a causal model's state at the token itself, cut
off after some blocks, is where it is read from. What is learnt is ``asinh(S / scale)``, with
``scale`` the median of ``|S|``: scores have heavy tails, and the order is kept. The scorer is an
ordinary checkpoint for token classification, with a file beside it that undoes the asinh.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AutoModelForTokenClassification, PreTrainedConfig

from ifguide.arrays import read_rows, slabs
from ifguide.errors import InputError, reading
from ifguide.files import read_json, write_json
from ifguide.influence.agreement import spearman
from ifguide.influence.config import DistilConfig
from ifguide.influence.sinks import MemorySink, ShardSink
from ifguide.models.forward import evaluating
from ifguide.models.losses import device_of
from ifguide.nouns import Corpus, TokenScores
from ifguide.parts import tell

SCORER = "ifguide-scorer.json"  # beside the checkpoint
FORMAT = 1
TOP = 0.01  # of the tokens, whose recall is told


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How a scorer's scores are like those that it learnt, on blocks that it did not learn.

    Args:
        spearman: over the tokens.
        top: share of the highest 1% that is among the scorer's highest 1%.
        tokens: how many there were.
        passes: of a token, as a share of a pass by the model, by its multiplications.
    """

    spearman: float
    top: float
    tokens: int
    passes: float


@final
@dataclass(frozen=True, eq=False)
class Scorer:
    """A model that gives each token a number, and what turns that into a score."""

    model: nn.Module
    scale: float

    def __call__(self, tokens_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """Return the score of every token; the first of a block has none, and 0."""
        scores = self.scale * torch.sinh(_numbers(self.model, tokens_BT).double())
        scores[:, 0] = 0.0
        return scores


def distil(
    model: nn.Module,
    scores: TokenScores,
    config: DistilConfig,
    *,
    seed: int = 0,
    progress: Callable[[int], None] = lambda tokens: None,
) -> tuple[Scorer, Likeness]:
    """Learn a scorer from scores, and say how like them it is.

    Args:
        model: whose first blocks the scorer begins with; it is left as it is.
        scores: what is learnt, with their corpus.
        config: how.
        seed: draws the blocks that are kept out, and the order of the others.
        progress: called with the number of tokens just learnt.

    Raises:
        InputError: there is no model for token classification of this family, the corpus has too
            few blocks, or all scores are 0.
    """
    corpus, values = scores.corpus, _values_of(scores)
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(corpus.tokens))
    kept = max(1, round(config.held_out * len(order)))
    if kept == len(order):
        raise InputError("distil: the corpus has one block; none is left to learn from")
    held, learnt = np.sort(order[:kept]), order[kept:]
    scale = _scale(values[learnt][corpus.has_loss[learnt]])
    torch.manual_seed(seed)
    scorer = Scorer(first_blocks(model, config.layers).to(device_of(model)), scale)
    _learn(scorer, corpus, values, learnt, config, draw, progress)
    tell("comparing the scorer with the scores")
    with evaluating(scorer.model):
        found = np.concatenate(
            [_scored(scorer, corpus, held[i : i + 8]) for i in range(0, kept, 8)]
        )
    counted = corpus.has_loss[held]
    true = values[held][counted].astype(np.float64)
    return scorer, Likeness(
        spearman=spearman(found[counted], true),
        top=recall(found[counted], true, TOP),
        tokens=int(counted.sum()),
        passes=_weights(scorer.model) / _weights(model),
    )


def first_blocks(model: nn.Module, layers: int) -> nn.Module:
    """Return a model for token classification that is another model's first blocks, as a copy.

    Raises:
        InputError: the model has fewer blocks, or there is none for token classification.
    """
    whole: Any = model
    config: PreTrainedConfig = copy.deepcopy(whole.config)
    text = config.get_text_config()
    if layers > text.num_hidden_layers:
        raise InputError(f"--layers: {layers}, but the model has {text.num_hidden_layers} blocks")
    text.num_hidden_layers, config.num_labels = layers, 1
    if getattr(text, "layer_types", None):
        text.layer_types = list(text.layer_types)[:layers]
    mend = "distil a run of another family (Llama, GPT-NeoX, GPT-2, Qwen, Phi, Mistral)"
    with reading("model", mend, fault="it has no model for token classification"):
        made = AutoModelForTokenClassification.from_config(
            config, dtype=torch.float32, trust_remote_code=False
        )
        inner = getattr(made, made.base_model_prefix)
        names = inner.state_dict().keys()
        state = getattr(whole, whole.base_model_prefix).state_dict()
        inner.load_state_dict({name: state[name] for name in names})
    return made


def recall(found: Float[np.ndarray, " n"], true: Float[np.ndarray, " n"], share: float) -> float:
    """Return the share of the highest true scores that is among as many of the highest found.

    >>> recall(np.array([3.0, 2, 1, 0]), np.array([3.0, 0, 2, 1]), 0.5)
    0.5
    """
    count = max(1, round(share * len(true)))
    top = [set(np.argsort(-values, kind="stable")[:count].tolist()) for values in (found, true)]
    return len(top[0] & top[1]) / count


def score_by(
    scorer: Scorer,
    corpus: Corpus,
    batch_tokens: int,
    *,
    sink: ShardSink | None = None,
    progress: Callable[[int], None] = lambda tokens: None,
) -> TokenScores:
    """Score every token of a corpus by a scorer; tokens without a loss hold 0.

    Raises:
        InputError: a score is not finite (the block is named).
    """
    sink = sink or MemorySink(corpus.tokens.shape)
    size = max(1, batch_tokens // corpus.tokens.shape[1])
    with evaluating(scorer.model):
        for rows in sink.missing():
            parts = []
            for first in range(rows.start, rows.stop, size):
                batch = np.arange(first, min(first + size, rows.stop))
                parts.append(_scored(scorer, corpus, batch))
                progress(parts[-1].size)
            sink.put(rows, np.concatenate(parts))
    return TokenScores(sink.collect(), corpus, {"engine": "distilled"})


def save_scorer(folder: Path, scorer: Scorer, about: dict[str, Any]) -> None:
    """Write a scorer as a checkpoint, with what else it is known by."""
    whole: Any = scorer.model
    whole.save_pretrained(folder)
    write_json(folder / SCORER, {"format": FORMAT, "scale": scorer.scale, **about})


def load_scorer(folder: Path, setting: str) -> Scorer:
    """Read a scorer that ``save_scorer`` wrote.

    Raises:
        InputError: it is none, or cannot be read.
    """
    if not (folder / SCORER).is_file():
        raise InputError(f"{setting}: {folder} is no scorer; give a folder of ifguide distil")
    mend = "distil the run again"
    with reading(f"{setting}: {folder}", mend):
        told = read_json(folder / SCORER)
        if told["format"] != FORMAT or not 0 < told["scale"] < float("inf"):
            raise ValueError(f"{SCORER} is of another version, or damaged")
        model = AutoModelForTokenClassification.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    return Scorer(model.eval(), float(told["scale"]))


def _learn(
    scorer: Scorer,
    corpus: Corpus,
    values: Float[np.ndarray, "N T"],
    rows: Int[np.ndarray, " n"],
    config: DistilConfig,
    draw: np.random.Generator,
    progress: Callable[[int], None],
) -> None:
    """Fit the numbers to ``asinh(S / scale)`` by their squared error over tokens with a loss."""
    model = scorer.model
    updates = config.epochs * -(-len(rows) // config.batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: 1 - done / (updates + 1))
    model.train()
    for _ in range(config.epochs):
        mixed = draw.permutation(rows)
        for first in range(0, len(mixed), config.batch_size):
            batch = np.sort(mixed[first : first + config.batch_size])
            tokens = _tokens(model, corpus, batch)
            numbers = np.arcsinh(values[batch] / scorer.scale)
            wanted = torch.as_tensor(numbers, dtype=torch.float32, device=tokens.device)
            counted: Bool[Tensor, "B T"] = torch.as_tensor(corpus.has_loss[batch]).to(tokens.device)
            error = (_numbers(model, tokens) - wanted)[counted].square()
            if len(error):
                error.mean().backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
            falling.step()
            progress(tokens.numel())
    model.eval()


def _numbers(model: nn.Module, tokens_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    return model(input_ids=tokens_BT).logits[..., 0].float()


@torch.no_grad()
def _scored(scorer: Scorer, corpus: Corpus, rows: Int[np.ndarray, " n"]) -> np.ndarray:
    found = scorer(_tokens(scorer.model, corpus, rows)).cpu().numpy() * corpus.has_loss[rows]
    if not np.isfinite(found).all():
        block = int(rows[np.flatnonzero(~np.isfinite(found).all(1))[0]])
        raise InputError(f"scorer: block {block} has a score that is not finite; distil it again")
    return found


def _tokens(model: nn.Module, corpus: Corpus, rows: Int[np.ndarray, " n"]) -> Int[Tensor, "B T"]:
    return torch.as_tensor(np.array(corpus.tokens[rows]), device=device_of(model)).long()


def _values_of(scores: TokenScores) -> Float[np.ndarray, "N T"]:
    """Return all scores in memory, as float32."""
    parts = [read_rows(scores.values, rows) for rows in slabs(scores.corpus.tokens.shape)]
    return np.concatenate(parts).astype(np.float32)


def _scale(values: Float[np.ndarray, " n"]) -> float:
    sizes = np.abs(values)
    if not sizes.any():
        raise InputError("distil: every score is 0; there is nothing to learn")
    return float(np.median(sizes[sizes > 0]))


def _weights(model: nn.Module) -> int:
    """Return how many weights a token is multiplied with: all but those of the embeddings."""
    return sum(
        weight.numel()
        for module in model.modules()
        if not isinstance(module, nn.Embedding)
        for weight in module.parameters(recurse=False)
    )


def about_scorer(config: DistilConfig, likeness: Likeness, run: str) -> dict[str, Any]:
    """Return what a scorer's file says of how it was made."""
    return {"run": run, "settings": asdict(config), "likeness": asdict(likeness)}
