"""Conversations as documents with tokens: special tokens of the template are real, others are text.

A conversation becomes the tokens that ``apply_chat_template`` makes of it. Where a message spells a
special token, the conversation is cut by a copy of the tokenizer that knows its special tokens by
other names, and only those of the template are written by these.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Int
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from ifguide.corpus.chat_template import ChatTemplate, Rendered
from ifguide.corpus.conversations import ASSISTANT, Conversation
from ifguide.corpus.spans import overlaps
from ifguide.corpus.starts import document_start
from ifguide.corpus.tokenizers import encode, end_of_text, special_ids, spells
from ifguide.errors import InputError, reading
from ifguide.nouns import Document, Encoded, Turn

PRIVATE = 0xF0000  # the first letter of the private plane; other names are written in its letters


@final
@dataclass(frozen=True, eq=False)
class ChatTokens:
    """What turns conversations into documents, for one tokenizer."""

    tokenizer: PreTrainedTokenizerBase

    def document(self, conversation: Conversation, name: str, source: str, kind: str) -> Document:
        """Return a conversation as a document: its text as the template writes it, and its tokens.

        Tokens are learnt that share a character with what the assistant writes, the end of its
        turn included, and none with another's text. Marks on white space around a text that the
        template drops are dropped with it.

        Raises:
            InputError: the template refuses or alters the conversation, or a field beside the
                text of a message spells a special token.
        """
        self._refuse_special_fields(conversation)
        rendered = self._template.render(conversation)
        cut = self._encode(rendered, conversation.place)
        learnt = self._learnt(cut, rendered, conversation.first)
        marked = tuple(sorted(_marks(conversation, rendered.turns)))
        encoded = Encoded(cut.tokens, cut.start, cut.end, learnt)
        return Document(name, rendered.text, marked, source, kind, rendered.turns, encoded)

    def _learnt(self, cut: Encoded, rendered: Rendered, first: int) -> Bool[np.ndarray, " length"]:
        others = [
            (turn.start, turn.end)
            for turn in rendered.turns
            if turn.role != ASSISTANT or turn.message < first
        ]
        learnt = overlaps(cut.start, cut.end, rendered.learnt)
        return learnt & ~overlaps(cut.start, cut.end, others)

    def _encode(self, rendered: Rendered, place: str) -> Encoded:
        text = rendered.text
        batch = self.tokenizer(
            text,
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        cut = _encoded(batch["input_ids"], batch["offset_mapping"])
        special = np.array([self._is_spelt(text, *of) for of in _rows(cut)], dtype=np.bool_)
        own = overlaps(cut.start, cut.end, [(turn.start, turn.end) for turn in rendered.turns])
        if not (special & own).any():
            return cut
        if any(ord(letter) >= PRIVATE for letter in text):
            raise InputError(
                f"{place}: a message spells a special token of the tokenizer, and the conversation "
                "has letters of a private plane; remove one of the two"
            )
        places = [row for row, real in zip(_rows(cut), special & ~own, strict=True) if real]
        found = self._by_other_names.encode(self._renamed(text, places), add_special_tokens=False)
        return _encoded(found.ids, found.offsets)

    @cached_property
    def _template(self) -> ChatTemplate:
        return ChatTemplate(self.tokenizer)

    @cached_property
    def _special(self) -> frozenset[int]:
        return frozenset(special_ids(self.tokenizer))

    @cached_property
    def _names(self) -> Mapping[int, tuple[str, str]]:
        """The name of each special token, and another of the same length in private letters."""
        added = self.tokenizer.added_tokens_decoder
        names = {number: added[number].content for number in sorted(self._special & added.keys())}
        return {
            number: (name, chr(PRIVATE + place) * len(name))
            for place, (number, name) in enumerate(names.items())
        }

    @cached_property
    def _by_other_names(self) -> Tokenizer:
        with reading("tokenizer.path: the tokenizer's rules", "choose another one", lines=1):
            rules = json.loads(self.tokenizer.backend_tokenizer.to_str())
            renamed = dict(self._names.values())
            return Tokenizer.from_str(json.dumps(_with_other_names(rules, renamed)))

    def _is_spelt(self, text: str, token: int, start: int, end: int) -> bool:
        return token in self._special and spells(text[start:end], self.tokenizer, token)

    def _renamed(self, text: str, places: list[tuple[int, int, int]]) -> str:
        """Return the text with other names for the special tokens at these places."""
        parts, cursor = [], 0
        for token, start, end in places:
            name, other = self._names[token]
            parts += [text[cursor:start], text[start:end].replace(name, other)]
            cursor = end
        return "".join([*parts, text[cursor:]])

    def _refuse_special_fields(self, conversation: Conversation) -> None:
        """Refuse special tokens in what else a template may write, such as roles."""
        for number, message in enumerate(conversation.messages):
            beside = {key: value for key, value in message.fields.items() if key != "content"}
            for text in _texts_in(beside):
                for name, _ in self._names.values():
                    if name in text:
                        raise InputError(
                            f"{conversation.place}, message {number}: a field beside its content "
                            f"spells the special token {name}; remove it there"
                        )


def joined(
    conversation: Conversation,
    tokenizer: PreTrainedTokenizerBase | None,
    name: str,
    source: str,
    kind: str,
) -> Document:
    """Return the texts of a prompt and its completion joined as they are, and the tokens.

    Tokens are learnt that share a character with the completion, and the end-of-text behind it.
    What the tokenizer puts before a text comes first, unless that is end-of-text itself. Without a
    tokenizer the document has no tokens.
    """
    prompt, completion = conversation.messages
    text, first = prompt.text + completion.text, len(prompt.text)
    length = len(text)
    marks = tuple((start + first, end + first) for start, end in completion.spans)
    turns = (Turn(0, prompt.role, 0, first), Turn(1, completion.role, first, length))
    document = Document(name, text, marks, source, kind, turns)
    if tokenizer is None:
        return document
    (cut,) = encode(tokenizer, [text])
    closing, before = end_of_text(tokenizer), document_start(tokenizer)
    before = () if before == (closing,) else before
    nowhere = [0] * len(before)
    learnt = overlaps(cut.start, cut.end, [(first, length)])
    encoded = Encoded(
        tokens=np.array([*before, *cut.tokens, closing], dtype=np.int32),
        start=np.array([*nowhere, *cut.start, length], dtype=np.int32),
        end=np.array([*nowhere, *cut.end, length], dtype=np.int32),
        learnt=np.array([*nowhere, *learnt, True], dtype=np.bool_),
    )
    return replace(document, encoded=encoded)


def _marks(conversation: Conversation, turns: tuple[Turn, ...]) -> Iterator[tuple[int, int]]:
    """Yield the marked characters of the messages as characters of the conversation's text."""
    for turn in turns:
        shift = turn.start - turn.offset
        for start, end in conversation.messages[turn.message].spans:
            first, last = max(start + shift, turn.start), min(end + shift, turn.end)
            if first < last:
                yield first, last


