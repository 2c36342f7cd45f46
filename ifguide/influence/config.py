"""The attribution's part of a run's YAML: curvature, direction, scores."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

from ifguide.errors import InputError
from ifguide.ignored import refuse_ignored
from ifguide.ranges import Count, Positive, Range, check_ranges
from ifguide.registry import Registry

ENGINES: Registry[Any] = Registry(
    "score engine",
    "ifguide.engines",
    {
        "jvp": "ifguide.influence.engines.jvp:JVP",
        "difference": "ifguide.influence.engines.difference:DIFFERENCE",
        "position": "ifguide.influence.engines.position:POSITION",
    },
    "ifguide.influence.engines.engine:ScoreEngine",
)
UNITS = {"MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
FLOAT32_ONLY = ("jvp", "position")  # of ours; what others can do is asked when they are imported


@dataclass(frozen=True, kw_only=True)
class CurvatureConfig:
    """How the curvature is fitted.

    Args:
        kind: ``ekfac`` (default), ``kfac``, ``identity``, or ``dense`` (exact; tiny models only).
        sample_blocks: number of blocks to fit on, spread by seed over the corpus.
        batch_size: blocks a batch; the result does not depend on it.
        rotation: type of the products that turn gradients into EK-FAC's eigenbasis, the costliest
            part of a wide model's fit. ``bfloat16`` halves it where the machine multiplies in that
            type; each eigenvalue is a mean of squares and moves by about 0.3%.
        eigenvalues: what EK-FAC's eigenvalues are means of. Null: the square of each block's whole
            gradient. ``token``: the squares of each position's own part of it, at one product a
            batch; what two positions of a block have in common is left out, as in the factors.
        eigenvalue_blocks: where EK-FAC's eigenvalues are taken. Null: on the blocks that the bases
            are fitted on, which flatters these. ``other``: on as many others.
        memory: what the factors that are fitted at once may take: ``16GiB`` or ``800MiB``, whose
            least is what one weight needs. Weights are then fitted in groups, with the passes over
            the sample made anew for each, and a group's factors are written before the next. The
            result is the same, bit for bit. The model, a batch's activations and what decomposes
            a factor come on top. By default all are fitted at once.
        damping: how K-FAC is damped. Null: μ is added to each eigenvalue. ``factored``: each of the
            two factors is damped, which needs no eigenvectors (Martens & Grosse 2015).
    """

    unrecorded: ClassVar = ("memory",)  # changes no result

    kind: Literal["identity", "kfac", "ekfac", "dense"] = "ekfac"
    sample_blocks: Count = 160
    batch_size: Count = 8
    rotation: Literal["full", "bfloat16"] = "full"
    eigenvalues: Literal["token"] | None = None
    eigenvalue_blocks: Literal["other"] | None = None
    damping: Literal["factored"] | None = None
    memory: str | None = None

    def __post_init__(self) -> None:
        check_ranges(self, "curvature")
        if self.memory is not None:
            _bytes_in(self.memory, "curvature.memory")
        if self.kind not in ("kfac", "ekfac"):
            since = f"kind is {self.kind}, which has no factors"
            refuse_ignored(self, "curvature", ("memory",), since)
        if self.kind != "ekfac":
            corrected = ("rotation", "eigenvalues", "eigenvalue_blocks")
            refuse_ignored(self, "curvature", corrected, f"kind is {self.kind}, not ekfac")
        if self.kind != "kfac":
            refuse_ignored(self, "curvature", ("damping",), f"kind is {self.kind}, not kfac")
        if self.kind == "identity":
            refuse_ignored(self, "curvature", ("sample_blocks",), "kind identity is not fitted")

    @property
    def memory_bytes(self) -> int | None:
        """What ``memory`` says, None where it is open."""
        return None if self.memory is None else _bytes_in(self.memory, "curvature.memory")


def _bytes_in(text: str, setting: str) -> int:
    """Return the bytes that a text such as ``16GiB`` or ``1.5 GiB`` says.

    >>> _bytes_in("1.5 GiB", "curvature.memory")
    1610612736
    """
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?) ?(MiB|GiB|TiB)", text, re.ASCII)
    size = float(found[1]) * UNITS[found[2]] if found else 0
    if not size:
        raise InputError(f"{setting}: '{text}' is no amount of memory; give e.g. 16GiB or 800MiB")
    return int(size)


@dataclass(frozen=True, kw_only=True)
class DirectionConfig:
    """How the query gradients become a direction.

    Args:
        damping: μ as a multiple of the mean eigenvalue of each weight (Grosse et al. 2023).
        relative: false takes ``damping`` as it is, in units of H, which is of a token's loss. The
            IF-Guide authors' code has 1e-8 beside an H of a block's summed loss: 1e-8 / (T - 1).
        batch_size: queries a batch; the result does not depend on it.
    """

    damping: Positive = 0.1
    relative: bool = True
    batch_size: Count = 16

    def __post_init__(self) -> None:
        check_ranges(self, "direction")


@dataclass(frozen=True, kw_only=True)
class LogprobConfig:
    """Scores from the log-probabilities that an engine of somebody else's has given the corpus.

    Args:
        plus: file of the tokens' log-probabilities under the pair's model θ+εv.
        minus: the same under θ-εv.
        pair: folder of the pair, as ``ifguide export-pair`` wrote it.
        force: take scores whose ranking is not that of ``jvp`` (Spearman below 0.98) too.
    """

    uncounted: ClassVar = ("plus", "minus", "pair")  # their files count

    plus: str
    minus: str
    pair: str
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """How the corpus is scored.

    Args:
        weights: whose curvature, direction and scores: those of the trained ``baseline``, or of the
            checkpoint that its training starts from (``initial``), which finds marks better where
            that knows the language already.
        engine: ``jvp`` (exact, one pass with dual numbers), ``difference`` (two plain passes,
            to a stated tolerance), ``position`` (the authors' form), or one that another package
            registers; see their modules.
        axis: where ``position`` reports the share of position t: at the token that it predicts, t +
            1 (``predicted``), or at its own (``input``), as the IF-Guide authors read it.
        step: size of ``difference``'s perturbation as a share of the tracked weights' norm; by
            default it is calibrated against ``jvp`` on some of the corpus's blocks, at a twentieth
            of what scoring costs or on two blocks.
        precision: ``bfloat16`` multiplies in bfloat16, the weights stay float32 (autocast; only
            with ``difference``), ``float32`` everything in the weights' own type.
        tolerance: largest error of these blocks' sums, ``max |ΔΣ| / max |Σ|``, at which a
            calibrated ``difference`` is kept; above it ``jvp`` is used. By default 3e-5 for float32
            and 1e-10 for float64; in half precision it is kept by its rank correlation with
            float32 ``jvp`` (0.98) instead. 0.01 keeps the ranking and is faster.
        batch_tokens: tokens a batch.
        shard_blocks: blocks a stored shard.
        logprobs: scores from files of log-probabilities, instead of computing them.
    """

    weights: Literal["baseline", "initial"] = "baseline"
    engine: str = "jvp"
    axis: Literal["predicted", "input"] = "predicted"
    step: Positive | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    tolerance: Positive | None = None
    batch_tokens: Count = 8192
    shard_blocks: Count = 1024
    logprobs: LogprobConfig | None = None

    def __post_init__(self) -> None:
        ENGINES.check(self.engine, "scores.engine")
        check_ranges(self, "scores")
        if self.engine in FLOAT32_ONLY:
            self.check_precision(("float32",))
        if self.engine != "position":
            refuse_ignored(self, "scores", ("axis",), f"engine is {self.engine}, not position")

    def check_precision(self, able: Collection[str]) -> None:
        """Refuse a precision that the engine is not able to work in.

        Raises:
            InputError: ``precision`` is not among those it is able to work in.
        """
        if self.precision not in able:
            raise InputError(
                f"scores.precision: {self.precision} is not for the engine {self.engine}; leave it "
                "out, or set scores.engine to difference, whose step is calibrated against float32 "
                "jvp"
            )
        if self.engine in ("jvp", "position"):
            since = f"engine is {self.engine}, not difference"
            refuse_ignored(self, "scores", ("step", "tolerance"), since)

    def by(self, engine: Literal["difference", "jvp", "position"]) -> ScoreConfig:
        """Return the same for another engine, without what only ``difference`` reads."""
        axis = self.axis if engine == "position" else "predicted"
        if engine == "difference":
            return replace(self, engine=engine, axis=axis)
        exact: dict[str, Any] = {"step": None, "tolerance": None, "precision": "float32"}
        return replace(self, engine=engine, axis=axis, **exact)


@dataclass(frozen=True, kw_only=True)
class DistilConfig:
    """How a token scorer is learnt from scores.

    Args:
        layers: of the model's blocks, the first ones, that it begins with.
        epochs: how often it goes through the corpus.
        batch_size: blocks a batch.
        learning_rate: at the start; it falls to 0.
        held_out: share of the blocks that it is compared on, and does not learn.
    """

    layers: Count
    epochs: Count = 12
    batch_size: Count = 8
    learning_rate: Positive = 2e-4
    held_out: Annotated[float, Range(0, 1, above=True, below=True)] = 0.1

    def __post_init__(self) -> None:
        check_ranges(self, "distil")
