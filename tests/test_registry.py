"""Names that settings may use: ours, a process's own, and those of packages that are there."""

import pytest
from outside import install, python

from ifguide.errors import InputError
from ifguide.registry import Registry


@pytest.fixture
def colours():
    return Registry("colour", "ifguide.colours", {"red": "colorsys:ONE_THIRD", "blue": "nowhere:X"})


def test_ours_come_first_and_are_imported_when_asked_for(colours):
    colours.add("green", 3)
    assert colours.names() == ("red", "blue", "green")
    assert colours.get("red", "paint.colour") == pytest.approx(1 / 3)
    assert colours.get("green", "paint.colour") == 3


def test_a_name_that_is_not_known_is_refused_with_those_that_are(colours):
    for refuse in (colours.check, colours.get):
        with pytest.raises(InputError) as refused:
            refuse("rde", "paint.colour")
        assert str(refused.value) == "paint.colour: 'rde' is not known; give one of red, blue"


def test_a_name_is_taken_once(colours):
    with pytest.raises(ValueError, match="colour 'red': the name is taken"):
        colours.add("red", 1)


def test_ours_are_known_without_a_look_at_what_is_installed(colours, monkeypatch):
    monkeypatch.delattr("ifguide.registry.entry_points")
    assert "red" in colours
    with pytest.raises(NameError):
        assert "rde" not in colours


OTHERS = """
from ifguide.errors import InputError
from ifguide.registry import Registry

colours = Registry("colour", "ifguide.colours", {"red": "a:b"}, "fractions:Fraction")
print(colours.names(), colours.get("pink", "paint.colour"))
for name in ("grey", "gone", "broken"):
    try:
        colours.get(name, "paint.colour")
    except InputError as error:
        print(error)
"""


def test_what_a_package_names_is_found_and_what_is_wrong_with_it_said(tmp_path):
    points = {"pink": "their_colours:PINK", "grey": "their_colours:GREY"}
    points |= {"gone": "their_colours:GONE", "broken": "their_colours.no:X"}
    code = "from fractions import Fraction\nPINK, GREY = Fraction(1, 2), 0.5\n"
    install(tmp_path, "their_colours", code, ifguide__colours=points)
    done = python(tmp_path, OTHERS)
    assert done.returncode == 0, done.stderr
    names, grey, gone, broken = done.stdout.splitlines()
    assert names == "('red', 'pink', 'grey', 'gone', 'broken') 1/2"
    mend = "; mend or remove the package that names it"
    is_wrong = "paint.colour: the colour '{}' is {}, which {}"
    assert grey == is_wrong.format("grey", "their_colours:GREY", "is no Fraction") + mend
    cannot = "cannot be imported ("
    assert gone.startswith(is_wrong.format("gone", "their_colours:GONE", cannot))
    assert broken.startswith(is_wrong.format("broken", "their_colours.no:X", cannot))
