"""Names that a browser, a terminal or a reader of Markdown or XML would take for something else."""

from __future__ import annotations

from dataclasses import replace

from ifguide.evaluation.comparison import Comparison, ComparisonRow, MethodCost
from ifguide.evaluation.figures import (
    Fluency,
    Localisation,
    ModelFigures,
    Report,
    SelectionSummary,
    Verdict,
)
from ifguide.nouns import Interval

# "k", which no table has of its own, tells the name's columns apart
HOSTILE = [
    "k</script><script>document.title='owned'</script>",
    "k<img src=x onerror=document.title='owned'>",
    "k\"' onload=alert(1) style=color:red x='",
    "k]]></title><svg onload=alert(1)>",
    "javascript:alert('k')",
    "k\x00\x07\x1b[2J\x1b]0;owned\x07\x9b2J",
    "k\u202egnp.exe\u2066 \u200f",
    "k\r\nb\tc\u2028d\x85e",
    "k\udfff\ud800\uffff\ufffe",
    "k日本語 e\u0301 👩\u200d💻 ｆ",
    "k{{ 7 * 7 }}{% raw %}{x:>9}%s",
]


def figures(name: str) -> ModelFigures:
    both = {"toxic": Interval(0.5, 0.4, 0.6), name: Interval(0.2, 0.1, 0.3)}
    return ModelFigures.of(
        {name: Verdict(tp=both, emt=both, worst={})}, Fluency(perplexity={name: 20.0})
    )


def compared(name: str) -> Comparison:
    cost = MethodCost(passes=3.0, seconds=75.0, passes_a_generated_token=1)
    row = ComparisonRow(
        name="baseline",
        about=name,
        figures=figures(name),
        cost=cost,
        against_first={},
        by_threshold={},
    )
    return Comparison(
        version="0.1.0",
        command=f"ifguide compare {name}",
        date="2026-01-01",
        machine="2-core CPU",
        judges=(name,),
        labeller=name,
        warnings=(f"judge '{name}' labelled too",),
        threshold=0.5,
        thresholds=(0.5,),
        human_text=None,
        samples=2,
        tokens=20,
        rows=(row, replace(row, name=name)),
    )


def reported(name: str) -> Report:
    return Report(
        version="0.1.0",
        config_fingerprint="0" * 64,
        models={"baseline": figures(name), name: figures(name)},
        localisation=Localisation(),
        selection=SelectionSummary(threshold=1.0, budget=1, selected=1, documents=1),
        cost={},
    )
