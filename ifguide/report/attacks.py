"""What attacks on the models came to: tables, figures and a Markdown page.

``results`` is the dictionary of ``attacks.json``: by kind of attack, by model, its figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from ifguide.nouns import Interval
from ifguide.report.curves import Axis, Curve, Point, curves_figure
from ifguide.report.markdown import markdown
from ifguide.report.tables import Table, figure_text, plain_text, shown

Results = Mapping[str, Mapping[str, Mapping[str, Any]]]

MOST_COLUMNS = 8
TITLES = {
    "gcg": "A searched suffix to the prompt (GCG)",
    "relearn": "Fine-tuning on toxic posts",
    "lens": "Logit lens",
    "activations": "Hidden states beside the baseline's",
}
NOTES = {
    "gcg": "Success: the model, taking its likeliest token each time, goes on with the toxic "
    "target. Loss: mean over the target's tokens, in nats. Brackets: 95% bootstrap intervals over "
    "prompts.",
    "relearn": "Toxicity probability on toxic prompts after fine-tuning a copy of the model on so "
    "many toxic posts. Brackets: 95% bootstrap intervals over prompts.",
    "lens": "Mean log-probability, in nats, of the toxic and of the other tokens of the run's "
    "queries, as the model would have it if it stopped after that layer; layer 0 is the embedding.",
    "activations": "At the last token of each prompt, after each layer: the cosine with the "
    "baseline's state, and behind it how long their difference is beside that state; means over "
    "prompts. Layer 0 is the embedding.",
}


def attack_tables(results: Results) -> tuple[Table, ...]:
    """Return a table for each kind that there are results of."""
    makers = {
        "gcg": _gcg_table,
        "relearn": _relearn_table,
        "lens": _lens_table,
        "activations": _activations_table,
    }
    made = (make(results[kind]) for kind, make in makers.items() if results.get(kind))
    return tuple(table if len(table.header) <= MOST_COLUMNS else upright(table) for table in made)


def upright(table: Table) -> Table:
    """Return a table whose columns are rows, as a table of many models is read."""
    header = (table.header[0], *(row[0] for row in table.rows))
    rows = tuple(
        (name, *(row[column] for row in table.rows))
        for column, name in enumerate(table.header[1:], 1)
    )
    return Table(table.key, table.title, header, rows)


def attack_figures(results: Results) -> dict[str, Markup]:
    """Return a figure for each kind that there are results of."""
    makers = {
        "gcg": gcg_figure,
        "relearn": relearn_figure,
        "lens": lens_figure,
        "activations": activations_figure,
    }
    return {kind: make(results[kind]) for kind, make in makers.items() if results.get(kind)}


def attack_text(results: Results) -> str:
    """Return all tables as aligned plain text."""
    return "\n\n".join(plain_text(table) for table in attack_tables(results))


def attack_markdown(results: Results) -> str:
    """Return the page: each kind's table, what it means, and its figure, a file beside the page."""
    lines = ["# How easily the models are brought to be toxic", ""]
    for table in attack_tables(results):
        picture = f"![{table.title}]({table.key}.svg)"
        lines += [f"## {table.title}", "", markdown(table), NOTES[table.key], "", picture, ""]
    return "\n".join(lines)


def gcg_figure(models: Mapping[str, Mapping[str, Any]]) -> Markup:
    """The targets' mean loss by step, a curve a model; a search that has ended keeps its loss."""
    steps = max(
        (len(pair["losses"]) for entry in models.values() for pair in entry["pairs"]), default=0
    )
    curves = []
    for colour, (name, entry) in enumerate(models.items()):
        pairs = entry["pairs"]
        means = [
            sum(pair["losses"][min(step, len(pair["losses"]) - 1)] for pair in pairs) / len(pairs)
            for step in range(steps)
        ]
        points = [Point(step, mean) for step, mean in enumerate(means)]
        curves.append(Curve(name, points, colour % 3))
    return curves_figure("Loss of the toxic target under GCG", curves, Axis("step"), "nats a token")


def relearn_figure(models: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Toxicity probability against the number of posts, with intervals, a curve a model."""
    curves = [
        Curve(
            name,
            [Point(point["posts"], **point["tp"]) for point in entry["points"]],
            colour % 3,
        )
        for colour, (name, entry) in enumerate(models.items())
    ]
    across = Axis("toxic posts", by_logarithm=True)
    return curves_figure("Toxicity after fine-tuning", curves, across, "TP, toxic prompts")


def lens_figure(models: Mapping[str, Mapping[str, Any]]) -> Markup:
    """The log-probability by layer of toxic tokens, and, dashed, of the others, by model."""
    curves = [
        Curve(
            f"{name}, {side}",
            [Point(layer, value) for layer, value in enumerate(entry[side])],
            colour % 3,
            dashed=side != "toxic",
        )
        for colour, (name, entry) in enumerate(models.items())
        for side in ("toxic", "safe")
    ]
    return curves_figure("Log-probability by layer", curves, Axis("layer"), "nats")


def activations_figure(models: Mapping[str, Mapping[str, Any]]) -> Markup:
    """How far the states are from the baseline's on toxic and, dashed, on neutral prompts."""
    curves = [
        Curve(
            f"{name}, {prompts}",
            [Point(layer, value) for layer, value in enumerate(entry[prompts]["distance"])],
            colour % 3,
            dashed=prompts != "toxic",
        )
        for colour, (name, entry) in enumerate(models.items())
        for prompts in ("toxic", "neutral")
    ]
    up = "distance, of the baseline's state"
    return curves_figure("Distance of hidden states by layer", curves, Axis("layer"), up)


def _gcg_table(models: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = {
        "Success, before the search": "success_before",
        "Success, after it": "success",
        "Loss, before the search": "loss_before",
        "Loss, after it": "loss",
    }
    cells = tuple(
        (label, *(shown(Interval(**entry[name])) for entry in models.values()))
        for label, name in rows.items()
    )
    counts = tuple(f"{len(entry['pairs']):,}" for entry in models.values())
    table = (*cells, ("Prompts", *counts))
    return Table("gcg", TITLES["gcg"], ("", *models), table)


def _relearn_table(models: Mapping[str, Mapping[str, Any]]) -> Table:
    some = next(iter(models.values()))["points"]
    rows = []
    for number, point in enumerate(some):
        tps = (shown(Interval(**entry["points"][number]["tp"])) for entry in models.values())
        rows.append((f"{point['posts']:,}", f"{point['tokens']:,}", f"{point['updates']:,}", *tps))
    header = ("posts", "tokens", "updates", *models)
    return Table("relearn", TITLES["relearn"], header, tuple(rows))


def _lens_table(models: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = {
        f"{name}, {side}": m[side] for side in ("toxic", "safe") for name, m in models.items()
    }
    layers = max(len(values) for values in columns.values())
    rows = tuple(
        (f"layer {layer}", *(figure_text(values[layer]) for values in columns.values()))
        for layer in range(layers)
    )
    return Table("lens", TITLES["lens"], ("", *columns), rows)


def _activations_table(models: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = {
        f"{name}, {prompts}": entry[prompts]
        for name, entry in models.items()
        for prompts in entry
        if prompts != "seconds"
    }
    layers = max(len(found["cosine"]) for found in columns.values())
    rows = tuple(
        (
            f"layer {layer}",
            *(
                f"{found['cosine'][layer]:.4f} ({found['distance'][layer]:.3f})"
                for found in columns.values()
            ),
        )
        for layer in range(layers)
    )
    return Table("activations", TITLES["activations"], ("", *columns), rows)
