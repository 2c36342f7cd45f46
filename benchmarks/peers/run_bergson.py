"""Bergson's side of a comparison; `compare.py` runs it in bergson's environment.

Everything is by bergson's own calls, on data sets and a checkpoint written for it. Labels are drawn
by our draws and given as the data set's own, so that both sides fit the same sample of the Fisher
information; a second fit draws bergson's own labels. The checkpoint's limit of positions is raised,
as bergson refuses batches of more tokens than one sequence may have; rotary positions do not
depend on it.
"""

from __future__ import annotations

import argparse
import copy
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bergson import DataConfig, IndexConfig, PreprocessConfig, QuerySetConfig, ScoreConfig
from bergson.build import build_query
from bergson.config.config import HessianConfig
from bergson.data import load_scores
from bergson.hessians.hessian_approximations import approximate_hessians
from bergson.score.score import score_dataset
from datasets import Dataset
from stages import Case, Stages, open_case

from ifguide.files import write_json
from ifguide.influence.curvature.factors import inverse_transform, uniform_draws
from ifguide.models.losses import forward_logits
from ifguide.nouns import Contrast

NO_LOSS = -100
BATCH_TOKENS = 2048


def main() -> int:
    """Score by identity and by EK-FAC, and leave the scores and the costs in a folder."""
    parser = argparse.ArgumentParser(description="Bergson's side of a comparison.")
    parser.add_argument("dir", type=Path, help="the run folder")
    parser.add_argument("out", type=Path, help="where scores and costs go")
    parser.add_argument("--blocks", type=int)
    parser.add_argument("--sample", type=int)
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    case = open_case(parsed.dir, parsed.blocks, parsed.sample)
    stages = Stages(case.run.model, case.run.part)
    write_inputs(case, parsed.out)
    attribute(case, stages, parsed.out)
    write_json(parsed.out / "costs.json", stages.found)
    return 0


def attribute(case: Case, stages: Stages, out: Path) -> None:
    """Build the query, fit, and score the part in every way, each as a stage."""
    length = case.run.part.tokens.shape[1]
    fitted, scored = case.sampled * length, len(case.run.part.tokens) * length
    queries = sum(map(len, (*case.run.contrast.toxic.tokens, *case.run.contrast.safe.tokens)))
    query = QuerySetConfig(
        dataset=str(out / "queries"), aggregation="sum", advantage_column="advantage"
    )
    build = partial(build_query, settings(out, "query", "queries"), query, PreprocessConfig())
    stages.timed("query", queries, build)
    for name, given in (("ekfac", True), ("ekfac, own labels", False)):
        index = settings(out, name, "sample" if given else "unlabelled")
        how = HessianConfig(method="kfac", ev_correction=True, use_dataset_labels=given)
        stages.timed(f"fit {name}", fitted, partial(approximate_hessians, index, how))
    for curvature in ("identity", "ekfac", "ekfac, own labels"):
        for kind in ("output", "gradient") if curvature == "identity" else ("output",):
            name = f"{kind}, {curvature}"
            work = partial(scores, out, name, kind, None if curvature == "identity" else curvature)
            np.save(out / f"{name}.npy", stages.timed(name, scored, work))


def settings(out: Path, name: str, data: str, **more: Any) -> IndexConfig:
    """What every call of bergson's is given: model, data, and where the result goes."""
    return IndexConfig(
        run_path=str(out / "runs" / name),
        model=str(out / "model"),
        data=DataConfig(dataset=str(out / data)),
        precision="fp32",
        token_batch_size=BATCH_TOKENS,
        loss_reduction="sum",
        overwrite=True,
        **more,
    )


def scores(out: Path, name: str, kind: str, curvature: str | None) -> np.ndarray:
    """Score every token along the (preconditioned) query: [n, T - 1] in the store's own order."""
    index = settings(out, name, "blocks", attribute_tokens=True)
    query = ScoreConfig(query_path=str(out / "runs" / "query"), token_influence=kind)
    path = None if curvature is None else str(out / "runs" / curvature)
    score_dataset(index, query, PreprocessConfig(hessian_path=path, ev_correction=path is not None))
    store = load_scores(Path(index.run_path))
    if not store.is_written():
        raise RuntimeError(f"bergson left rows of '{name}' unwritten")
    return store.to_grid().numpy()


def write_inputs(case: Case, out: Path) -> None:
    """Write the checkpoint and the data sets that bergson reads."""
    model, part = copy.deepcopy(case.run.model), case.run.part
    model.config.max_position_embeddings = max(BATCH_TOKENS, part.tokens.shape[1])
    model.save_pretrained(out / "model")
    case.run.text.tokenizer.model_max_length = model.config.max_position_embeddings
    case.run.text.tokenizer.save_pretrained(out / "model")
    every = np.arange(len(part.tokens))
    save(out / "blocks", part.tokens, np.where(part.has_loss, part.tokens, NO_LOSS))
    rows = case.sample.rows
    sampled, kept = np.asarray(part.tokens)[rows], part.has_loss[rows]
    save(out / "unlabelled", sampled, np.where(kept, sampled, NO_LOSS))
    labels = drawn_labels(case, every)[rows]
    save(out / "sample", sampled, np.where(kept, labels, NO_LOSS))
    tokens, masked, advantages = queries_as_rows(case.run.contrast)
    save(out / "queries", tokens, masked, advantage=advantages)


def drawn_labels(case: Case, rows: np.ndarray) -> np.ndarray:
    """Draw a label for each token from the model, as our fit does: [n, T], the first unused."""
    tokens = torch.from_numpy(np.asarray(case.run.part.tokens)[rows]).long()
    uniform = uniform_draws(rows, tokens.shape[1], case.sample.seed)
    labels = tokens.clone()
    for row, few in enumerate(tokens):
        with torch.inference_mode():
            probabilities = forward_logits(case.run.model, few[None])[0, :-1].softmax(-1)
        labels[row, 1:] = inverse_transform(probabilities, uniform[row, :-1])
    return labels.numpy()


def queries_as_rows(contrast: Contrast) -> tuple[list, list, list[float]]:
    """Tokens, labels and factors: one row a query and side, its losses all with one weight."""
    tokens, labels, factors = [], [], []
    for side, sign in ((contrast.toxic, 1.0), (contrast.safe, -1.0)):
        for row, weights in zip(side.tokens, side.weights, strict=True):
            held = np.unique(weights[weights > 0])
            if len(held) > 1 and not np.allclose(held, held[0]):
                raise ValueError("bergson gives the losses of a query one weight; these differ")
            if len(held):
                tokens.append(row)
                labels.append(np.where(weights > 0, row, NO_LOSS))
                factors.append(sign * float(held[0]))
    return tokens, labels, factors


def save(folder: Path, tokens: Any, labels: Any, **columns: Any) -> None:
    """Write a data set of token ids and labels."""
    lists = {"input_ids": tokens, "labels": labels}
    held = {name: [[int(x) for x in row] for row in rows] for name, rows in lists.items()}
    Dataset.from_dict({**held, **columns}).save_to_disk(str(folder))


if __name__ == "__main__":
    sys.exit(main())
