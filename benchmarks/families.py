"""Every causal family of the installed transformers, made small: what works with it, or the line.

    python benchmarks/families.py --out benchmarks/records/families.md
    python benchmarks/families.py --families llama bloom

A family is a ``model_type`` of ``AutoModelForCausalLM``. It is made with two layers from its own
config, whose sizes are made small by their names; what cannot be made so is listed with the reason.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    LogitsProcessor,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging

from ifguide.errors import one_line
from ifguide.evaluation.config import Sampling
from ifguide.evaluation.generate import sample_continuations
from ifguide.evaluation.trial import try_generation
from ifguide.influence.config import CurvatureConfig, ScoreConfig
from ifguide.influence.engines.jvp import ForwardMode
from ifguide.influence.trial import try_out, try_saving
from ifguide.models.forward import evaluating
from ifguide.models.load import load_checkpoint
from ifguide.models.losses import forward_losses
from ifguide.models.precision import full_precision
from ifguide.models.tracked import find_tracked
from ifguide.rivals.config import DecodingConfig
from ifguide.rivals.decoding import RewardAugmented
from ifguide.rivals.reward import reward_from

VOCABULARY = 61
LARGEST = 3_000_000  # parameters of a model that counts as small
# settings by what they mean, whatever family has them
SMALL: dict[int, str] = {
    2: "num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers",
    32: "hidden_size n_embd d_model embed_dim embedding_size word_embed_proj_dim lru_width emb_dim "
    "input_embedding_size output_embedding_size mamba_d_ssm attention_hidden_size "
    "hidden_size_per_layer_input",
    4: "num_attention_heads n_head n_heads num_heads decoder_attention_heads num_key_value_heads "
    "encoder_attention_heads num_kv_heads num_query_groups index_n_heads linear_num_key_heads "
    "linear_num_value_heads linear_num_heads mamba_n_heads n_mamba_heads swa_num_attention_heads "
    "swa_num_key_value_heads num_local_experts num_experts n_routed_experts moe_num_experts",
    24: "intermediate_size ffn_dim decoder_ffn_dim encoder_ffn_dim n_inner ffn_hidden_size dff "
    "moe_intermediate_size shared_expert_intermediate_size shared_experts_intermediate_size dim_ff "
    "d_inner intermediate_size_mlp dense_intermediate_size expert_ffn_hidden_size "
    "shared_intermediate_size moe_shared_expert_intermediate_size",
    8: "head_dim v_head_dim qk_nope_head_dim qk_rope_head_dim index_head_dim d_head kv_channels "
    "attention_head_dim linear_key_head_dim linear_value_head_dim linear_head_dim swa_head_dim "
    "mamba_d_head mamba_headdim mamba_head_dim qk_head_dim rotary_dim dim_head kv_lora_rank "
    "q_lora_rank time_step_rank mamba_dt_rank state_size ssm_state_size mamba_d_state "
    "moe_latent_size sliding_window window_size attention_chunk_size local_attention "
    "sliding_window_size attention_window_size",
    1: "n_group topk_group num_experts_per_tok num_experts_per_token n_shared_experts "
    "num_shared_experts first_k_dense_replace moe_k moe_topk mamba_n_groups mamba_ngroups n_groups",
    64: "max_position_embeddings n_positions n_ctx max_seq_len model_max_length "
    "max_target_positions",
    VOCABULARY: "vocab_size vocab_size_per_layer_input",
    0: "pad_token_id bos_token_id eos_token_id",
}
WITHOUT_DEFAULT = ("head_dim", "sliding_window", "pad_token_id", "bos_token_id", "eos_token_id")
SPECIAL: dict[str, dict[str, Any]] = {
    "falcon": {"alibi": True},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "xmod": {"default_language": "en_XX"},
}


def small_config(family: str) -> PreTrainedConfig:
    """Return a family's config with two layers and small sizes."""
    kind = CONFIG_MAPPING[family]
    plain = kind()
    settings: dict[str, Any] = {"is_decoder": True} if hasattr(plain, "is_decoder") else {}
    for size, names in SMALL.items():
        for name in names.split():
            fixed = isinstance(getattr(kind, name, None), property)
            known = hasattr(plain, name) and name not in plain.attribute_map and not fixed
            if known and (getattr(plain, name) is not None or name in WITHOUT_DEFAULT):
                settings[name] = size
    return kind(**settings | SPECIAL.get(family, {}))


