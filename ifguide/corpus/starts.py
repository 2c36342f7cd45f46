"""What stands before a text: the tokens that its tokenizer puts there, and no others.

A model was trained with what its tokenizer adds, so documents, queries, prompts and whatever else
it reads begin in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from ifguide.corpus.config import NO_START, OWN_START
from ifguide.corpus.tokenizers import end_of_text
from ifguide.errors import InputError


def document_start(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the ids that a tokenizer puts before a text of its own accord; most put none."""
    cut = tokenizer("a", return_special_tokens_mask=True, return_attention_mask=False)
    own = cut["special_tokens_mask"].index(0) if 0 in cut["special_tokens_mask"] else 0
    return tuple(cut["input_ids"][:own])


def text_start(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return what a text that stands alone follows: its document's start, else end-of-text.

    Raises:
        InputError: there is neither, and no beginning-of-text token.
    """
    return document_start(tokenizer) or (padding_of(tokenizer),)


def room_behind(start: Sequence[int], longest: int, setting: str) -> int:
    """Return how many tokens of its own a text of at most ``longest`` may have behind its start.

    Raises:
        InputError: none; ``setting`` is what gives ``longest``.
    """
    if longest <= len(start):
        raise InputError(
            f"{setting}: {longest} leaves no room behind the {len(start)} tokens before a text; "
            f"give {len(start) + 1} or more"
        )
    return longest - len(start)


def padding_of(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return what fills a batch: end-of-text, or where there is none, beginning-of-text.

    Raises:
        InputError: the tokenizer has neither.
    """
    if tokenizer.eos_token_id is None and tokenizer.bos_token_id is not None:
        return int(tokenizer.bos_token_id)
    return end_of_text(tokenizer)


def start_names(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Return what a tokenizer puts before a text as its tokens' names, for people to read."""
    return tuple(str(tokenizer.convert_ids_to_tokens(id)) for id in document_start(tokenizer))


def set_document_start(tokenizer: PreTrainedTokenizerBase, start: str) -> None:
    """Make a tokenizer put before a text what ``CorpusConfig.document_start`` says.

    It is saved with the tokenizer, so that whoever opens it again, with or without this library,
    puts the same token there.

    Raises:
        InputError: the tokenizer has no such token.
    """
    if start == OWN_START:
        return
    if start != NO_START:
        if start not in tokenizer.get_vocab():
            raise InputError(
                f"corpus.document_start: '{start}' is no token of the tokenizer; give {OWN_START}, "
                f"{NO_START} or one of its tokens, say {_names(tokenizer)}"
            )
        tokenizer.add_special_tokens({"bos_token": start})
    tokenizer.add_bos_token = start != NO_START
    tokenizer.init_kwargs["add_bos_token"] = start != NO_START
    wanted = () if start == NO_START else (tokenizer.convert_tokens_to_ids(start),)
    if document_start(tokenizer) != wanted:  # a class of its own, which knows no such setting
        raise InputError(
            f"corpus.document_start: this tokenizer cannot be told '{start}'; give {OWN_START}, or "
            "save it with tokenizer_class PreTrainedTokenizerFast"
        )


def _names(tokenizer: PreTrainedTokenizerBase) -> str:
    return " or ".join(sorted({*tokenizer.all_special_tokens})[:3])
