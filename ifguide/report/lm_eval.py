"""The table of lm-eval's figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ifguide.report.tables import MISSING, Table, plain_text


def lm_eval_text(results: Mapping[str, Any]) -> str:
    """Return every figure of ``lm_eval_results`` as aligned lines: task, metric, value, ± error."""
    rows = []
    for task, figures in results["results"].items():
        for key, value in figures.items():
            metric, _, strategy = key.partition(",")
            if not isinstance(value, float) or metric.endswith("_stderr"):
                continue
            error = figures.get(f"{metric}_stderr,{strategy}")
            shown = f"{error:.4g}" if isinstance(error, float) else MISSING
            rows.append((task, metric, f"{value:.4g}", shown))
    header = ("task", "metric", "value", "± error")
    return plain_text(Table("lm-eval", "lm-eval", header, tuple(rows)))
