"""What decides each stage: its settings, the texts it reads, and the stages it is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ifguide.corpus.prepare import sources_fingerprint
from ifguide.distributed import ranks
from ifguide.files import fingerprint_of
from ifguide.run.store import FORMAT
from ifguide.settings.config import Config
from ifguide.version import VERSION

# stage: (attribute of the pipeline that holds its result, the stages it is made from)
STAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "corpus": ("text", ()),
    "held_out": ("held_out", ("corpus",)),
    "baseline": ("baseline", ("corpus",)),
    "fit": ("curvature", ("corpus", "baseline")),
    "aim": ("direction", ("baseline", "fit")),
    "score": ("scores", ("corpus", "baseline", "aim")),
    "select": ("selection", ("score",)),
    "train": ("suppressed", ("corpus", "baseline", "select")),
    "evaluate": ("evaluation", ("held_out", "baseline", "train", "select")),
    "report": ("report", ("evaluate", "select")),
}

COUNTED = ("baseline", "fit", "score", "train")  # the stages whose tokens are known beforehand

# what was read, as far as it counts: of the "tokenizer", the "model", "queries", "prompts" and
# "logprobs" (scores that are not computed)
Contents = Mapping[str, Callable[[], Any]]


def stage_inputs(config: Config, read: Contents, name: str) -> dict[str, Any]:
    """Return all that decides what a stage makes: its settings and the stages before it."""
    upstream = STAGES[name][1]
    if name == "baseline" and config.baseline is None:
        upstream = ()
    return {
        "stage": name,
        "format": FORMAT,
        "settings": _settings(config, read, name),
        "from": {
            earlier: fingerprint_of(stage_inputs(config, read, earlier)) for earlier in upstream
        },
    }


def _settings(config: Config, read: Contents, name: str) -> str:
    data_dir = Path(config.data_dir)
    settings: dict[str, Callable[[], Sequence[Any]]] = {
        "corpus": lambda: [
            config.corpus,
            config.tokenizer,
            config.seed,
            sources_fingerprint(config.corpus.sources, data_dir),
            read["tokenizer"](),
        ],
        "held_out": lambda: [
            config.evaluation.perplexity,
            sources_fingerprint(config.evaluation.text_sources, data_dir),
        ],
        "baseline": lambda: [
            config.model,
            read["model"](),
            config.baseline,
            config.seed,
        ],
        "fit": lambda: [config.curvature, config.seed],
        "aim": lambda: [config.direction, read["queries"]()],
        "score": lambda: [config.scores, *read.get("logprobs", list)()],
        "select": lambda: [config.smoothing, config.lexicon, config.selection],
        "train": lambda: [config.model, read["model"](), config.training, config.seed],
        "evaluate": lambda: [
            config.evaluation,
            read["prompts"](),
            sources_fingerprint(config.evaluation.lambada_sources, data_dir),
            config.seed,
        ],
        "report": lambda: [config.report, VERSION],
    }
    return fingerprint_of(settings[name]())


def total_tokens(config: Config, name: str, corpus_tokens: int) -> int:
    """Return how many tokens one of the ``COUNTED`` stages goes through on the main rank."""
    world = ranks.world_size()
    if name == "score":
        return corpus_tokens // world
    if name == "fit":
        sampled = min(config.curvature.sample_blocks * config.corpus.block_length, corpus_tokens)
        return sampled * (2 if config.curvature.kind == "ekfac" else 1) // world
    training = config.training if name == "train" else config.baseline
    return int(corpus_tokens * training.epochs) if training else 0
