"""One of several processes of a run: ``torchrun ranks.py FOLDER``, by ``test_processes.py``."""

import os
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tiny import VOCABULARY, random_corpus, tiny_model
from toys import config, scored
from transformers import PrinterCallback, TrainingArguments

from ifguide.distributed import ranks
from ifguide.evaluation.typed_json import write_typed
from ifguide.models.precision import full_precision
from ifguide.nouns import Selection
from ifguide.run.artifacts import ScoreShards
from ifguide.run.run import opened
from ifguide.training.collate import SuppressionCollator
from ifguide.training.config import Objective, TrainingConfig
from ifguide.training.train import SuppressionTrainer, train


def train_here(folder, batch_size, progress=lambda tokens: None, accumulation=1, kl=None):
    """Train a tiny model on blocks of which the last are mostly padding; return its weights."""
    corpus = random_corpus(blocks=8, length=12, padding=20)
    suppress = np.random.default_rng(1).random(corpus.tokens.shape) < 0.2
    nothing = np.zeros(0)
    selection = Selection(suppress, 0.0, 0, nothing.astype(int), nothing, corpus)
    config = TrainingConfig(
        batch_size=batch_size,
        accumulation=accumulation,
        epochs=2.0,
        learning_rate=1e-3,
        warmup=0.0,
        checkpoint_every=3,
        objective=Objective(kl=kl),
    )
    model = tiny_model("llama")  # in float64: see test_train.py

    def record(curve):
        if ranks.is_main():
            write_typed(folder / "curve.json", curve)

    with full_precision(model):
        train(model, corpus, selection, config, folder=folder, progress=progress, record=record)
    return {name: p.detach().contiguous() for name, p in model.named_parameters()}


def train_padded_here(folder, batch_size, accumulation=1):
    """Make one update of plain descent on sequences padded on the left; return the weights."""
    draw = torch.Generator().manual_seed(0)
    rows = [
        {
            "input_ids": torch.randint(VOCABULARY, (n,), generator=draw),
            "suppress": torch.rand(n, generator=draw) < 0.3,
        }
        for n in (5, 8, 1, 9, 2, 5, 12, 3)
    ]
    model = tiny_model("llama")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = SuppressionTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            max_steps=1,
            max_grad_norm=0,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            log_level="error",
            save_strategy="no",
            remove_unused_columns=False,
        ),
        train_dataset=rows,
        data_collator=SuppressionCollator(pad=0, layout="left"),
        optimizers=(optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)),
        objective=Objective(weight=0.5),
    )
    trainer.remove_callback(PrinterCallback)
    with full_precision(model):
        trainer.train()
    return {name: p.detach().contiguous() for name, p in model.named_parameters()}


class KilledError(Exception):
    """Stands for a kill."""


def stop_in_fifth_update():
    seen = []

    def progress(tokens):
        seen.append(tokens)
        if len(seen) == 5:
            raise KilledError

    return progress


def make_shards(work, settings):
    """Each rank scores its share of four shards; a rank's scores carry its number."""
    shards = ScoreShards(work.path, (7, 3), 2, work.put)
    for rows in shards.missing():
        work.progress(1)
        shards.put(rows, np.full((rows.stop - rows.start, 3), float(ranks.rank())))
    np.testing.assert_array_equal(np.asarray(shards.collect())[:, 0], [0, 0, 1, 1, 0, 0, 1])


def check_reductions():
    rank = ranks.rank()
    assert ranks.world_size() == 2
    assert ranks.is_main() == (rank == 0)
    assert ranks.sum_over_ranks(torch.tensor([rank + 1.0])).item() == 3
    assert ranks.agree(lambda: rank == 0)
    assert list(ranks.mine(range(5))) == [[0, 2, 4], [1, 3]][rank]


def main(folder):
    torch.set_num_threads(1)
    ranks.start()
    check_reductions()
    for _ in range(2):
        with opened(config(), folder / "run", quiet=True) as run:
            run.ensure(scored(make_shards))
    accumulated = train_here(folder / "accumulated", 1, accumulation=2, kl=0.5)
    save_file(accumulated, folder / f"accumulated-{ranks.rank()}.safetensors")
    padded = train_padded_here(folder / "padded", 2, accumulation=2)
    save_file(padded, folder / f"padded-{ranks.rank()}.safetensors")
    seen = []
    weights = train_here(folder / "whole", 1, seen.append)
    assert seen == [24] * 8  # over all processes
    save_file(weights, folder / f"whole-{ranks.rank()}.safetensors")
    try:
        train_here(folder / "killed", 1, stop_in_fifth_update())
    except KilledError:
        ranks.barrier()
    resumed = train_here(folder / "killed", 1)
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)
    ranks.stop()


if __name__ == "__main__":
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    main(Path(sys.argv[1]))
