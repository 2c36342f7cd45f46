"""A package of somebody else's: a module and its entry points, and a process that has both."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
MAIN = "from ifguide.commands.main import main; sys.exit(main())"


def install(folder, module, code, **points):
    """Lay a module into ``folder`` as an installed package; ``points`` is value by group.

    A group is spelt with ``__`` for its dot: ``ifguide__engines={"theirs": "module:VALUE"}``.
    """
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    about = folder / f"{module}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    lines = []
    for group, named in points.items():
        lines.append(f"[{group.replace('__', '.')}]")
        lines += [f"{name} = {value}" for name, value in named.items()]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def python(folder, code):
    """Run ``code`` in a process of its own that has what lies in ``folder``, and return it."""
    path = os.pathsep.join(str(place) for place in (folder, TESTS, TESTS.parent))
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def ifguide(folder, *arguments):
    """Run the command line in a process of its own that has what lies in ``folder``."""
    return python(folder, f"import sys; sys.argv[1:] = {[str(a) for a in arguments]!r}\n{MAIN}")
