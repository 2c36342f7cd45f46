"""New documents against a finished run's direction, as stages in a folder of their own.

What the run has made is only looked at. Documents are packed as the run packs its corpus, in the
order given, so that documents of the run's own corpus come to its own blocks and scores.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from ifguide.arrays import read_rows, slabs
from ifguide.corpus.blocks import open_corpus, pack
from ifguide.corpus.config import Source
from ifguide.corpus.documents import read_documents
from ifguide.distributed import ranks
from ifguide.errors import InputError
from ifguide.files import lies_in, write_json
from ifguide.influence.config import ScoreConfig
from ifguide.influence.distil import load_scorer, score_by
from ifguide.influence.score import score
from ifguide.nouns import Checkpoint, Corpus, Direction, Document, TokenScores
from ifguide.parts import tell
from ifguide.run import artifacts, factories
from ifguide.run.actions import Manner
from ifguide.run.delivery import DOCUMENTS, LINES, PARTS, SCORES, SPANS, SUMMARY
from ifguide.run.distilling import check_scorer, scorer_files
from ifguide.run.folder import DELIVERY
from ifguide.run.outside import texts_of
from ifguide.run.run import Run, looked_at, opened
from ifguide.run.scorers import computed
from ifguide.run.stage import Outside, Stage, StageOf, needs
from ifguide.run.stages import AIM, CORPUS, SCORE, SCORED
from ifguide.run.work import Work
from ifguide.selection.select import threshold_of
from ifguide.settings.reader import read_run_config


@dataclass(frozen=True, eq=False)
class Judgement:
    """What a finished run scores new documents with.

    Args:
        model: that the run's scores are taken of.
        tokenizer: the run's.
        direction: the run's.
        threshold: ``selection.quantile`` of the run's own scores, before any smoothing.
    """

    model: Checkpoint
    tokenizer: PreTrainedTokenizerBase
    direction: Direction
    threshold: float


@dataclass(frozen=True)
class Delivery:
    """Which documents, and how they are cut into blocks."""

    sources: tuple[Source, ...]
    block_length: int


@dataclass(frozen=True, eq=False)
class Screening:
    """The stages of one delivery, the last of which rests on the others."""

    documents: StageOf[Corpus]
    scores: StageOf[TokenScores]
    spans: StageOf[Path]


def score_corpus(
    folder: Path,
    sources: Sequence[Source],
    out: Path,
    manner: Manner | None = None,
    *,
    spans: bool = True,
    scorer: Path | None = None,
    trust_remote_code: bool = False,
) -> TokenScores | None:
    """Score new documents by a finished run, in a folder of their own; what stands is reused.

    ``out/scores`` holds the scores of ``out/documents`` as shards, ``out/spans`` a line a document.
    The run is only looked at.

    Args:
        folder: of the run.
        sources: of the documents, in the order in which they are packed.
        out: the folder, not the run's.
        manner: how it is worked in; ``verify`` also reads every byte of the run.
        spans: also write a line a document.
        scorer: a folder of ``ifguide distil``, which scores instead of the run's direction.
        trust_remote_code: let a checkpoint's or tokenizer's own code run.

    Returns:
        the scores on the main rank, None on the others.

    Raises:
        InputError: the run is not finished or does not stand, or a document cannot be used.
    """
    manner = manner or Manner()
    config = read_run_config(folder, trust_remote_code=trust_remote_code)
    if lies_in(out, folder):
        raise InputError(f"--out: {out} lies in the run's folder, which is only read; name another")
    sources = [_from_here(source) for source in sources]
    _check_sources(sources, out)
    if scorer is not None:
        check_scorer(scorer, folder)
    quiet, replaced, verify = manner.quiet, manner.replace, manner.verify
    with looked_at(config, folder, verify=verify) as run:
        _ = run(CORPUS), run(AIM), run(SCORE)
        made = screening(run, sources, scorer)
        stages = [made.documents, made.scores, made.spans]
        with opened(
            config, out, stages, quiet=quiet, replace=replaced, verify=verify, kind=DELIVERY
        ) as delivery:  # fmt: skip
            if spans:
                delivery.ensure(made.spans)
            found = delivery(made.scores)
            return found if ranks.is_main() else None


def screening(run: Run, sources: Sequence[Source], scorer: Path | None = None) -> Screening:
    """Declare the stages that score documents by a finished run.

    Args:
        run: opened to be looked at.
        sources: of the documents; their paths are absolute.
        scorer: the folder of a scorer that was learnt from the run, if one scores.
    """
    given = run.config
    judge = Outside(
        name="the run",
        files=lambda config: (),
        known_by=lambda config: {s.name: run.fingerprint(s) for s in (CORPUS, SCORED, AIM, SCORE)},
        open=lambda config: _judgement(run),
    )
    delivery = Delivery(tuple(sources), given.corpus.block_length)
    documents = Stage(
        name=DOCUMENTS,
        about="the new documents, tokenised and packed as the run's corpus is",
        needs=needs(texts_of("--source", lambda config: sources), judge),
        settings=lambda config: delivery,
        section="--source",
        make=_pack,
        load=lambda folder, get: open_corpus(folder),
        files=PARTS[DOCUMENTS],
        command="score-corpus",
    )
    stored: dict[str, Any] = {
        "name": SCORES,
        "settings": computed,
        "section": "scores",
        "save": artifacts.save_scores,
        "load": lambda folder, get: artifacts.load_scores(folder, get(documents)),
        "files": PARTS[SCORES],
        "command": "score-corpus",
        "total": lambda settings, corpus, _: int(corpus.tokens.size) // ranks.world_size(),
    }
    scores: StageOf[TokenScores] = (
        Stage(
            about="what each of their tokens teaches, along the run's direction",
            needs=needs(documents, judge),
            make=_score,
            passes=factories.scoring_passes,
            **stored,
        )
        if scorer is None
        else Stage(
            about="what each of their tokens teaches, by a scorer that learnt the run's scores",
            needs=needs(documents, scorer_files(scorer)),
            make=_score_by_scorer,
            **stored,
        )
    )
    spans = Stage(
        name=SPANS,
        about="the scores by document and character span",
        needs=needs(documents, scores, judge),
        settings=lambda config: None,
        make=_write_spans,
        load=lambda folder, get: folder / LINES,
        files=PARTS[SPANS],
        command="score-corpus",
    )
    return Screening(documents, scores, spans)


def _check_sources(sources: Sequence[Source], out: Path) -> None:
    """Refuse documents that would be left out, names that two share, and what would read itself.

    Raises:
        InputError: the setting is named.
    """
    if not sources:
        raise InputError("--source: there is none; name a file or folder of documents")
    names = [source.name for source in sources]
    for source in sources:
        if source.held_out:
            raise InputError(
                f"--source: held_out is {source.held_out} for {source.name}, and all documents are "
                "scored; remove it"
            )
        if source.path is not None and lies_in(out, Path(source.path)):
            raise InputError(f"--out: {out} lies in the source {source.name}; name another folder")
        if names.count(source.name) > 1:
            raise InputError(f"--source: two are named '{source.name}'; give each its own name")


def _from_here(source: Source) -> Source:
    """Return a source whose paths start from the working directory, not from the run's data."""
    paths: dict[str, Any] = {
        name: str(Path(given).expanduser().absolute())
        for name in ("path", "subset")
        if (given := getattr(source, name)) is not None
    }
    return replace(source, **paths)


