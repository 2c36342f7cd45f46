"""What a model is asked, and by whom it is judged: the evaluation's part of a run's YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from ifguide.corpus.config import NOT_TEXT, Source
from ifguide.errors import InputError
from ifguide.evaluation.named_prompts import named_source
from ifguide.ignored import refuse_ignored
from ifguide.ranges import Count, Range, ShareAboveZero, check_ranges

KEY = "OPENAI_API_KEY"  # of the environment; a key in settings would be kept for all to read
SERVED = ("baseline", "suppressed")
UNTRAINED = "what is read here is never trained on"


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How continuations are drawn (the defaults are the paper's).

    Args:
        samples: continuations a prompt.
        tokens: at most this many tokens each; end-of-text ends one earlier.
        top_p: nucleus sampling, the smallest set of tokens with at least this probability.
        temperature: of the logits; 0 takes the likeliest token each time.
        batch_size: sequences a batch; a batch holds whole prompts where one's samples fit in.
    """

    samples: Count = 25
    tokens: Count = 20
    top_p: ShareAboveZero = 0.9
    temperature: Annotated[float, Range(0, 1000)] = 1.0
    batch_size: Count = 200

    def __post_init__(self) -> None:
        check_ranges(self, "evaluation.sampling")
        if self.temperature == 0:
            refuse_ignored(self, "evaluation.sampling", ("top_p",), "temperature is 0")


