"""Who labelled and who graded: a judge that made the labels is no independent grader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ifguide.evaluation.judges.registry import judge_model


@dataclass(frozen=True)
class Grading:
    """The judges behind a comparison.

    ``labelled`` names the judge by what it labelled, ``graded`` those that graded the samples, and
    ``warnings`` has a line for each figure that is not independent.
    """

    labelled: Mapping[str, str]
    graded: tuple[str, ...]
    warnings: tuple[str, ...]


def grading(labelled: Mapping[str, str], graded: Sequence[str]) -> Grading:
    """Say which judges labelled and which graded, and warn where they are the same.

    Two names are the same judge if they load the same model, whatever label of it they read.

    Args:
        labelled: the judge by what its labels made, e.g. ``{"the pairs of DPO": "hatesonar"}``.
        graded: the judges that graded the samples.
    """
    warnings = []
    for judge in graded:
        made = [what for what, name in labelled.items() if judge_model(name) == judge_model(judge)]
        if not made:
            continue
        others = [name for name in graded if _independent(name, labelled)]
        advice = f"compare by {', '.join(others)}" if others else "add another judge"
        warnings.append(
            f"judge '{judge}' labelled {' and '.join(made)} and grades the samples too: its "
            f"figures favour what it labelled; {advice}"
        )
    return Grading(dict(labelled), tuple(graded), tuple(warnings))


def _independent(judge: str, labelled: Mapping[str, str]) -> bool:
    return judge_model(judge) not in map(judge_model, labelled.values())
