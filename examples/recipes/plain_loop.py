"""A plain PyTorch loop that does not learn a run's selected tokens.

python examples/recipes/plain_loop.py RUN MODEL OUT
"""

import sys

import torch
from rows import rows_of
from transformers import AutoModelForCausalLM

from ifguide import Objective, SuppressionCollator, predicted_tokens, suppression_loss

OBJECTIVE = Objective(kind="clamped", weight=1.0)


def loss_of(model, batch, objective=OBJECTIVE):
    """Return the objective's mean over a batch's tokens."""
    call = {name: batch[name] for name in ("input_ids", "attention_mask")}
    logits = model(**call, use_cache=False).logits
    counted = predicted_tokens(batch)
    return suppression_loss(logits, batch["input_ids"], batch["suppress"], counted, objective)


def main(run, start, out):
    """Train one pass over the run's corpus."""
    model = AutoModelForCausalLM.from_pretrained(start).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    collate = SuppressionCollator(pad=0)
    for batch in torch.utils.data.DataLoader(rows_of(run), 8, shuffle=True, collate_fn=collate):
        loss_of(model, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
