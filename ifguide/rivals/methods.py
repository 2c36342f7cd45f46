"""What there is to compare: each method as a value, which says what it does at each arrow.

A method either keeps some tokens from being learnt (a ``Mask``: whose scores, which tokens, what
training does with them), or learns preferences, or decodes with a reward model; or two of these.
Nothing here runs anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ifguide.errors import InputError
from ifguide.registry import Registry
from ifguide.rivals.config import DecodingConfig
from ifguide.selection.config import SelectionConfig, Total
from ifguide.training.config import Objective, PreferenceConfig

LEFT_OUT = Objective(kind="masking")
AUTHORS = SelectionConfig(quantile=0.99, window=1, budget=0.02, unit="block")
BASELINE = "baseline"


@dataclass(frozen=True, kw_only=True)
class Mask:
    """Which tokens a method keeps from being learnt, and what training does with them.

    Args:
        scorer: whose scores. ``own``: the run's. ``position``: the authors' form, what enters the
            gradient through input position t, read as token t's. ``authors``: the same along a
            direction with their damping. ``plain``: influence on the toxic
            queries alone. ``lexicon``: the log-odds of the token's word in the queries. ``probe``:
            a linear classifier on hidden states. ``proxy``: own scores of a smaller model.
            ``loss-difference`` and ``loss-difference-proxy``: how much more a copy of the baseline,
            or of the proxy, that was tuned on the safe side of the queries loses on the token than
            one that was tuned on the toxic side. ``judge-documents`` and
            ``judge-windows``: a judge's toxicity of the token's document, and of the words around
            it. ``words``: whether it belongs to a listed word. A third party's by its name (entry
            points of the group ``ifguide.scorers``).
        smoothed: smooth and blend the scores as the run does.
        selection: how tokens are chosen; None is as the run does.
        documents: choose whole documents instead, by this total of their tokens' scores.
        share: of the corpus's tokens that documents may be chosen up to; None is
            ``compare.document_budget``.
        above: of documents, only those whose total is above this; without ``documents``, every
            token whose score is, whatever budgets say.
        objective: what a chosen token contributes to the loss; None is as the training says.
    """

    scorer: str
    smoothed: bool = False
    selection: SelectionConfig | None = None
    documents: Total | None = None
    share: float | None = None
    above: float | None = None
    objective: Objective | None = None


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way of making a model less toxic.

    Args:
        name: what it is called.
        about: what it is, in a line.
        mask: what its model is trained without.
        preferences: learn by DPO instead, from pairs of the baseline's ``samples`` or of given
            ``texts``.
        learning: how these are learnt; None is as ``compare.dpo`` says.
        model: the method whose model it uses; by default one of its own.
        reward: decode with the reward model.
        decoding: how that steers; None is as ``compare.decoding`` says.
    """

    name: str
    about: str
    mask: Mask | None = None
    preferences: Literal["samples", "texts"] | None = None
    learning: PreferenceConfig | None = None
    model: str = ""
    reward: bool = False
    decoding: DecodingConfig | None = None


def _filters(scorer: str, by: str, above: float | None = None) -> Iterator[Method]:
    """Yield filters of whole documents, at three shares of the corpus."""
    for percent in (10, 25, 50):
        mask = Mask(
            scorer=scorer, documents="mean", share=percent / 100, above=above, objective=LEFT_OUT
        )
        name, _, _ = scorer.partition("-")
        about = f"without the documents that {by}, up to {percent}% of the corpus"
        yield Method(name=f"{name}-documents-{percent}", about=about, mask=mask)


