"""Which files each stage writes: patterns of their names in its folder."""

from __future__ import annotations

from ifguide.corpus.packed_files import PACKED_FILES
from ifguide.training.checkpoint_files import CHECKPOINT_FILES

FIGURES = "figures.json"
SHARD_BLOCKS = 1024  # of scores that no setting cuts
TOKENIZER_FILES = (
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.model",
    "chat_template.jinja",
)
CORPUS_FILES = (
    *(f"tokenizer/{name}" for name in TOKENIZER_FILES),
    *(f"blocks/{name}" for name in PACKED_FILES),
    "held_out/*.arrow",
    "held_out/*.json",
)
TEXT_FILES = ("texts.json", *(f"*/{name}" for name in PACKED_FILES))
CURVE = "curve.json"  # how the training went that made a model
MODEL_FILES = (
    *TOKENIZER_FILES,
    CURVE,
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "README.md",  # which peft writes beside an adapter
)
CURVATURE_FILES = ("curvature.safetensors", "curvature-[0-9]*.safetensors")
SCORE_FILES = ("scores-[0-9]*.npy", "scores.json")
SAMPLE_FILES = ("samples-*.parquet", "samples.json")
MASK_FILES = (
    "mask/data-*.arrow",
    "mask/dataset_info.json",
    "mask/state.json",
    "ranking.npz",
    "selection.json",
)
TRAINING_FILES = (*CHECKPOINT_FILES, "guard.json", "sound.safetensors")
SCRATCH_FILES = (  # below the folder that is dropped when a stage is whole
    *TRAINING_FILES,
    *(f"[0-9]*/training/{name}" for name in TRAINING_FILES),
    *(f"[0-9]*/posts/{name}" for name in PACKED_FILES),
)
