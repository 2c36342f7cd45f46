"""The text that lies beside an exported pair."""

README = """\
# Two perturbed checkpoints

`plus` holds the model θ+εv and `minus` the model θ-εv, as Hugging Face folders. v is the direction
along which learning toxic text moves the weights; ε = {epsilon:.6e}, so that ‖εv‖ is {step:g} of
the norm of the tracked weights (the linear maps inside the transformer blocks).

The score of token j of block i is `(l_ij(θ+εv) - l_ij(θ-εv)) / 2ε` with `l = -log Pr` in nats;
positive means that learning the token makes the model more toxic.

`tokens.npy` holds the corpus, {shape} token ids: N blocks of T tokens. Let an engine of your
choice compute the log-probability of every token given those before it in its block, under both
models, and write one file for each: an array [N, T] of float16, float32 or float64 as `.npy`, or
JSON Lines with one list of T numbers a block. Entry [i, j] is that of token j itself, not of the
next one. The first token of a block and padding are ignored (`NaN` or `null` will do). Take the
same numerical settings for both. float16 files round most differences away: prefer float32.

With transformers alone:

```python
import numpy as np
import torch
from transformers import AutoModelForCausalLM

tokens = torch.from_numpy(np.load("tokens.npy")).long()
for name in ("plus", "minus"):
    model = AutoModelForCausalLM.from_pretrained(name, dtype="auto").eval()
    found = torch.zeros(tokens.shape)
    with torch.no_grad():
        for i, block in enumerate(tokens):
            log_probabilities = model(block[None, :-1]).logits[0].float().log_softmax(-1)
            found[i, 1:] = log_probabilities.gather(-1, block[1:, None])[:, 0]
    np.save(name + ".npy", found.numpy())
```

Then: `ifguide score CONFIG --out DIR --from-logprobs plus.npy minus.npy`, with `--pair FOLDER` if
this folder is not `DIR/pair`. The scores' rank correlation with the exact derivative is checked on
a probe. The commands after `score` take the same options.
"""
