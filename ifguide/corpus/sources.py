"""One source's records: where its files are, and which of its records are wanted."""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from operator import ge, le
from pathlib import Path
from typing import TypeVar

from ifguide.corpus.addresses import addresses_known_by, is_address, read_address
from ifguide.corpus.builtin import builtin_posts
from ifguide.corpus.config import QueriesConfig, Source
from ifguide.corpus.fields import Record, identifier, number_field
from ifguide.corpus.readers import is_saved_dataset, list_files, read_hub, read_path
from ifguide.corpus.subsets import read_subset
from ifguide.corpus.token_files import companions
from ifguide.errors import InputError, reading
from ifguide.files import check_plain
from ifguide.parts import tell, told

Item = TypeVar("Item")
Tally = dict[str, int]  # how many items each filter let through, in the order of the filters


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
        labels = {name: f"{key}={name}: {bound}" for name, bound in bounds.items()}
        tally |= dict.fromkeys(labels.values(), 0)
        records = _within(records, bounds, fits, source.setting(key), labels, tally)
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


def locate(path: str, data_dir: Path) -> Path:
    """Return a path of the settings: absolute, or under the data folder."""
    return Path(data_dir) / Path(path).expanduser()


def files_of(source: Source, data_dir: Path) -> list[tuple[Path, str]]:
    """Return the files that decide a source's documents, in the order they are read in.

    Each comes with its name inside the source, which decides documents too: the path within a
    folder, a single file's own name, and ``subset`` for the list of a subset, which comes last.
    Nothing is opened. A dataset on the hub and the built-in corpus have none: their settings tell
    what they are. What is at an address is no file of this machine: ``known_by`` tells of it.

    Raises:
        InputError: the path or the subset is not there, or nothing that can be read is.
    """
    found = []
    if source.path is not None and not is_address(source.path):
        path = locate(source.path, data_dir)
        if is_saved_dataset(path):
            found += _saved_files(path)
        else:
            for file, name in list_files(path, source.path, ids=source.tokens is not None):
                found += [(other, f"{name} {other.suffix}") for other in companions(file)]
                found.append((file, name))
    if source.subset is not None:
        found.append((subset_file(source.subset, data_dir), "subset"))
    return found


def subset_file(subset: str, data_dir: Path) -> Path:
    """Return where the list of a subset is.

    Raises:
        InputError: it is not there.
    """
    file = locate(subset, data_dir)
    check_plain(file, f"subset: {subset}")
    return file


def query_sources(config: QueriesConfig) -> tuple[list[Source], list[str]]:
    """Return the sources that queries are read from, and the lists of subsets beside them.

    The lists are paths as the settings give them; ``subset_file`` finds them.
    """
    sources = [config.source, config.safe_source]
    subsets = [config.toxic_subset, config.safe_subset]
    return [given for given in sources if given], [given for given in subsets if given]


def falls_in(fraction: float, seed: int, source: str, document: str) -> bool:
    """Whether a document, by its source's name and its id, is of a share drawn by the seed."""
    key = json.dumps([seed, source, document]).encode()
    drawn = int.from_bytes(hashlib.sha256(key).digest()[:8], "big")
    return drawn < fraction * 2**64


def source_fingerprint(source: Source, data_dir: Path) -> str:
    """Return a sha256 of what decides the documents: settings, and the contents of local files.

    A hub dataset is known by name, config, revision and split: set ``revision`` to pin it. A file
    at an address is known by what the store tells of it.
    The folder the data lie in does not count.

    Raises:
        InputError: a file cannot be read; the line names it.
    """
    settings = {key: value for key, value in asdict(source).items() if value != {}}
    del settings["longest_record"], settings["licence"]
    for place in ("path", "subset"):
        settings[place] = settings[place] is not None
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    told = addresses_known_by({"": source})
    if told is not None:
        digest.update(json.dumps(told, sort_keys=True).encode())
    for file, name in files_of(source, data_dir):
        tell(f"checksum of {name}")
        with reading(str(file), "check the file, or name another one"), file.open("rb") as stream:
            contents = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{name}\0{contents}\n".encode())
    return digest.hexdigest()


def _saved_files(folder: Path) -> list[tuple[Path, str]]:
    """Return all that lies in a saved dataset, seen to be plain files: ``datasets`` opens them."""
    found = sorted(file for file in folder.rglob("*") if not file.is_dir())
    for file in found:
        check_plain(file, str(file))
    return [(file, file.relative_to(folder).as_posix()) for file in found]


def _count(items: Iterable[Item], label: str, tally: Tally) -> Iterator[Item]:
    for item in items:
        tally[label] += 1
        yield item


def _identified(source: Source, data_dir: Path, seed_of_builtin: int) -> Iterator[Record]:
    seen: dict[str, int] = {}
    records = _raw_records(source, data_dir, seed_of_builtin)
    for number, raw in enumerate(told(records, f"reading {source.shown}, record", every=1000)):
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
    bounds: Mapping[str, float],
    fits: Callable[[float, float], bool],
    setting: str,
    labels: Mapping[str, str],
    tally: Tally,
) -> Iterator[Record]:
    """Yield the records whose fields fit all bounds; ``tally`` counts what each lets through."""
    for record in records:
        for name, bound in bounds.items():
            value = number_field(record, name, setting)
            if value is None or not fits(value, bound):
                break
            tally[labels[name]] += 1
        else:
            yield record


def _raw_records(source: Source, data_dir: Path, seed_of_builtin: int) -> Iterator[Record]:
    ids = source.tokens is not None
    if source.path is not None and is_address(source.path):
        return read_address(source.path, source.split, source.longest_record, ids=ids)
    if source.path is not None:
        return read_path(
            locate(source.path, data_dir),
            source.path,
            source.split,
            source.longest_record,
            ids=ids,
        )
    if source.hub is not None:
        return read_hub(source.hub, source.config, source.revision, source.split, source.streaming)
    return _builtin_records(source.builtin or 0, seed_of_builtin)


def _builtin_records(count: int, seed: int) -> Iterator[Record]:
    for post in builtin_posts(count, seed):
        fields = {name: getattr(post, name) for name in ("id", "text", "kind")}
        yield Record(f"built-in post {post.id}", {**fields, "spans": list(post.spans)})


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
