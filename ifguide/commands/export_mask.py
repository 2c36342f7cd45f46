"""``ifguide export-mask``: a finished run's mask in the format of another trainer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ifguide.commands.command import Command, add_folder, add_verify, folder_of
from ifguide.lazily import functions_of
from ifguide.masks.registry import MASK_FORMATS

if TYPE_CHECKING:
    from ifguide.commands import libraries
    from ifguide.run import mask_export
else:
    libraries = functions_of("ifguide.commands.libraries")
    mask_export = functions_of("ifguide.run.mask_export")


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_folder(parser)
    names = ", ".join(MASK_FORMATS.names())
    parser.add_argument("--to", required=True, metavar="FORMAT", help=f"one of {names}")
    parser.add_argument("--out", type=Path, required=True, help="a new folder for the mask")
    parser.add_argument("--tokenizer", metavar="OTHER", help="by characters, for its tokens")
    parser.add_argument("--share", type=float, help="of a token's characters (0.5)")
    parser.add_argument("--block-length", type=int, help="of its blocks (the run's)")
    parser.add_argument("--replace", action="store_true", help="write over a mask that is there")
    add_verify(parser)


def _do(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    MASK_FORMATS.check(parsed.to, "--to")
    folder = folder_of(parsed)
    libraries.hush(quiet=parsed.quiet)
    target = mask_export.Target(
        tokenizer=parsed.tokenizer, share=parsed.share, block_length=parsed.block_length
    )
    out = mask_export.write_mask(
        folder,
        parsed.to,
        parsed.out,
        target,
        replace=parsed.replace,
        verify=parsed.verify,
        trust_remote_code=parsed.trust_remote_code,
    )
    print(f"The mask: {out} (its README.md says how to read it)")
    return 0


EXPORT_MASK = Command(
    name="export-mask",
    about="write a run's mask in the format of another trainer",
    add_options=_add_options,
    do=_do,
)
