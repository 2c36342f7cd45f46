"""What a training step costs beside one of transformers' own Trainer, in time and memory.

    python benchmarks/loss.py [--shape smollm2] [--precision float32] [--rounds 2] [--out FILE.md]

Ours learns Eq. 9 with a fiftieth of the tokens selected and takes the loss in chunks; the other is
``transformers.Trainer`` with the model's own loss. Each runs in a process of its own, in turn,
from the same random weights, on the same tokens. A step is forward, backward and AdamW; its time
is the process's processor time, the median of its steps after the first. Peak memory is the
process's largest resident size in a step; what the weights, their gradients and AdamW's averages
take, which no loss can change, is told apart. Last, in this process and in float64 on the small
shape, how far the gradients of both losses are apart where nothing is selected. Markdown goes to
stdout and to --out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from ifguide.files import write_text
from ifguide.models.precision import full_precision
from ifguide.run.memory import peak_rss, reset_peak_rss
from ifguide.training.train import SuppressionTrainer

SHAPES = {
    "smollm2": {
        "vocab_size": 49152,
        "hidden_size": 576,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "intermediate_size": 1536,
        "tie_word_embeddings": True,
    },
    "small": {
        "vocab_size": 4096,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 128,
        "tie_word_embeddings": True,
    },
}
KINDS = ("plain", "ours", "plain, activations recomputed", "ours, activations recomputed")
GIB = 2**30


class Steps(TrainerCallback):
    """Times and peaks of the steps."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.peaks: list[int] = []

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock."""
        reset_peak_rss()
        self.started = time.process_time()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Stop it."""
        self.seconds.append(time.process_time() - self.started)
        self.peaks.append(peak_rss())


def measured(
    kind: str, shape: str, batch: int, length: int, steps: int, precision: str
) -> dict[str, Any]:
    """Return the seconds and bytes of one kind's steps, in this process."""
    torch.manual_seed(0)
    config = LlamaConfig(**SHAPES[shape], max_position_embeddings=length)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    watch = Steps()
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(kind, model, batch, length, steps, Path(folder), watch, precision)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    fixed = 4 * sum(p.numel() * p.element_size() for p in model.parameters())
    return {
        "seconds": watch.seconds[1:],
        "peak": max(watch.peaks[1:]),
        "fixed": fixed,
        "loss": trainer.state.log_history[0]["loss"],
    }


def _trainer(
    kind: str,
    model: PreTrainedModel,
    batch: int,
    length: int,
    steps: int,
    folder: Path,
    watch: TrainerCallback,
    precision: str,
) -> Trainer:
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=batch,
        max_steps=steps,
        logging_steps=steps,
        learning_rate=1e-4,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
        save_strategy="no",
        remove_unused_columns=False,
        bf16=precision == "bfloat16",
        activation_checkpointing=kind.endswith("recomputed"),
    )
    ours = kind.startswith("ours")
    tokens = torch.randint(model.config.vocab_size, (batch * steps, length))
    rows = [{"input_ids": row, "labels": row} for row in tokens]
    if ours:
        rows = [{**row, "suppress": torch.arange(length) % 50 == 7} for row in rows]
    make = SuppressionTrainer if ours else Trainer
    return make(model=model, args=arguments, train_dataset=rows, callbacks=[watch])


def gradient_gap() -> float:
    """Return the largest difference of a gradient, over the largest of its weight, in float64."""
    torch.manual_seed(0)
    config = LlamaConfig(**SHAPES["small"], max_position_embeddings=64)
    model = AutoModelForCausalLM.from_config(config).double()
    tokens = torch.randint(config.vocab_size, (4, 64))
    batch = {"input_ids": tokens, "labels": tokens, "suppress": torch.zeros_like(tokens).bool()}
    weights = list(model.parameters())
    with tempfile.TemporaryDirectory() as folder, full_precision(model):
        arguments = TrainingArguments(folder, use_cpu=True, report_to="none")
        loss = SuppressionTrainer(model=model, args=arguments).compute_loss(model, batch)
        ours = torch.autograd.grad(loss, weights)
        plain = torch.autograd.grad(model(input_ids=tokens, labels=tokens).loss, weights)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, plain, strict=True))


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Return the figures of each kind beside those of ``plain``."""
    seconds = {k: median(s for run in runs for s in run["seconds"]) for k, runs in found.items()}
    peaks = {k: median(run["peak"] for run in runs) for k, runs in found.items()}
    fixed = found["plain"][0]["fixed"]
    lines = [
        "| step | seconds | ratio | peak, GiB | ratio | beyond weights and AdamW, GiB | ratio |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    for kind in found:
        beyond, others = peaks[kind] - fixed, peaks["plain"] - fixed
        lines.append(
            f"| {kind} | {seconds[kind]:.2f} | {seconds[kind] / seconds['plain']:.3f} "
            f"| {peaks[kind] / GIB:.2f} | {peaks[kind] / peaks['plain']:.3f} "
            f"| {beyond / GIB:.2f} | {beyond / others:.3f} |"
        )
    return "\n".join(lines)


def main(given: Sequence[str] | None = None) -> None:
    """Measure every kind in turn, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="smollm2")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--only", choices=KINDS, help="measure one kind here and print JSON")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(given)
    torch.set_num_threads(options.threads)
    if options.only:
        size = (options.batch, options.length, options.steps)
        print(json.dumps(measured(options.only, options.shape, *size, options.precision)))
        return
    names = ("shape", "batch", "length", "steps", "precision")
    words = [f"--{name}={getattr(options, name)}" for name in names]
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in options.kinds}
    for _ in range(options.rounds):
        for kind in options.kinds:
            call = [sys.executable, __file__, "--only", kind, *words]
            done = subprocess.run(
                [*call, f"--threads={options.threads}"], capture_output=True, text=True, check=True
            )
            found[kind].append(json.loads(done.stdout.splitlines()[-1]))
    text = (
        f"# The loss in chunks beside a plain step\n\n`python benchmarks/loss.py {' '.join(words)} "
        f"--rounds={options.rounds} --threads={options.threads}`, {date.today()}, "
        f"torch {torch.__version__}. Gradients are {gradient_gap():.1e} of a weight's largest one "
        f"apart, at most.\n\n{table(found)}\n"
    )
    print(text)
    if options.out:
        write_text(options.out, text)


if __name__ == "__main__":
    main()
