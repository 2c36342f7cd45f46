"""The figures of a package of which all is known; its code would fail if any of it ran."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
FILES = {
    "__init__": "raise SystemExit('imported')",
    "top": """from made.middle import one, two


def run():
    import made.aside

    return 1
""",
    "aside": """import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import made.top
""",
    "middle/__init__": "",
    "middle/one": """from . import two
from .two import Base


class Same:
    pass
""",
    "middle/two": """class Base:
    field: int = 0

    def method(self):
        self.set, self.set.x = 1, 2
        self._hidden = 3

    @property
    def value(self): ...

    def _own(self): ...
""",
    "lower/__init__": "",
    "lower/one": """from made.middle import two


class Middle(two.Base):
    def more(self): ...


class Same(Middle, dict):
    def method(self): ...
""",
}


@pytest.fixture
def shape(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import shape

    return shape


@pytest.fixture
def checkout(tmp_path):
    for name, text in FILES.items():
        file = tmp_path / "made" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def figures_of(shape, checkout):
    return shape.shape(shape.read_package(checkout, "made"))


def test_every_figure_is_what_was_written(shape, checkout):
    circle = "1 (made.aside, made.top)"
    assert figures_of(shape, checkout) == {
        "modules": "8",
        "modules at the top level": "2",
        "import floors": "3",  # top -> middle.one -> middle.two
        "arrows, when loaded": "4",
        "arrows, inside functions": "1",
        "arrows, for type checkers alone": "1",
        "circles, when loaded": "0",
        "circles, with imports inside functions": "0",
        "circles, with those for type checkers": circle,
        "import statements inside functions": "1",
        "most public members of a class, with inherited ones": (
            "5, 3 of them methods (made.lower.one.Middle)"
        ),
        "lines a file, median and most": "5.5, 11 (made.middle.two)",
        "lines a function, median and most": "1, 4 (made.top.run)",
        "names of several classes": "1 (Same x2)",
        "names of several modules": "1 (one x2)",
    }


def test_a_circle_counts_as_one_floor(shape, checkout):
    """two -> lower.one -> two; top and middle.one stand above it."""
    file = checkout / "made/middle/two.py"
    file.write_text("import made.lower.one\n" + file.read_text())
    found = figures_of(shape, checkout)
    assert found["circles, when loaded"] == "1 (made.lower.one, made.middle.two)"
    assert found["import floors"] == "3"


def test_a_table_has_a_column_a_checkout(shape, checkout, tmp_path, capsys):
    page = tmp_path / "shape.md"
    roots = ["--root", f"then={checkout}", "--root", str(checkout)]
    assert shape.main([*roots, "--package", "made", "--out", str(page)]) == 0
    assert capsys.readouterr().out == page.read_text()
    assert f"| | then | {checkout.name} |" in page.read_text()
    assert "| import floors | 3 | 3 |" in page.read_text()


def test_by_default_it_is_of_this_checkout(shape, capsys):
    assert shape.main([]) == 0
    assert "| circles, when loaded | 0 |" in capsys.readouterr().out


def test_what_cannot_be_read_is_one_line(shape, checkout, tmp_path):
    with pytest.raises(SystemExit, match=r"^\S+: no package is there; give the checkout"):
        shape.main(["--root", str(tmp_path / "nowhere")])
    (checkout / "made/top.py").write_text("def :")
    with pytest.raises(SystemExit, match=r"^\S+top\.py: line 1 is not Python"):
        shape.main(["--root", str(checkout), "--package", "made"])
