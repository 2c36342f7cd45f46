"""What a run reads that no stage has made: texts, checkpoints, tokenizers, judges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ifguide.corpus.addresses import addresses_known_by
from ifguide.corpus.config import Source, TokenizerConfig
from ifguide.corpus.sources import files_of
from ifguide.corpus.tokenizer_files import tokenizer_files
from ifguide.evaluation.judges.judging import Judge
from ifguide.evaluation.judges.registry import judge_files, judge_identity, load_judge
from ifguide.files import check_plain
from ifguide.influence.pair_files import PAIR, LogprobFiles, read_pair
from ifguide.lazily import functions_of
from ifguide.models.config import ModelConfig
from ifguide.models.model_files import model_files
from ifguide.run.stage import Outside
from ifguide.settings.config import Config

if TYPE_CHECKING:
    from ifguide.corpus import hub
    from ifguide.evaluation import prompts
else:
    hub = functions_of("ifguide.corpus.hub")
    prompts = functions_of("ifguide.evaluation.prompts")

Files = Iterator[tuple[Path, str]]


def data_folder(config: Config) -> Path:
    """Return the folder that relative file names start from."""
    return Path(config.data_dir)


def texts_of(name: str, sources: Callable[[Config], Iterable[Source | None]]) -> Outside[Path]:
    """Declare the files of sources; who reads them is given the folder that their paths start from.

    Files at an address are known by what the store tells of them.

    Args:
        name: the settings that name them.
        sources: gives them; what is None is no source.
    """

    def files(config: Config) -> Files:
        for number, source in enumerate(sources(config)):
            if source is not None:
                for file, inside in files_of(source, data_folder(config)):
                    yield file, f"{number}/{inside or file.name}"

    def known_by(config: Config) -> Mapping[str, str] | None:
        given = {str(number): source for number, source in enumerate(sources(config)) if source}
        return addresses_known_by(given)

    return Outside(name=name, files=files, known_by=known_by, open=data_folder)


def judges_of(name: str, names: Callable[[Config], Iterable[str]]) -> Outside[list[Judge]]:
    """Declare judges by their names."""

    def files(config: Config) -> Files:
        for judge in names(config):
            for file in judge_files(judge, data_folder(config)):
                if file.is_file():
                    yield file, f"{judge}/{file.name}"

    def known_by(config: Config) -> Mapping[str, str]:
        return {judge: judge_identity(judge, data_folder(config)) for judge in names(config)}

    def load(config: Config) -> list[Judge]:
        return [load_judge(judge, data_folder(config)) for judge in names(config)]

    return Outside(name=name, files=files, known_by=known_by, open=load)


def checkpoint_of(name: str, model: Callable[[Config], ModelConfig]) -> Outside[ModelConfig]:
    """Declare the files of a model that settings name; who needs it loads it.

    Opening it refuses a file that is named and is not there, before anything is made.
    """

    def files(config: Config) -> Files:
        for file in model_files(model(config)):
            yield file, f"{file.parent.name}/{file.name}"

    def look_up(config: Config) -> ModelConfig:
        model_files(model(config))
        return model(config)

    return Outside(name=name, files=files, known_by=lambda c: _hub(model(c)), open=look_up)


def _hub(given: ModelConfig | TokenizerConfig) -> str:
    """Return the name of what is no folder on this machine, with the commit where it is known."""
    if not given.path or Path(given.path).expanduser().is_dir():
        return ""
    revision = (given.revision if isinstance(given, ModelConfig) else None) or "main"
    name = given.path if given.gguf is None else f"{given.path}/{given.gguf}"
    return f"{name} {hub.commit_of(given.path, revision, given.gguf)}".rstrip()


def _query_sources(config: Config) -> Iterable[Source | None]:
    return [config.queries.source, config.queries.safe_source]


def _query_files(config: Config) -> Files:
    yield from _QUERY_TEXTS.files(config)
    for name in ("toxic_subset", "safe_subset"):
        given = getattr(config.queries, name)
        if given is not None:
            yield data_folder(config) / Path(given).expanduser(), name


def _tokenizer_files(config: Config) -> Files:
    for file in tokenizer_files(config.tokenizer):
        yield file, file.name


def _logprob_files(config: Config) -> Files:
    given = _open_logprobs(config)
    if given is not None:
        yield from ((given.plus, "plus"), (given.minus, "minus"), (given.pair / PAIR, "pair"))


def _open_logprobs(config: Config) -> LogprobFiles | None:
    given, folder = config.scores.logprobs, data_folder(config)
    if given is None:
        return None
    plus, minus, pair = (folder / name for name in (given.plus, given.minus, given.pair))
    for file in (plus, minus):
        check_plain(file, str(file))
    read_pair(pair)
    return LogprobFiles(plus=plus, minus=minus, pair=pair, force=given.force)


CORPUS_TEXTS = texts_of("corpus.sources", lambda config: config.corpus.sources)
TOKENIZER = Outside(
    name="tokenizer",
    files=_tokenizer_files,
    known_by=lambda config: _hub(config.tokenizer),
    open=lambda config: config.tokenizer,
)
CHECKPOINT = checkpoint_of("model", lambda config: config.model)
_QUERY_TEXTS = texts_of("queries", _query_sources)
QUERY_TEXTS = Outside(
    name="queries", files=_query_files, known_by=_QUERY_TEXTS.known_by, open=data_folder
)
PROMPT_TEXTS = texts_of(
    "evaluation.prompts", lambda c: [p.origin for p in c.evaluation.prompt_sets.values()]
)
HELD_OUT_TEXTS = texts_of("evaluation.perplexity", lambda c: c.evaluation.text_sources)
_LAMBADA_TEXTS = texts_of("", lambda c: c.evaluation.lambada_sources)
LAMBADA = Outside(
    name="evaluation.lambada",
    files=_LAMBADA_TEXTS.files,
    known_by=_LAMBADA_TEXTS.known_by,
    open=lambda config: prompts.lambada_texts(config.evaluation, data_folder(config)),
)
JUDGES = judges_of("evaluation.judges", lambda config: config.evaluation.judges)
LOGPROBS = Outside(name="scores.logprobs", files=_logprob_files, open=_open_logprobs)
