"""Reward models of reward-augmented decoding (Deng & Raffel 2023, arXiv 2310.09520).

A small causal transformer reads a text once and says after every token how toxic the text so far
is, so that what it computed for a beginning serves all continuations.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from copy import deepcopy
from pathlib import Path
from typing import Any, final

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, GPT2Config, PreTrainedTokenizerBase

from ifguide.corpus.tokenizer_class import as_its_file_says
from ifguide.errors import InputError, reading
from ifguide.files import read_json, write_json
from ifguide.models.forward import evaluating, few_tokens
from ifguide.models.losses import embedding_of

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
SETTINGS = "reward.json"
RELEASED_HEAD = "model.lm_head."
RELEASED_BODY = "model.transformer."
RELEASED_HEAD_WIDTH = 64  # of attention, in GPT-2 of every size


@final
class RewardModel(nn.Module):
    """A transformer without its language-model head, and a linear head to one number a token.

    Args:
        backbone: a causal base model of transformers (``AutoModel``).
        tokenizer: the one whose tokens it reads.
        starts: whether a text follows ``text_start``, as everywhere here; the models that
            the authors released read a text alone.
    """

    def __init__(
        self, backbone: nn.Module, tokenizer: PreTrainedTokenizerBase, *, starts: bool = True
    ) -> None:
        super().__init__()
        self.backbone, self.tokenizer, self.starts = backbone, tokenizer, starts
        config: Any = backbone.config
        weight = next(backbone.parameters())
        width = config.get_text_config().hidden_size
        self.head = nn.utils.skip_init(
            nn.Linear, width, 1, device=weight.device, dtype=weight.dtype
        )
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        attention_mask: Tensor | None = None,
        position_ids: Int[Tensor, "B T"] | None = None,
        past_key_values: Any = None,
    ) -> Float[Tensor, "B T"]:
        """Return the toxicity of each prefix, about in [0, 1] but not bounded to it.

        The arguments are those of ``states``.
        """
        states = self.states(input_ids, attention_mask, position_ids, past_key_values)
        return self.head(states).squeeze(-1)

    def states(
        self,
        input_ids: Int[Tensor, "B T"],
        attention_mask: Tensor | None = None,
        position_ids: Int[Tensor, "B T"] | None = None,
        past_key_values: Any = None,
    ) -> Float[Tensor, "B T d"]:
        """Return the backbone's last states, which the head turns into figures.

        Args:
            input_ids: tokens; those padded on the right need no mask.
            attention_mask: as the backbone takes it, [B, T] or additive [B, 1, T, all].
            position_ids: where they are other than from 0.
            past_key_values: a cache, which the tokens continue and are added to.
        """
        given = {
            "attention_mask": attention_mask,
            "position_ids": position_ids,
            "past_key_values": past_key_values,
        }
        given = {name: value for name, value in given.items() if value is not None}
        return self.backbone(
            input_ids=input_ids, use_cache=past_key_values is not None, **given
        ).last_hidden_state


def reward_from(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> RewardModel:
    """Return a reward model that starts with a copy of a language model's backbone, and says 0.

    Raises:
        InputError: it has no such backbone.
    """
    return RewardModel(deepcopy(backbone_of(model)), tokenizer)


def backbone_of(model: nn.Module) -> nn.Module:
    """Return the part of a language model that turns tokens into states, tried on a few tokens.

    Raises:
        InputError: what it calls its base model is another part, as in a decoder that was cut out
            of an encoder-decoder model, or the whole.
    """
    network: Any = model
    backbone: nn.Module = network.base_model
    try:
        embedding_of(backbone)
        with torch.no_grad(), evaluating(model):
            _ = backbone(input_ids=few_tokens(model, 2), use_cache=False).last_hidden_state
    except Exception as error:  # whatever a family raises is what it cannot do
        raise InputError(
            f"reward: no reward model can be made of {type(model).__name__}, whose base model "
            f"({type(backbone).__name__}) reads no tokens by itself or gives no states; use a "
            "language model of another family"
        ) from error
    return backbone


def save_reward(reward: RewardModel, folder: Path) -> None:
    """Write ``model.safetensors``, the backbone's ``config.json``, the tokenizer and settings."""
    folder.mkdir(parents=True, exist_ok=True)
    backbone: Any = reward.backbone
    backbone.config.save_pretrained(folder)
    reward.tokenizer.save_pretrained(folder)
    weights = {name: weight.contiguous() for name, weight in reward.state_dict().items()}
    save_file(weights, folder / WEIGHTS[0], metadata={"format": "pt"})
    write_json(folder / SETTINGS, {"starts": reward.starts})


