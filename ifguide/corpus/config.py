"""The corpus's part of a run's YAML: what is trained on, how it is cut, what is asked about it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Annotated, ClassVar, Literal, get_args

from ifguide.corpus.formats import LONGEST_RECORD, without_suffix
from ifguide.errors import InputError, escaped
from ifguide.ignored import refuse_ignored
from ifguide.ranges import Count, Finite, Range, ShareBelowOne, TextLength, check_ranges

Weighting = Literal["token", "query", "sequence"]

EACH = "[]"  # behind a field's name: the field holds a list of texts
LISTED = re.compile(r"(.+)\[(\d*)\]")  # such a field, and which of the texts is meant, if one is
LICENCE = re.compile(r"[A-Za-z0-9][\w.+() -]{0,99}", re.ASCII)
NOT_TEXT = (  # settings of sources of conversations and of token ids
    *("messages", "prompt", "completion", "chat"),
    *("tokens", "labels", "loss_mask", "attention_mask"),
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where documents come from; exactly one of ``path``, ``hub`` and ``builtin`` is set.

    Field names may be dotted to reach into nested records (``"prompt.text"``).

    Args:
        name: what messages and other settings call it, any text; by default the file stem or the
            last part of the hub name.
        path: a file under the data folder (or absolute): ``.jsonl``, ``.ndjson``, ``.json`` or
            ``.txt`` (one document a file), each also as ``.gz``, ``.bz2``, ``.xz`` and ``.zst``;
            ``.parquet``; ``.arrow``; WebDataset's ``.tar`` and MDS's ``.mds``, also compressed; a
            folder of those, read in sorted order; a dataset saved by ``datasets`` with
            ``save_to_disk``; or an address of a file or folder that fsspec opens, such as
            ``s3://``, ``hf://`` or ``https://``.
        hub: a dataset's name on the hub, with ``config``, ``revision``, ``split``, ``streaming``.
        builtin: number of posts of the built-in corpus.
        split: the part of a hub dataset, or of a saved folder that has several.
        text: field of the text. ``prompts[]`` means a field ``prompts`` that holds a list of
            texts: each is a document, called ``ID/0``, ``ID/1`` and so on. ``prompts[0]`` means
            the first of them alone; a record without one is left out.
        id: field of the identifier. Records without the default field ``id`` are called by their
            number, counted from 0 over the whole source; a field named here must be there.
        messages: field of a conversation, a list of messages with ``role`` and ``content`` each,
            instead of ``text``. It is written by the tokenizer's chat template, and what the
            assistant writes is learnt, and nothing else. ``spans`` is then a field of each message,
            of characters of its content.
        prompt, completion: fields of what is not learnt and what is, instead of ``text``: two lists
            of messages, or the texts of a user and an assistant. ``spans`` are characters of the
            completion, or a field of each of its messages.
        chat: false joins the texts of ``prompt`` and ``completion`` as they are, with end-of-text
            behind them, and asks for no chat template.
        tokens: field of token ids that others made, instead of ``text``; ``input_ids`` for files of
            nothing else: ``.bin`` (nanoGPT's, or Megatron's with its ``.idx``), ``.npy``, and
            datatrove's ``.ds``. Their text is found by decoding, and ``spans`` are its characters.
        labels, loss_mask, attention_mask: fields beside ``tokens``. What has the label -100 or the
            loss 0 is not learnt, what has the attention 0 is left out.
        spans: field of the marked character spans, ``[[start, end), ...]``; null means none.
        kind: field of a label that is carried along.
        ids: keep documents whose id fits this glob, e.g. ``"tsd_train-*"``.
        subset: keep the records listed in this file of ids or of record numbers (from 0): ``.txt``
            (one a line), ``.json`` (a list) or ``.npy`` (integers). A list of whole numbers counts
            records; anything else is ids.
        at_least, at_most: keep records whose field has at least (at most) this number, as in
            ``{prompt.toxicity: 0.5}``; a record without the number is left out.
        marked: keep only documents with (true) or without (false) marked spans.
        limit: keep at most this many, the first ones after the other filters.
        held_out: share of the documents kept out of training, chosen by a hash of their ids.
        longest_record: bytes that a line or a file of plain text may have, and characters that a
            record of a list and a document may have. A longer one is refused before more of it is
            read.
        licence: of the documents, as hubs write it (``cc-by-sa-4.0``); it is told on cards.
    """

    unrecorded: ClassVar = ("longest_record", "licence")
    uncounted: ClassVar = ("path", "subset")  # their files count

    name: str = ""
    path: str | None = None
    hub: str | None = None
    config: str | None = None
    revision: str | None = None
    split: str = "train"
    streaming: bool = False
    builtin: Annotated[int, Range(1, 10**7)] | None = None
    text: str = "text"
    id: str = "id"
    messages: str | None = None
    prompt: str | None = None
    completion: str | None = None
    chat: bool | None = None
    tokens: str | None = None
    labels: str | None = None
    loss_mask: str | None = None
    attention_mask: str | None = None
    spans: str | None = None
    kind: str | None = None
    ids: str | None = None
    subset: str | None = None
    at_least: dict[str, Finite] = field(default_factory=dict)
    at_most: dict[str, Finite] = field(default_factory=dict)
    marked: bool | None = None
    limit: Count | None = None
    held_out: ShareBelowOne = 0.0
    longest_record: Annotated[int, Range(1, 2**40)] = LONGEST_RECORD
    licence: str | None = None

    def __post_init__(self) -> None:
        """Fill in the name and refuse settings that contradict one another."""
        given = [key for key in ("path", "hub", "builtin") if getattr(self, key) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none of them"
            raise InputError(f"a source needs exactly one of path, hub and builtin; {found} is set")
        if not self.name:
            object.__setattr__(self, "name", self._default_name())
        where = f"source {self.name}"
        if re.search("[\ud800-\udfff]", self.name):
            raise InputError(f"{where}: the name holds half a surrogate pair; write it whole")
        check_ranges(self, where)
        if self.licence is not None and not LICENCE.fullmatch(self.licence):
            raise InputError(
                f"{where}: licence is {self.licence[:60]!r}; give its name as hubs write it, such "
                "as cc-by-sa-4.0"
            )
        if LISTED.fullmatch(self.text) and self.spans is not None:
            raise InputError(
                f"{where}: text is '{self.text}', a list in each record, which has no marked "
                "spans; remove spans"
            )
        if self.marked is not None and self.spans is None and self.builtin is None:
            raise InputError(
                f"{where}: marked is set but spans is not; name the field of the marked spans "
                "with spans"
            )
        self._refuse_ignored()
        self._check_contents(where)

    @property
    def is_conversation(self) -> bool:
        """Whether a record is a conversation, or a prompt with its completion."""
        return self.messages is not None or self.completion is not None

    @property
    def joins(self) -> bool:
        """Whether prompts and completions are joined as they are."""
        return self.completion is not None and self.chat is False

    def _check_contents(self, where: str) -> None:
        """Refuse settings of conversations and token ids that contradict one another."""
        if (self.prompt is None) != (self.completion is None):
            raise InputError(f"{where}: prompt and completion go together; set both or neither")
        given = [name for name in ("messages", "completion", "tokens") if getattr(self, name)]
        if len(given) > 1:
            raise InputError(
                f"{where}: {' and '.join(given)} are both set; a record is one of them; remove the "
                "other"
            )
        if given:
            refuse_ignored(self, "source", ("text",), f"{given[0]} takes its place")
        if self.tokens is None:
            refuse_ignored(self, "source", NOT_TEXT[-3:], "it is for tokens")
        if self.completion is None:
            refuse_ignored(self, "source", ("chat",), "it is for prompt and completion")

    def _refuse_ignored(self) -> None:
        """Refuse settings that a source of this kind has no use for."""
        if self.hub is None:
            refuse_ignored(self, "source", ("config", "revision", "streaming"), "it is for a hub's")
        name = PurePath(self.path or "").name
        if without_suffix(name) != name:
            refuse_ignored(self, "source", ("split",), "path names one file")
        if self.builtin is not None:
            refuse_ignored(self, "source", ("split",), "the built-in corpus has none")
            refuse_ignored(self, "source", NOT_TEXT, "the built-in corpus has plain posts")
            for name, own in {"text": "text", "id": "id", "spans": "spans", "kind": "kind"}.items():
                if getattr(self, name) not in (own, None):
                    since = "the built-in corpus has its own fields"
                    refuse_ignored(self, "source", (name,), since)

    def _default_name(self) -> str:
        if self.path is not None:
            return without_suffix(PurePath(self.path).name) or "corpus"
        return "builtin" if self.hub is None else self.hub.split("/")[-1] or "hub"

    def setting(self, key: str) -> str:
        """How a message names one of these settings."""
        return f"the setting {key} of source {self.name}"

    @property
    def shown(self) -> str:
        """What a message calls the data: the path as given, the hub name, or the name."""
        return escaped(self.path or self.hub or self.name)


OWN_START, NO_START = "tokenizer", "none"  # beside the name of a token


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """What is trained on.

    Args:
        sources: where documents come from; they are packed in this order.
        block_length: tokens a block, T.
        document_start: what stands before every text, in the corpus and wherever else a model reads
            one: ``tokenizer`` (what the tokenizer adds to a text, which is what its model was
            trained with; most add nothing), ``none``, or a token, such as ``<s>``.
    """

    sources: tuple[Source, ...] = ()
    block_length: TextLength = 256
    document_start: str = OWN_START

    def __post_init__(self) -> None:
        if not self.sources:
            raise InputError("corpus.sources: there is none; list at least one source of documents")
        check_ranges(self, "corpus")
        if not self.document_start:
            raise InputError(
                f"corpus.document_start: it is empty; give {OWN_START}, {NO_START} or a token"
            )
        names = [source.name for source in self.sources]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"corpus.sources: two are named '{name}'; give each its own name")


