"""A finished run's mask and suppressed model as repositories of a hub, each with its card."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import datasets
import pyarrow.parquet as pq
from huggingface_hub import HfApi
from huggingface_hub.utils._validators import validate_repo_id

from ifguide.corpus.config import Source
from ifguide.errors import InputError, reading
from ifguide.evaluation.figures import Report
from ifguide.files import check_output_folder, copy_files, lies_in, write_text
from ifguide.report.cards import CardJudge, CardSource, Provenance, mask_card, model_card
from ifguide.run.manifest import read_manifest
from ifguide.run.run import Run, looked_at
from ifguide.run.stages import CORPUS, JUDGED, REPORT, SCORE, SELECT, TRAIN
from ifguide.settings.config import Config
from ifguide.settings.plain import read_plain_yaml, write_plain_yaml
from ifguide.settings.reader import read_run_config, to_yaml

Kind = Literal["dataset", "model"]
CARD = "README.md"
ROWS = 4096  # blocks in a row group
FILE_ROWS = 1 << 18  # blocks in a file
KEEPS = {CARD, ".gitattributes"}  # what an empty repository may hold


def push(
    folder: Path,
    *,
    mask: str | None = None,
    model: str | None = None,
    dry: Path | None = None,
    private: bool = False,
    replaced: bool = False,
    verify: bool = False,
    trust_remote_code: bool = False,
) -> list[str]:
    """Push a run's mask and its suppressed model, or write what would be pushed.

    The run is only looked at. The mask goes as Parquet files, with the corpus's token ids; the
    model as it was saved. The settings on the cards say nothing of where data lie on this machine.

    Args:
        folder: of the run, with a report.
        mask: the repository of the mask, a dataset: ``OWNER/NAME``.
        model: the repository of the model.
        dry: a new folder, which gets ``mask`` and ``model``; then nothing is pushed.
        private: repositories that are made are private.
        replaced: a repository that holds something may be written over.
        verify: read every byte of the run.
        trust_remote_code: let a tokenizer's own code run.

    Returns:
        where each of the two now is.

    Raises:
        InputError: the run is not finished or does not stand, a repository cannot be written to, or
            neither is named.
    """
    both: tuple[tuple[Kind, str | None], ...] = (("dataset", mask), ("model", model))
    asked = {kind: name for kind, name in both if name is not None}
    if not asked:
        raise InputError("--mask, --model: neither is given; name a repository for one of them")
    for kind, name in asked.items():
        with reading(f"{_option(kind)}: '{name}'", "give OWNER/NAME", fault="it is no repository"):
            validate_repo_id(name)
    config = read_run_config(folder, trust_remote_code=trust_remote_code)
    if dry is not None:
        _check_dry(dry, folder)
    with looked_at(config, folder, verify=verify) as run, _place(dry) as place:
        report, known = run(REPORT), provenance(run)
        written = {kind: _written(kind, run, report, known, place) for kind in asked}
        if dry is not None:
            return [str(inner) for inner in written.values()]
        api = HfApi()
        for kind, name in asked.items():
            _check_free(api, kind, name, replaced=replaced)
        return [_upload(api, k, name, written[k], private=private) for k, name in asked.items()]


def provenance(run: Run) -> Provenance:
    """Return where a run's figures come from, as its manifests have it.

    Raises:
        InputError: a stage is missing or does not stand.
    """
    config, corpus = run.config, run(CORPUS).corpus
    reads = read_manifest(run.path(JUDGED["suppressed"])).reads.get("evaluation.judges", {})
    trained = read_manifest(run.path(TRAIN)).files
    sums = ((name, file["sha256"]) for name, file in trained.items())
    model = config.model
    here = model.path is None or Path(model.path).expanduser().exists()
    return Provenance(
        sources=[_source(source) for source in config.corpus.sources],
        judges=[_judge(run, name, reads) for name in config.evaluation.judges],
        tokenizer=_named(config.tokenizer.path, config.tokenizer.gguf)
        or f"a byte-level BPE of {config.tokenizer.vocab_size} tokens, trained on the corpus",
        start=_start(config),
        base=None if here else model.path,
        engine=str(run(SCORE).metadata.get("engine", config.scores.engine)),
        blocks=int(corpus.tokens.shape[0]),
        tokens=corpus.token_count,
        weights=[(name, digest) for name, digest in sums if name.endswith(".safetensors")],
        settings=write_plain_yaml(_unplaced(read_plain_yaml(to_yaml(config, trust=False), ""))),
    )


def _judge(run: Run, name: str, reads: Any) -> CardJudge:
    """Return what a judge is known by: what its stage has read, and its weights."""
    known = [str(reads.get("known_by", {}).get(name, ""))]
    files = reads.get("files", {}).items()
    known += [f"{file}: sha256 {digest}" for file, digest in files if file.startswith(f"{name}/")]
    weights = run(JUDGED["suppressed"]).judges[name].weights
    known += [f"sha256 of the weights {weights}"] if weights else []
    return CardJudge(name=name, known_by=tuple(word for word in known if word and word != name))


def _source(source: Source) -> CardSource:
    if source.hub is not None:
        what = f"{source.hub}@{source.revision}" if source.revision else source.hub
    elif source.path is not None:
        what = Path(source.path).name
    else:
        what = f"the built-in corpus, {source.builtin} posts"
    return CardSource(name=source.name, what=what, licence=source.licence)


def _start(config: Config) -> str:
    model = config.model
    if model.scratch is not None:
        return f"random weights of {model.scratch['model_type']}"
    named = _named(model.path, model.gguf)
    return f"{named}@{model.revision}" if model.revision else named


def _named(path: str | None, gguf: str | None) -> str:
    """Return a hub's name, or the last part of a path: where it lies is this machine's affair."""
    here = path is not None and Path(path).expanduser().exists()
    names = [Path(path).name if here else path] if path else []
    return "/".join([*names, *([Path(gguf).name] if gguf else [])])


def _unplaced(plain: Any) -> Any:
    """Return plain settings without where things lie: folders, and addresses of servers."""
    if isinstance(plain, dict):
        kept = {name: item for name, item in plain.items() if name not in ("data_dir", "url")}
        return {name: _unplaced(item) for name, item in kept.items()}
    if isinstance(plain, list):
        return [_unplaced(item) for item in plain]
    if isinstance(plain, str) and plain.startswith(("/", "~", ".")):
        return Path(plain).name
    return plain


def _check_dry(dry: Path, run: Path) -> None:
    """Refuse a folder that holds something, or lies in the run's.

    Raises:
        InputError: it does.
    """
    check_output_folder(dry, "--dry")
    if lies_in(dry, run):
        raise InputError(f"--dry: {dry} lies in the run's folder, which is only read; name another")
    if dry.exists() and any(dry.iterdir()):
        raise InputError(f"{dry}: it is not empty; give --dry a new folder")


@contextmanager
def _place(dry: Path | None) -> Iterator[Path]:
    """Yield the folder that repositories are written in first."""
    if dry is not None:
        dry.mkdir(parents=True, exist_ok=True)
        yield dry
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _written(kind: Kind, run: Run, report: Report, known: Provenance, place: Path) -> Path:
    """Write one repository's files and its card."""
    if kind == "model":
        inner = place / "model"
        made = run.path(TRAIN)
        copy_files(made, read_manifest(made).files, inner)
        write_text(inner / CARD, model_card(report, known))
        return inner
    inner = place / "mask"
    (inner / "data").mkdir(parents=True, exist_ok=True)
    _write_parquet(run.path(SELECT) / "mask", inner / "data")
    write_text(inner / CARD, mask_card(report, known))
    return inner


