"""The files of the checkpoints that a training goes on from."""

from __future__ import annotations

KEPT = 2  # checkpoints, beside the best one
COMPLETE = "complete"  # in a checkpoint that was written whole: its files' checksums
CHECKPOINT_FILES = tuple(  # what Trainer writes into a checkpoint, whatever the model
    f"checkpoint-[0-9]*/{name}"
    for name in (
        COMPLETE,
        "guard.json",
        "losses.json",
        "*config.json",
        "*.safetensors",
        "*.safetensors.index.json",
        "optimizer*.pt",
        "optimizer*.bin",
        "scheduler.pt",
        "scaler.pt",
        "rng_state*.pth",
        "trainer_state.json",
        "training_args.bin",
        "tokenizer.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json",
        "vocab.txt",
        "merges.txt",
        "*.model",
        "chat_template.jinja",
        "README.md",
    )
)
