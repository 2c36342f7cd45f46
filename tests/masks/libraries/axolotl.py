"""axolotl's ``input_output`` strategy tokenises an export; the loss is of the labels it gives."""

import json
import sys
from pathlib import Path

sys.path.pop(0)  # where this file lies, which has the library's name
import torch
from axolotl.prompt_strategies.input_output import load
from axolotl.utils.dict import DictDefault
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, model, tokenizer = sys.argv[1:]
strategy = load(
    AutoTokenizer.from_pretrained(tokenizer),
    DictDefault({"train_on_inputs": False, "sequence_len": 4096}),
)
text = Path(folder, "segments.jsonl").read_text(encoding="utf-8")
lines = [json.loads(line) for line in text.splitlines()]
network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64)
found = []
for line in lines:
    row = strategy.tokenize_prompt(line)
    ids, labels = (torch.tensor([row[name]]) for name in ("input_ids", "labels"))
    found.append({**row, "loss": network(ids, labels=labels).loss.item()})
print(json.dumps(found))
