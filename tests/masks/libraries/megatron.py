"""Megatron's GPT dataset reads an export by the recipe of its README.md, shuffled as it does.

The mean over ``loss_mask`` is that of its ``pretrain_gpt.py``, which no package carries.
"""

import json
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.pop(0)  # where this file lies, which has the library's name
import numpy as np
import torch
from megatron.core.datasets.gpt_dataset import GPTDatasetConfig
from megatron.core.datasets.utils import Split
from transformers import AutoModelForCausalLM

folder, model, length, vocabulary, end = sys.argv[1:]
os.chdir(folder)
names = {}
(recipe,) = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL)
exec(recipe, names)

tokenizer = SimpleNamespace(
    eod=int(end), pad=-1, vocab_size=int(vocabulary), unique_identifiers={"name": "export"}
)
config = GPTDatasetConfig(
    random_seed=5,
    sequence_length=int(length),
    blend=(["tokens"], None),
    split="1",
    reset_position_ids=False,
    reset_attention_mask=False,
    eod_mask_loss=False,
    create_attention_mask=False,
    tokenizer=tokenizer,
    path_to_cache=None,
    mid_level_dataset_surplus=0.005,
)
tokens = names["IndexedDataset"]("tokens")
blocks = len(tokens.document_indices) - 1
data = names["MaskedGPTDataset"](
    tokens, "tokens", np.arange(blocks, dtype=np.int32), None, Split.train, config
)
samples = [data[number] for number in range(len(data))]
inputs, labels, mask = (
    torch.stack([sample[name] for sample in samples]) for name in ("tokens", "labels", "loss_mask")
)
logits = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64)(inputs).logits
losses = torch.nn.functional.cross_entropy(logits.mT, labels, reduction="none")
loss = (losses * mask).sum() / mask.sum()
rows = sorted(inputs.tolist())
print(json.dumps({"rows": rows, "loss": loss.item(), "learnt": int(mask.sum())}))
