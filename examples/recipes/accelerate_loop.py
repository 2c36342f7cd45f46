"""A loop of accelerate: several processes, accumulated batches, the mean over all their tokens.

accelerate launch examples/recipes/accelerate_loop.py RUN MODEL OUT
"""

import sys

import torch
from accelerate import Accelerator
from rows import rows_of
from transformers import AutoModelForCausalLM

from ifguide import Objective, SuppressionCollator, predicted_tokens, suppression_loss

OBJECTIVE = Objective(kind="clamped", weight=1.0)
ACCUMULATED = 2  # batches an update


def loss_of(accelerator, model, batches, objective=OBJECTIVE):
    """Yield each batch's share of the mean over the tokens of all batches of all processes.

    Gradients are averaged over processes, so that each counts its share as many times.
    """
    counts = [predicted_tokens(batch) for batch in batches]
    count = accelerator.reduce(torch.stack([c.sum() for c in counts]).sum())
    for batch, counted in zip(batches, counts, strict=True):
        call = {name: batch[name] for name in ("input_ids", "attention_mask")}
        logits = model(**call, use_cache=False).logits
        rest = (batch["input_ids"], batch["suppress"], counted, objective, count)
        yield suppression_loss(logits, *rest) * accelerator.num_processes


def main(run, start, out):
    """Train one pass over the run's corpus."""
    accelerator = Accelerator()
    model = AutoModelForCausalLM.from_pretrained(start).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    collate = SuppressionCollator(pad=0)
    loader = torch.utils.data.DataLoader(rows_of(run), 4, shuffle=True, collate_fn=collate)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    batches = []
    for number, batch in enumerate(loader, 1):
        batches.append(batch)
        if len(batches) < ACCUMULATED and number < len(loader):
            continue
        for loss in loss_of(accelerator, model, batches):
            accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        batches = []
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        accelerator.unwrap_model(model).save_pretrained(out)
    accelerator.end_training()


if __name__ == "__main__":
    main(*sys.argv[1:])