def _write_parquet(mask: Path, to: Path) -> None:
    """Write the mask's rows as Parquet files, some rows in memory at once."""
    table = datasets.load_from_disk(str(mask)).data.table
    count = max(1, -(-len(table) // FILE_ROWS))
    for number in range(count):
        part = table.slice(number * FILE_ROWS, FILE_ROWS)
        file = to / f"train-{number:05d}-of-{count:05d}.parquet"
        pq.write_table(part, file, row_group_size=ROWS)


def _check_free(api: HfApi, kind: Kind, name: str, *, replaced: bool) -> None:
    """Refuse a repository that holds something already, unless it may be written over."""
    with reading(f"{_option(kind)}: {name}", _LOG_IN, fault="the hub cannot be asked", lines=1):
        held: list[str] = []
        if api.repo_exists(name, repo_type=kind):
            held = [file for file in api.list_repo_files(name, repo_type=kind) if file not in KEEPS]
    if held and not replaced:
        raise InputError(
            f"{_option(kind)}: {name} holds {len(held)} files, such as {held[0]}; name another "
            "repository, or --replace"
        )


def _upload(api: HfApi, kind: Kind, name: str, inner: Path, *, private: bool) -> str:
    with reading(f"{_option(kind)}: {name}", _LOG_IN, fault="cannot be pushed", lines=1):
        made = api.create_repo(name, repo_type=kind, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=name, repo_type=kind, folder_path=inner, commit_message="Made by ifguide"
        )
        return str(made)


_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN to a token that may write there"


def _option(kind: Kind) -> str:
    return "--mask" if kind == "dataset" else "--model"
