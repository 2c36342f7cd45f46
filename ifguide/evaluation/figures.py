"""What a run found, as typed nouns: the figures of its models, of its scores, and their cost.

``report.json`` is a ``Report``; ``write_report`` and ``read_report`` are the only ones that write
and read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ifguide.evaluation.typed_json import read_typed, write_typed
from ifguide.lazily import functions_of
from ifguide.nouns import Interval, TrainingCurve

notebook = functions_of("ifguide.report.notebook")

REPORT_FORMAT = 1  # of report.json; raised when what a field means changes


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Expected maximum toxicity and toxicity probability on one prompt set, in [0, 1]."""

    emt: Interval
    tp: Interval


@dataclass(frozen=True, kw_only=True)
class Unjudged:
    """How many texts a judge could not score, and why, by their ids."""

    count: int
    texts: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one judge makes of a model's continuations, by prompt set.

    Args:
        emt: expected maximum toxicity.
        tp: toxicity probability.
        worst: each prompt's highest toxicity over its judged samples in the order of the prompts;
            None where none of them is judged (the measures leave such a prompt out).
        categories: both measures of each further category, where the judge has any.
        unjudged: what was left out, where that is to be reported.
        beginnings: how many continuations are longer than the judge reads, so that it judged their
            beginnings, of the sets that have any.
        weights: the sha256 of the judge's weights, where it is a model.
    """

    emt: Mapping[str, Interval]
    tp: Mapping[str, Interval]
    worst: Mapping[str, tuple[float | None, ...]]
    categories: Mapping[str, Mapping[str, Measures]] | None = None
    unjudged: Mapping[str, Unjudged] | None = None
    beginnings: Mapping[str, int] | None = None
    weights: str | None = None


@dataclass(frozen=True, kw_only=True)
class JudgedModel:
    """What judges make of one model's continuations, by the judge's name."""

    judges: Mapping[str, Verdict]


@dataclass(frozen=True, kw_only=True)
class Rejudged:
    """What judges make of kept continuations, by model."""

    models: Mapping[str, JudgedModel]


@dataclass(frozen=True, kw_only=True)
class Fluency:
    """What a model still knows.

    Args:
        perplexity: by the name of the text.
        lambada_accuracy: share of last words predicted, where it was asked for.
        lambada_last_token: share of last tokens predicted.
    """

    perplexity: Mapping[str, float]
    lambada_accuracy: float | None = None
    lambada_last_token: float | None = None


@dataclass(frozen=True, kw_only=True)
class ModelFigures:
    """A model's entry of the report.

    Args:
        emt, tp: by prompt set, as the first judge sees them.
        judges: what each judge makes of the continuations, by its name.
        perplexity, lambada_accuracy, lambada_last_token: see ``Fluency``.
    """

    emt: Mapping[str, Interval]
    tp: Mapping[str, Interval]
    judges: Mapping[str, Verdict]
    perplexity: Mapping[str, float]
    lambada_accuracy: float | None = None
    lambada_last_token: float | None = None

    @classmethod
    def of(cls, judges: Mapping[str, Verdict], fluency: Fluency) -> ModelFigures:
        """Put the verdicts, the deciding judge's first, and the fluency together."""
        first = next(iter(judges.values()))
        return cls(
            emt=first.emt,
            tp=first.tp,
            judges=judges,
            perplexity=fluency.perplexity,
            lambada_accuracy=fluency.lambada_accuracy,
            lambada_last_token=fluency.lambada_last_token,
        )


@dataclass(frozen=True, kw_only=True)
class Localisation:
    """How well scores find the tokens that people marked; nothing where none is marked.

    The figures are those of ``ifguide.evaluation.localisation``; ``smoothed`` has them for the
    scores that tokens were selected by, where these are others.
    """

    average_precision: Interval | None = None
    auroc: Interval | None = None
    precision_at_1_percent: Interval | None = None
    recall_at_1_percent: Interval | None = None
    precision_at_2_percent: Interval | None = None
    recall_at_2_percent: Interval | None = None
    base_rate: float | None = None
    in_marked_documents: float | None = None
    smoothed: Localisation | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was found of both models, and how well the scores find what people marked."""

    models: Mapping[str, ModelFigures]
    localisation: Localisation


@dataclass(frozen=True, kw_only=True)
class ProxySummary:
    """Whose mask it is, where it is another run's, and what became of its characters.

    Args:
        run: the other run's id, as its mark says.
        model: what its model is called.
        share: of a token's characters that had to be selected there.
        selected, lost, gained: characters (see ``ifguide.selection.remap.CharacterCounts``).
    """

    run: str
    model: str
    share: float
    selected: int
    lost: int
    gained: int


@dataclass(frozen=True, kw_only=True)
class SelectionSummary:
    """What was selected: the score threshold, and numbers of tokens and of ranked documents.

    ``proxy`` says whose mask it is, where it is not the run's own.
    """

    threshold: float
    budget: int
    selected: int
    documents: int
    proxy: ProxySummary | None = None


@dataclass(frozen=True, kw_only=True)
class CorpusSummary:
    """How the models read: the tokens that stand before every text, none in most cases."""

    document_start: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a stage took: wall-clock seconds, tokens processed, peak memory of the process."""

    seconds: float
    tokens: int
    peak_rss_bytes: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a run came to.

    Args:
        version: of the ifguide that made it.
        format: of the file, see ``REPORT_FORMAT``.
        config_fingerprint: of all that decided the figures.
        models: the figures by model, the baseline first.
        localisation: the scores against human marks.
        selection: what was selected.
        cost: by stage.
        corpus: how it was made ready for the models.
        training: how it went, by model; a model that was taken as it is has none.
        weights: the sha256 of the models' weights, by model; ``start`` is what they started from.
    """

    version: str
    format: int = REPORT_FORMAT
    config_fingerprint: str
    models: Mapping[str, ModelFigures]
    localisation: Localisation
    selection: SelectionSummary
    cost: Mapping[str, Cost]
    corpus: CorpusSummary = CorpusSummary()
    training: Mapping[str, TrainingCurve] = field(default_factory=dict)
    weights: Mapping[str, str] | None = None

    def _repr_html_(self) -> str:
        shown: str = notebook.report_html(self)
        return shown


def write_report(file: Path, report: Report) -> None:
    """Write ``report.json``, whole or not at all."""
    write_typed(file, report)


def read_report(file: Path) -> Report:
    """Read ``report.json``.

    Raises:
        InputError: it cannot be read, is damaged, or is of a later ifguide's format.
    """
    return read_typed(file, Report, REPORT_FORMAT)
