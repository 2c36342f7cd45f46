"""Which rows names ask for."""

import pytest

from ifguide.errors import InputError
from ifguide.rivals.methods import all_methods, rows_of
from ifguide.rivals.sweep import Grid, swept
from ifguide.selection.config import SelectionConfig
from ifguide.training.config import Objective

WAYS = ["quick", "slow"]


def names(*wanted):
    return [row.name for row in rows_of(wanted, WAYS)]


def test_all_is_every_method_in_every_way_of_training_once():
    found = names("all")
    assert len(found) == len(set(found))
    trained = [m.name for m in all_methods() if m.model != "baseline" and not m.preferences]
    for method in trained:
        assert {f"{method}@quick", f"{method}@slow"} <= set(found)
    assert set(found) - {f"{m}@{w}" for m in trained for w in WAYS} == {
        "baseline",
        "dpo",
        "dpo-texts",
        "rad",
    }


def test_a_method_is_meant_in_every_way_and_a_row_alone():
    assert names("ours") == ["ours@quick", "ours@slow"]
    assert names("ours@slow", "baseline", "ours@slow") == ["baseline", "ours@slow"]


@pytest.mark.parametrize("unknown", ["theirs", "ours@never", "baseline@quick", ""])
def test_an_unknown_name_is_refused_with_what_there_is(unknown):
    with pytest.raises(InputError, match=r"--methods: .* is not known; .*ours.*quick, slow"):
        names(unknown)


def test_a_sweep_is_the_product_of_its_settings():
    grid = Grid(budget=(0.01, 0.02), weight=(1.0, 3.0))
    objective = Objective(kind="clamped", ceiling=9.0)
    found = swept(grid, SelectionConfig(window=0, quantile=0.97), objective)
    first, *others = found
    points = {(m.mask.selection.budget, m.mask.objective.weight) for m in others}
    assert points == {(0.01, 1.0), (0.01, 3.0), (0.02, 1.0), (0.02, 3.0)}
    assert first.name == "baseline"
    for method in others:
        assert method.mask.scorer == "own"
        assert method.mask.selection.quantile == 0.97
        assert method.mask.objective.kind == "clamped"
        assert method.mask.objective.ceiling == 9.0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ceiling", "penalty"),
        ("ceiling", "unlikelihood"),
        ("ceiling", "masking"),
        ("weight", "masking"),
    ],
)
def test_a_sweep_over_what_the_objective_ignores_is_refused(name, kind):
    with pytest.raises(
        InputError, match=rf"sweep: --{name} would be ignored, .* is {kind}; remove"
    ):
        swept(Grid(**{name: (1.0, 2.0)}), SelectionConfig(), Objective(kind=kind))


def test_a_sweep_over_nothing_is_refused():
    with pytest.raises(InputError, match=r"sweep: there is nothing to vary; .*--budget"):
        Grid()