SMALLEST = 257  # the 256 bytes and end-of-text


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """Which tokenizer cuts the text: a given one, or one to train (``vocab_size``).

    Args:
        path: folder of a saved tokenizer, or its name on the hub; it must have a fast version.
        gguf: a GGUF file that holds one: its name in ``path``, or without ``path`` where it lies.
        vocab_size: train a byte-level BPE of this many tokens on the corpus.
        trust_remote_code: run the code that comes with ``path``.
    """

    unrecorded: ClassVar = ("trust_remote_code",)
    uncounted: ClassVar = ("path", "gguf")  # their files count

    path: str | None = None
    gguf: str | None = None
    vocab_size: Annotated[int, Range(SMALLEST, 2**24)] | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        """Refuse none or both of the two, and a vocabulary without room for the bytes."""
        given = self.path is not None or self.gguf is not None
        if given == (self.vocab_size is not None):
            found = "both" if given else "neither"
            raise InputError(
                f"tokenizer: set one of path and vocab_size, or gguf (a file); {found} is set"
            )
        check_ranges(self, "tokenizer")
        code = ("trust_remote_code",)
        if not given:
            refuse_ignored(self, "tokenizer", code, "one is trained, none loaded")
        if self.gguf is not None:
            refuse_ignored(self, "tokenizer", code, "a GGUF file brings no code along")

    @property
    def named_by(self) -> str:
        """What messages call a given tokenizer: the setting that names it, and how."""
        if self.gguf is not None:
            return f"tokenizer.gguf: '{self.gguf}'"
        return f"tokenizer.path: '{self.path}'"


