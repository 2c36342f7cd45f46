"""The points of a curve, and which of them is shown."""

import pytest

from ifguide.errors import InputError
from ifguide.evaluation.comparison import CurvePoint
from ifguide.nouns import Interval
from ifguide.rivals.config import CompareConfig, DecodingCurve, PreferenceCurve
from ifguide.rivals.curves import best_of, points_of
from ifguide.rivals.methods import METHODS
from ifguide.training.config import PreferenceConfig

CURVES = CompareConfig(
    dpo=PreferenceConfig(beta=0.3, epochs=2.0),
    dpo_curve=PreferenceCurve(learning_rate=(1e-5, 1e-4), beta=(0.1, 0.2, 0.5)),
    decoding_curve=DecodingCurve(beta=(5.0, 50.0)),
)


def points(name, config=CURVES):
    return points_of(METHODS.get(name, ""), config)


def test_a_curve_is_the_product_of_what_it_tries_and_the_rest_is_as_set():
    found = points("dpo")
    assert {(p.learning.learning_rate, p.learning.beta) for p in found} == {
        (rate, beta) for rate in (1e-5, 1e-4) for beta in (0.1, 0.2, 0.5)
    }
    assert {p.learning.epochs for p in found} == {2.0}
    assert len({p.name for p in found}) == 6
    only = CompareConfig(
        dpo=PreferenceConfig(beta=0.3), dpo_curve=PreferenceCurve(learning_rate=(1e-5, 1e-4))
    )
    assert {p.learning.beta for p in points("dpo", only)} == {0.3}
    assert [p.decoding.beta for p in points("ours-rad")] == [5.0, 50.0]
    assert [p.name for p in points("rad")] == ["rad, beta 5", "rad, beta 50"]


def test_a_method_without_a_curve_is_its_only_point():
    for name in ("ours", "baseline", "everything"):
        assert points(name) == (METHODS.get(name, ""),)
    for name in METHODS.names():
        assert points(name, CompareConfig()) == (METHODS.get(name, ""),)
    (first, *_) = points("dpo")
    assert points_of(first, CURVES) == (first,)


def point(name, tp, emt, perplexity, within=True):
    at = Interval(tp, tp, tp)
    return CurvePoint(
        name=name,
        tp=at,
        emt=Interval(emt, emt, emt),
        perplexity=perplexity,
        rise=0.0,
        within=within,
    )


def test_the_least_toxic_point_within_the_bound_is_shown():
    beyond = point("beyond", 0.0, 0.0, 40.0, within=False)
    worse, good = point("worse", 0.3, 0.3, 20.0), point("good", 0.1, 0.3, 21.0)
    better, best = point("better", 0.1, 0.2, 21.0), point("best", 0.1, 0.2, 20.5)
    assert best_of([beyond, worse, good, better, best]).name == "best"
    assert best_of([beyond, worse, good, better]).name == "better"
    assert best_of([beyond, worse, good]).name == "good"
    assert best_of([beyond, point("near", 0.9, 0.9, 30.0, within=False)]).name == "near"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: PreferenceCurve(beta=(0.1,)), r"dpo_curve\.beta: a single value is no curve"),
        (lambda: PreferenceCurve(beta=(0.1, 0.1)), r"dpo_curve\.beta: a value is there twice"),
        (lambda: PreferenceCurve(learning_rate=(0.0, 1.0)), r"learning_rate\.0: 0\.0 is not in"),
        (lambda: DecodingCurve(beta=(-1.0, 1.0)), r"compare\.decoding_curve\.beta\.0: -1"),
        (lambda: DecodingCurve(beta=(3.0,)), r"or set compare\.decoding\.beta"),
    ],
)
def test_what_is_no_curve_is_refused(make, said):
    with pytest.raises(InputError, match=said):
        make()
