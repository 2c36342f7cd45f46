"""The steps: what a rank of a datatrove executor does, with what it is handed or finds on disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, final

from datatrove.pipeline.base import PipelineStep

from ifguide.corpus.blocks import pack_part
from ifguide.corpus.tokenizers import tokenizer_fingerprint
from ifguide.datatrove.plan import Plan, scorer_of
from ifguide.datatrove.rounds import ROUNDS, Round, decide, selection_of, write_tally
from ifguide.datatrove.task import BLOCKS, MASK, SCORES, Task, claim
from ifguide.errors import InputError
from ifguide.files import TEMPORARY, describe
from ifguide.influence.score import score
from ifguide.masks.export import export_mask
from ifguide.masks.format import MaskedCorpus
from ifguide.masks.registry import MASK_FORMATS
from ifguide.nouns import Document
from ifguide.run.artifacts import ScoreShards, save_scores

KIND = "ifguide"


@final
class Tokenise(PipelineStep):
    """Cuts the documents that come to a task into tokens and packs them into blocks.

    A task's blocks hold its documents alone, so that as many tasks as there are decide the blocks;
    what fills a task's last block is padding. A document keeps its id; one without text is left
    out. Nothing comes out of this step but what lies in ``out/blocks``.
    """

    name, type = "Tokenise", KIND

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> None:
        """Read all documents of the task.

        Raises:
            InputError: none come to it, as no reader stands before it.
        """
        if data is None:
            raise InputError("Tokenise: no documents come to it; put a reader before it")
        scorer, task = scorer_of(self.plan), Task(Path(self.plan.out), rank, world_size)
        with self.track_time("task"):
            folder = task.emptied(BLOCKS)
            corpus = pack_part(_documents(data), scorer.tokenizer, scorer.block_length, folder)
            said = {"scorer": scorer.known_by, "corpus": corpus.fingerprint if corpus else ""}
            said |= {"tokenizer": tokenizer_fingerprint(scorer.tokenizer)}
            count = len(corpus.documents) if corpus else 0
            task.record(BLOCKS, {**said, "documents": count})
        self.stat_update("documents", value=count)
        self.stat_update("tokens", value=corpus.token_count if corpus else 0)


@final
class Score(PipelineStep):
    """Scores a task's blocks by the run's direction, as the run has scored its corpus."""

    name, type = "Score", KIND

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> None:
        """Score every token.

        Raises:
            InputError: the blocks were cut by another run, or a score is not finite.
        """
        _refuse_documents(self, data)
        scorer, task = scorer_of(self.plan), Task(Path(self.plan.out), rank, world_size)
        corpus, blocks = task.corpus()
        if blocks["scorer"] != scorer.known_by:
            raise InputError(
                f"{task.folder(BLOCKS)}: its blocks were cut for another run than {self.plan.run}, "
                "or for what that was; give another folder for out"
            )
        with self.track_time("task"):
            folder = task.emptied(SCORES)
            if corpus is not None:
                settings, shape = scorer.settings, corpus.tokens.shape
                sink = ScoreShards(folder, (shape[0], shape[1]), settings.shard_blocks)
                save_scores(
                    folder,
                    score(scorer.model.model, corpus, scorer.direction, settings, sink=sink),
                )
            values = [describe(file)["sha256"] for file in sorted(folder.glob("*.npy"))]
            said = {"scorer": scorer.known_by, "corpus": blocks["corpus"], "values": values}
            task.record(SCORES, said)
        self.stat_update("scored", value=corpus.token_count if corpus else 0)


@final
class Tally(PipelineStep):
    """Counts a task's scores for a round: ``coarse``, ``fine`` or ``documents``."""

    name, type = "Tally", KIND

    def __init__(self, plan: Plan, of: str) -> None:
        super().__init__()
        self.plan, self.of = plan, _checked(of)

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> None:
        """Count.

        Raises:
            InputError: the task has no scores, or the round before is not decided.
        """
        _refuse_documents(self, data)
        with self.track_time("task"):
            extent = write_tally(Task(Path(self.plan.out), rank, world_size), self.of)
        self.stat_update("counted", value=extent.with_loss)


@final
class Select(PipelineStep):
    """Adds up a round's tallies, in the one task of an executor, and decides what they come to."""

    name, type = "Select", KIND

    def __init__(self, plan: Plan, of: str) -> None:
        super().__init__()
        self.plan, self.of = plan, _checked(of)

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> None:
        """Decide.

        Raises:
            InputError: there are several tasks, a tally is missing or rests on something else, or
                nothing can be selected.
        """
        _refuse_documents(self, data)
        if world_size != 1:
            raise InputError(f"Select: {world_size} tasks are too many; give its executor tasks=1")
        with self.track_time("task"):
            decided = decide(Path(self.plan.out), self.of, self.plan.chosen)
        self.stat_update("selected", value=decided.get("selected", 0))


@final
class WriteMask(PipelineStep):
    """Writes a task's mask in a format of ``ifguide export-mask``, a folder a task."""

    name, type = "WriteMask", KIND

    def __init__(self, plan: Plan, to: str = "datatrove") -> None:
        super().__init__()
        MASK_FORMATS.get(to, "to")
        self.plan, self.to = plan, to

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> None:
        """Write, where the task has text.

        Raises:
            InputError: the selection was made by other scores than the task's.
        """
        _refuse_documents(self, data)
        task = Task(Path(self.plan.out), rank, world_size)
        claim(task.out)
        with self.track_time("task"):
            found = selection_of(task)
            if found is None:
                return
            selection, scores = found
            folder = task.folder(MASK)
            for left in folder.parent.glob(f".{folder.name}.*{TEMPORARY}"):
                shutil.rmtree(left)  # by a task that was killed
            masked = MaskedCorpus(selection, scores, scorer_of(self.plan).tokenizer)
            origin = {"task": rank, "tasks": world_size}
            export_mask(masked, self.to, folder, origin=origin, replace=True)
        self.stat_update("masked", value=int(selection.suppress.sum()))


def _documents(data: Iterable[Any]) -> Iterator[Document]:
    """Turn datatrove's documents into ours."""
    return (Document(str(given.id), given.text) for given in data)


def _refuse_documents(step: PipelineStep, data: Any) -> None:
    if data is not None:
        raise InputError(
            f"{step.name}: documents come to it, and it reads what lies in the folder of the "
            "tasks; put Tokenise before it"
        )


def _checked(of: str) -> Round:
    for known in ROUNDS:
        if known == of:
            return known
    raise InputError(f"of: there is no round {of}; give one of {', '.join(ROUNDS)}")
