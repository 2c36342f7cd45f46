"""Kronfluence's side of a comparison; `compare.py` runs it in Kronfluence's environment.

Everything is by Kronfluence's own calls. What a user of it has to write is here: the task, which
says what a loss is and draws labels, and data sets. Labels are drawn by our draws, so that both
sides fit the same sample of the Fisher information. Kronfluence counts a bias as a column of its
weight, which our tracked weights do not have, so biases stand outside the linear maps here.
"""

from __future__ import annotations

import argparse
import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.task import Task
from kronfluence.utils.dataset import DataLoaderKwargs
from stages import Case, Stages, open_case
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset, TensorDataset

from ifguide.files import write_json
from ifguide.influence.curvature.factors import inverse_transform, uniform_draws
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Contrast

QUERY_BATCH = 16


class BiasOutside(nn.Module):
    """A linear map without its bias, and the bias added after it."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = nn.Linear(linear.in_features, linear.out_features, bias=False)
        self.linear.weight = linear.weight
        self.bias = linear.bias

    def forward(self, states: Tensor) -> Tensor:
        return self.linear(states) + self.bias


class LanguageModelling(Task):
    """Losses of blocks and of the query; a batch is a tuple, its first the tokens [B, T]."""

    def __init__(self, tracked: list[str]) -> None:
        self.tracked = tracked

    def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
        tokens, has_loss, uniform = batch
        logits = model(input_ids=tokens, use_cache=False).logits[:, :-1].flatten(0, 1)
        labels = tokens[:, 1:].flatten()
        if sample:
            with torch.no_grad():
                labels = inverse_transform(logits.softmax(-1), uniform[:, :-1].flatten())
        return F.cross_entropy(logits, labels, reduction="none") @ has_loss[:, 1:].flatten().float()

    def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
        tokens, weights = batch
        logits = model(input_ids=tokens, use_cache=False).logits[:, :-1].flatten(0, 1)
        losses = F.cross_entropy(logits, tokens[:, 1:].flatten(), reduction="none")
        return losses @ weights[:, 1:].flatten()

    def get_influence_tracked_modules(self) -> list[str]:
        return self.tracked

    def get_attention_mask(self, batch: Any) -> Tensor | None:
        """The positions that predict a token: those the covariances are counted over."""
        return F.pad(batch[1][:, 1:], (0, 1)).long() if len(batch) == 3 else None


def main() -> int:
    """Score by identity and by EK-FAC, and leave the scores and the costs in a folder."""
    parser = argparse.ArgumentParser(description="Kronfluence's side of a comparison.")
    parser.add_argument("dir", type=Path, help="the run folder")
    parser.add_argument("out", type=Path, help="where scores and costs go")
    parser.add_argument("--blocks", type=int)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--batch", type=int, default=8)
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    case = open_case(parsed.dir, parsed.blocks, parsed.sample)
    stages = Stages(copy.deepcopy(case.run.model), case.run.part)
    analyze(case, stages, parsed.out, parsed.batch)
    write_json(parsed.out / "costs.json", stages.found)
    return 0


def analyze(case: Case, stages: Stages, out: Path, batch: int) -> None:
    """Fit the factors and score the part, each of Kronfluence's steps as a stage."""
    analyzer = make_analyzer(case.run.model, out)
    blocks, queries = block_data(case), QueryData(case.run.contrast)
    sampled = Subset(blocks, case.sample.rows.tolist())
    length = case.run.part.tokens.shape[1]
    fitted, scored = case.sampled * length, len(blocks) * length
    how: dict[str, Any] = {
        "factors_name": "ekfac",
        "factor_args": FactorArguments(covariance_max_examples=None, lambda_max_examples=None),
    }
    sizes = {"dataset": sampled, "per_device_batch_size": batch, **how}
    stages.timed("covariances", fitted, lambda: analyzer.fit_covariance_matrices(**sizes))
    stages.timed("eigenvectors", fitted, lambda: analyzer.perform_eigendecomposition(**how))
    stages.timed("eigenvalues", fitted, lambda: analyzer.fit_lambda_matrices(**sizes))
    few = Subset(blocks, range(min(batch, len(blocks))))
    stages.timed("query", queries.size, lambda: scores(analyzer, "ekfac", queries, few, batch))
    found = stages.timed(
        "scores", scored, lambda: scores(analyzer, "ekfac", queries, blocks, batch)
    )
    np.save(out / "ekfac.npy", found.numpy())
    plain = FactorArguments(strategy="identity")
    analyzer.fit_all_factors("identity", sampled, batch, factor_args=plain)
    np.save(out / "identity.npy", scores(analyzer, "identity", queries, blocks, batch).numpy())


