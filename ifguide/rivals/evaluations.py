"""What the rows say, how fluent they are, and what judges make of it, each kept by itself.

Another judge, or another threshold, so costs only the judging.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ifguide.corpus.prepare import sources_fingerprint
from ifguide.distributed import ranks
from ifguide.evaluation.config import EvaluationConfig
from ifguide.evaluation.evaluate import continue_prompts, fluency, judge_tables
from ifguide.evaluation.figures import Fluency, ModelFigures
from ifguide.evaluation.generate import Processors
from ifguide.evaluation.human_text import HumanScores, passages_of
from ifguide.evaluation.judges.judging import judgements
from ifguide.evaluation.judges.registry import load_judge
from ifguide.evaluation.typed_json import read_typed, write_typed
from ifguide.files import fingerprint_of
from ifguide.rivals.methods import Row
from ifguide.rivals.models import Models
from ifguide.rivals.preferences import Preferences
from ifguide.run.artifacts import kept_samples, samples_file
from ifguide.run.pipeline import Pipeline
from ifguide.run.store import StageFolder

FLOOR = str(Path("methods", "floor"))
PIECES = 2000  # of text that people wrote


@dataclass(frozen=True)
class Observed:
    """What a row says to each prompt set, and its entry's figures of fluency."""

    tables: dict[str, pa.Table]
    fluency: Fluency


@dataclass(frozen=True, eq=False)
class Evaluations:
    """Evaluates rows by the run's own evaluation settings."""

    run: Pipeline
    models: Models
    preferences: Preferences

    def figures(self, row: Row) -> ModelFigures:
        """Return a row's entry, as ``evaluate`` has it; what is missing is made first."""
        run = self.run

        def make(out: StageFolder) -> None:
            if ranks.is_main():
                observed = self._observed(row)
                judges = [load_judge(name, run.data_dir) for name in run.config.evaluation.judges]
                judged = judge_tables(
                    judges, observed.tables, run.config.evaluation, run.config.seed
                )
                figures = ModelFigures.of(judged, observed.fluency)
                write_typed(out.path / "figures.json", figures)

        return run.kept(
            str(Path("methods", "evaluated", row.name)),
            {
                "stage": "evaluated",
                "observed": fingerprint_of(self._observed_inputs(row)),
                "judging": fingerprint_of(_judging(run.config.evaluation)),
            },
            make,
            lambda folder: read_typed(folder / "figures.json", ModelFigures),
            before=lambda: self._observed(row),
        )

    def human_text(self) -> HumanScores | None:
        """Return what the judges make of the first held-out text, in pieces as long as samples.

        None where the evaluation has no such text, or only in blocks that are shorter than a
        sample.
        """
        run, evaluation = self.run, self.run.config.evaluation
        if not evaluation.perplexity:
            return None
        name = next(iter(evaluation.perplexity))

        def make(out: StageFolder) -> None:
            if ranks.is_main():
                pieces = passages_of(
                    run.held_out[name], evaluation.sampling.tokens, PIECES, run.config.seed
                )
                texts, ids = list(pieces.values()), list(pieces)
                scores = {
                    judge: judgements(
                        load_judge(judge, run.data_dir), texts, ids, evaluation.unjudged
                    ).scores
                    for judge in evaluation.judges
                }
                judged = {judge: tuple(s[~np.isnan(s)].tolist()) for judge, s in scores.items()}
                write_typed(out.path / "floor.json", HumanScores(text=name, scores=judged))

        human: HumanScores = run.kept(
            FLOOR,
            {
                "stage": "floor",
                "held_out": fingerprint_of(run.inputs("held_out")),
                "judging": fingerprint_of(_judging(evaluation)),
                "tokens": evaluation.sampling.tokens,
                "pieces": PIECES,
                "seed": run.config.seed,
            },
            make,
            lambda folder: read_typed(folder / "floor.json", HumanScores),
            before=lambda: run.held_out,
        )
        return human if all(human.scores.values()) else None

    def _observed(self, row: Row) -> Observed:
        """Return a row's continuations and fluency, drawn and measured first if need be."""
        run = self.run

        def before() -> None:
            self.models.model(row)
            if row.method.reward:
                _ = self.preferences.reward

        def load(folder: Path) -> Observed:
            tables = {
                name: pq.read_table(samples_file(folder, row.name, name))
                for name in run.config.evaluation.prompt_sets
            }
            return Observed(tables, read_typed(folder / "fluency.json", Fluency))

        return run.kept(
            str(Path("methods", "observed", row.name)),
            self._observed_inputs(row),
            partial(self._observe, row),
            load,
            before=before,
        )

    def _observe(self, row: Row, out: StageFolder) -> None:
        if not ranks.is_main():
            return
        run, model = self.run, self.models.model(row)
        tokenizer, evaluation = run.text.tokenizer, run.config.evaluation
        processors: Processors = self.preferences.decoding if row.method.reward else tuple
        keep = partial(kept_samples, out.path, row.name)
        seed, progress = run.config.seed, out.progress
        continue_prompts(
            model, tokenizer, evaluation, run.prompts, seed, keep, progress, processors
        )
        found = fluency(model, tokenizer, evaluation, run.held_out, run.lambada, progress)
        write_typed(out.path / "fluency.json", found)

    def _observed_inputs(self, row: Row) -> dict[str, Any]:
        run, evaluation = self.run, self.run.config.evaluation
        last_words = sources_fingerprint(evaluation.lambada_sources, run.data_dir)
        reward = [self.preferences.reward_inputs, run.config.compare.decoding]
        return {
            "stage": "observed",
            "sampling": fingerprint_of(evaluation.sampling),
            "prompts": fingerprint_of(run.prompts),
            "held_out": fingerprint_of(run.inputs("held_out")),
            "lambada": fingerprint_of([last_words, evaluation.lambada_limit]),
            "seed": run.config.seed,
            "model": fingerprint_of(self.models.inputs(row)),
            "reward": fingerprint_of(reward) if row.method.reward else "",
        }


def _judging(config: EvaluationConfig) -> list[Any]:
    return [config.judges, config.unjudged, config.threshold, config.resamples]
