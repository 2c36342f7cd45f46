"""Attacks as stages: suffixes, fine-tuning and looks inside, on models of a finished run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ifguide.attacks.config import KINDS, AttackConfig
from ifguide.lazily import functions_of
from ifguide.nouns import Checkpoint
from ifguide.run.attacks_given import (
    ActivationsSettings,
    Attack,
    GcgSettings,
    LensSettings,
    RelearnSettings,
)
from ifguide.run.layout import FIGURES
from ifguide.run.outside import JUDGES
from ifguide.run.rivals import Rivals, rows_under
from ifguide.run.stage import AnyStage, Need, Stage, StageOf, folder_name, needs
from ifguide.run.stages import BASELINE, CORPUS, MODELS, PROMPTS, QUERIES
from ifguide.settings.config import Config

if TYPE_CHECKING:
    from ifguide.run import attacks_makers
else:
    attacks_makers = functions_of("ifguide.run.attacks_makers")

GROUP = "attack/"


def models_of(config: Config) -> dict[str, StageOf[Checkpoint]]:
    """Return every model that can be attacked by its name: the run's two, and a comparison's.

    A row whose model is another's, as what is decoded with a reward model, has none of its own.
    """
    rivals = Rivals(config)
    rows = {row.name: rivals.model(row) for row in rows_under(config) if not row.method.model}
    ours = {stage.name for stage in MODELS.values()}
    return {**MODELS, **{name: stage for name, stage in rows.items() if stage.name not in ours}}


def attacks(
    config: AttackConfig, models: Mapping[str, StageOf[Checkpoint]]
) -> dict[str, dict[str, Attack]]:
    """Return the stages of every kind of attack, by kind and by model.

    Of the activations there is none of the baseline, which others are measured by.
    """

    def gcg_settings(run: Config) -> GcgSettings:
        return GcgSettings(config.gcg, run.evaluation.resamples, run.seed)

    def relearn_settings(run: Config) -> RelearnSettings:
        asked = run.evaluation
        return RelearnSettings(
            config.relearn, asked.sampling, asked.threshold, asked.resamples, run.seed, asked
        )

    def declared(kind: str, name: str, model: Need[Checkpoint]) -> Attack:
        common: dict[str, Any] = {
            "name": f"{GROUP}{kind}-{folder_name(name)}",
            "about": f"{KINDS[kind]} ({name})",
            "save": attacks_makers.save,
            "load": lambda folder, get: attacks_makers.load(folder),
            "files": (FIGURES,),
            "command": "attack",
        }
        if kind == "gcg":
            needed = needs(CORPUS, QUERIES, model)
            return Stage(
                needs=needed, settings=gcg_settings, make=attacks_makers.search_suffixes, **common
            )
        if kind == "relearn":
            of = needs(CORPUS, QUERIES, model, PROMPTS, JUDGES)
            return Stage(
                needs=of, settings=relearn_settings, make=attacks_makers.teach_again, **common
            )
        if kind == "activations":
            return Stage(
                needs=needs(CORPUS, PROMPTS, BASELINE, model),
                settings=lambda run: ActivationsSettings(config.activations),
                make=attacks_makers.compare_activations,
                **common,
            )
        looked = needs(QUERIES, model)
        return Stage(
            needs=looked,
            settings=lambda run: LensSettings(config.lens),
            make=attacks_makers.look_at_layers,
            **common,
        )

    return {
        kind: {
            name: declared(kind, name, model)
            for name, model in models.items()
            if (kind, name) != ("activations", "baseline")
        }
        for kind in KINDS
    }


def is_attack(stage: AnyStage) -> bool:
    """Whether a stage is one of an attack."""
    return stage.name.startswith(GROUP)
