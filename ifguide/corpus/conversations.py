"""Conversations as records hold them: a list of messages, or a prompt and its completion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ifguide.corpus.config import Source
from ifguide.corpus.fields import Record, Spans, describe, lookup, spans_field, text_field
from ifguide.errors import InputError

ASSISTANT = "assistant"


@dataclass(frozen=True)
class Message:
    """One message: ``text`` is its content, and ``spans`` the marked characters of that.

    ``fields`` are what the record has of it, ``role`` and ``content`` among them.
    """

    role: str
    text: str
    fields: Mapping[str, Any]
    spans: Spans = ()


@dataclass(frozen=True)
class Conversation:
    """Messages in order; the assistant's are learnt from number ``first`` on.

    ``place`` is how a message of ours names the record.
    """

    messages: tuple[Message, ...]
    first: int
    place: str


def conversation_of(record: Record, source: Source) -> Conversation:
    """Return the conversation in a record.

    It is that of the field ``source.messages``; or ``source.prompt``, which is not learnt, and
    ``source.completion``: two lists of messages, or the texts of a user and an assistant.

    Raises:
        InputError: a field is missing or of another type, or there is no message.
    """
    if source.messages is not None:
        found = _messages(record, source.messages, "messages", source.spans)
        return Conversation(found, 0, record.place)
    before = _side(record, source, "prompt", "user", None)
    after = _side(record, source, "completion", ASSISTANT, source.spans)
    return Conversation(before + after, len(before), record.place)


def _side(
    record: Record, source: Source, setting: str, role: str, spans: str | None
) -> tuple[Message, ...]:
    name = getattr(source, setting)
    if not source.joins and isinstance(lookup(record, name, source.setting(setting)), list):
        return _messages(record, name, setting, spans)
    text = text_field(record, name, source.setting(setting))
    marks = spans_field(record, spans, source.setting("spans"), len(text)) if spans else ()
    return (Message(role, text, {"role": role, "content": text}, marks),)


def _messages(record: Record, name: str, setting: str, spans: str | None) -> tuple[Message, ...]:
    value = lookup(record, name, f"the source's setting {setting}")
    if not isinstance(value, list) or not value:
        what = "an empty list" if value == [] else describe(value)
        raise InputError(
            f"{record.place}: field '{name}' is {what}, not a list of messages; mend or remove the "
            f"record, or name another field with the source's setting {setting}"
        )
    return tuple(
        _message(Record(f"{record.place}, field '{name}', message {number}", entry), spans)
        for number, entry in enumerate(value)
        if _is_message(entry, record.place, name, number)
    )


def _is_message(entry: Any, place: str, name: str, number: int) -> bool:
    if isinstance(entry, Mapping):
        return True
    raise InputError(
        f"{place}: field '{name}', message {number} is {describe(entry)}, not a record; write "
        "each message as {role: ..., content: ...}"
    )


def _message(record: Record, spans: str | None) -> Message:
    role = text_field(record, "role", "role")
    fields = {key: value for key, value in record.fields.items() if value is not None}
    if "content" not in fields:  # of a message that calls a tool
        return Message(role, "", fields)
    text = text_field(record, "content", "content")
    marked = spans is not None and spans in fields
    marks = spans_field(record, spans or "", "spans", len(text)) if marked else ()
    return Message(role, text, {k: v for k, v in fields.items() if k != spans}, marks)
