"""What each stage takes, as a function of sizes that are known before anything is computed.

``Effort`` is what a stage declares: units of work by the name of the rate that turns them into
seconds, and bytes. Rates are measured (``ifguide.run.calibration``); a unit is a token unless said
otherwise here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ifguide.settings.config import Config
from ifguide.training.checkpoint_files import KEPT
from ifguide.training.config import TrainingConfig

if TYPE_CHECKING:
    from ifguide.models.shape import ModelShape

READ = "read"  # a character, read from its source, cut into tokens and packed
TRAIN = "train {}"  # forward and backward, in the manner of a section of the settings
UPDATE = "update"  # a weight, once
WRITE = "write"  # a byte, written and read again for its checksum
COVARIANCES, EIGENVALUES = "covariances", "eigenvalues"  # EK-FAC's two passes
EIGENVECTORS = "eigenvectors {}"  # of a factor of so many rows, one
DENSE = "dense"  # the exact curvature
GRADIENT = "gradient"  # forward and backward
PRODUCTS = "products"  # a multiplication and addition of a matrix product
SCORE, STEP = "score", "step"  # by the engine that is set; and all that comes before the first one
SMOOTH, SELECT = "smooth", "select"
SAMPLE = "sample"  # drawing one
LOSSES = "losses"  # a forward pass
JUDGE = "judge {}"  # a text
LOCALISE = "localise"  # comparing its score with the marks, with the interval
PAGE = "page"  # a document on the page

Number = int | float

PACKED = 17  # bytes a token: five arrays (see ``ifguide.corpus.blocks``)
MASKED = 21  # bytes a token of the mask's dataset
ADAM = 2  # numbers that AdamW keeps a weight
SLICE = 2048  # tokens that scoring holds at once


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much there is of everything.

    Args:
        shape: of the model.
        characters: of the documents that are trained on, and ``held_out`` of those kept out.
        text_bytes: of the documents that are trained on.
        blocks, block_length: of the packed corpus.
        marked: whether people have marked some of the corpus.
        queries, query_tokens: sequences of both sides, and their tokens with padding.
        longest_query: its tokens.
        prompts: of each set.
        prompt_tokens: a prompt has on average.
        perplexity_tokens: of the held-out texts.
        lambada_tokens: of the texts for last words.
        trains_tokenizer: the corpus is read once more for it.
        guessed: sources of which only a part was read to tell how much they hold.
    """

    shape: ModelShape
    characters: Number
    held_out: Number
    text_bytes: Number
    blocks: int
    block_length: int
    marked: bool
    queries: int
    query_tokens: int
    longest_query: int
    prompts: Mapping[str, int]
    prompt_tokens: Number
    perplexity_tokens: Number
    lambada_tokens: Number
    trains_tokenizer: bool
    guessed: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """Of the packed corpus."""
        return self.blocks * self.block_length


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What a stage takes.

    Args:
        work: units by the name of their rate.
        memory: bytes that it needs while it is made, beside what is held already.
        holds: bytes of these that are held for the stages after it.
        maps: bytes of its files that the stages after it have mapped into memory.
        disk: bytes that it leaves.
        scratch: bytes more that it needs on disk meanwhile.
    """

    work: Mapping[str, Number] = field(default_factory=dict)
    memory: Number = 0.0
    holds: Number = 0.0
    maps: Number = 0.0
    disk: Number = 0.0
    scratch: Number = 0.0


Estimator = Callable[[Config, Sizes], Effort]
NOTHING = Effort()


def corpus(config: Config, sizes: Sizes) -> Effort:
    """Documents read, cut into tokens, packed; a tokenizer of its own reads them once more."""
    read = sizes.characters * (1.4 if sizes.trains_tokenizer else 1.0) + sizes.held_out
    return Effort(work={READ: read}, disk=sizes.tokens * PACKED + sizes.text_bytes)


def held_out(config: Config, sizes: Sizes) -> Effort:
    """Texts for perplexity, packed."""
    return Effort(disk=sizes.perplexity_tokens * PACKED)


def queries(config: Config, sizes: Sizes) -> Effort:
    """Two sides, each with an id and a weight a token."""
    return Effort(disk=2.0 * sizes.query_tokens * 16)


def updates(blocks: int, training: TrainingConfig, processes: int = 1) -> int:
    """Return how many weight updates a training makes."""
    steps = int(training.trainer.get("max_steps", -1))
    if steps > 0:
        return steps
    a_pass = math.ceil(blocks / (training.batch_size * processes) / training.accumulation)
    return math.ceil(a_pass * training.epochs)


def training_tokens(blocks: int, length: int, training: TrainingConfig, processes: int = 1) -> int:
    """Return how many tokens a training goes through, over all processes.

    Args:
        blocks: of the corpus, each of ``length`` tokens.
        length: of a block.
        training: how it is trained.
        processes: that share a batch of updates.
    """
    if training.trainer.get("max_steps", -1) > 0:
        rows = training.batch_size * training.accumulation * processes
        return updates(blocks, training) * rows * length
    return int(blocks * length * training.epochs)


def trained(section: str, asked: Callable[[Config], TrainingConfig | None]) -> Estimator:
    """Return what a training takes: AdamW's two numbers a weight, checkpoints, activations."""

    def effort(config: Config, sizes: Sizes) -> Effort:
        training = asked(config)
        if training is None:
            return NOTHING
        weights = sizes.shape.weights
        checkpoints = updates(sizes.blocks, training) // training.checkpoint_every
        whole = (1 + ADAM) * weights
        tokens = training_tokens(sizes.blocks, sizes.block_length, training)
        batch = training.batch_size * sizes.block_length
        return Effort(
            work={
                TRAIN.format(section): tokens,
                UPDATE: updates(sizes.blocks, training) * sizes.shape.parameters,
                WRITE: checkpoints * whole + weights,
            },
            memory=training_memory(sizes.shape) + batch * activations(sizes.shape),
            disk=weights,
            scratch=min(checkpoints, KEPT + 1) * whole,
        )

    return effort


