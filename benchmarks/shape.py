"""The shape of a package's code, read from its source alone: nothing of it is imported or run.

    python benchmarks/shape.py
    python benchmarks/shape.py --root before=../before --root after=. --out shape.md

A *module* is a file, an *arrow* one module's import of another of the package, a *floor* a step of
the longest chain of arrows. Arrows are of three kinds: followed when a module is loaded, when a
function is called, or by a type checker alone. A *circle* is a set of modules each of which leads
to each other one.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Literal

Kind = Literal["load", "call", "typing"]
Arrows = dict[str, set[str]]  # by module: the modules that it imports
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Import:
    """One import statement: what it names, absolutely, and when it is followed."""

    names: tuple[str, ...]
    kind: Kind


@dataclass(frozen=True)
class Class:
    """A class: its public members, and the names its bases go by in its module.

    ``methods`` are what its body defines by ``def``, ``fields`` what its body or a method assigns.
    """

    name: str
    methods: frozenset[str]
    fields: frozenset[str]
    bases: tuple[str, ...]


@dataclass(frozen=True)
class Module:
    """A file of the package by its dotted name."""

    name: str
    lines: int
    is_package: bool
    tree: ast.Module

    @cached_property
    def imports(self) -> list[Import]:
        """Every import statement, of anything."""
        return list(self._imports(self.tree, "load"))

    @cached_property
    def functions(self) -> list[tuple[str, int]]:
        """Every function's name and number of lines, methods and nested ones too."""
        return [
            (f"{self.name}.{node.name}", node.end_lineno - node.lineno + 1)
            for node in ast.walk(self.tree)
            if isinstance(node, DEFINITIONS) and node.end_lineno
        ]

    @cached_property
    def classes(self) -> list[Class]:
        """Every class."""
        return [
            Class(
                f"{self.name}.{node.name}",
                _public(_methods(node)),
                _public(_fields(node)),
                tuple(ast.unparse(base).split("[")[0] for base in node.bases),
            )
            for node in ast.walk(self.tree)
            if isinstance(node, ast.ClassDef)
        ]

    @cached_property
    def aliases(self) -> dict[str, str]:
        """What an imported name stands for, absolutely."""
        found = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                found |= {a.asname or a.name: f"{base}.{a.name}" for a in node.names}
            elif isinstance(node, ast.Import):
                found |= {a.asname: a.name for a in node.names if a.asname}
        return found

    def _imports(self, node: ast.AST, kind: Kind) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ImportFrom):
                base = self._absolute(child)
                yield Import(tuple(f"{base}.{alias.name}" for alias in child.names), kind)
            elif isinstance(child, ast.Import):
                yield Import(tuple(alias.name for alias in child.names), kind)
            elif isinstance(child, DEFINITIONS):
                yield from self._imports(child, "call")
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                yield from self._imports(ast.Module(child.body, []), "typing")
                yield from self._imports(ast.Module(child.orelse, []), kind)
            else:
                yield from self._imports(child, kind)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        up = node.level - self.is_package
        return ".".join([*parts[: len(parts) - up], *([node.module] if node.module else [])])


@dataclass(frozen=True)
class Package:
    """A package's modules by name."""

    name: str
    modules: Mapping[str, Module]

    def arrows(self, *kinds: Kind) -> Arrows:
        """Return the arrows of these kinds."""
        found: Arrows = {name: set() for name in self.modules}
        for module in self.modules.values():
            for statement in module.imports:
                if statement.kind in kinds:
                    found[module.name] |= {self._owner(name) for name in statement.names}
        return {name: targets - {name, ""} for name, targets in found.items()}

    @property
    def top_level(self) -> list[str]:
        """The modules that lie at the top level, the package's own apart."""
        own = [m.name for m in self.modules.values() if not m.is_package]
        return [name for name in own if name.count(".") == 1]

    def reachable(self) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
        """Return each class's public methods, and all its members, with those of its bases.

        The bases are those in the package.
        """
        classes = {c.name: (module, c) for module in self.modules.values() for c in module.classes}

        def line(name: str) -> set[str]:
            seen, left = set(), [name]
            while left:
                current = left.pop()
                if current in classes and current not in seen:
                    seen.add(current)
                    module, made = classes[current]
                    left += [_resolved(base, module) for base in made.bases]
            return seen

        def members(name: str) -> tuple[frozenset[str], frozenset[str]]:
            made = [classes[above][1] for above in line(name)]
            methods = frozenset().union(*(c.methods for c in made))
            return methods, methods.union(*(c.fields for c in made))

        return {name: members(name) for name in classes}

    def _owner(self, name: str) -> str:
        """Return the module that an imported name is or lies in, or nothing."""
        while name and name not in self.modules:
            name = name.rpartition(".")[0]
        return name


