"""Seconds a unit of each kind of work, by doing a little of it on this machine.

The verbs themselves are timed, on random tokens. A model that is small is used as it is. Of a large
one there are three thin copies, of random weights: one block and a few tokens, several blocks and a
few tokens, one block and all tokens. What a block and what the vocabulary costs follows, and the
rest is multiplication; the whole model is never made.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedConfig

from ifguide.evaluation.judges.judging import judgements
from ifguide.evaluation.judges.registry import load_judge
from ifguide.evaluation.localisation import localisation
from ifguide.files import describe
from ifguide.influence.curvature.eigen import eigenbasis
from ifguide.models.shape import ModelShape, made_of, shape_of, thinned
from ifguide.nouns import TokenScores
from ifguide.parts import tell
from ifguide.run import effort
from ifguide.run.bench import OF_MODEL, Bench, random_corpus, train_batches
from ifguide.run.clock import timed
from ifguide.run.survey import Survey
from ifguide.selection.select import select
from ifguide.selection.smooth import smooth
from ifguide.settings.config import Config

TRAIN = effort.TRAIN.format("")
WHOLE = 30_000_000  # weights; a larger model is measured by thin copies
BLOCKS = 3  # of the deeper thin copy
A_WEIGHT = (effort.UPDATE,)  # rates that more blocks change nothing of
FEW = 512  # tokens of the vocabulary of a thin copy
# of one batch that is timed; thin copies all have that of the heaviest, so that what a batch costs
# whatever its tokens does not pass for a block's cost
OPERATIONS = {"cpu": 1e10, "cuda": 1e13}
OF_THIN = 5  # times as many
ROWS = 2048  # of the largest factor whose eigenvectors are timed; beyond, time grows by the cube
TOY = 20_000  # tokens of what needs no model
WRITTEN = 1 << 26  # bytes
PAGE_SECONDS = 0.012  # a document; the demo's page has 200 and took 2.3 s on a 2-core CPU


@dataclass(frozen=True)
class Rates:
    """Seconds a unit, by the kind of work."""

    seconds: Mapping[str, float]

    def of(self, done: effort.Effort) -> effort.Number:
        """Return the seconds that a stage takes."""
        return sum(units * self.seconds[name] for name, units in done.work.items())


def calibrate(config: Config, seen: Survey, kinds: Iterable[str], device: str) -> Rates:
    """Measure the rates of some kinds of work.

    Args:
        config: the run's.
        seen: its sizes, tokenizer and texts.
        kinds: the names of rates, see ``ifguide.run.effort``.
        device: ``cpu`` or ``cuda``.

    Raises:
        InputError: a judge or an engine cannot be loaded.
    """
    wanted = set(kinds)
    found = {effort.READ: seen.reading, effort.PAGE: PAGE_SECONDS}
    of_model = {kind for kind in wanted if kind in OF_MODEL or kind.startswith(TRAIN)}
    if of_model:
        found |= _of_model(config, seen, of_model, device)
    for kind in sorted(wanted - set(found)):
        tell(f"measuring: {kind}")
        found[kind] = _without_model(kind, config, seen, device)
    return Rates({kind: found[kind] for kind in wanted})


# what needs a model


def _of_model(config: Config, seen: Survey, kinds: Iterable[str], device: str) -> dict[str, float]:
    """Return rates of the whole model, from itself or from three thin ones."""
    architecture, shape = seen.architecture, seen.sizes.shape
    if shape.parameters <= WHOLE or shape.layers <= BLOCKS:
        return _measured(config, seen, architecture, kinds, device, _room(shape, device))
    few = min(FEW, shape.vocabulary)
    sizes = ((1, few), (BLOCKS, few), (1, shape.vocabulary))
    copies = [thinned(architecture, layers, vocabulary) for layers, vocabulary in sizes]
    room = OF_THIN * min(_room(shape_of(copy, config.model.dtype), device) for copy in copies)
    shallow, deep, wide = (_measured(config, seen, copy, kinds, device, room) for copy in copies)
    rest = (shape.layers - 1) / (BLOCKS - 1)
    added = {k: 0.0 if k in A_WEIGHT else rest * (deep[k] - shallow[k]) for k in shallow}
    return {k: max(0.0, wide[k] + added[k]) for k in shallow}


def _room(shape: ModelShape, device: str) -> float:
    """Return the tokens of a batch that is timed."""
    return OPERATIONS[device] / (6 * shape.parameters)


def _measured(
    config: Config,
    seen: Survey,
    thin: PreTrainedConfig,
    kinds: Iterable[str],
    device: str,
    room: float,
) -> dict[str, float]:
    """Return the rates of one model, each as if it were the whole."""
    tell("making a model to measure with")
    model = made_of(thin, config.model.dtype).to(device)
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    bench = Bench(config, model, seen, min(vocabulary, seen.sizes.shape.vocabulary), room)
    found: dict[str, float] = {}
    for kind in sorted(kinds):
        tell(f"measuring: {kind}")
        alike = TRAIN + _alike(config)
        if kind.startswith(TRAIN) and alike in found:
            found[kind] = found[alike]
            continue
        measure = OF_MODEL.get(kind) or partial(train_batches, section=kind.removeprefix(TRAIN))
        found[kind] = measure(bench)
    return found


def _alike(config: Config) -> str:
    """Return the section whose batches take as long as those of the other one, or ""."""
    first, other = config.baseline, config.training
    same = first is not None and all(
        getattr(first, name) == getattr(other, name) for name in ("batch_size", "precision")
    )
    return "baseline" if same else ""


# what needs none


def _without_model(kind: str, config: Config, seen: Survey, device: str) -> float:
    """Return one rate."""
    name, _, argument = kind.partition(" ")
    if name == effort.EIGENVECTORS.split()[0]:
        return _eigenvectors(int(argument), device)
    if name == effort.JUDGE.split()[0]:
        return _judge(argument, config, seen)
    return _PLAIN[kind](config, seen, device)


def _eigenvectors(rows: int, device: str) -> float:
    """Return the seconds of one decomposition."""
    side = min(rows, ROWS)
    half = torch.randn(side, side, generator=torch.Generator().manual_seed(0))
    factor = (half @ half.T).to(device)
    return timed(lambda: eigenbasis(factor)) * (rows / side) ** 3


def _judge(name: str, config: Config, seen: Survey) -> float:
    """Return the seconds a text of a judge that is loaded, each as long as a continuation is."""
    judge = load_judge(name, Path(config.data_dir))
    characters = sum(map(len, seen.texts)) / max(1, seen.sizes.tokens)
    length = 4 * config.evaluation.sampling.tokens if characters > 8 else 80
    texts = [text[:length] for text in seen.texts[:64]] or ["a text"]
    ids = [str(number) for number in range(len(texts))]
    judgements(judge, texts[:2], ids[:2], "report")  # what is put off until it is first asked
    return timed(lambda: judgements(judge, texts, ids, "report")) / len(texts)


def _products(config: Config, seen: Survey, device: str) -> float:
    side = 1024
    matrix = torch.randn(side, side, device=device)
    return timed(lambda: matrix @ matrix) / side**3


def _write(config: Config, seen: Survey, device: str) -> float:
    """Return the seconds a byte that is written, and read again for its checksum."""
    with tempfile.TemporaryDirectory() as folder:
        file, held = Path(folder) / "bytes", np.random.default_rng(0).bytes(WRITTEN)

        def write() -> None:
            file.write_bytes(held)
            describe(file)

        return timed(write) / WRITTEN


def _toy(seen: Survey) -> TokenScores:
    """Return random scores of a random corpus whose documents are as long as a block."""
    sizes = seen.sizes
    blocks = max(2, min(sizes.blocks, TOY // sizes.block_length))
    corpus = random_corpus(blocks, sizes.block_length, sizes.shape.vocabulary)
    values = np.random.default_rng(0).standard_normal(corpus.tokens.shape).astype(np.float32)
    return TokenScores(values, corpus)


def _smooth(config: Config, seen: Survey, device: str) -> float:
    toy, plain = _toy(seen), replace(config.smoothing, unit="token")
    return timed(lambda: np.asarray(smooth(toy, plain).values)) / toy.corpus.tokens.size


def _select(config: Config, seen: Survey, device: str) -> float:
    toy = _toy(seen)
    least = 2 / toy.corpus.tokens.size
    given = replace(config.selection, budget=max(config.selection.budget, least))
    return timed(lambda: select(toy, given)) / toy.corpus.tokens.size


def _localise(config: Config, seen: Survey, device: str) -> float:
    toy = _toy(seen)
    c = toy.corpus
    took = timed(lambda: localisation(np.asarray(toy.values), c.marked, c.document, c.has_loss))
    return took / c.tokens.size


_PLAIN: dict[str, Callable[[Config, Survey, str], float]] = {
    effort.PRODUCTS: _products,
    effort.WRITE: _write,
    effort.SMOOTH: _smooth,
    effort.SELECT: _select,
    effort.LOCALISE: _localise,
}
