"""Whether a tokenizer's class cuts texts as the ``tokenizer.json`` that it was loaded from says.

Some classes of transformers build their rules anew and leave out what the file has: its
normalisation, or how it treats spaces. The file is what the model was trained with.
"""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

logger = logging.getLogger(__name__)

FILE = "tokenizer.json"
PROBES = (
    "The quick  brown fox\tjumped\r\nover   it.\n\n ",
    " a leading space",
    "I'll say WE'VE don't, (x_1+y2)==3.14; 1234567 2024-01-02",
    "ﬁne ½ ① ｆｕｌｌ Ⅷ ² ĳ ǆ",
    "é e\u0301 ñ n\u0303 Å \u212b İ ß ſ ΣΑΣ",
    "👩‍👩‍👧 ☎️ 🇩🇪 👍🏽",
    "हिन्दी कमीना שָׁלוֹם العربيّة ไทย 日本語 한국어 \u1112\u1161\u11ab",
    "a\u00a0b\u200bc\u3000d\u00ade\ufefff \u2028 “x” — …",
    "▁a ▁▁b Ġc <0x41>",
)


def as_its_file_says(
    tokenizer: PreTrainedTokenizerBase, place: str | Path, revision: str = "main"
) -> PreTrainedTokenizerBase:
    """Return a tokenizer that cuts as the file in ``place`` says: the given one where it does.

    One that comes with code of its own is left alone, and so is one that has no file.

    Args:
        tokenizer: as its class made it.
        place: the folder, or the name on the hub, that it was loaded from.
        revision: of the name on the hub.
    """
    file = _file_of(place, revision)
    own_code = type(tokenizer).__module__.startswith("transformers_modules")
    if file is None or own_code or not tokenizer.is_fast:
        return tokenizer
    rules = Tokenizer.from_file(str(file))
    rules.no_truncation()
    rules.no_padding()
    if all(_goes_by(rules, tokenizer, text) for text in PROBES):
        return tokenizer
    _tell(str(place), type(tokenizer).__name__)
    known = {
        name: token
        for name, token in tokenizer.special_tokens_map.items()
        if isinstance(token, str) and rules.token_to_id(token) is not None
    }
    settings = {
        name: tokenizer.init_kwargs[name]
        for name in ("add_bos_token", "add_eos_token", "extra_special_tokens")
        if name in tokenizer.init_kwargs
    }
    found = PreTrainedTokenizerFast(
        tokenizer_file=str(file),
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        clean_up_tokenization_spaces=False,
        **known,
        **settings,
    )
    found.name_or_path = tokenizer.name_or_path
    found.chat_template = tokenizer.chat_template
    return found


def _file_of(place: str | Path, revision: str) -> Path | None:
    if Path(place).is_dir():
        file = Path(place) / FILE
        return file if file.is_file() else None
    cached = try_to_load_from_cache(str(place), FILE, revision=revision)
    return Path(cached) if isinstance(cached, str) else None


def _goes_by(rules: Tokenizer, tokenizer: PreTrainedTokenizerBase, text: str) -> bool:
    """Whether a text becomes the same tokens by both, and these the same text again."""
    ids = rules.encode(text, add_special_tokens=False).ids
    again = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    return tokenizer(text, add_special_tokens=False, verbose=False)[
        "input_ids"
    ] == ids and again == rules.decode(ids, skip_special_tokens=False)


@cache
def _tell(place: str, name: str) -> None:
    """Say once a process that the file was taken."""
    logger.warning(
        "%s: its class %s cuts texts otherwise than its %s says; the file is taken",
        place,
        name,
        FILE,
    )