_READ_BY = {  # by the kind of queries: settings that not all kinds read
    "marked": (),
    "pairs": ("safe_source", "prompt", "toxic", "safe"),
    "rtp": (
        *("prompt", "completion", "toxicity"),
        *("toxic_at_least", "safe_at_most", "toxic_subset", "safe_subset"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class QueriesConfig:
    """Where the two sides come from. Field names may be dotted.

    ``marked``: in each document of ``source`` that has marked spans, their tokens are the toxic
    side and all others the safe side. ``pairs``: a record's ``toxic`` and ``safe`` completions of
    its ``prompt``; with ``safe_source`` the safe ones come from there. ``rtp``: records with one
    ``completion`` each, told apart by ``toxicity`` or by lists of record numbers.

    Args:
        kind: marked, pairs or rtp.
        source: the documents or records; for pairs with ``safe_source``, the toxic side only.
        safe_source: pairs: another source, of the safe side.
        prompt: field of the prompt; null means none (pairs) or ``prompt.text`` (rtp). Prompt and
            completion are joined as they are, with no space put between them.
        toxic: pairs: field of the toxic completion.
        safe: pairs: field of the safe completion.
        completion: rtp: field of the completion.
        toxicity: rtp: field of its toxicity, in [0, 1]; a record without a value is skipped.
        toxic_at_least: rtp: lowest toxicity of the toxic side.
        safe_at_most: rtp: highest toxicity of the safe side.
        toxic_subset: rtp: file (.npy, .json, .txt) of the records of the toxic side, numbered from
            0 over the whole source, instead of ``toxic_at_least``.
        safe_subset: rtp: the same for the safe side.
        limit: at most this many queries a side, the first ones.
        max_length: longest query in tokens, with what stands before its text. Marked documents
            lose their end; prompts their beginning, and a completion that alone is longer its end.
        weighting: every counted token of a side weighs the same (``token``), every query of a side
            does (``query``: the mean of its tokens), or each query's loss counts as it is summed
            over its tokens (``sequence``, as the authors' code has it): the more tokens a side's
            queries have, the more that side weighs against the other.
    """

    uncounted: ClassVar = ("toxic_subset", "safe_subset")  # their files count

    kind: Literal["marked", "pairs", "rtp"] = "marked"
    source: Source
    safe_source: Source | None = None
    prompt: str | None = None
    toxic: str = "toxic"
    safe: str = "safe"
    completion: str = "continuation.text"
    toxicity: str = "continuation.toxicity"
    toxic_at_least: Finite = 0.75
    safe_at_most: Finite = 0.25
    toxic_subset: str | None = None
    safe_subset: str | None = None
    limit: Count | None = None
    max_length: TextLength = 256
    weighting: Weighting = "token"

    def __post_init__(self) -> None:
        """Refuse settings that contradict one another or would be without effect."""
        check_ranges(self, "queries")
        problem = self._problem()
        if problem is not None:
            raise InputError(f"queries.{problem}")
        read = _READ_BY[self.kind]
        others = {name for names in _READ_BY.values() for name in names} - set(read)
        refuse_ignored(self, "queries", tuple(others), f"kind is {self.kind}")
        if self.toxic_subset is not None:
            refuse_ignored(self, "queries", ("toxic_at_least",), "toxic_subset takes its place")
        if self.safe_subset is not None:
            refuse_ignored(self, "queries", ("safe_at_most",), "safe_subset takes its place")
        if self.toxic_subset is not None and self.safe_subset is not None:
            refuse_ignored(self, "queries", ("toxicity",), "both sides have a subset")
        if self.kind != "marked":
            documents = ("text", "spans", "kind", "marked", *NOT_TEXT)
            since = f"kind {self.kind} takes its texts from other fields"
            refuse_ignored(self.source, "queries.source", documents, since)
            if self.safe_source is not None:
                refuse_ignored(self.safe_source, "queries.safe_source", documents, since)

    def _problem(self) -> str | None:
        if self.kind not in ("marked", "pairs", "rtp"):
            return f"kind: '{self.kind}' is unknown; give marked, pairs or rtp"
        if self.weighting not in get_args(Weighting):
            return f"weighting: '{self.weighting}' is unknown; give token, query or sequence"
        if not self.safe_at_most < self.toxic_at_least:
            return f"safe_at_most: {self.safe_at_most} is not below toxic_at_least; lower it"
        if self.source.held_out or (self.safe_source is not None and self.safe_source.held_out):
            return "source.held_out: queries are not trained on, so nothing is held out; remove it"
        if self.kind != "pairs" and self.safe_source is not None:
            return f"safe_source: kind {self.kind} reads one source; remove it, or use pairs"
        if self.kind != "rtp" and (self.toxic_subset or self.safe_subset):
            return f"toxic_subset, safe_subset: kind {self.kind} has none; use source.subset"
        if self.kind == "marked" and self.source.marked is False:
            return "source.marked: false leaves no marked text; remove it"
        if self.kind == "marked" and self.source.spans is None and self.source.builtin is None:
            return "source.spans: it is not set; name the field of the marked spans"
        return None
