"""A conversation as its chat template writes it, with the place of each message's own text.

Where a text is, is found by rendering the conversation once more with a key in the place of each
text: what then stands around the keys is the template's own. A template that does anything else
with a text than to put it, without the white space around it if it likes, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

from ifguide.corpus.conversations import ASSISTANT, Conversation, Message
from ifguide.corpus.fields import Spans
from ifguide.errors import InputError, reading
from ifguide.nouns import Turn

GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
_KEY = re.compile("\ue000([0-9]{1,9})\ue001")  # of private letters, in which no template is written


@dataclass(frozen=True)
class Rendered:
    """The text of a conversation, its messages' places there, and the characters to learn."""

    text: str
    turns: tuple[Turn, ...]
    learnt: Spans


@final
@dataclass(frozen=True, eq=False)
class ChatTemplate:
    """How a tokenizer writes conversations."""

    tokenizer: PreTrainedTokenizerBase

    @cached_property
    def source(self) -> str:
        """The template.

        Raises:
            InputError: the tokenizer has none.
        """
        if not self.tokenizer.chat_template:
            raise InputError(
                f"tokenizer.path: '{self.tokenizer.name_or_path}' has no chat template, which "
                "conversations are written by; put its chat_template.jinja beside the tokenizer, "
                "or choose a tokenizer that has one"
            )
        with reading("tokenizer.path: the chat template", "choose another tokenizer", lines=1):
            return str(self.tokenizer.get_chat_template())

    def render(self, conversation: Conversation) -> Rendered:
        """Write a conversation.

        Raises:
            InputError: the template refuses or alters it, or what to learn cannot be told.
        """
        messages = conversation.messages
        fields = [dict(message.fields) for message in messages]
        text, generated = self._write(fields, conversation.place)
        keyed, _ = self._write([_keyed(k, m) for k, m in enumerate(messages)], conversation.place)
        turns = _turns(keyed, messages, conversation.place)
        if _KEY.sub(lambda key: messages[int(key[1])].text.strip(), keyed) != text:
            raise InputError(
                f"{conversation.place}: the chat template alters the text of a message, so that "
                "its characters cannot be found again; use a template that puts texts as they are"
            )
        if not GENERATION.search(self.source):
            generated = self._by_beginnings(fields, text, conversation.place)
        learnt = [turn for turn in turns if turn.message >= conversation.first]
        begin = min((turn.start for turn in learnt), default=len(text))
        kept = tuple((start, end) for start, end in generated if end > begin)
        return Rendered(text, turns, kept)

    def _by_beginnings(
        self, fields: Sequence[dict[str, Any]], text: str, place: str
    ) -> list[tuple[int, int]]:
        """Return what each of the assistant's turns adds to the text of the turns before it."""
        found = []
        for number, message in enumerate(fields):
            if message["role"] != ASSISTANT:
                continue
            after, _ = self._write(fields[: number + 1], place)
            before = self._write(fields[:number], place, prompts=True)[0] if number else ""
            if not (after.startswith(before) and text.startswith(after)):
                raise InputError(
                    f"{place}: the chat template writes message {number} otherwise where others "
                    "follow, so that the assistant's turns cannot be found; give the template "
                    "{% generation %} around them"
                )
            found.append((len(before), len(after)))
        return found

    def _write(
        self, fields: Sequence[dict[str, Any]], place: str, *, prompts: bool = False
    ) -> tuple[str, list[tuple[int, int]]]:
        """Return the text, and the characters within ``generation`` where the template says so.

        With ``prompts`` the text ends where the assistant's next turn would begin.
        """
        marked = bool(GENERATION.search(self.source))
        mend = "mend or remove the record, or use another template"
        with reading(place, mend, fault="the chat template refuses it", lines=1):
            texts, generated = render_jinja_template(
                conversations=[list(fields)],
                chat_template=self.source,
                return_assistant_tokens_mask=marked,
                add_generation_prompt=prompts,
                **self.tokenizer.special_tokens_map,
            )
        return texts[0], [(start, end) for start, end in generated[0]] if marked else []


def _keyed(number: int, message: Message) -> dict[str, Any]:
    """Return the fields with a key in the place of the text, the white space around it kept."""
    core = message.text.strip()
    if not core:
        return dict(message.fields)
    return {**message.fields, "content": message.text.replace(core, f"\ue000{number}\ue001", 1)}


def _turns(keyed: str, messages: Sequence[Message], place: str) -> tuple[Turn, ...]:
    """Return where the text of each message comes to lie, in the order of the text."""
    turns, cursor, length = [], 0, 0
    for key in _KEY.finditer(keyed):
        if int(key[1]) >= len(messages):
            raise InputError(
                f"{place}: a field beside the text of a message holds the private letters U+E000 "
                "and U+E001; remove them"
            )
        message = messages[int(key[1])]
        core = message.text.strip()
        length += key.start() - cursor
        offset = message.text.index(core)
        turns.append(Turn(int(key[1]), message.role, length, length + len(core), offset))
        length, cursor = length + len(core), key.end()
    written = [turn.message for turn in turns]
    for number, message in enumerate(messages):
        if message.text.strip() and written.count(number) != 1:
            what = "leaves out" if number not in written else "repeats"
            raise InputError(
                f"{place}: the chat template {what} the text of message {number} "
                f"('{message.role}'); remove the message, or use another template"
            )
    return tuple(turns)