_OURS = (
    Method(name=BASELINE, about="the trained baseline as it is", model=BASELINE),
    Method(name="everything", about="trained like the others, nothing left out"),
    Method(
        name="word-filter",
        about="without the documents that hold the strongest words of the queries' lexicon",
        mask=Mask(scorer="lexicon", documents="max", objective=LEFT_OUT),
    ),
    Method(
        name="classifier-documents",
        about="without the documents of the highest mean log-odds by a linear probe",
        mask=Mask(scorer="probe", documents="mean", objective=LEFT_OUT),
    ),
    Method(
        name="classifier-tokens",
        about="without the tokens of the highest log-odds by a linear probe",
        mask=Mask(scorer="probe", objective=LEFT_OUT),
    ),
    *_filters("judge-documents", "the filtering judge finds most toxic"),
    Method(
        name="judge-tokens",
        about="without the tokens among whose words the filtering judge finds most toxicity",
        mask=Mask(scorer="judge-windows", objective=LEFT_OUT),
    ),
    *_filters("words", "have the most listed words", above=0.0),
    Method(
        name="words-tokens",
        about="without the tokens of all listed words",
        mask=Mask(scorer="words", above=0.0, objective=LEFT_OUT),
    ),
    Method(
        name="loss-difference",
        about="without the tokens that a copy tuned on the toxic queries finds likelier than one "
        "tuned on the safe ones, as TOSS leaves them out",
        mask=Mask(scorer="loss-difference", objective=LEFT_OUT),
    ),
    Method(
        name="loss-difference-tokens",
        about="our training against the tokens that the two copies' losses find",
        mask=Mask(scorer="loss-difference"),
    ),
    Method(
        name="loss-difference-proxy",
        about="the same, by two copies of a smaller model",
        mask=Mask(scorer="loss-difference-proxy"),
    ),
    Method(
        name="influence-documents",
        about="without the documents of the highest influence on the toxic queries alone",
        mask=Mask(scorer="plain", documents="sum", objective=LEFT_OUT),
    ),
    Method(
        name="differential-documents",
        about="without the documents of the highest differential influence",
        mask=Mask(scorer="own", documents="sum", objective=LEFT_OUT),
    ),
    Method(
        name="lexicon-tokens",
        about="our training against the tokens that the lexicon finds",
        mask=Mask(scorer="lexicon"),
    ),
    Method(
        name="dpo",
        about="DPO on samples of the baseline, ranked by the labelling judge",
        preferences="samples",
    ),
    Method(
        name="dpo-texts",
        about="DPO on given pairs of a toxic and a neutral text",
        preferences="texts",
    ),
    Method(
        name="rad",
        about="the baseline, decoded with a reward model",
        model=BASELINE,
        reward=True,
    ),
    Method(
        name="authors",
        about="IF-Guide as its authors' code has it: position scores read at t, damping 1e-8, "
        "blocks ranked, window 1, 2%, penalty 1",
        mask=Mask(scorer="authors", selection=AUTHORS, objective=Objective()),
    ),
    Method(
        name="position",
        about="the same by the run's own damping",
        mask=Mask(scorer="position", selection=AUTHORS, objective=Objective()),
    ),
    Method(
        name="own-scores",
        about="ours by the scores as they are, without smoothing or lexicon",
        mask=Mask(scorer="own"),
    ),
    Method(name="ours", about="the run's own method", mask=Mask(scorer="own", smoothed=True)),
    Method(
        name="ours-rad",
        about="ours, decoded with a reward model",
        model="ours",
        reward=True,
    ),
    Method(
        name="proxy",
        about="ours, by the scores of a smaller model, or by the mask of another run",
        mask=Mask(scorer="proxy", smoothed=True),
    ),
)
METHODS: Registry[Method] = Registry(
    "method", "ifguide.methods", {}, "ifguide.rivals.methods:Method"
)
for _method in _OURS:
    METHODS.add(_method.name, _method)


@dataclass(frozen=True, kw_only=True)
class MethodRow:
    """A method under one way of training; ``training`` is "" where no training is its own."""

    method: Method
    training: str = ""

    @property
    def name(self) -> str:
        """Its name in tables and on the command line."""
        return f"{self.method.name}@{self.training}" if self.training else self.method.name

    @property
    def owner(self) -> MethodRow:
        """The row whose model it uses; itself, if it has its own."""
        model = self.method.model
        return replace(self, method=METHODS.get(model, "--methods")) if model else self

    @property
    def is_labelled(self) -> bool:
        """Whether it learns from what a judge has labelled."""
        return self.method.reward or self.method.preferences == "samples"


def all_methods() -> list[Method]:
    """Return every method that is registered, ours first.

    Raises:
        InputError: a third party's calls itself otherwise than its entry point does.
    """
    found = {name: METHODS.get(name, "--methods") for name in METHODS.names()}
    for name, method in found.items():
        if method.name != name:
            raise InputError(
                f"--methods: the entry point '{name}' names a method that calls itself "
                f"'{method.name}'; its package must give both one name"
            )
    return list(found.values())


def rows_of(
    wanted: Sequence[str], trainings: Sequence[str], methods: Iterable[Method] | None = None
) -> tuple[MethodRow, ...]:
    """Return the rows that the names ask for, in the order of ``methods``, each once.

    Args:
        wanted: ``all``, a method, or ``METHOD@TRAINING``; a method alone is meant in every way.
        trainings: the names of the ways of training.
        methods: what there is; by default all that are registered.

    Raises:
        InputError: no name is given, or a method or a way of training is not known.
    """
    if not wanted:
        raise InputError("--methods: none is given; use all, METHOD or METHOD@TRAINING")
    there = list(all_methods() if methods is None else methods)
    every = [row for method in there for row in _in_every_way(method, trainings)]
    asked: set[str] = set()
    for name in wanted:
        found = {row.name for row in every if name in ("all", row.name, row.method.name)}
        if not found:
            known = ", ".join(method.name for method in there)
            raise InputError(
                f"--methods: '{name[:60]}' is not known; use all, METHOD or METHOD@TRAINING, with "
                f"one of {known} and, for those that train, one of {', '.join(trainings)}"
            )
        asked |= found
    return tuple(row for row in every if row.name in asked)


def _in_every_way(method: Method, trainings: Sequence[str]) -> list[MethodRow]:
    if method.model == BASELINE or method.preferences:
        return [MethodRow(method=method)]
    return [MethodRow(method=method, training=training) for training in trainings]
