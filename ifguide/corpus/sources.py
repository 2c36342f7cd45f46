"""One source of records: where they are, which fields mean what, and which records are wanted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from ifguide.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where documents come from; exactly one of ``path``, ``hub`` and ``builtin`` is set.

    Field names may be dotted to reach into nested records (``"prompt.text"``).

    Attributes:
        name: what messages and other settings call it; by default the file stem or the hub name.
        path: a file under the data folder (or absolute): ``.jsonl``, ``.ndjson``, ``.json`` (each
            also as ``.gz``), ``.parquet``, or ``.txt`` (one document a file); a folder of those,
            read in sorted order; or a dataset saved by ``datasets`` with ``save_to_disk``.
        hub: a dataset's name on the hub, with ``config``, ``revision``, ``split``, ``streaming``.
        builtin: number of posts of the built-in corpus.
        split: the part of a hub dataset, or of a saved folder that has several.
        text: field of the text.
        id: field of the identifier. Records without the default field ``id`` are called by their
            number, counted from 0 over the whole source; a field named here must be there.
        spans: field of the marked character spans, ``[[start, end), ...]``; null means none.
        kind: field of a label that is carried along.
        ids: keep documents whose id fits this glob, e.g. ``"tsd_train-*"``.
        subset: keep the records listed in this file of ids or of record numbers (from 0): ``.txt``
            (one a line), ``.json`` (a list) or ``.npy`` (integers). A list of whole numbers counts
            records; anything else is ids.
        marked: keep only documents with (true) or without (false) marked spans.
        limit: keep at most this many, the first ones after the other filters.
        held_out: share of the documents kept out of training, chosen by a hash of their ids.
    """

    name: str = ""
    path: str | None = None
    hub: str | None = None
    config: str | None = None
    revision: str | None = None
    split: str = "train"
    streaming: bool = False
    builtin: int | None = None
    text: str = "text"
    id: str = "id"
    spans: str | None = None
    kind: str | None = None
    ids: str | None = None
    subset: str | None = None
    marked: bool | None = None
    limit: int | None = None
    held_out: float = 0.0

    def __post_init__(self) -> None:
        """Refuse settings that contradict one another."""
        given = [key for key in ("path", "hub", "builtin") if getattr(self, key) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none of them"
            raise InputError(f"a source needs exactly one of path, hub and builtin; {found} is set")
        if self.builtin is not None and self.builtin < 1:
            raise InputError(
                f"source {self.title}: builtin is {self.builtin}; ask for 1 or more posts"
            )
        if not 0.0 <= self.held_out < 1.0:
            raise InputError(
                f"source {self.title}: held_out is {self.held_out}; give a share of at least 0 "
                "and below 1"
            )
        if self.limit is not None and self.limit < 1:
            raise InputError(f"source {self.title}: limit is {self.limit}; give 1 or more, or null")
        if self.marked is not None and self.spans is None and self.builtin is None:
            raise InputError(
                f"source {self.title}: marked is set but spans is not; name the field of the "
                "marked spans with the source's setting spans"
            )

    @property
    def title(self) -> str:
        """The given name, else the file stem or the hub name, else ``builtin``."""
        if self.name:
            return self.name
        if self.path is not None:
            return PurePath(PurePath(self.path).name.removesuffix(".gz")).stem
        return self.hub if self.hub is not None else "builtin"
