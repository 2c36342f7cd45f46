"""The cards of a mask and of a suppressed model, as a hub reads them: YAML and Markdown.

Nothing that people named is taken for markup; what is not known is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData, EvalResult, ModelCard, ModelCardData

from ifguide.evaluation.figures import ModelFigures, Report
from ifguide.report.markdown import in_code, in_markdown, markdown
from ifguide.report.tables import MEASURES, Table, comparison, localisation, selection

SUPPRESSED = "suppressed"
PAPER = "Coalson, Bae, Carlini, Hong, NeurIPS 2025, [arXiv 2506.01790](https://arxiv.org/abs/2506.01790)"
_LICENCE = re.compile("[a-z0-9][a-z0-9.+-]*")
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))


@dataclass(frozen=True, kw_only=True)
class CardSource:
    """One source of the corpus: its name, what the settings say it is, and its licence, if told."""

    name: str
    what: str
    licence: str | None


@dataclass(frozen=True, kw_only=True)
class CardJudge:
    """One judge: its name, and what it is known by (packages, commits, checksums of files)."""

    name: str
    known_by: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a run's figures come from.

    Args:
        sources: of the corpus.
        judges: that the figures are by.
        tokenizer: what the settings say it is.
        start: what the settings say that the model started from.
        base: its name on a hub, if it has one.
        engine: that the scores are by.
        blocks, tokens: of the corpus.
        weights: the sha256 of each file of the suppressed model's weights, by name.
        settings: of the run, as YAML.
    """

    sources: Sequence[CardSource]
    judges: Sequence[CardJudge]
    tokenizer: str
    start: str
    base: str | None
    engine: str
    blocks: int
    tokens: int
    weights: Sequence[tuple[str, str]]
    settings: str


def mask_card(report: Report, known: Provenance) -> str:
    """Return the card of the dataset of a run's mask."""
    data = DatasetCardData(
        tags=["ifguide", "data-attribution", "detoxification"],
        size_categories=_size(known.blocks),
        task_categories=["text-generation"],
        pretty_name="Tokens that teach toxicity",
        **_licence_fields(known.sources),
    )
    share = f"{report.selection.selected:,} of {known.tokens:,} tokens are selected"
    parts = [
        "# Tokens that teach toxicity",
        f"Made by ifguide {report.version} (IF-Guide: {PAPER}). {share}. A row is a block of the "
        "corpus, all lists lie on the axis of the predicted token:",
        markdown(_columns()),
        f"Token ids are those of {in_code(known.tokenizer)}; scores are by the engine "
        f"{in_code(known.engine)}, positive where learning the token makes a model more toxic.",
        *_table_parts([selection(report.selection), localisation(report.localisation)]),
        *_common(report, known),
    ]
    return _card(DatasetCard, data, parts)


def model_card(report: Report, known: Provenance) -> str:
    """Return the card of a run's suppressed model."""
    figures = report.models[SUPPRESSED]
    data = ModelCardData(
        base_model=known.base,
        model_name="suppressed",
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["ifguide", "detoxification"],
        eval_results=list(_results(figures)),
    )
    held = [(in_code(name), in_code(digest)) for name, digest in known.weights]
    files = "\n".join(f"- {name}: sha256 {digest}" for name, digest in held)
    parts = [
        "# A model trained without learning what makes it toxic",
        f"Made by ifguide {report.version} (IF-Guide: {PAPER}). It started from "
        f"{in_code(known.start)}; {report.selection.selected:,} of {known.tokens:,} tokens of the "
        "corpus were suppressed.",
        files,
        *_common(report, known),
    ]
    return _card(ModelCard, data, parts)


def _common(report: Report, known: Provenance) -> list[str]:
    """Return what both cards say: figures with intervals, judges, sources, settings."""
    return [
        *_table_parts([comparison(report.models)]),
        "Brackets hold 95% bootstrap intervals.",
        "## Judges",
        "\n".join(
            f"- {in_code(judge.name)}" + "".join(f"; {in_code(word)}" for word in judge.known_by)
            for judge in known.judges
        ),
        "## Sources",
        "\n".join(
            f"- {in_markdown(source.name)}: {in_code(source.what)}, "
            + (f"licence {in_markdown(source.licence)}" if source.licence else "licence not given")
            for source in known.sources
        ),
        "The licences of the sources hold for what is made of them.",
        "## Settings",
        _fenced(known.settings),
    ]


def _results(figures: ModelFigures) -> Iterable[EvalResult]:
    """Yield each figure as a hub's index of evaluations has it, its interval beside it."""
    for judge, verdict in figures.judges.items():
        for measure, title in MEASURES.items():
            for prompts, found in getattr(verdict, measure).items():
                yield _result(
                    f"{prompts} prompts", f"{title}, by {judge}", measure, found.value,
                    {"low": found.low, "high": found.high, "level": 0.95},
                )  # fmt: skip
    for text, value in figures.perplexity.items():
        yield _result(text, "Perplexity", "perplexity", value, None)


def _result(
    dataset: str, name: str, kind: str, value: float, interval: dict[str, float] | None
) -> EvalResult:
    return EvalResult(
        task_type="text-generation",
        dataset_type="ifguide",
        dataset_name=dataset,
        dataset_config=dataset,  # without it results on several texts become those on one
        metric_type=kind,
        metric_name=name,
        metric_value=value,
        metric_args=interval,
    )


def _columns() -> Table:
    rows = (
        ("input_ids", "token ids of the block"),
        ("suppress", "whether training should not learn the token"),
        ("score", "the score that it was selected by"),
        ("document", "the number of the token's document, -1 for none"),
        ("start, end", "the token's characters in its document's text"),
    )
    return Table("columns", "Columns", ("column", "what it holds"), rows)


def _licence_fields(sources: Sequence[CardSource]) -> dict[str, Any]:
    """Return the licence that all sources share, ``other`` where they differ, or nothing."""
    given = {source.licence.lower() if source.licence else "" for source in sources}
    if "" in given or not given:
        return {}
    first, *others = sorted(given)
    return {"license": first if not others and _LICENCE.fullmatch(first) else "other"}


def _size(rows: int) -> str:
    return next((name for most, name in _SIZES if rows < most), "n>1M")


def _table_parts(tables: Iterable[Table]) -> list[str]:
    return [text for t in tables if t.rows for text in (f"## {t.title}", markdown(t))]


def _fenced(text: str) -> str:
    """Return text as a block of code, behind a fence that it does not hold."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}yaml\n{text.rstrip()}\n{fence}"


def _card(kind: type[DatasetCard] | type[ModelCard], data: Any, parts: Iterable[str]) -> str:
    """Return a card, read back once: its YAML is valid, or nothing is returned."""
    body = "\n\n".join(part.strip() for part in parts if part)
    text = f"---\n{data.to_yaml()}\n---\n\n{body}\n"
    kind(text)
    return text
