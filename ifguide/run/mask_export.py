"""A finished run's mask, written for another trainer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ifguide.corpus.blocks import pack
from ifguide.corpus.config import TokenizerConfig
from ifguide.corpus.tokenizers import load_tokenizer
from ifguide.errors import InputError
from ifguide.files import TEMPORARY, lies_in
from ifguide.masks.export import check_mask_folder, export_mask
from ifguide.masks.format import MaskedCorpus
from ifguide.masks.registry import MASK_FORMATS
from ifguide.ranges import Range
from ifguide.run.folder import read_mark
from ifguide.run.proxy_makers import mask_and_scores
from ifguide.run.run import looked_at
from ifguide.run.stages import CORPUS
from ifguide.selection.remap import SHARE, check_share, remap_onto, spread
from ifguide.settings.reader import read_run_config

LENGTHS = Range(2, 2**24)  # of blocks, in tokens


@dataclass(frozen=True, kw_only=True)
class Target:
    """The tokens that a mask is written for.

    Args:
        tokenizer: a folder or a name on the hub; None for the run's own tokens.
        share: of a token's characters that must be selected.
        block_length: by default the run's.
    """

    tokenizer: str | None = None
    share: float | None = None
    block_length: int | None = None

    def __post_init__(self) -> None:
        for name in ("share", "block_length"):
            if self.tokenizer is None and getattr(self, name) is not None:
                option = name.replace("_", "-")
                raise InputError(
                    f"--{option}: it would be ignored, since the run's own tokens are written; "
                    "remove it, or give --tokenizer"
                )
        if self.block_length is not None and self.block_length not in LENGTHS:
            given = self.block_length
            raise InputError(f"--block-length: {given} is not in {LENGTHS}; give e.g. 1024")
        if self.share is not None:
            check_share(self.share, "--share")


def write_mask(
    folder: Path,
    name: str,
    out: Path,
    target: Target | None = None,
    *,
    replace: bool = False,
    verify: bool = False,
    trust_remote_code: bool = False,
) -> Path:
    """Write the mask of a finished run in a format; the run is only read.

    Args:
        folder: of the run.
        name: of the format.
        out: where it goes.
        target: the tokens that it is written for.
        replace: write over a mask of ours.
        verify: read every byte of the run.
        trust_remote_code: let the tokenizers' own code run.

    Raises:
        InputError: the run has no mask that stands, there is no such format, the folder may not be
            written to, or the tokenizer cannot be loaded.
    """
    target = target or Target()
    MASK_FORMATS.get(name, "--to")
    check_mask_folder(out, replace=replace)
    if lies_in(out, folder):
        raise InputError(
            f"{out}: it lies in the run folder, which is only read; give --out another"
        )
    config = read_run_config(folder, trust_remote_code=trust_remote_code)
    with looked_at(config, folder, verify=verify) as run:
        (selection, scores), text = mask_and_scores(run), run(CORPUS)
        own = MaskedCorpus(selection, scores, text.tokenizer)
        origin: dict[str, Any] = {"run": str(read_mark(folder)["id"])}
        if target.tokenizer is None:
            return export_mask(own, name, out, origin=origin, replace=replace)
        with _carried_over(own, target, out, trust=trust_remote_code) as (masked, characters):
            origin["characters"] = characters
            return export_mask(masked, name, out, origin=origin, replace=replace)


@contextmanager
def _carried_over(
    own: MaskedCorpus, target: Target, out: Path, *, trust: bool
) -> Iterator[tuple[MaskedCorpus, dict[str, Any]]]:
    """Cut the documents by another tokenizer for a while, beside where the mask goes."""
    try:
        asked = TokenizerConfig(path=target.tokenizer, trust_remote_code=trust)
        tokenizer = load_tokenizer(asked)
    except InputError as error:
        raise InputError(f"--tokenizer: {error}") from error
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    length = target.block_length or int(own.corpus.tokens.shape[1])
    share = SHARE if target.share is None else target.share
    with tempfile.TemporaryDirectory(
        dir=out.absolute().parent, prefix=f".{out.name}.", suffix=TEMPORARY
    ) as place:
        corpus = pack(own.corpus.documents, tokenizer, length, Path(place) / "corpus")
        selection, counts = remap_onto(own.selection, corpus, share)
        masked = MaskedCorpus(selection, spread(own.scores, corpus), tokenizer)
        yield masked, {"share": share, **asdict(counts)}