def _encoded(tokens: list[int], offsets: list[tuple[int, int]]) -> Encoded:
    spans = np.array(offsets, dtype=np.int32).reshape(-1, 2)
    return Encoded(np.array(tokens, dtype=np.int32), spans[:, 0], spans[:, 1])


def _rows(cut: Encoded) -> Iterator[tuple[int, int, int]]:
    columns: tuple[Int[np.ndarray, " length"], ...] = (cut.tokens, cut.start, cut.end)
    yield from zip(*(column.tolist() for column in columns), strict=True)


def _with_other_names(rules: dict[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """Return a tokenizer's rules with other names for some tokens, which keep their ids."""
    model = dict(rules["model"])
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {renamed.get(name, name): number for name, number in vocabulary.items()}
    else:
        model["vocab"] = [[renamed.get(name, name), score] for name, score in vocabulary]
    if "merges" in model:
        pairs = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
        gone = renamed.keys()
        model["merges"] = [[a, b] for a, b in pairs if gone.isdisjoint((a, b, a + b))]
    if model.get("unk_token") in renamed:
        model["unk_token"] = renamed[model["unk_token"]]
    added = [
        {**token, "content": renamed[token["content"]], "normalized": False}
        if token["content"] in renamed
        else token
        for token in rules["added_tokens"]
    ]
    return {**rules, "model": model, "added_tokens": added, "truncation": None, "padding": None}


def _texts_in(value: Any) -> Iterator[str]:
    """Yield all texts in a nested value, keys among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from (*_texts_in(key), *_texts_in(inner))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts_in(inner)