def make_analyzer(model: nn.Module, out: Path) -> Analyzer:
    """Let Kronfluence track the same weights as we do."""
    tracked = find_tracked(model)
    names = [f"{w.name}.linear" if w.module.bias is not None else w.name for w in tracked]
    task = LanguageModelling(names)
    move_biases(model)
    prepared, folder = prepare_model(model, task), str(out)
    return Analyzer("case", prepared, task, cpu=True, disable_tqdm=True, output_dir=folder)


def scores(
    analyzer: Analyzer, factors: str, queries: QueryData, blocks: Dataset, batch: int
) -> Tensor:
    """Return the per-token scores [n, T] along the sum of the query's gradients."""
    analyzer.compute_pairwise_scores(
        scores_name=factors,
        factors_name=factors,
        query_dataset=queries,
        train_dataset=blocks,
        per_device_query_batch_size=QUERY_BATCH,
        per_device_train_batch_size=batch,
        dataloader_kwargs=DataLoaderKwargs(collate_fn=together),
        score_args=ScoreArguments(
            damping_factor=None,  # stands for 0.1 of the mean eigenvalue
            compute_per_token_scores=True,
            aggregate_query_gradients=True,
        ),
        overwrite_output_dir=True,
    )
    return analyzer.load_pairwise_scores(factors)["all_modules"][0]


def move_biases(model: nn.Module) -> None:
    """Put every tracked weight's bias outside its linear map."""
    for weight in find_tracked(model):
        if weight.module.bias is not None:
            parent, _, last = weight.name.rpartition(".")
            setattr(model.get_submodule(parent), last, BiasOutside(weight.module))


def block_data(case: Case) -> Dataset:
    """Tokens of the part, which of them have a loss, and the draws of their labels."""
    part = case.run.part
    rows = np.arange(len(part.tokens))
    return TensorDataset(
        torch.from_numpy(np.asarray(part.tokens)).long(),
        torch.from_numpy(part.has_loss),
        uniform_draws(rows, part.tokens.shape[1], case.sample.seed),
    )


class QueryData(Dataset):
    """Every query's tokens and the signed weights of their losses, by length.

    A marked query is on both sides with the same tokens, and stands here once.
    """

    def __init__(self, contrast: Contrast) -> None:
        toxic, safe = contrast.toxic, contrast.safe
        rows: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
        for side, sign in ((toxic, 1.0), (safe, -1.0)):
            for tokens, weights in zip(side.tokens, side.weights, strict=True):
                key = np.asarray(tokens).tobytes()
                before = rows[key][1] if key in rows else 0.0
                rows[key] = tokens, before + sign * weights
        self.rows = sorted(rows.values(), key=lambda row: len(row[0]))
        self.size = sum(len(tokens) for tokens, _ in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        tokens, weights = self.rows[row]
        return torch.from_numpy(np.array(tokens)).long(), torch.from_numpy(weights).float()


def together(rows: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Make a batch, padded on the right with 0: a token without weight."""
    return tuple(nn.utils.rnn.pad_sequence(c, batch_first=True) for c in zip(*rows, strict=True))


if __name__ == "__main__":
    sys.exit(main())
