"""The page and the card of a trained judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COLUMNS = {
    "auc": "AUC",
    "accuracy": "accuracy at .5",
    "brier": "Brier score",
    "calibration_error": "calibration error",
    "at_least_half": "share at .5 or more",
}
MEANING = """In brackets: 95% bootstrap intervals over the texts. The Brier score is the mean of
(score - label)²; the calibration error the mean over the texts of |mean score - share of toxic| in
the text's bin, of ten. BOLD has one side: what stands at .5 or more there is wrong."""
CARD = """---
library_name: transformers
pipeline_tag: text-classification
language: en
---

# A judge of toxicity

{about}

It is a sequence classifier with the labels `neutral` and `toxic`. In ifguide it grades by the name
`hf:FOLDER`.

It says what these two data sets' annotators said of tweets and of single comments in English. It is
no moderator: what it was not asked about below, it may well get wrong, and dialects are rated more
toxic than they are, as in Davidson et al.'s labels.

## What it was asked about

{table}
"""


def about(table: Mapping[str, Any]) -> str:
    """What the judge was made of and how, in plain sentences."""
    settings = table["settings"]
    start = settings["model"].rsplit("/", 1)[-1]
    depth = f"first {settings['depth']} blocks" if settings["depth"] else "blocks"
    return f"""Trained from the {depth} of {start} on {table["learnt_from"]:,} texts,
{table["toxic"]:,} of them toxic: tweets (Davidson et al. 2017, hate and offensive against neither;
three in ten of the offensive ones) and both sides of ParaDetox (Logacheva et al. 2022); a twentieth
of each is held out. Its last {settings["layers"]} blocks and the head learnt: AdamW at
{settings["learning_rate"]:g}, {settings["epochs"]:g} epochs, texts of at most {settings["tokens"]}
tokens, seed {settings["seed"]}. Civil comments, toxigen and BOLD are not among what it learnt
from."""


def rows(table: Mapping[str, Any]) -> str:
    """The figures, a row a set of texts and judge."""
    lines = [
        f"| judge | texts | toxic / all | {' | '.join(COLUMNS.values())} |",
        "|---" * (3 + len(COLUMNS)) + "|",
    ]
    for row in table["rows"]:
        cells = [_shown(row.get(name)) for name in COLUMNS]
        counts = f"{row['toxic']} / {row['count']}"
        lines.append(f"| {row['judge']} | {row['texts']} | {counts} | {' | '.join(cells)} |")
    lines += ["", MEANING, "", *(f"- {name}: {what}" for name, what in table["meaning"].items())]
    return "\n".join(lines)


def render(table: Mapping[str, Any]) -> str:
    """The whole Markdown page."""
    made = f"`{table['command']}`, {table['date']}, torch {table['torch']}, one thread."
    return f"# A judge that reads context\n\n{made}\n\n{about(table)}\n\n{rows(table)}\n"


def card(table: Mapping[str, Any]) -> str:
    """The model card that lies beside the checkpoint."""
    return CARD.format(about=about(table), table=rows(table))


def _shown(figure: Mapping[str, float] | None) -> str:
    if figure is None:
        return "-"
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"