def load_reward(place: Path | str, name: str = "reward") -> RewardModel:
    """Load a reward model from a folder, in evaluation mode, and place it.

    The folder is one that ``save_reward`` wrote, or has the layout of the authors' release: a
    GPT-2 whose ``lm_head`` gives 1 or more figures, toxicity first, in ``pytorch_model.bin`` (read
    with ``weights_only``) or ``model.safetensors``, with the tokenizer's files. Where that has no
    config.json, the sizes are read off the weights, with attention heads of 64 as in every GPT-2.

    Args:
        place: the folder.
        name: what messages call it, such as the setting that names it.

    Raises:
        InputError: it cannot be read, or its weights, config and tokenizer do not fit together.
    """
    folder = Path(place)
    weights, tokenizer = _read_weights(folder, name), _read_tokenizer(folder, name)
    released = f"{RELEASED_HEAD}weight" in weights
    with _loading(folder, name):
        config = _released_config(folder, weights, name) if released else _config(folder)
        dtype = weights[f"{RELEASED_HEAD if released else 'head.'}weight"].dtype
        backbone = AutoModel.from_config(config, dtype=dtype, trust_remote_code=False)
        starts = False if released else bool(read_json(folder / SETTINGS)["starts"])
        reward = RewardModel(backbone, tokenizer, starts=starts)
        reward.load_state_dict(_renamed(weights) if released else dict(weights))
    for key, weight in reward.named_parameters():
        if not torch.isfinite(weight).all():
            raise InputError(f"{name}: weight '{key}' in {folder} is not finite; train it again")
    return reward.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _read_weights(folder: Path, name: str) -> Mapping[str, Tensor]:
    files = (folder / own for own in WEIGHTS)
    with _loading(folder, name):
        file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise InputError(
            f"{name}: {folder} holds neither {' nor '.join(WEIGHTS)}; correct the path"
        )
    with _loading(file, name):
        if file.suffix == ".safetensors":
            return load_file(file)
        weights = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(weights, Mapping) or not all(isinstance(w, Tensor) for w in weights.values()):
        raise InputError(f"{name}: {file} holds no tensors by name; give a model's state dict")
    return weights


def _read_tokenizer(folder: Path, name: str) -> PreTrainedTokenizerBase:
    mend = "put the files of the one it was trained with beside the weights"
    with reading(f"{name}: {folder}", mend, fault="it holds no tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        return as_its_file_says(tokenizer, folder)


def _config(folder: Path) -> Any:
    return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _released_config(folder: Path, weights: Mapping[str, Tensor], name: str) -> Any:
    if (folder / "config.json").is_file():
        return _config(folder)
    vocabulary, width = weights[f"{RELEASED_BODY}wte.weight"].shape
    layers = {key.split(".")[3] for key in weights if key.startswith(f"{RELEASED_BODY}h.")}
    if width % RELEASED_HEAD_WIDTH:
        raise InputError(
            f"{name}: a width of {width} is no GPT-2's; put the model's config.json into {folder}"
        )
    return GPT2Config(
        vocab_size=vocabulary,
        n_positions=len(weights[f"{RELEASED_BODY}wpe.weight"]),
        n_embd=width,
        n_layer=len(layers),
        n_head=width // RELEASED_HEAD_WIDTH,
    )


def _renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the released weights by our names, of the head only its first figure, toxicity."""
    head = {
        f"head.{kind}": weights[f"{RELEASED_HEAD}{kind}"][:1].clone() for kind in ("weight", "bias")
    }
    body = {
        f"backbone.{name.removeprefix(RELEASED_BODY)}": weight
        for name, weight in weights.items()
        # attention masks, which older releases of transformers stored
        if name.startswith(RELEASED_BODY) and not name.endswith((".attn.bias", ".attn.masked_bias"))
    }
    return {**body, **head}


def _loading(place: Path, name: str) -> AbstractContextManager[None]:
    mend = "give a folder with a reward model's weights, config and tokenizer"
    return reading(f"{name}: {place}", mend, fault="cannot be loaded")
