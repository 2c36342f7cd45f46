"""Scoring and selecting as steps of datatrove's pipelines, for a corpus beyond one machine.

We write steps; datatrove's executors (local, Slurm, Ray) run them, a task a rank, and mark what is
complete. See docs/beyond_one_machine.md.
"""

from __future__ import annotations

from ifguide.extras import import_extra

import_extra("datatrove.executor", "datatrove", "datatrove", "ifguide.datatrove")

from ifguide.datatrove.pipelines import Pipeline, pipelines  # noqa: E402
from ifguide.datatrove.plan import Plan  # noqa: E402
from ifguide.datatrove.steps import Score, Select, Tally, Tokenise, WriteMask  # noqa: E402

__all__ = ["Pipeline", "Plan", "Score", "Select", "Tally", "Tokenise", "WriteMask", "pipelines"]