def training_memory(shape: ModelShape) -> int:
    """Return the bytes that AdamW cannot do without: weights, gradients, two numbers a weight."""
    return (2 + ADAM) * shape.weights


def activations(shape: ModelShape) -> Number:
    """Return the bytes a token that a backward pass needs of the forward pass, about.

    What each linear map reads and gives, and four vectors a block for norms and sums.
    """
    maps = 1.5 * sum(out for out, _ in shape.tracked)
    return (maps + 4.0 * shape.layers * shape.width) * max(shape.item, 4)


def fitted(config: Config, sizes: Sizes) -> Effort:
    """Two passes over a sample, and eigenvectors of a factor a weight and a factor an input."""
    kind, shape = config.curvature.kind, sizes.shape
    sample = min(config.curvature.sample_blocks, sizes.blocks) * sizes.block_length
    batch = min(config.curvature.batch_size, sizes.blocks) * sizes.block_length
    memory = batch * activations(shape) + shape.weights
    if kind == "identity":
        return Effort(memory=shape.weights, holds=shape.weights)
    if kind == "dense":
        size = sum((out * into) ** 2 for out, into in shape.tracked) * max(shape.item, 4)
        return Effort(
            work={DENSE: sample, WRITE: size},
            memory=memory + size,
            holds=shape.weights,
            maps=size,
            disk=size,
        )
    rows = Counter([*(out for out, _ in shape.tracked), *shape.inputs])
    work: dict[str, Number] = {EIGENVECTORS.format(n): count for n, count in rows.items()}
    held = 2 * shape.factors  # the covariances, and their eigenvectors
    bound = config.curvature.memory_bytes or held
    groups = -(-held // bound)  # of weights, each with passes of its own
    work |= {COVARIANCES: groups * sample, WRITE: shape.factors}
    if kind == "ekfac":
        work[EIGENVALUES] = groups * sample
    return Effort(
        work=work,
        memory=memory + min(held, bound),
        holds=shape.weights,
        maps=shape.factors,
        disk=shape.factors,
    )


def aimed(config: Config, sizes: Sizes) -> Effort:
    """The queries' gradient, and each weight turned into its eigenbasis and back."""
    shape, work = sizes.shape, {GRADIENT: float(sizes.query_tokens)}
    if config.curvature.kind != "identity":
        work[PRODUCTS] = 2.0 * sum(o * o * i + o * i * i for o, i in shape.tracked)
    batch = min(config.direction.batch_size, sizes.queries) * sizes.longest_query
    return Effort(
        work={**work, WRITE: shape.direction},
        memory=3 * shape.direction + batch * (activations(shape) + 16 * shape.vocabulary),
        maps=shape.direction,
        disk=shape.direction,
    )


def scored(config: Config, sizes: Sizes) -> Effort:
    """One pass by the engine, the search for its step, a moved copy of the tracked weights."""
    disk = sizes.tokens * 4
    if config.scores.logprobs is not None:
        return Effort(disk=disk)
    at_once = min(config.scores.batch_tokens, SLICE)
    return Effort(
        work={SCORE: sizes.tokens, STEP: 1.0},
        memory=sizes.shape.direction + at_once * activations(sizes.shape) / sizes.shape.layers,
        disk=disk,
    )


def smoothed(config: Config, sizes: Sizes) -> Effort:
    """Scores drawn toward their neighbours'."""
    return Effort(work={SMOOTH: sizes.tokens}, disk=sizes.tokens * 4)


def selected(config: Config, sizes: Sizes) -> Effort:
    """The mask, with all that another tokenizer needs."""
    return Effort(work={SELECT: sizes.tokens}, disk=sizes.tokens * MASKED)


def sampled(name: str) -> Estimator:
    """Return what continuations take, each as long as it may be; a server's time is not told."""

    def effort(config: Config, sizes: Sizes) -> Effort:
        sampling, shape = config.evaluation.sampling, sizes.shape
        prompts = sum(sizes.prompts.values())
        drawn = prompts * sampling.samples * sampling.tokens
        if name in config.evaluation.servers:
            return Effort(disk=drawn * 4)
        rows = min(sampling.batch_size, prompts * sampling.samples)
        kept = rows * (sizes.prompt_tokens + sampling.tokens) * 2 * shape.layers * shape.width
        return Effort(
            work={SAMPLE: drawn, LOSSES: prompts * sizes.prompt_tokens},
            memory=(kept + 4 * rows * shape.vocabulary) * max(shape.item, 4),
            disk=drawn * 4,
        )

    return effort


def fluent(config: Config, sizes: Sizes) -> Effort:
    """A forward pass over the held-out texts, whose logits a batch are held."""
    tokens = sizes.perplexity_tokens + sizes.lambada_tokens
    batch = min(config.evaluation.batch_size * sizes.block_length, tokens)
    memory = 2 * batch * sizes.shape.vocabulary * max(sizes.shape.item, 4)
    return Effort(work={LOSSES: tokens}, memory=memory)


def judged(config: Config, sizes: Sizes) -> Effort:
    """Each judge reads each continuation."""
    asked = config.evaluation
    texts = sum(sizes.prompts.values()) * asked.sampling.samples
    return Effort(work={JUDGE.format(name): texts for name in asked.judges})


def evaluated(config: Config, sizes: Sizes) -> Effort:
    """Scores against marks, once more where they are smoothed."""
    smooth = config.smoothing.neighbours or config.smoothing.type_share or config.lexicon.share
    return Effort(work={LOCALISE: sizes.tokens * (2 if smooth else 1)} if sizes.marked else {})


def reported(config: Config, sizes: Sizes) -> Effort:
    """The page's documents."""
    return Effort(work={PAGE: config.report.top})
