"""A proxy: a smaller model in the run itself, or another run whose mask serves this one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifguide.corpus.packed_files import LEARNT_FILE, PACKED_FILES
from ifguide.errors import InputError
from ifguide.evaluation.figures import ProxySummary
from ifguide.lazily import functions_of
from ifguide.models.config import ModelConfig
from ifguide.nouns import Selection, TokenScores
from ifguide.run.folder import check_run_folder
from ifguide.run.layout import MASK_FILES
from ifguide.run.manifest import MANIFEST
from ifguide.run.outside import data_folder
from ifguide.run.stage import Need, Outside, Stage, StageOf, needs
from ifguide.settings.config import Config
from ifguide.settings.reader import read_run_config

if TYPE_CHECKING:
    from ifguide.corpus.prepare import PreparedCorpus
    from ifguide.run import proxy_makers
else:
    proxy_makers = functions_of("ifguide.run.proxy_makers")

WIDTHS = ("hidden_size", "intermediate_size", "n_embd", "n_inner", "ffn_dim")
MASK = "proxy/mask"
SETTING = "training.mask_from"


def proxy_model(config: Config) -> ModelConfig:
    """Return the proxy's model: the one that is set, or the run's own at half its width.

    Raises:
        InputError: none is set and the run's model is a checkpoint, or has no width to halve.
    """
    if config.compare.proxy is not None:
        return config.compare.proxy
    scratch = config.model.scratch
    widths = {key: scratch[key] for key in WIDTHS if scratch and scratch.get(key)}
    if scratch is None or not widths or not all(isinstance(w, int) for w in widths.values()):
        raise InputError(
            "compare.proxy: the method 'proxy' needs a smaller model with the run's tokenizer; "
            "name one (path or scratch), or leave the method out"
        )
    halved: dict[str, Any] = {**scratch, **{key: width // 2 for key, width in widths.items()}}
    return ModelConfig(scratch=halved, dtype=config.model.dtype)


def has_proxy_run(config: Config) -> bool:
    """Whether another run's mask is taken."""
    return config.training.mask_from is not None


def proxy_folder(config: Config) -> Path:
    """Return the folder of the run whose mask is taken; ``has_proxy_run`` says if there is one."""
    return data_folder(config) / Path(str(config.training.mask_from)).expanduser()


@contextmanager
def naming_setting() -> Iterator[None]:
    """Put the setting that names the other run before what is refused of that run."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{SETTING}: {error}") from error


@dataclass(frozen=True, eq=False)
class ProxyRun:
    """Another run, opened to be read: what it selects, by which scores, and what it is called."""

    selection: Selection
    scores: TokenScores
    name: str
    model: str
    setting: str


@dataclass(frozen=True, eq=False)
class ProxyMask:
    """Another run's mask and scores on this corpus's tokens, and where they come from."""

    selection: Selection
    scores: TokenScores

    @property
    def summary(self) -> ProxySummary:
        """Whose mask it is, and what became of its characters."""
        return ProxySummary(**self.selection.metadata["proxy"])


def _files(config: Config) -> Iterator[tuple[Path, str]]:
    """Yield what decides the other run's mask and its places in the texts."""
    if not has_proxy_run(config):
        return
    folder = proxy_folder(config)
    with naming_setting():
        check_run_folder(folder)
        stage = MASK if has_proxy_run(read_run_config(folder)) else "select"
        if not (folder / stage / MANIFEST).is_file():
            command = "select" if stage == "select" else "train"
            raise InputError(f"{folder}: it has no finished mask; run `ifguide {command}` first")
    for file in sorted((folder / stage / "mask").glob("data-*.arrow")):
        yield file, f"mask/{file.name}"
    for name in ("ranking.npz", "selection.json"):
        yield folder / stage / name, name
    blocks = folder / "corpus" / "blocks"
    for name in PACKED_FILES:
        if name != LEARNT_FILE or (blocks / name).exists():
            yield blocks / name, f"corpus/{name}"


PROXY_RUN = Outside(
    name=SETTING, files=_files, open=lambda config: proxy_makers.open_proxy_run(config)
)


def masked_by_proxy(corpus: Need[PreparedCorpus]) -> StageOf[ProxyMask]:
    """Declare the mask of another run, by characters on this corpus's tokens."""
    return Stage(
        name=MASK,
        about="another run's mask, by characters on this corpus's tokens",
        needs=needs(corpus, PROXY_RUN),
        settings=lambda config: config.training.mask_share,
        section="training.mask_share",
        make=proxy_makers.carry_over,
        save=proxy_makers.save_mask,
        load=lambda folder, get: proxy_makers.load_mask(folder, get(corpus)),
        files=MASK_FILES,
        command="train",
        kept=has_proxy_run,
    )


def selection_of(mask: Need[ProxyMask]) -> StageOf[Selection]:
    """Declare what the other run's mask keeps from being learnt."""
    return _part("proxy/selection", mask, "the tokens that another run's mask selects", "selection")


def scores_of(mask: Need[ProxyMask]) -> StageOf[TokenScores]:
    """Declare the scores that the other run's mask was made by."""
    return _part("proxy/scores", mask, "the scores that another run's mask was made by", "scores")


def _part(name: str, mask: Need[ProxyMask], about: str, part: str) -> StageOf[Any]:
    return Stage(
        name=name,
        about=about,
        needs=needs(mask),
        settings=lambda config: None,
        make=lambda work, settings, found: getattr(found, part),
        load=lambda folder, get: None,
        files=(),
        kept=lambda config: False,
    )
