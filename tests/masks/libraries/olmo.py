"""OLMo-core reads an export, and takes its loss of it."""

import json
import sys

import torch
from olmo_core.data import DataCollator, NumpyFSLDataset
from olmo_core.data.utils import get_labels
from olmo_core.nn.functional import cross_entropy_loss
from transformers import AutoModelForCausalLM

folder, model, length, vocabulary, end = sys.argv[1:]
data = NumpyFSLDataset(
    f"{folder}/tokens.npy",
    label_mask_paths=[f"{folder}/label_mask.npy"],
    sequence_length=int(length),
    pad_token_id=int(end),
    eos_token_id=int(end),
    vocab_size=int(vocabulary),
)
batch = DataCollator(pad_token_id=int(end))([data[number] for number in range(len(data))])
labels = get_labels(batch)
logits = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64)(batch["input_ids"]).logits
loss, _ = cross_entropy_loss(logits.flatten(0, 1), labels.flatten())
print(json.dumps({"blocks": len(data), "loss": loss.item(), "learnt": int((labels >= 0).sum())}))
