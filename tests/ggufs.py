"""GGUF files of tiny models, written by the format's own package."""

import json

import gguf
import torch
from transformers import AutoConfig, AutoModelForCausalLM, set_seed

from ifguide.corpus.tokenizers import train_tokenizer

HEADS, GROUPS = 4, 2
WIDTHS = {
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": HEADS,
    "num_key_value_heads": GROUPS,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
    "tie_word_embeddings": True,
}


def tokenizer_of(vocabulary=300):
    """A byte-level tokenizer of a few words."""
    return train_tokenizer(["The cat sat on the mat. The dog did not, 12 times."] * 9, vocabulary)


def tiny_model(family, vocabulary):
    """A model of random weights in float32."""
    set_seed(0)
    config = AutoConfig.for_model(family, vocab_size=vocabulary, **WIDTHS)
    model = AutoModelForCausalLM.from_config(config).float().eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return model


def write_gguf(file, model, tokenizer, kind="F32"):
    """Write a model of the families llama and qwen2, its matrices in a type of ``gguf``."""
    config = model.config
    family = config.model_type
    writer = gguf.GGUFWriter(str(file), family)
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    _write_tokenizer(writer, tokenizer)
    names = gguf.get_tensor_name_map(
        gguf.MODEL_ARCH[family.upper()], n_blocks=config.num_hidden_layers
    )
    for name, weight in model.named_parameters():
        held = weight.detach().numpy()
        if family == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            held = _interleaved(held, HEADS if "q_proj" in name else GROUPS)
        type_of = getattr(gguf.GGMLQuantizationType, kind if held.ndim == 2 else "F32")
        stored = gguf.quants.quantize(held, type_of)
        called = names.get_name(name, try_suffixes=(".weight", ".bias"))
        writer.add_tensor(called, stored, raw_dtype=type_of)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_tokenizer(writer, tokenizer):
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([token for token, _ in vocabulary])
    special = set(tokenizer.all_special_ids)
    writer.add_token_types([3 if number in special else 1 for _, number in vocabulary])
    writer.add_token_merges([" ".join(pair) for pair in rules["model"]["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_unk_token_id(tokenizer.unk_token_id)


def _interleaved(weight, heads):
    """The rows of a projection in the order that GGUF's llama keeps them in for its rotations."""
    rows = weight.reshape(heads, 2, -1, *weight.shape[1:])
    return rows.swapaxes(1, 2).reshape(weight.shape)
