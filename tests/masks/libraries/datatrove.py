"""datatrove reads and merges an export; nanotron's masked mean is taken of it.

nanotron's own models need flash-attention; its function is taken out of the installed file.
"""

import ast
import json
import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.pop(0)  # where this file lies, which has the library's name
import numpy as np
import torch
from datatrove.pipeline.tokens.merger import DocumentTokenizerMerger
from datatrove.tools.check_dataset import load_dataset_bytes, load_doc_ends
from datatrove.utils.dataset import DatatroveFileDataset
from transformers import AutoModelForCausalLM

folder, model, window, size, scratch = sys.argv[1:]
place = Path(find_spec("nanotron").submodule_search_locations[0]) / "models" / "llama.py"
(function,) = (
    node
    for node in ast.parse(place.read_text()).body
    if isinstance(node, ast.FunctionDef) and node.name == "masked_mean"
)
function.decorator_list = []
names = {"torch": torch}
exec(compile(ast.Module([function], []), str(place), "exec"), names)

ends = load_doc_ends(Path(folder, "corpus.ds.index").open("rb"))  # which closes what it is given
for name, width in (("corpus.ds", int(size)), ("corpus.ds.loss", 1)):
    for part in load_dataset_bytes(Path(folder, name).open("rb"), ends, width):
        assert part
merge = DocumentTokenizerMerger(
    folder, scratch, "all", shuffle=False, save_loss_metadata=True, progress=False
)
merge.run()
(tokens,), (loss,) = (list(Path(scratch).glob(f"*.ds{ending}")) for ending in ("", ".loss"))
same = [
    merged.read_bytes() == Path(folder, name).read_bytes()
    for merged, name in ((tokens, "corpus.ds"), (loss, "corpus.ds.loss"))
]
data = DatatroveFileDataset(f"{folder}/corpus.ds", seq_len=int(window), token_size=int(size))
rows = torch.stack([data[number]["input_ids"] for number in range(len(data))])
learnt = torch.from_numpy(np.fromfile(f"{folder}/corpus.ds.loss", bool)).view_as(rows)[:, 1:]
logits = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64)(rows[:, :-1]).logits
losses = torch.nn.functional.cross_entropy(logits.mT, rows[:, 1:], reduction="none")
found = names["masked_mean"](losses, learnt, torch.float64)
print(
    json.dumps(
        {"blocks": len(rows), "loss": found.item(), "learnt": int(learnt.sum()), "merged": same}
    )
)
