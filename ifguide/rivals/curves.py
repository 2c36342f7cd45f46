"""A method at several settings: the points of its curve, and which of them is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from ifguide.evaluation.comparison import CurvePoint
from ifguide.rivals.config import CompareConfig, DecodingCurve, PreferenceCurve
from ifguide.rivals.methods import Method


def points_of(method: Method, config: CompareConfig) -> tuple[Method, ...]:
    """Return a method at every combination of what its curve tries, by names that tell them.

    A method without a curve, or whose settings are its own, is its only point.
    """
    if method.preferences and method.learning is None:
        return tuple(
            _named(replace(method, learning=replace(config.dpo, **values)), values)
            for values in _combinations(config.dpo_curve)
        )
    if method.reward and method.decoding is None:
        return tuple(
            _named(replace(method, decoding=replace(config.decoding, **values)), values)
            for values in _combinations(config.decoding_curve)
        )
    return (method,)


def best_of(points: Sequence[CurvePoint]) -> CurvePoint:
    """Return the point of the least toxicity probability among those within the bound.

    Of several it is the one of the least expected maximum toxicity, then of the least perplexity.
    If no point is within the bound, it is the one of the least perplexity.
    """
    within = [point for point in points if point.within]
    if not within:
        return min(points, key=lambda point: point.perplexity)
    return min(within, key=lambda point: (point.tp.value, point.emt.value, point.perplexity))


def _combinations(curve: PreferenceCurve | DecodingCurve) -> Iterator[dict[str, Any]]:
    """Yield every combination of what a curve tries; of nothing, a single one without values."""
    given = {name: values for name, values in vars(curve).items() if values}
    for combination in product(*given.values()):
        yield dict(zip(given, combination, strict=True))


def _named(point: Method, values: Mapping[str, float]) -> Method:
    """Give a point a name that tells its values; without any it is the method itself."""
    if not values:
        return replace(point, learning=None, decoding=None)
    told = ", ".join(f"{name} {value:g}" for name, value in values.items())
    return replace(point, name=f"{point.name}, {told}", about=f"{point.about}, with {told}")
