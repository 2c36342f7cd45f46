"""Make an environment for each library that `compare.py` compares with.

    python benchmarks/peers/install.py FOLDER [--only kronfluence]

FOLDER/kronfluence and FOLDER/bergson become virtual environments that see the packages of the one
this runs in, behind their own: all run the same PyTorch and the same models, and nothing of theirs
comes into this one. Exactly the packages listed here are added, none by what a package asks for: a
torchvision would move PyTorch to another version. What is there already stays.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

PACKAGES = {
    "kronfluence": ("kronfluence==1.0.1", "einconv==0.1.0", "einops==0.8.2", "opt-einsum==3.4.0"),
    "bergson": (
        "bergson==2.5.1",
        "docstring-parser==0.18.0",
        "graphviz==0.21",
        "ml_dtypes==0.6.0",
        "natsort==8.4.0",
        "optree==0.20.0",
        "peft==0.21.2",
        "petname==2.9",
        "scipy==1.17.1",
        "simple-parsing==0.1.9",
        "torchopt==0.7.3",
    ),
}
INHERITED = "inherited.pth"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the environments asked for; return 1 if one of them cannot be made."""
    parser = argparse.ArgumentParser(description="Environments of the libraries compared with.")
    parser.add_argument("folder", type=Path, help="where they lie")
    parser.add_argument("--only", nargs="+", choices=PACKAGES, default=list(PACKAGES))
    parsed = parser.parse_args(arguments)
    for name in parsed.only:
        try:
            install(parsed.folder / name, PACKAGES[name])
        except subprocess.CalledProcessError as error:
            print(f"install: error: {name}: {error}", file=sys.stderr)
            return 1
    return 0


def install(environment: Path, packages: Sequence[str]) -> None:
    """Make one environment, or complete it."""
    if not interpreter(environment).exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    inherit(environment, Path(sysconfig.get_paths()["purelib"]))
    pip = [str(interpreter(environment)), "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, *packages], check=True)


def inherit(environment: Path, packages: Path) -> None:
    """Let an environment find these packages too, behind its own."""
    own = next((environment / "lib").glob("python*/site-packages"))
    line = f"import site; site.addsitedir({str(packages)!r})\n"
    (own / INHERITED).write_text(line)


def interpreter(environment: Path) -> Path:
    """Return an environment's Python."""
    return environment / "bin" / "python"


if __name__ == "__main__":
    sys.exit(main())