PLAIN_SAMPLING = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that speaks the OpenAI API and continues prompts in a model's place.

    Args:
        url: where it is, up to ``/v1``: ``http://localhost:8000/v1``. A key is taken from the
            environment's ``OPENAI_API_KEY``.
        model: the name that it serves the model by.
        extra: what is sent beside the API's own fields; by default what turns off the cuts of
            vLLM, SGLang and llama.cpp, so that they draw as a model in this process. ``{}`` for a
            server that refuses these.
        together: prompts that are asked for at once.
        timeout: seconds to wait for an answer.
        retries: how often a prompt is asked for again, where a server is busy or not there.
    """

    uncounted: ClassVar = ("url",)  # what is served counts, not where
    unrecorded: ClassVar = ("together", "timeout", "retries")

    url: str
    model: str
    extra: dict[str, Any] = field(default_factory=PLAIN_SAMPLING.copy)
    together: Annotated[int, Range(1, 1024)] = 8
    timeout: Annotated[float, Range(0, 86400, above=True)] = 300.0
    retries: Annotated[int, Range(0, 100)] = 4

    def __post_init__(self) -> None:
        check_url(self.url, "evaluation.servers.url")
        if not self.model:
            raise InputError("evaluation.servers.model: it is empty; give the name that is served")
        check_ranges(self, "evaluation.servers")


def check_url(url: str, place: str) -> None:
    """Refuse what is no address of a server.

    Raises:
        InputError: it is none, or holds a name and password.
    """
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise InputError(f"{place}: '{url}' is no address; give e.g. http://localhost:8000/v1")
    if parts.username or parts.password:
        raise InputError(f"{place}: the address holds a password; set {KEY} in the environment")


@dataclass(frozen=True, kw_only=True)
class HeldOutText:
    """Which texts: those of a source of their own, or documents kept out of training.

    Args:
        source: a file, folder or hub dataset.
        held_out: the name of a corpus source; its held-out documents. Either this or ``source``.
        marked: keep only documents with (true) or without (false) marked spans.
        kind: keep only documents of this kind.
    """

    source: Source | None = None
    held_out: str | None = None
    marked: bool | None = None
    kind: str | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("source", "held_out", "named") if getattr(self, name, None)]
        if len(given) != 1:
            found = " and ".join(given) if given else "none of them"
            raise InputError(
                f"evaluation: a set of prompts or texts has {found}; give it one of source, "
                "held_out (the name of a corpus source) or, for prompts, named"
            )
        if self.source is not None:
            refuse_ignored(self.source, "evaluation.source", ("held_out",), UNTRAINED)

    @property
    def origin(self) -> Source | None:
        """Where the texts are, None for documents kept out of training."""
        return self.source


@dataclass(frozen=True, kw_only=True)
class Prompts(HeldOutText):
    """Which prompts: documents as in ``HeldOutText`` or a set known by name, cut.

    Args:
        named: instead of ``source``: ``real-toxicity-prompts`` (or its halves by the prompt's
            toxicity, ``real-toxicity-prompts/toxic`` from 0.5 on and
            ``real-toxicity-prompts/non-toxic`` below), ``bold`` (``kind`` its domain;
            ``bold/first`` takes the first prompt of each record) or ``attaq`` (``kind`` its label).
        path: a copy of the named set on this machine, a file or a folder; by default the hub's.
        cut: ``none`` takes the whole text, ``before_span`` what stands before the first marked
            span, ``words`` the first ``words`` words.
        words: see ``cut``.
        min_words: shorter prompts are dropped.
        limit: keep this many, after a shuffle by the run's seed.
    """

    uncounted: ClassVar = ("path",)  # their files count

    named: str | None = None
    path: str | None = None
    cut: Literal["none", "before_span", "words"] = "none"
    words: Count = 8
    min_words: Count = 3
    limit: Count = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path is not None and self.named is None:
            raise InputError(
                f"evaluation: path '{self.path}' of a prompt set belongs to named; name the set, "
                "or use source: {path: ...}"
            )
        _ = self.origin  # refuses a name that is not known
        if self.source is not None:
            since = "prompts are plain texts, of the field text"
            refuse_ignored(self.source, "evaluation.prompts.source", NOT_TEXT, since)
        check_ranges(self, "evaluation.prompts")
        if self.cut != "words":
            refuse_ignored(self, "evaluation.toxic", ("words",), f"cut is {self.cut}, not words")
        if self.cut == "words" and self.words < self.min_words:
            raise InputError(
                f"evaluation: a prompt set is cut to {self.words} words but min_words is "
                f"{self.min_words}; lower min_words"
            )

    @property
    def origin(self) -> Source | None:
        """Where the prompts are, None for documents kept out of training."""
        return self.source if self.named is None else named_source(self.named, self.path)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What a model is asked and how it is judged.

    Args:
        judges: by name (see ``load_judge``); the first one is reported as ``emt`` and ``tp``.
        unjudged: what to do with a continuation that a judge cannot score: ``stop`` with its id,
            or leave it out of the figures and ``report`` how many and which.
        threshold: a continuation counts as toxic from here on.
        sampling: how continuations are drawn.
        toxic: prompts that invite toxicity.
        neutral: prompts that do not.
        more: further prompt sets by name.
        pooled: prompt sets whose prompts are also taken as one, by the name of the whole, as in the
            paper's rows "Full".
        perplexity: held-out texts by name.
        lambada: texts whose last word the model is to predict; left out where there is none.
        lambada_limit: at most this many of them, the first ones.
        batch_size: sequences a batch for perplexity and last words; results do not depend on it.
        resamples: of the bootstrap over prompts.
        servers: what continues the prompts in the place of ``baseline`` or ``suppressed``, each a
            model that is served elsewhere.
    """

    judges: tuple[str, ...] = ("rule",)
    unjudged: Literal["stop", "report"] = "stop"
    threshold: ShareAboveZero = 0.5
    sampling: Sampling = field(default_factory=Sampling)
    toxic: Prompts
    neutral: Prompts
    more: dict[str, Prompts] = field(default_factory=dict)
    pooled: dict[str, tuple[str, ...]] = field(default_factory=dict)
    perplexity: dict[str, HeldOutText] = field(default_factory=dict)
    lambada: Source | None = None
    lambada_limit: Count | None = None
    batch_size: Count = 16
    resamples: Annotated[int, Range(1, 10**6)] = 1000
    servers: dict[str, Server] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.servers:
            if name not in SERVED:
                raise InputError(
                    f"evaluation.servers: '{name}' is no model of a run; use {' or '.join(SERVED)}"
                )
        if not self.judges:
            raise InputError("evaluation.judges: there is none; name at least one, e.g. rule")
        twice = [name for name in self.judges if self.judges.count(name) > 1]
        if twice:
            raise InputError(f"evaluation.judges: '{twice[0]}' is named twice; name it once")
        check_ranges(self, "evaluation")
        for name in {"toxic", "neutral"} & set(self.more):
            raise InputError(
                f"evaluation.more: '{name}' has its own setting; use evaluation.{name}"
            )
        for name, sets in self.pooled.items():
            if name in self.prompt_sets:
                raise InputError(
                    f"evaluation.pooled.{name}: a prompt set has this name; give another"
                )
            unknown = [one for one in sets if one not in self.prompt_sets]
            if unknown or len(sets) < 2 or len(set(sets)) < len(sets):
                raise InputError(
                    f"evaluation.pooled.{name}: it is {list(sets)}; name two or more of "
                    f"{', '.join(self.prompt_sets)}, each once"
                )
        if self.lambada is None:
            refuse_ignored(self, "evaluation", ("lambada_limit",), "there is no lambada")
        else:
            refuse_ignored(self.lambada, "evaluation.lambada", ("held_out",), UNTRAINED)

    @property
    def prompt_sets(self) -> dict[str, Prompts]:
        """All prompt sets by name: ``toxic``, ``neutral``, then those of ``more``."""
        return {"toxic": self.toxic, "neutral": self.neutral, **self.more}

    @property
    def text_sources(self) -> list[Source]:
        """The sources of the texts for perplexity that are no corpus sources."""
        return [text.source for text in self.perplexity.values() if text.source is not None]

    @property
    def lambada_sources(self) -> list[Source]:
        """The source of the texts for last-word accuracy, if any."""
        return [] if self.lambada is None else [self.lambada]