def small_model(family: str) -> nn.Module:
    """Return a random model of a family, in float32.

    Raises:
        ValueError: it stays large.
    """
    config = small_config(family)
    with torch.device("meta"):
        size = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    if size > LARGEST:
        raise ValueError(f"{size:,} parameters stay, as its sizes lie deeper or have other names")
    torch.manual_seed(0)
    model: nn.Module = AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():  # away from initialisation, where half the structure is still zero
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        model(input_ids=tokens(12)[None], use_cache=False)
    return model


def tokens(length: int, seed: int = 0) -> Tensor:
    """Draw token ids, none of them special."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(1, VOCABULARY // 2, (length,), generator=draw)


def word_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer whose texts are numbers, 0 being the end of text."""
    words = {"<eos>": 0, **{str(number): number for number in range(1, VOCABULARY)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<eos>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")


def derivative(model: nn.Module) -> float:
    """Return how far ``jvp`` is from autograd's derivatives of each token's loss, in float64."""
    model = model.double()
    tracked, block = find_tracked(model), tokens(8)[None]
    draw = torch.Generator().manual_seed(1)
    along = {
        w.name: torch.randn(w.matrix.shape, generator=draw, dtype=torch.float64) for w in tracked
    }
    expected = []
    for loss in forward_losses(model, block)[0, 1:]:
        gradients = torch.autograd.grad(
            loss, [w.parameter for w in tracked], retain_graph=True, allow_unused=True
        )
        shares = [
            (w.oriented(g) * along[w.name]).sum()
            for w, g in zip(tracked, gradients, strict=True)
            if g is not None
        ]
        expected.append(torch.stack(shares).sum())
    exact = F.pad(torch.stack(expected), (1, 0))[None]
    scores = ForwardMode(model, tracked, along)(block, torch.ones_like(block, dtype=torch.bool))
    return _apart(scores, exact)


class _Recorder(LogitsProcessor):
    def __init__(self) -> None:
        self.steps: list[tuple[Tensor, Tensor]] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.steps.append((input_ids.clone(), scores.clone()))
        return scores


def generation(model: nn.Module) -> float:
    """Return how far the logits of generation are from those of whole texts, read anew."""
    prompts = [tokens(length, length) for length in (3, 14)]
    recorders: list[_Recorder] = []

    def recorded() -> list[_Recorder]:
        recorders.append(_Recorder())
        return recorders[-1:]

    sampling = Sampling(samples=1, tokens=5, batch_size=2)
    texts = [" ".join(map(str, prompt.tolist())) for prompt in prompts]
    sample_continuations(model, word_tokenizer(), texts, sampling, 0, processors=recorded)
    worst, waiting = 0.0, iter(prompts)
    for recorder in recorders:  # one a batch
        width = recorder.steps[0][0].shape[1]
        continued = [next(waiting) for _ in recorder.steps[0][0]]
        for ids, scores in recorder.steps:
            for row, (prompt, found) in enumerate(zip(continued, scores, strict=True)):
                if (ids[row, width:] == 0).any():
                    continue  # it has ended
                with torch.no_grad():
                    whole = model(input_ids=ids[row : row + 1, width - len(prompt) - 1 :])
                worst = max(worst, _apart(found, whole.logits[0, -1]))
    return worst


def steering(model: nn.Module) -> float:
    """Return how far reward-augmented decoding is from the reward model on whole texts."""
    tokenizer = word_tokenizer()
    reward = reward_from(model, tokenizer).eval()
    with torch.no_grad():
        states = reward.states(tokens(20)[None])[0]
        draw = torch.Generator().manual_seed(2)
        reward.head.weight.copy_(torch.randn(reward.head.weight.shape, generator=draw))
        reward.head.weight.mul_(0.1 / reward.head(states).std())
        reward.head.bias.copy_(0.5 - reward.head(states).mean())
        worst = 0.0
        for length in (4, 20, 30):
            text = torch.cat([torch.zeros(1, dtype=torch.long), tokens(length, length)])
            processor = RewardAugmented(reward, tokenizer, DecodingConfig(top_k=5, beta=1.0))
            logits = torch.zeros(1, VOCABULARY)
            found = processor(text[None], logits)[0]
            for token in found.isfinite().nonzero()[:, 0]:
                whole = reward(torch.cat([text, token[None]])[None])[0, -1].clamp(0, 1)
                worst = max(worst, float((1 - found[token] - whole).abs()))
    return worst


def saving(model: nn.Module) -> float:
    """Return how far a model that was saved and read again is from itself."""
    saved: Any = model
    block = tokens(12)[None]
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        saved.save_pretrained(folder)
        again = load_checkpoint(Path(folder)).to(block.device).float()
        return _apart(again(input_ids=block).logits, saved(input_ids=block).logits)


def trial(model: nn.Module) -> float:
    """Do what ``ifguide run`` does before any training."""
    try_out(model, CurvatureConfig(), ScoreConfig())
    try_saving(model)
    try_generation(model, word_tokenizer(), 20)
    return 0.0


def _apart(found: Tensor, expected: Tensor) -> float:
    difference = (found.double() - expected.double()).abs().max()
    return float(difference / expected.double().abs().max())


CHECKS: dict[str, tuple[Callable[[nn.Module], float], float]] = {
    "generation": (generation, 1e-3),
    "decoding": (steering, 1e-4),
    "saved": (saving, 1e-5),
    "check": (trial, 0.0),
    "derivative": (derivative, 1e-6),  # last, as the model is float64 from then on
}


@dataclass(frozen=True)
class Family:
    """What was found of a family: a figure or a line a check; or why it was not made."""

    name: str
    found: dict[str, float | str]
    unmade: str = ""

    def works(self, check: str) -> bool:
        """Whether a check's figure is within its bound."""
        figure = self.found.get(check, "")
        return isinstance(figure, float) and figure <= CHECKS[check][1]


def tried(family: str) -> Family:
    """Make a family's model and run all checks on it."""
    try:
        model = small_model(family)
    except Exception as error:  # noqa: BLE001 - whatever transformers raises is what is recorded
        return Family(family, {}, one_line(error))
    found: dict[str, float | str] = {}
    for check, (measure, _) in CHECKS.items():
        try:
            with evaluating(model), full_precision(model):
                found[check] = measure(model)
        except Exception as error:  # noqa: BLE001 - as above
            found[check] = one_line(error)
    return Family(family, found)


def page(families: Sequence[Family], command: str) -> str:
    """Return the record as Markdown."""
    made = [family for family in families if not family.unmade]
    counts = ", ".join(f"{check} {sum(family.works(check) for family in made)}" for check in CHECKS)
    about = (
        f"`{command}`, {date.today().isoformat()}, {platform.machine()} CPU, torch "
        f"{version('torch')}, transformers {version('transformers')}."
    )
    bounds = "; ".join(f"{check}: {bound:g}" for check, (_, bound) in CHECKS.items())
    lines = [
        "# Families of models",
        "",
        about,
        "",
        "Every causal family of transformers is made with two layers, random weights and windows "
        "of 8 tokens. *generation*: logits of cached, padded generation against whole texts, "
        "relative. *decoding*: toxicity in reward-augmented decoding against the reward model on "
        "whole texts, absolute. *saved*: logits after saving and reading again. *check*: what "
        "`run` tries before any training, with the default curvature and engine. *derivative*: "
        "`jvp` against autograd's gradient of each token's loss in float64. A number is the "
        f"largest difference (bounds: {bounds}), a † marks one beyond its bound; n1 and so on are "
        "lines below.",
        "",
        f"Of {len(families)} families {len(made)} were made; within the bounds: {counts}.",
        "",
        f"| family | {' | '.join(CHECKS)} |",
        f"|---|{'---|' * len(CHECKS)}",
    ]
    notes: dict[str, str] = {}
    for family in made:
        cells = [_cell(family, check, notes) for check in CHECKS]
        lines.append(f"| {family.name} | {' | '.join(cells)} |")
    lines += ["", *(f"- {mark}: {_plain(line)}" for line, mark in notes.items())]
    lines += ["", "Not made:", ""]
    lines += [f"- {f.name}: {_plain(f.unmade)}" for f in families if f.unmade]
    return "\n".join(lines) + "\n"


def _cell(family: Family, check: str, notes: dict[str, str]) -> str:
    figure = family.found[check]
    if isinstance(figure, str):
        return notes.setdefault(figure, f"n{len(notes) + 1}")
    if check == "check":
        return "passes"
    return f"{figure:.0e}" + ("" if family.works(check) else " †")


def _plain(line: str) -> str:
    return line.replace("|", "\\|").replace("<", "&lt;")


def all_families() -> Iterator[str]:
    """Yield every causal family of the installed transformers."""
    yield from sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--families", nargs="+", default=list(all_families()))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    families = []
    for name in given.families:
        families.append(tried(name))
        print(name, families[-1].unmade or families[-1].found, flush=True)
    command = "python benchmarks/families.py" + (f" --out {given.out}" if given.out else "")
    text = page(families, command)
    if given.out:
        given.out.write_text(text, "utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
