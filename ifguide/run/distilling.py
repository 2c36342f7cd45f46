"""A token scorer learnt from a finished run's scores, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ifguide.errors import InputError
from ifguide.files import TEMPORARY, check_output_folder, read_json
from ifguide.influence.config import DistilConfig
from ifguide.influence.distil import SCORER, Likeness, about_scorer, distil, save_scorer
from ifguide.run.folder import read_mark
from ifguide.run.run import looked_at
from ifguide.run.stage import Outside
from ifguide.run.stages import CORPUS, SCORE, SCORED
from ifguide.settings.reader import read_run_config


def distil_run(
    folder: Path,
    out: Path,
    settings: Mapping[str, Any] | None = None,
    *,
    replace: bool = False,
    verify: bool = False,
    trust_remote_code: bool = False,
) -> Likeness:
    """Learn a scorer from a finished run's scores and write it; the run is only read.

    Args:
        folder: of the run.
        out: a folder for the checkpoint.
        settings: of ``DistilConfig``; by default a quarter of the model's blocks, one at least.
        replace: write over a scorer of ours.
        verify: read every byte of the run.
        trust_remote_code: let a checkpoint's or tokenizer's own code run.

    Raises:
        InputError: the run has no scores that stand, or the folder may not be written to.
    """
    check_output_folder(out, "--out")
    if out.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"--out: {out} lies in the run's folder, which is only read; name another")
    ours = (out / SCORER).is_file()
    if out.is_dir() and os.listdir(out) and not (ours and replace):
        mend = "add --replace, or give --out a new folder" if ours else "give --out a new folder"
        raise InputError(f"{out}: it is not empty; {mend}")
    config = read_run_config(folder, trust_remote_code=trust_remote_code)
    with looked_at(config, folder, verify=verify) as run:
        text, scores, model = run(CORPUS), run(SCORE), run(SCORED).model
        layers = int(model.config.get_text_config().num_hidden_layers)
        asked = DistilConfig(**{"layers": max(1, layers // 4), **(settings or {})})
        scorer, found = distil(model, scores, asked, seed=config.seed)
        about = about_scorer(asked, found, str(read_mark(folder)["id"]))
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=out.absolute().parent, prefix=f".{out.name}.", suffix=TEMPORARY
        ) as place:
            made = Path(place) / "scorer"
            text.tokenizer.save_pretrained(made)
            save_scorer(made, scorer, about)
            if out.is_dir():
                shutil.rmtree(out)
            made.rename(out)
    return found


def check_scorer(place: Path, folder: Path) -> None:
    """Refuse a folder that is no scorer, or one that was learnt from another run.

    Raises:
        InputError: the option is named.
    """
    if not (place / SCORER).is_file():
        raise InputError(f"--scorer: {place} is no scorer; give a folder of ifguide distil")
    told = read_json(place / SCORER)
    if not isinstance(told, dict) or told.get("run") != read_mark(folder)["id"]:
        raise InputError(f"--scorer: {place} was learnt from another run; distil {folder}")


def scorer_files(place: Path) -> Outside[Path]:
    """Declare the files of a scorer; opening it gives its folder."""

    def files(config: object) -> Iterator[tuple[Path, str]]:
        for file in sorted(place.iterdir()):
            if file.suffix in (".json", ".safetensors") and file.is_file():
                yield file, file.name

    return Outside(name="--scorer", files=files, open=lambda config: place)
