"""Make an environment for each library that reads a mask which ifguide has exported.

    python benchmarks/trainers/install.py FOLDER [--only olmo megatron]

As benchmarks/peers/install.py: each sees the packages of the one this runs in, behind its own, and
exactly the packages listed here are added. They are what reading an export imports, and no more.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "peers"))

import install as peers

PACKAGES = {
    "axolotl": ("axolotl==0.19.0", "addict==2.4.0", "colorama==0.4.6", "fire==0.7.1"),
    "datatrove": (
        "datatrove==0.10.1",
        "humanize==4.17.0",
        "loguru==0.7.3",
        "nanotron==0.4",
        "orjson==3.13.0",
    ),
    "dolma": ("dolma==1.2.1",),
    "megatron": ("megatron-core==0.16.1",),
    "olmo": (
        "ai2-olmo-core==3.0.0",
        "bettermap==1.3.1",
        "boto3==1.44.8",
        "botocore==1.44.8",
        "cached_path==1.8.10",
        "cffi==2.1.1",
        "cryptography==50.0.2",
        "dataclass-extensions==0.5.0",
        "google-api-core==2.44.0",
        "google-auth==2.63.0",
        "google-cloud-core==2.8.0",
        "google-cloud-storage==3.17.1",
        "google-crc32c==1.9.0",
        "google-resumable-media==2.11.0",
        "googleapis-common-protos==1.76.0",
        "importlib_resources==7.1.0",
        "jmespath==1.1.0",
        "pyasn1==0.6.5",
        "pyasn1_modules==0.4.2",
        "pycparser==3.12",
        "s3transfer==0.19.3",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the environments asked for; return 1 if one of them cannot be made."""
    parser = argparse.ArgumentParser(description="Environments of the trainers' libraries.")
    parser.add_argument("folder", type=Path, help="where they lie")
    parser.add_argument("--only", nargs="+", choices=PACKAGES, default=list(PACKAGES))
    parsed = parser.parse_args(arguments)
    for name in parsed.only:
        try:
            peers.install(parsed.folder / name, PACKAGES[name])
        except subprocess.CalledProcessError as error:
            print(f"install: error: {name}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
