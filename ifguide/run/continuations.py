"""What models say to prompts, drawn here or where a model is served, and kept set by set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from ifguide.corpus.prepare import PreparedCorpus
from ifguide.distributed import ranks
from ifguide.evaluation.config import Server
from ifguide.evaluation.evaluate import generate_table, table_of
from ifguide.evaluation.generate import Processors, derived_seed
from ifguide.evaluation.prompts import Prompt
from ifguide.evaluation.served import served_continuations
from ifguide.nouns import Checkpoint
from ifguide.parts import tell
from ifguide.run import artifacts
from ifguide.run.given import SampleSettings
from ifguide.run.work import Work

PromptSets = Mapping[str, Sequence[Prompt]]
Tables = Mapping[str, pa.Table]


def sample(
    work: Work,
    settings: SampleSettings,
    text: PreparedCorpus,
    model: Checkpoint,
    prompts: PromptSets,
) -> Tables:
    """Draw continuations of all prompt sets, here or where the model is served."""
    if settings.server is None:
        return continued(work, settings, text, model, prompts)
    return _from_server(work, settings, settings.server, text, prompts)


def _from_server(
    work: Work,
    settings: SampleSettings,
    server: Server,
    text: PreparedCorpus,
    prompts: PromptSets,
) -> Tables:
    if not ranks.is_main():
        return {}
    keep = artifacts.Samples(work.path, list(prompts), work.put)

    def make(name: str) -> pa.Table:
        tell(f"sampling from {server.url}")
        asked, seed = prompts[name], derived_seed(settings.seed, name)
        texts = [prompt.text for prompt in asked]
        named, count = settings.model, work.progress
        found = served_continuations(
            server, text.tokenizer, texts, settings.sampling, seed, named, count
        )
        return table_of(asked, found)

    return {name: keep(name, lambda name=name: make(name)) for name in prompts}  # type: ignore[misc]


def continued(
    work: Work,
    settings: SampleSettings,
    text: PreparedCorpus,
    model: Checkpoint,
    prompts: PromptSets,
    processors: Processors = tuple,
    seed_of: Callable[[int, str], int] = derived_seed,
) -> Tables:
    """Draw continuations, a prompt set after the other; each is kept as soon as it is whole.

    ``seed_of`` gives a set's seed by the run's and its name.
    """
    if not ranks.is_main():
        return {}
    keep = artifacts.Samples(work.path, list(prompts), work.put)
    return {
        name: keep(
            name,
            lambda name=name, asked=asked: generate_table(  # type: ignore[misc]
                model.model,
                text.tokenizer,
                asked,
                settings.sampling,
                seed_of(settings.seed, name),
                work.progress,
                processors,
            ),
        )
        for name, asked in prompts.items()
    }
