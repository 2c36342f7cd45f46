"""Attacks as stages: a suffix, fine-tuning and the lens on both models of a finished run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ifguide.attacks.config import KINDS, AttackConfig
from ifguide.lazily import functions_of
from ifguide.nouns import Checkpoint
from ifguide.run.attacks_given import Attack, GcgSettings, LensSettings, RelearnSettings
from ifguide.run.layout import FIGURES
from ifguide.run.outside import JUDGES
from ifguide.run.stage import AnyStage, Need, Stage, needs
from ifguide.run.stages import CORPUS, MODELS, PROMPTS, QUERIES, TRAIN
from ifguide.settings.config import Config

if TYPE_CHECKING:
    from ifguide.run import attacks_makers
else:
    attacks_makers = functions_of("ifguide.run.attacks_makers")

GROUP = "attack/"


def attacks(config: AttackConfig) -> dict[str, dict[str, Attack]]:
    """Return the stages of every kind of attack, by kind and by model."""

    def gcg_settings(run: Config) -> GcgSettings:
        return GcgSettings(config.gcg, run.evaluation.resamples, run.seed)

    def relearn_settings(run: Config) -> RelearnSettings:
        asked = run.evaluation
        return RelearnSettings(
            config.relearn, asked.sampling, asked.threshold, asked.resamples, run.seed, asked
        )

    def declared(kind: str, name: str, model: Need[Checkpoint]) -> Attack:
        common: dict[str, Any] = {
            "name": f"{GROUP}{kind}-{name}",
            "about": f"{KINDS[kind]} ({name})",
            "save": attacks_makers.save,
            "load": lambda folder, get: attacks_makers.load(folder),
            "files": (FIGURES,),
            "command": "attack",
        }
        if kind == "gcg":
            needed = needs(CORPUS, QUERIES, model, TRAIN)
            return Stage(
                needs=needed, settings=gcg_settings, make=attacks_makers.search_suffixes, **common
            )
        if kind == "relearn":
            of = needs(CORPUS, QUERIES, model, PROMPTS, JUDGES)
            return Stage(
                needs=of, settings=relearn_settings, make=attacks_makers.teach_again, **common
            )
        looked = needs(QUERIES, model)
        return Stage(
            needs=looked,
            settings=lambda run: LensSettings(config.lens),
            make=attacks_makers.look_at_layers,
            **common,
        )

    return {
        kind: {name: declared(kind, name, model) for name, model in MODELS.items()}
        for kind in KINDS
    }


def is_attack(stage: AnyStage) -> bool:
    """Whether a stage is one of an attack."""
    return stage.name.startswith(GROUP)
