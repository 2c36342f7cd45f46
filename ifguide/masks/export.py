"""Writing a mask in one of the formats: a folder that is whole or not there, with a card."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ifguide.corpus.tokenizers import tokenizer_fingerprint
from ifguide.errors import InputError
from ifguide.files import (
    TEMPORARY,
    check_output_folder,
    describe,
    read_sealed,
    write_sealed,
    write_text,
)
from ifguide.masks.format import MaskedCorpus, MaskFormat
from ifguide.masks.registry import MASK_FORMATS
from ifguide.version import VERSION

CARD = "ifguide-mask.json"
README = "README.md"
FORMAT = 1  # of the card
ABOUT = """\
# Mask: {about}

{selected:,} of {tokens:,} tokens are not to be learnt, found by ifguide {version} ({engine} scores,
threshold {threshold:.6g}). Corpus {corpus}, tokenizer {tokenizer}; `{card}` says more.
{origin}
{read}
The token's own loss is left out. Most trainers divide by the number of learnt tokens, ifguide's
objective `masking` by that of all tokens with a loss: the sums are the same.
"""


def check_mask_folder(out: Path, *, replace: bool) -> None:
    """Refuse a folder that a mask may not be written to.

    Raises:
        InputError: something is there that is no mask of ours, or one is and ``replace`` is not
            set, or other files lie in it.
    """
    check_output_folder(out, "--out")
    if not os.path.lexists(out) or (
        out.is_dir() and not out.is_symlink() and not any(out.iterdir())
    ):
        return
    card = out / CARD
    if out.is_symlink() or not card.is_file() or card.is_symlink():
        raise InputError(f"{out}: it is there and is no mask of ifguide's; give --out a new folder")
    if not replace:
        raise InputError(f"{out}: it is there already; give --out a new folder, or --replace")
    held = read_sealed(card, "give --out a new folder")
    ours = {CARD, *(held.get("files", {}) if isinstance(held, dict) else {})}
    there = {
        p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_symlink() or not p.is_dir()
    }
    if others := sorted(there - ours):
        raise InputError(f"{out / others[0]}: ifguide did not write it; move it away")


def export_mask(
    masked: MaskedCorpus,
    name: str,
    out: Path,
    *,
    origin: Mapping[str, Any] | None = None,
    replace: bool = False,
) -> Path:
    """Write a mask in a format, with a README.md and a card of what it is; return the folder.

    Args:
        masked: the mask.
        name: of the format.
        out: the folder; it is there when all is written, and not before.
        origin: what else the card says of where the mask comes from.
        replace: write over a mask of ours that is there.

    Raises:
        InputError: there is no such format, or the folder may not be written to.
    """
    chosen: MaskFormat = MASK_FORMATS.get(name, "--to")
    check_mask_folder(out, replace=replace)
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.{secrets.token_hex(4)}{TEMPORARY}")
    part.mkdir()
    try:
        read = chosen.write(masked, part)
        _describe(masked, chosen, name, read, part, dict(origin or {}))
        _put(part, out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return out


def _put(part: Path, out: Path) -> None:
    """Give a finished folder its name; what had it goes when the new one is there."""
    old = part.with_name(f"{part.name}-old{TEMPORARY}")
    if out.exists():
        os.replace(out, old)
    os.replace(part, out)
    shutil.rmtree(old, ignore_errors=True)


def _describe(
    masked: MaskedCorpus,
    chosen: MaskFormat,
    name: str,
    read: str,
    folder: Path,
    origin: dict[str, Any],
) -> None:
    """Write what a mask is and how it is read, and the card with every file's checksum."""
    selection, corpus = masked.selection, masked.corpus
    selected = int(selection.suppress.sum())
    cutter = tokenizer_fingerprint(masked.tokenizer)
    lost = origin.get("characters")
    said = (
        f"\nCarried over from another tokenizer by characters: of {lost['selected']:,} selected "
        f"ones {lost['lost']:,} are learnt here, {lost['gained']:,} others are not.\n"
        if lost
        else ""
    )
    text = ABOUT.format(
        about=chosen.about,
        selected=selected,
        tokens=corpus.token_count,
        version=VERSION,
        engine=selection.metadata.get("engine", "given"),
        threshold=selection.threshold,
        corpus=corpus.fingerprint[:12],
        tokenizer=cutter[:12],
        card=CARD,
        origin=said,
        read=read,
    )
    write_text(folder / README, text)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    held = {
        "format": FORMAT,
        "mask": name,
        "made_by": VERSION,
        "selected": selected,
        "tokens": corpus.token_count,
        "blocks": list(map(int, corpus.tokens.shape)),
        "corpus": corpus.fingerprint,
        "tokenizer": cutter,
        "threshold": selection.threshold,
        "metadata": dict(selection.metadata),
        **origin,
        "files": {file.relative_to(folder).as_posix(): describe(file) for file in files},
    }
    write_sealed(folder / CARD, held)
