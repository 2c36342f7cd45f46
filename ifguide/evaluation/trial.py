"""Whether a model generates what it says of whole texts, tried on a few tokens before any training.

No family is named: some lose what stands before the last token, or read it anew in another way.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from ifguide.corpus.starts import text_start
from ifguide.corpus.tokenizers import special_ids
from ifguide.errors import InputError, one_line
from ifguide.evaluation.batch import Heads, forced_logits
from ifguide.models.forward import evaluating, few_tokens
from ifguide.models.losses import forward_logits
from ifguide.models.precision import widened
from ifguide.models.quantised import is_quantised

STEPS = 3  # tokens that are generated
# of the largest logit: in float32 no family of which generation is right came to 1e-5
BOUND, QUANTISED_BOUND = 1e-3, 0.05
MEND = "use another causal language model (model.path, or model.scratch's model_type)"


def try_generation(model: nn.Module, tokenizer: PreTrainedTokenizerBase, length: int) -> None:
    """Generate the end of one text, and compare each step's logits with those of the text so far.

    Args:
        model: of any family; nothing of it changes.
        tokenizer: its own, whose end-of-text and padding generation is told of.
        length: of the text in tokens, the longest that will be generated: some families go wrong
            only beyond the window that they look at.

    Raises:
        InputError: the model cannot generate, or its logits differ.
    """
    drawn, special = few_tokens(model, max(length, STEPS + 1))[0].tolist(), special_ids(tokenizer)
    plain = [token for token in drawn if token not in special]
    row = [*text_start(tokenizer), *plain][: len(drawn)]
    prompt, following = row[:-STEPS], row[-STEPS:]
    if not prompt:
        return
    wide = widened(model)
    try:
        steps = forced_logits(wide, Heads.of(tokenizer, [prompt]), following)
        with torch.no_grad(), evaluating(wide):
            whole = [
                forward_logits(wide, torch.tensor([row[: len(prompt) + k]], device=steps[0].device))
                for k in range(STEPS)
            ]
    except Exception as error:
        raise InputError(
            f"model: it does not generate text: {one_line(error, 1)}; {MEND}"
        ) from error
    bound = QUANTISED_BOUND if is_quantised(wide) else BOUND
    for found, logits in zip(steps, whole, strict=True):
        expected = logits[0, -1].double()
        if not (found - expected).abs().max() <= bound * expected.abs().max():
            raise InputError(
                "model: what it generates step by step is not what it says of whole texts, so its "
                f"samples would be wrong; {MEND}"
            )
