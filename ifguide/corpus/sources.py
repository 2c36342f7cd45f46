"""One source of records: where they are, which fields mean what, and which records are wanted."""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from operator import ge, le
from pathlib import Path, PurePath
from typing import TypeVar

from ifguide.corpus.fields import Record, identifier, number_field
from ifguide.corpus.readers import is_saved_dataset, list_files, read_hub, read_path, without_suffix
from ifguide.corpus.subsets import read_subset
from ifguide.errors import InputError
from ifguide.ignored import refuse_ignored

Item = TypeVar("Item")
EACH = "[]"  # behind a field's name: the field holds a list of texts
Tally = dict[str, int]  # how many items each filter let through, in the order of the filters


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where documents come from; exactly one of ``path``, ``hub`` and ``builtin`` is set.

    Field names may be dotted to reach into nested records (``"prompt.text"``).

    Args:
        name: what messages and other settings call it; by default the file stem or the last part
            of the hub name.
        path: a file under the data folder (or absolute): ``.jsonl``, ``.ndjson``, ``.json`` (each
            also as ``.gz``), ``.parquet``, or ``.txt`` (one document a file); a folder of those,
            read in sorted order; or a dataset saved by ``datasets`` with ``save_to_disk``.
        hub: a dataset's name on the hub, with ``config``, ``revision``, ``split``, ``streaming``.
        builtin: number of posts of the built-in corpus.
        split: the part of a hub dataset, or of a saved folder that has several.
        text: field of the text. ``prompts[]`` means a field ``prompts`` that holds a list of
            texts: each is a document, called ``ID/0``, ``ID/1`` and so on.
        id: field of the identifier. Records without the default field ``id`` are called by their
            number, counted from 0 over the whole source; a field named here must be there.
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
    at_least: dict[str, float] = field(default_factory=dict)
    at_most: dict[str, float] = field(default_factory=dict)
    marked: bool | None = None
    limit: int | None = None
    held_out: float = 0.0

    def __post_init__(self) -> None:
        """Fill in the name and refuse settings that contradict one another."""
        given = [key for key in ("path", "hub", "builtin") if getattr(self, key) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none of them"
            raise InputError(f"a source needs exactly one of path, hub and builtin; {found} is set")
        if not self.name:
            object.__setattr__(self, "name", self._default_name())
        where = f"source {self.name}"
        if "/" in self.name or "\\" in self.name:
            raise InputError(f"{where}: the name holds a slash; give a name without one")
        if self.builtin is not None and self.builtin < 1:
            raise InputError(f"{where}: builtin is {self.builtin}; ask for 1 or more posts")
        if not 0.0 <= self.held_out < 1.0:
            raise InputError(
                f"{where}: held_out is {self.held_out}; give a share of at least 0 and below 1"
            )
        if self.limit is not None and self.limit < 1:
            raise InputError(f"{where}: limit is {self.limit}; give 1 or more, or null")
        if self.text.endswith(EACH) and self.spans is not None:
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

    def _refuse_ignored(self) -> None:
        """Refuse settings that a source of this kind has no use for."""
        if self.hub is None:
            refuse_ignored(self, "source", ("config", "revision", "streaming"), "it is for a hub's")
        name = PurePath(self.path or "").name
        if without_suffix(name) != name:
            refuse_ignored(self, "source", ("split",), "path names one file")
        if self.builtin is not None:
            refuse_ignored(self, "source", ("split",), "the built-in corpus has none")
            for name, own in {"text": "text", "id": "id", "spans": "spans", "kind": "kind"}.items():
                if getattr(self, name) not in (own, None):
                    since = "the built-in corpus has its own fields"
                    refuse_ignored(self, "source", (name,), since)

    def _default_name(self) -> str:
        if self.path is not None:
            return without_suffix(PurePath(self.path).name) or "corpus"
        return self.hub.split("/")[-1] if self.hub is not None else "builtin"

    def setting(self, key: str) -> str:
        """How a message names one of these settings."""
        return f"the setting {key} of source {self.name}"

    @property
    def shown(self) -> str:
        """What a message calls the data: the path as given, the hub name, or the name."""
        return self.path or self.hub or self.name


def read_records(
    source: Source, data_dir: Path, tally: Tally, seed_of_builtin: int = 0
) -> Iterator[Record]:
    """Records that the filters on records keep, numbered and identified, in file order.

    ``tally`` receives how many records each step let through, for :func:`first_of`.

    Raises:
        InputError: unreadable data, two records of one id, or a subset entry that does not exist.
    """
    records: Iterator[Record] = _identified(source, data_dir, seed_of_builtin)
    records = counted(records, "it", tally)
    if source.subset is not None:
        records = counted(_in_subset(records, source, data_dir), f"subset={source.subset}", tally)
    if source.ids is not None:
        pattern = source.ids
        named = (record for record in records if fnmatch.fnmatchcase(record.id, pattern))
        records = counted(named, f"ids={pattern}", tally)
    for key, bounds, fits in (("at_least", source.at_least, ge), ("at_most", source.at_most, le)):
        for name, bound in bounds.items():
            chosen = _within(records, name, fits, bound, source.setting(key))
            records = counted(chosen, f"{key}={name}: {bound}", tally)
    return records


def counted(items: Iterable[Item], label: str, tally: Tally) -> Iterator[Item]:
    """The same items; ``tally[label]`` counts those that came through."""
    tally[label] = 0
    return _count(items, label, tally)


def first_of(
    items: Iterator[Item], limit: int | None, source: Source, tally: Tally
) -> Iterator[Item]:
    """The first ``limit`` items (all for None).

    Raises:
        InputError: there is none; the message names the filter that let nothing through.
    """
    none_came = True
    for item in itertools.islice(items, limit):
        none_came = False
        yield item
    if none_came:
        labels = list(tally)
        blocked = next(place for place, label in enumerate(labels) if tally[label] == 0)
        if blocked == 0:
            raise InputError(f"{source.shown}: holds no record; fill it or name another source")
        before = tally[labels[blocked - 1]]
        raise InputError(
            f"{source.shown}: none of the {before} records left passes {labels[blocked]}; "
            f"change that setting of source {source.name}"
        )


def falls_in(fraction: float, seed: int, source: str, document: str) -> bool:
    """Whether a document, by its source's name and its id, is of a share drawn by the seed."""
    key = json.dumps([seed, source, document]).encode()
    drawn = int.from_bytes(hashlib.sha256(key).digest()[:8], "big")
    return drawn < fraction * 2**64


def source_fingerprint(source: Source, data_dir: Path) -> str:
    """SHA-256 of what decides the documents: the settings, and the contents of local files.

    A hub dataset is known by name, config, revision and split: set ``revision`` to pin it.
    The folder the data lie in does not count.
    """
    settings = {key: value for key, value in asdict(source).items() if value != {}}
    path, subset = settings.pop("path"), settings.pop("subset")
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for given in (path, subset):
        if given is None:
            digest.update(b"none")
            continue
        for file, name in _all_files(locate(given, data_dir), given):
            with file.open("rb") as stream:
                contents = hashlib.file_digest(stream, "sha256").hexdigest()
            digest.update(f"{name}\0{contents}\n".encode())
    return digest.hexdigest()


def locate(path: str, data_dir: Path) -> Path:
    """A path of the settings: absolute, or under the data folder."""
    return Path(data_dir) / Path(path).expanduser()


def _all_files(path: Path, shown: str) -> list[tuple[Path, str]]:
    if path.is_file():
        return [(path, "")]
    if not is_saved_dataset(path):
        return list_files(path, shown)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return [(file, file.relative_to(path).as_posix()) for file in files]


def _count(items: Iterable[Item], label: str, tally: Tally) -> Iterator[Item]:
    for item in items:
        tally[label] += 1
        yield item


def _identified(source: Source, data_dir: Path, seed_of_builtin: int) -> Iterator[Record]:
    seen: dict[str, int] = {}
    for number, raw in enumerate(_raw_records(source, data_dir, seed_of_builtin)):
        record = replace(raw, number=number)
        if source.id == "id" and not seen and "id" not in record.fields:
            yield replace(record, id=str(number))
            continue
        name = identifier(record, source.id, source.setting("id"))
        if number > len(seen):
            raise InputError(
                f"{record.place}: has an id, but the records before it have none; give every "
                f"record an id, or name another field with {source.setting('id')}"
            )
        if name in seen:
            raise InputError(
                f"{record.place}: id '{name}' is also that of record {seen[name]} (from 0); make "
                f"ids unique, or name another field with {source.setting('id')}"
            )
        seen[name] = number
        yield replace(record, id=name)


def _within(
    records: Iterable[Record],
    name: str,
    fits: Callable[[float, float], bool],
    bound: float,
    setting: str,
) -> Iterator[Record]:
    for record in records:
        value = number_field(record, name, setting)
        if value is not None and fits(value, bound):
            yield record


def _raw_records(source: Source, data_dir: Path, seed_of_builtin: int) -> Iterator[Record]:
    if source.path is not None:
        return read_path(locate(source.path, data_dir), source.path, source.split)
    if source.hub is not None:
        return read_hub(source.hub, source.config, source.revision, source.split, source.streaming)
    return _builtin_records(source.builtin or 0, seed_of_builtin)


def _builtin_records(count: int, seed: int) -> Iterator[Record]:
    from ifguide.corpus.builtin import builtin_posts  # which imports documents, which imports this

    for post in builtin_posts(count, seed):
        fields = {**asdict(post), "spans": list(post.spans)}
        yield Record(f"built-in post {post.id}", fields)


def _in_subset(records: Iterable[Record], source: Source, data_dir: Path) -> Iterator[Record]:
    shown = source.subset or ""
    wanted = read_subset(locate(shown, data_dir), shown)
    missing: set[int | str] = set(wanted)
    by_number = all(isinstance(entry, int) for entry in wanted)
    for record in records:
        key = record.number if by_number else record.id
        if key in wanted:
            missing.discard(key)
            yield record
    if missing:
        what, first = ("number" if by_number else "id"), min(missing, key=str)
        raise InputError(
            f"{shown}: {len(missing)} of {len(wanted)} {what}s are not in {source.shown}, such as "
            f"{first}; correct the subset or the source's path"
        )