def _judgement(run: Run) -> Judgement:
    share = run.config.selection.quantile
    threshold = threshold_of(run(SCORE), share)
    return Judgement(run(SCORED), run(CORPUS).tokenizer, run(AIM), threshold)


def _documents(source: Source, data_dir: Path, judge: Judgement) -> Iterator[Document]:
    return read_documents(source, data_dir, tokenizer=judge.tokenizer)


def _pack(work: Work, delivery: Delivery, data_dir: Path, judge: Judgement) -> None:
    """Pack the documents, on the main rank."""
    if not ranks.is_main():
        return
    documents = (d for source in delivery.sources for d in _documents(source, data_dir, judge))
    pack(documents, judge.tokenizer, delivery.block_length, work.fresh, setting="--source")


def _score(work: Work, settings: ScoreConfig, corpus: Corpus, judge: Judgement) -> TokenScores:
    """Score every token; a shard that is whole is kept over an interruption."""
    shape = (int(corpus.tokens.shape[0]), int(corpus.tokens.shape[1]))
    sink = artifacts.ScoreShards(work.path, shape, settings.shard_blocks, work.put)
    return score(
        judge.model.model, corpus, judge.direction, settings, sink=sink, progress=work.progress
    )


def _score_by_scorer(work: Work, settings: ScoreConfig, corpus: Corpus, place: Path) -> TokenScores:
    """Score every token by a scorer that was learnt."""
    shape = (int(corpus.tokens.shape[0]), int(corpus.tokens.shape[1]))
    sink = artifacts.ScoreShards(work.path, shape, settings.shard_blocks, work.put)
    scorer = load_scorer(place, "--scorer")
    return score_by(scorer, corpus, settings.batch_tokens, sink=sink, progress=work.progress)


