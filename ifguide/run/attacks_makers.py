"""What the stages of attacks make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ifguide.attacks.activations import apart
from ifguide.attacks.config import AttackConfig, GcgConfig
from ifguide.attacks.gcg import gcg, is_attackable
from ifguide.attacks.lens import logit_lens
from ifguide.attacks.relearn import check_posts, relearn
from ifguide.attacks.texts import AttackedText, attacked_texts, posts_of
from ifguide.corpus.prepare import PreparedCorpus
from ifguide.corpus.starts import text_start
from ifguide.corpus.tokenizers import encode
from ifguide.errors import InputError
from ifguide.evaluation.evaluate import evaluate
from ifguide.evaluation.generate import derived_seed
from ifguide.evaluation.judges.judging import Judge
from ifguide.evaluation.metrics import mean_over_prompts
from ifguide.files import read_json, write_json
from ifguide.models.forward import positions_of
from ifguide.nouns import Checkpoint, Contrast, QuerySet
from ifguide.run.attacks import models_of
from ifguide.run.attacks_given import (
    ActivationsSettings,
    Attack,
    Figures,
    GcgSettings,
    LensSettings,
    RelearnSettings,
)
from ifguide.run.continuations import PromptSets
from ifguide.run.layout import FIGURES
from ifguide.run.outside import JUDGES
from ifguide.run.run import Run, closure
from ifguide.run.stage import StageOf
from ifguide.run.stages import BASELINE, CORPUS, PROMPTS, QUERIES
from ifguide.run.work import Work


def check(
    run: Run, config: AttackConfig, kinds: Sequence[str], models: Mapping[str, StageOf[Checkpoint]]
) -> None:
    """Refuse what cannot be done before anything is.

    Raises:
        InputError: the run has not what a kind of attack needs.
    """
    tokenizer, contrast = run(CORPUS).tokenizer, run(QUERIES)
    for model in models.values():
        run(model)
    if "gcg" in kinds:
        some = next(iter(models.values()))
        with run.forgetting():
            _attacked(contrast, run(CORPUS), run(some).model, config.gcg)
    if "relearn" in kinds:
        check_posts(config.relearn, len(posts_of(contrast.toxic, tokenizer)))
        run(JUDGES), run(PROMPTS)
    if "activations" in kinds:
        run(BASELINE), run(PROMPTS)


def models_asked(run: Run, wanted: Sequence[str]) -> dict[str, StageOf[Checkpoint]]:
    """Return the models of these names; ``all`` is every one that stands.

    Raises:
        InputError: no model has such a name.
    """
    every = models_of(run.config)
    for name in wanted:
        if name != "all" and name not in every:
            raise InputError(
                f"--models: '{name}' is not known; use all, or some of {', '.join(every)}"
            )

    def stands(model: StageOf[Checkpoint]) -> bool:
        stages = [stage for stage in closure([model], run.config) if stage.kept(run.config)]
        return all(run.standing(stage).state == "stands" for stage in stages)

    return {
        name: model
        for name, model in every.items()
        if name in wanted or ("all" in wanted and stands(model))
    }


def search_suffixes(
    work: Work,
    settings: GcgSettings,
    text: PreparedCorpus,
    contrast: Contrast,
    model: Checkpoint,
) -> Figures:
    """Search a suffix for each prompt."""
    chosen = _attacked(contrast, text, model.model, settings.gcg)
    found = [
        gcg(
            model.model,
            text.tokenizer,
            attacked.prompt,
            attacked.target,
            settings.gcg,
            seed=derived_seed(settings.seed, "gcg", number),
            progress=work.progress,
        )
        for number, attacked in enumerate(chosen)
    ]
    measures: dict[str, list[float]] = {
        "success_before": [float(suffix.first_success == 0) for suffix in found],
        "success": [float(suffix.succeeded) for suffix in found],
        "loss_before": [suffix.losses[0] for suffix in found],
        "loss": [suffix.losses[-1] for suffix in found],
    }
    seed, resamples = derived_seed(settings.seed, "gcg"), settings.resamples
    return {
        **{
            name: asdict(mean_over_prompts(np.array(values), resamples, seed))
            for name, values in measures.items()
        },
        "pairs": [{**asdict(a), **asdict(s)} for a, s in zip(chosen, found, strict=True)],
    }


def _attacked(
    contrast: Contrast, text: PreparedCorpus, model: nn.Module, config: GcgConfig
) -> list[AttackedText]:
    """Return the prompts that are attacked; the models are alike in what decides them.

    Raises:
        InputError: there is none.
    """
    tokenizer = text.tokenizer
    every = attacked_texts(contrast.toxic, tokenizer, config.target_tokens)
    fit = (a for a in every if is_attackable(model, tokenizer, a.prompt, a.target, config))
    found = list(islice(fit, config.pairs))
    if not found:
        raise InputError(
            "gcg: no toxic query of the run survives as text with gcg.initial after its prompt; "
            "give another gcg.initial, or set gcg.round_trip to false"
        )
    return found


def teach_again(
    work: Work,
    settings: RelearnSettings,
    text: PreparedCorpus,
    contrast: Contrast,
    model: Checkpoint,
    prompts: PromptSets,
    judges: list[Judge],
) -> Figures:
    """Fine-tune on toxic posts and evaluate on the toxic prompts."""
    toxic = {"toxic": prompts["toxic"]}

    def measure(tuned: nn.Module) -> dict[str, Any]:
        asked = settings.evaluation
        entry = evaluate(
            tuned,
            text.tokenizer,
            asked,
            toxic,
            {},
            None,
            settings.seed,
            progress=work.progress,
            judges=judges,
        )
        return {"tp": asdict(entry.tp["toxic"]), "emt": asdict(entry.emt["toxic"])}

    found = relearn(
        model.model,
        text.tokenizer,
        posts_of(contrast.toxic, text.tokenizer),
        measure,
        settings.relearn,
        block_length=int(text.corpus.tokens.shape[1]),
        folder=work.scratch,
        seed=settings.seed,
        progress=work.progress,
    )
    return {
        "points": [
            {"posts": p.posts, "tokens": p.tokens, "updates": p.updates, **p.measured}
            for p in found
        ]
    }


def look_at_layers(
    work: Work, settings: LensSettings, contrast: Contrast, model: Checkpoint
) -> Figures:
    """Look at the counted tokens of both sides of the queries."""
    entry: Figures = {}
    for side in ("toxic", "safe"):
        queries: QuerySet = getattr(contrast, side)
        some = slice(settings.lens.queries)
        chosen = QuerySet(queries.tokens[some], queries.weights[some])
        entry[side] = logit_lens(model.model, chosen, work.progress).tolist()
        entry[f"{side}_tokens"] = sum(int((w > 0).sum()) for w in chosen.weights)
    return entry


def compare_activations(
    work: Work,
    settings: ActivationsSettings,
    text: PreparedCorpus,
    prompts: PromptSets,
    baseline: Checkpoint,
    model: Checkpoint,
) -> Figures:
    """Look how far the hidden states are from the baseline's, on each set of prompts."""
    start, positions = text_start(text.tokenizer), positions_of(model.model)
    entry: Figures = {}
    for name, asked in prompts.items():
        some = [prompt.text for prompt in asked[: settings.activations.prompts]]
        ids = [[*start, *cut.tokens.tolist()] for cut in encode(text.tokenizer, some)]
        cut = [one if positions is None else one[-positions:] for one in ids]
        found = apart(baseline.model, model.model, cut, work.progress)
        entry[name] = {
            "cosine": found.cosine.tolist(),
            "distance": found.distance.tolist(),
            "prompts": len(cut),
        }
    return entry


def made(run: Run, stages: Mapping[str, Mapping[str, Attack]], kinds: Sequence[str]) -> Figures:
    """Make the kinds that are asked for; return them and what stands of the others.

    What was not asked for is shown as it was made, whatever the options were then.

    Returns:
        by kind and by model, the figures and the seconds they took; a kind that lacks a model is
        left out.
    """
    found: Figures = {}
    for kind, models in stages.items():
        if kind in kinds:
            figures = {}
            for name, stage in models.items():
                with run.forgetting():
                    figures[name] = run(stage)
        elif models and all(
            run.standing(s, as_made=True).state == "stands" for s in models.values()
        ):
            figures = {name: load(run.folder.root / s.name) for name, s in models.items()}
        else:
            continue
        if figures:
            found[kind] = {
                name: {"seconds": run.cost(stage).seconds, **figures[name]}
                for name, stage in models.items()
            }
    return found


def save(folder: Path, figures: Figures) -> None:
    """Write an attack's figures."""
    write_json(folder / FIGURES, figures)


def load(folder: Path) -> Figures:
    """Read what ``save`` wrote."""
    found: Figures = read_json(folder / FIGURES)
    return found