def read_package(root: Path, name: str) -> Package:
    """Read every module of a package that lies in ``root``.

    Raises:
        SystemExit: there is none, or a file is not Python.
    """
    folder, modules = root / name, {}
    if not (folder / "__init__.py").is_file():
        raise SystemExit(f"{folder}: no package is there; give the checkout that has it as --root")
    for file in sorted(folder.rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        dotted = ".".join(parts[:-1] if is_package else parts)
        text = file.read_text(encoding="utf-8")
        try:
            tree = ast.parse(text)
        except SyntaxError as error:
            raise SystemExit(f"{file}: line {error.lineno} is not Python ({error.msg})") from error
        modules[dotted] = Module(dotted, len(text.splitlines()), is_package, tree)
    return Package(name, modules)


def circles(arrows: Arrows) -> list[list[str]]:
    """Return the sets of modules that lead to each other, by Tarjan's algorithm."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for target in sorted(arrows[name]):
            if target not in order:
                visit(target)
                lowest[name] = min(lowest[name], lowest[target])
            elif target in stack:
                lowest[name] = min(lowest[name], order[target])
        if lowest[name] == order[name]:
            circle = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            found.append(sorted(circle))

    for name in arrows:
        if name not in order:
            visit(name)
    return found


def floors(arrows: Arrows) -> int:
    """Return the number of modules on the longest chain; a circle counts as one."""
    circle_of = {name: number for number, c in enumerate(circles(arrows)) for name in c}
    below = defaultdict(set)
    for name, targets in arrows.items():
        below[circle_of[name]] |= {circle_of[target] for target in targets} - {circle_of[name]}
    height: dict[int, int] = {}
    for number in sorted(below):  # Tarjan's finds a circle after those it leads to
        height[number] = 1 + max((height[target] for target in below[number]), default=0)
    return max(height.values(), default=0)


def shape(package: Package) -> dict[str, str]:
    """Return the figures of a package by what they are."""
    loaded, every = package.arrows("load"), package.arrows("load", "call")
    reachable = package.reachable()
    largest = max(reachable, key=lambda name: len(reachable[name][1]), default="")
    modules = list(package.modules.values())
    functions = [function for module in modules for function in module.functions]
    inside = [i for module in modules for i in module.imports if i.kind == "call"]
    return {
        "modules": str(len(modules)),
        "modules at the top level": str(len(package.top_level)),
        "import floors": str(floors(loaded)),
        "arrows, when loaded": _count(loaded),
        "arrows, inside functions": _count(package.arrows("call")),
        "arrows, for type checkers alone": _count(package.arrows("typing")),
        "circles, when loaded": _told_circles(loaded),
        "circles, with imports inside functions": _told_circles(every),
        "circles, with those for type checkers": _told_circles(
            package.arrows("load", "call", "typing")
        ),
        "import statements inside functions": str(len(inside)),
        "most public members of a class, with inherited ones": (
            "{1}, {0} of them methods ({2})".format(*map(len, reachable[largest]), largest)
            if largest
            else "0"
        ),
        "lines a file, median and most": _lengths([(m.name, m.lines) for m in modules]),
        "lines a function, median and most": _lengths(functions),
        "names of several classes": _repeated([c.name for m in modules for c in m.classes]),
        "names of several modules": _repeated([m.name for m in modules if not m.is_package]),
    }


def table(figures: Mapping[str, Mapping[str, str]]) -> str:
    """Return a page with a column a checkout."""
    rows = list(next(iter(figures.values())))
    lines = [
        "# The shape of the code",
        "",
        "By `benchmarks/shape.py`, which says what each figure means.",
        "",
        "| | " + " | ".join(figures) + " |",
        "|---|" + "---|" * len(figures),
    ]
    lines += [
        f"| {row} | " + " | ".join(column[row] for column in figures.values()) + " |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _methods(node: ast.ClassDef) -> Iterator[str]:
    yield from (child.name for child in node.body if isinstance(child, DEFINITIONS))


def _fields(node: ast.ClassDef) -> Iterator[str]:
    """Yield what a class's body assigns, and what its methods assign to ``self``."""
    for child in node.body:
        if isinstance(child, ast.Assign | ast.AnnAssign):
            targets = child.targets if isinstance(child, ast.Assign) else [child.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
            place, _, name = ast.unparse(inner).partition(".")
            if place == "self" and "." not in name:
                yield name


def _public(names: Iterator[str]) -> frozenset[str]:
    return frozenset(name for name in names if not name.startswith("_"))


def _resolved(base: str, module: Module) -> str:
    """Return the absolute name of what a base class goes by in a module."""
    first, dot, rest = base.partition(".")
    if first in module.aliases:
        return module.aliases[first] + dot + rest
    return f"{module.name}.{base}"


def _count(arrows: Arrows) -> str:
    return str(sum(map(len, arrows.values())))


def _told_circles(arrows: Arrows) -> str:
    closed = [circle for circle in circles(arrows) if len(circle) > 1]
    told = "; ".join(", ".join(circle) for circle in closed)
    return f"{len(closed)} ({told})" if closed else "0"


def _lengths(lengths: list[tuple[str, int]]) -> str:
    if not lengths:
        return "0, 0"
    name, most = max(lengths, key=lambda pair: pair[1])
    return f"{median(lines for _, lines in lengths):g}, {most} ({name})"


def _repeated(names: list[str]) -> str:
    last = [name.rpartition(".")[2] for name in names]
    repeated = sorted({name for name in last if last.count(name) > 1})
    told = ", ".join(f"{name} x{last.count(name)}" for name in repeated)
    return f"{len(repeated)} ({told})" if repeated else "0"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="The shape of a package's code.")
    here = Path(__file__).resolve().parents[1]
    parser.add_argument(
        "--root",
        action="append",
        metavar="[NAME=]DIR",
        help=f"a checkout, and what its column is called; may be given again (this one: {here})",
    )
    parser.add_argument("--package", default="ifguide", help="the package to look at in each")
    parser.add_argument("--out", type=Path, help="where the table goes")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Print the table, and write it where ``--out`` says."""
    options = _parser().parse_args(arguments)
    figures = {}
    for given in options.root or [str(Path(__file__).resolve().parents[1])]:
        name, _, folder = given.rpartition("=")
        root = Path(folder)
        figures[name or root.resolve().name] = shape(read_package(root, options.package))
    page = table(figures)
    if options.out is not None:
        options.out.write_text(page, encoding="utf-8")
    print(page, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
