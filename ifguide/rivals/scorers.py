"""The scores that methods choose tokens by, each kept in the run folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from ifguide.corpus.words import spelling
from ifguide.files import fingerprint_of
from ifguide.influence.config import ScoreConfig
from ifguide.influence.direction import aim
from ifguide.influence.score import score
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Contrast, Direction, QuerySet, TokenScores
from ifguide.rivals.cost import ENGINES, FITTING, TRAINING, Spent
from ifguide.rivals.input_axis import on_input_axis
from ifguide.rivals.methods import Scorer
from ifguide.rivals.probe import probe
from ifguide.run import artifacts
from ifguide.run.pipeline import Pipeline
from ifguide.run.provenance import STAGES
from ifguide.run.store import StageFolder
from ifguide.selection.lexicon import lexicon


@dataclass(frozen=True, eq=False)
class Way:
    """How one kind of scores is made: the stages it takes, its settings, and the making."""

    stages: tuple[str, ...]
    settings: Sequence[Any]
    make: Callable[[StageFolder], TokenScores]
    read: Callable[[TokenScores], TokenScores] = lambda scores: scores


class Scorers:
    """Makes token scores by the scorer's name, over the corpus of one run."""

    def __init__(self, run: Pipeline, proxy: Callable[[], Pipeline]) -> None:
        self.run, self.proxy = run, proxy

    def scores(self, scorer: Scorer) -> TokenScores:
        """Return the scores, made first if they are not there."""
        run = self.run
        if scorer == "own":
            return run.scores
        if scorer == "proxy":
            return replace(self.proxy().scores, corpus=run.text.corpus)
        way = self._way(scorer)

        def before() -> None:
            for stage in way.stages:
                getattr(run, STAGES[stage][0])

        found: TokenScores = run.kept(
            _folder(scorer),
            self.inputs(scorer),
            way.make,
            run.open_scores,
            artifacts.save_scores,
            before=before,
            total=lambda: run.text.corpus.tokens.size,
        )
        return way.read(found)

    def inputs(self, scorer: Scorer) -> dict[str, Any]:
        """Return all that decides the scores."""
        if scorer in ("own", "proxy"):
            return (self.run if scorer == "own" else self.proxy()).inputs("score")
        way = self._way(scorer)
        stages = {stage: fingerprint_of(self.run.inputs(stage)) for stage in way.stages}
        return {"scores": scorer, "settings": fingerprint_of(way.settings), "from": stages}

    def cost(self, scorer: Scorer) -> list[Spent]:
        """Return the stages that the scores take beside the baseline's training."""
        if scorer == "proxy":
            small = self.proxy()
            size = _size(small.baseline) / _size(self.run.baseline)
            learnt = Spent(small, "baseline", TRAINING * size)
            return [learnt, *(_resized(spent, size) for spent in _along_a_direction(small))]
        if scorer == "own":
            return _along_a_direction(self.run)
        if scorer in ("lexicon", "probe"):
            return [Spent(self.run, _folder(scorer), 1.0 if scorer == "probe" else 0.0)]
        *earlier, _ = _along_a_direction(self.run)
        engine = "position" if scorer == "position" else self.run.config.scores.engine
        return [*earlier, Spent(self.run, _folder(scorer), ENGINES[engine])]

    def _way(self, scorer: Scorer) -> Way:
        config, queries = self.run.config, self.run.contrast.fingerprint
        aimed, along = ("corpus", "baseline", "fit", "aim"), config.scores
        ways = {
            "position": Way(
                aimed,
                [along],
                lambda out: self._along(self.run.direction, along.by("position"), out),
                on_input_axis,
            ),
            "plain": Way(
                aimed[:-1],
                [along, config.direction, queries],
                lambda out: self._along(self._toxic_direction(), along, out),
            ),
            "lexicon": Way(("corpus",), [config.compare.lexicon_prior, queries], self._lexicon),
            "probe": Way(("corpus", "baseline"), [queries], self._probe),
        }
        return ways[scorer]

    def _along(self, direction: Direction, config: ScoreConfig, out: StageFolder) -> TokenScores:
        run = self.run
        sink = run.shards(out)
        return score(
            run.baseline, run.text.corpus, direction, config, sink=sink, progress=out.progress
        )

    def _toxic_direction(self) -> Direction:
        """The direction of the toxic queries alone, nothing set against them."""
        run, none = self.run, QuerySet((), ())
        toxic = Contrast(run.contrast.toxic, none, f"toxic side of {run.contrast.fingerprint}")
        return aim(run.baseline, toxic, run.curvature, run.config.direction)

    def _lexicon(self, out: StageFolder) -> TokenScores:
        run = self.run
        prior, spelt = run.config.compare.lexicon_prior, spelling(run.text.tokenizer)
        return self._put(lexicon(run.text.corpus, run.contrast, prior, spelt), out)

    def _probe(self, out: StageFolder) -> TokenScores:
        run = self.run
        found = probe(run.baseline, run.text.corpus, run.contrast, progress=out.progress)
        return self._put(found, out)

    def _put(self, scores: TokenScores, out: StageFolder) -> TokenScores:
        """Write scores that were made all at once."""
        sink = self.run.shards(out)
        for rows in sink.missing():
            sink.put(rows, scores.values[rows])
        return scores


def _along_a_direction(run: Pipeline) -> list[Spent]:
    engine = str(run.scores.metadata.get("engine"))
    scored = Spent(run, "score", ENGINES.get(engine, ENGINES["difference"]))
    return [Spent(run, "fit", FITTING), Spent(run, "aim", TRAINING), scored]


def _resized(spent: Spent, size: float) -> Spent:
    return replace(spent, passes=spent.passes * size)


def _size(model: nn.Module) -> int:
    return sum(weight.parameter.numel() for weight in find_tracked(model))


def _folder(scorer: Scorer) -> str:
    return str(Path("methods", "scores", scorer))