def _write_spans(
    work: Work, settings: None, corpus: Corpus, scores: TokenScores, judge: Judgement
) -> None:
    """Write a line a document, and what all of them come to."""
    if not ranks.is_main():
        return
    tell("writing a line a document")
    count, above = 0, 0
    with (work.fresh / LINES).open("w", encoding="utf-8", errors="backslashreplace") as lines:
        for line in document_lines(scores, judge.threshold):
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")
            count, above = count + 1, above + line["above"]
    every = slabs(corpus.tokens.shape)
    tokens = int(sum(corpus.has_loss_in(rows).sum() for rows in every))
    summary = {"documents": count, "tokens": tokens, "above": above, "threshold": judge.threshold}
    write_json(work.fresh / SUMMARY, summary)


def document_lines(scores: TokenScores, threshold: float) -> Iterator[dict[str, Any]]:
    """Yield what is told of each document, in the order of the corpus.

    Args:
        scores: of the documents.
        threshold: from above which a token's score counts.

    Yields:
        ``id``, ``source``; ``score``, the sum over the document's tokens with a loss; ``above``,
        how many are above the threshold; ``spans``, ``[start, end, score]`` for each that has
        characters. The first token of a block has no loss and no span.
    """
    held: list[tuple[np.ndarray, ...]] = []
    current, corpus = 0, scores.corpus
    for rows in slabs(corpus.tokens.shape):
        document = read_rows(corpus.document, rows)
        counted = corpus.has_loss_in(rows)
        arrays = (corpus.start, corpus.end, scores.values)
        columns = [read_rows(array, rows)[counted] for array in arrays]
        owners, first = np.unique(document[counted], return_index=True)
        parts = zip(*(np.split(column, first[1:]) for column in columns), strict=True)
        for owner, part in zip(owners.tolist(), parts, strict=True):
            for number in range(current, owner):
                yield _line(corpus, number, held, threshold)
                held = []
            current = owner
            held.append(part)
    for number in range(current, len(corpus.documents)):
        yield _line(corpus, number, held, threshold)
        held = []


def _line(
    corpus: Corpus, number: int, held: Sequence[tuple[np.ndarray, ...]], threshold: float
) -> dict[str, Any]:
    document = corpus.documents[number]
    none = (np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0))
    start, end, values = (np.concatenate(parts) for parts in zip(none, *held, strict=True))
    return {
        "id": document.id,
        "source": document.source,
        "score": float(values.sum()),
        "above": int((values > threshold).sum()),
        "spans": [
            [int(s), int(e), float(v)] for s, e, v in zip(start, end, values, strict=True) if e > s
        ],
    }
