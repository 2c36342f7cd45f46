"""Chat templates in the style of several families, tokenizers that have them, and conversations."""

import json

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ifguide.corpus.tokenizers import train_tokenizer

TEXTS = [
    "The quick brown fox, a lazy dog and the old river.",
    "You stupid fool! Nobody asked you; go away now.",
    "Ein schöner Tag, 日本語のテキスト und 👩‍👩‍👧 dazu.",
    "user assistant system model: [INST] [/INST] how are you today?",
] * 3

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
GENERATING = (  # as ChatML, with the assistant's turns marked
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}"
    "{% endgeneration %}{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA3 = (
    "{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' "
    "+ message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}"
    "{% else %}{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}"
)
ZEPHYR = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] "
    "+ eos_token + '\\n' }}{% if loop.last and add_generation_prompt %}"
    "{{ '<|assistant|>' + '\\n' }}{% endif %}{% endfor %}"
)


def _byte_level():
    return train_tokenizer(TEXTS, 340)


def _pieces():
    """As Llama's of sentence pieces: spaces are a letter, and the first word has one before it."""
    bpe = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    bpe.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=360, special_tokens=special, show_progress=False)
    bpe.train_from_iterator([text for text in TEXTS if text.isascii()], trainer)
    rules = json.loads(bpe.to_str())
    rules["added_tokens"] = rules["added_tokens"][:3]  # the bytes are no special tokens
    bpe = Tokenizer.from_str(json.dumps(rules))
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


FAMILIES = {
    "chatml": (_byte_level, CHATML, ["<|im_start|>", "<|im_end|>"]),
    "generating": (_byte_level, GENERATING, ["<|im_start|>", "<|im_end|>"]),
    "llama3": (
        _byte_level,
        LLAMA3,
        ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    ),
    "gemma": (_pieces, GEMMA, ["<start_of_turn>", "<end_of_turn>"]),
    "mistral": (_pieces, MISTRAL, []),
    "zephyr": (_pieces, ZEPHYR, []),
}


def chat_tokenizer(family):
    """A tokenizer of a family, with its template and special tokens."""
    make, template, special = FAMILIES[family]
    tokenizer = make()
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    if family == "llama3":
        tokenizer.add_special_tokens({"bos_token": "<|begin_of_text|>"})
    tokenizer.chat_template = template
    return tokenizer


def messages(*texts):
    """A user and an assistant in turn."""
    roles = ("user", "assistant")
    return [{"role": roles[k % 2], "content": text} for k, text in enumerate(texts)]
