"""WebDataset's and MDS's shards: read as the libraries that wrote them read them.

webdataset is a dependency of the tests. mosaicml-streaming cannot lie beside transformers 5: the
shards in ``mds`` were written by ``libraries/mds.py`` in an environment of its own.
"""

import io
import json
import shutil
import tarfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
import webdataset
from webdataset.autodecode import Decoder
from webdataset.tariterators import group_by_keys, tar_file_expander

from ifguide.corpus.config import Source
from ifguide.corpus.documents import read_documents
from ifguide.corpus.sources import files_of, read_records
from ifguide.errors import InputError

MDS = Path(__file__).parent / "mds"
TEXTS = ["Well, you stupid fool.", "The old river was calm."]
SPANS = [[[10, 16]], []]
SAMPLES = [
    {
        "__key__": f"posts/{number:03}",
        "txt": text,
        "place.txt": "日本",
        "json": {"spans": spans, "n": number},
        "cls": number - 1,
        "input_ids.npy": np.arange(number + 2, dtype=np.int32),
        "jpg": b"\xff\xd8 no picture",
    }
    for number, (text, spans) in enumerate(zip(TEXTS, SPANS, strict=True))
]


def write_tar(file, samples=SAMPLES):
    """Write a shard by webdataset's own writer, compressed where the name says so."""
    with webdataset.TarWriter(str(file), encoder=True) as writer:
        for sample in samples:
            writer.write(sample)
    return file


def records(path, folder, **settings):
    return list(read_records(Source(path=str(path), **settings), folder, {}))


def refused(path, folder, **settings):
    with pytest.raises(InputError) as caught:
        records(path, folder, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tgz"])
def test_a_tar_is_read_as_webdataset_reads_it(ending, tmp_path):
    file = write_tar(tmp_path / f"posts.{ending}")
    with file.open("rb") as stream:
        raw = tar_file_expander([{"url": "", "stream": stream}], eof_value=None)
        theirs = [Decoder([])(sample) for sample in group_by_keys(raw)]
    assert len(theirs) == 2
    found = records(file, tmp_path)
    for mine, other in zip(found, theirs, strict=True):
        assert np.array_equal(mine.fields["input_ids.npy"], other.pop("input_ids.npy"))
        assert other.pop("jpg", None) is not None
        for name in ("__key__", "txt", "place.txt", "json", "cls"):
            assert mine.fields[name] == other[name]
        assert "jpg" not in mine.fields


def test_documents_of_a_tar(tmp_path):
    write_tar(tmp_path / "posts.tar")
    source = Source(path="posts.tar", text="txt", spans="json.spans", id="__key__")
    found = list(read_documents(source, tmp_path))
    assert [(d.id, d.text, [list(s) for s in d.spans]) for d in found] == [
        ("posts/000", TEXTS[0], SPANS[0]),
        ("posts/001", TEXTS[1], SPANS[1]),
    ]
    assert source.name == "posts"


NAMES = [
    *("./a.txt", "a.json", "b.txt", "b/c.txt", "b/c.seg.txt", "none", "._d.txt", "e.f.g.txt"),
    *("B.TXT", "b.txt", "__meta__/a.txt", "__about__", "h.txt/i.txt"),
]


def test_members_make_records_as_webdataset_groups_them(tmp_path):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        folder = tarfile.TarInfo("b")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name in NAMES:
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"1"))
    (tmp_path / "a.tar").write_bytes(raw.getvalue())
    stream = {"url": "", "stream": io.BytesIO(raw.getvalue())}
    theirs = group_by_keys(tar_file_expander([stream], eof_value=None))
    expected = [{name for name in record if name != "__url__"} for record in theirs]
    assert [set(record.fields) for record in records("a.tar", tmp_path)] == expected


def bare_tar(*members):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return raw.getvalue()


TAR = bare_tar(("a.txt", b"one"), ("b.txt", b"two"))
LATER = 2 * tarfile.BLOCKSIZE  # where the second member's header begins


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (bare_tar(("a.txt", b"caf\xe9")), r"a.tar, record 0, txt, line 1, byte 3: not UTF-8"),
        (bare_tar(("a.txt", b"x"), ("b.json", b"{")), r"a.tar, record 1, json: not valid JSON"),
        (bare_tar(("a.cls", b"one")), r"record 0, cls: 'one' is no whole number"),
        (bare_tar(("a.npy", b"\x93NUMPY")), r"record 0, npy: no array of numpy's"),
        (bare_tar(("a.txt", b"x"), ("a.txt", b"y")), r"record 0: two members are 'a.txt'"),
        (TAR[:LATER], "a.tar: cannot be read (a header is damaged or cut short"),
        (TAR[: LATER + 100], "a.tar: cannot be read (a header is damaged or cut short"),
        (TAR[: LATER + 514], "a.tar: cannot be read (unexpected end of data"),
        (
            TAR[:LATER] + b"x" + TAR[LATER + 1 :],
            "a.tar: cannot be read (a header is damaged or cut short",
        ),
        (TAR + TAR, "a.tar: more lies behind the archive's end"),
        (b"text", "a.tar: cannot be read ("),
    ],
)
def test_a_tar_that_cannot_be_read(raw, said, tmp_path):
    (tmp_path / "a.tar").write_bytes(raw)
    assert said in refused("a.tar", tmp_path)


def test_pickles_in_an_array_are_not_opened(tmp_path):
    raw = io.BytesIO()
    np.save(raw, np.array([{}], object), allow_pickle=True)
    (tmp_path / "a.tar").write_bytes(bare_tar(("a.npy", raw.getvalue())))
    assert "record 0, npy: no array of numpy's" in refused("a.tar", tmp_path)


def test_a_member_has_a_bound(tmp_path):
    (tmp_path / "a.tar").write_bytes(bare_tar(("a.txt", b"x" * 100), ("a.jpg", b"x" * 200)))
    assert len(records("a.tar", tmp_path, longest_record=100)) == 1
    assert "record 0, txt: a record of more than 99 bytes" in refused(
        "a.tar", tmp_path, longest_record=99
    )


def plain(value):
    return value.tolist() if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("kind", ["plain", "zstd", "gz", "bz2", "br"])
def test_mds_shards_of_the_real_writer(kind):
    found = [record.fields for record in records(MDS / kind, MDS)]
    assert [{name: plain(value) for name, value in fields.items()} for fields in found] == [
        {
            "text": TEXTS[0],
            "place": "日本",
            "toxic_spans": SPANS[0],
            "number": 7,
            "name": 7,
            "share": 0.25,
            "ids": [5, 6, 7],
            "open": [[5, 6, 7]],
            "fixed": [1, 2],
        },
        {
            "text": TEXTS[1],
            "place": "",
            "toxic_spans": SPANS[1],
            "number": -1,
            "name": -1,
            "share": float(np.float32(1e-3)),
            "ids": [8, 9],
            "open": [[8, 9], [8, 9]],
            "fixed": [3, 4],
        },
    ]
    assert found[0]["ids"].dtype == np.uint16


def test_what_lies_beside_shards_is_no_source(tmp_path):
    """The index, one that lists several folders, and the packed form of what is there unpacked."""
    for name in ("a", "b"):
        shutil.copytree(MDS / "plain", tmp_path / "all" / name)
        shutil.copytree(MDS / "zstd", tmp_path / "all" / name, dirs_exist_ok=True)
    listed = json.loads((MDS / "plain" / "index.json").read_text())["shards"]
    for shard in listed:
        shard["raw_data"]["basename"] = f"b/{shard['raw_data']['basename']}"
    (tmp_path / "all" / "index.json").write_text(json.dumps({"version": 2, "shards": listed}))
    source = Source(path="all", spans="toxic_spans")
    names = [name for _, name in files_of(source, tmp_path)]
    assert names == [f"{a}/shard.0000{b}.mds" for a in ("a", "b") for b in (0, 1)]
    assert [d.text for d in read_documents(source, tmp_path)] == 2 * TEXTS


def test_mds_at_an_address(tmp_path):
    system = fsspec.filesystem("memory")
    for file in (MDS / "zstd").iterdir():
        system.pipe(f"/shards/{file.name}", file.read_bytes())
    try:
        source = Source(path="memory://shards", spans="toxic_spans")
        assert [d.text for d in read_documents(source, tmp_path)] == TEXTS
    finally:
        system.store.clear()


def test_a_shard_that_is_lost_is_told(tmp_path):
    shutil.copytree(MDS / "plain", tmp_path / "a")
    (tmp_path / "a" / "shard.00001.mds").unlink()
    said = refused("a", tmp_path)
    assert said.startswith("a/index.json: 1 of its 2 shards are not there, such as shard.00001.mds")
    (tmp_path / "a" / "index.json").write_text("[]")
    assert refused("a", tmp_path).startswith("a/index.json: not an index of MDS shards")


def shard(**columns):
    """The first shard with other columns' descriptions in its head, of the same length."""
    raw = (MDS / "plain" / "shard.00000.mds").read_bytes()
    for old, new in columns.values():
        assert len(old) == len(new)
        assert old in raw
        raw = raw.replace(old, new)
    return raw


WHOLE = shard()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (WHOLE[:-1], f"a.mds: {len(WHOLE) - 1} bytes that are no whole MDS shard"),
        (b"text", "a.mds: 4 bytes that are no whole MDS shard"),
        (WHOLE[:4] + b"\0" * 4 + WHOLE[8:], "that are no whole MDS shard"),
        (shard(a=(b'"column_names"', b'"column_nemas"')), "a.mds, its columns: not those of an"),
        (shard(a=(b"[10, 16]", b"[10, 16}")), "a.mds, record 0, toxic_spans: not valid JSON"),
        (shard(a=(b"Well", b"\xff\xffll")), "a.mds, record 0, text, line 1, byte 0: not UTF-8"),
        (shard(a=(b"uint16", b"float9")), "a.mds, record 0, ids: no array of an MDS shard"),
        (shard(a=(b"[8, null", b"[9, null")), "a.mds, record 0: its values do not fill it"),
    ],
)
def test_an_mds_shard_that_cannot_be_read(raw, said, tmp_path):
    (tmp_path / "a.mds").write_bytes(raw)
    assert said in refused("a.mds", tmp_path)


def test_a_record_of_mds_has_a_bound(tmp_path):
    assert "record 0: a record of more than 50 bytes" in refused(
        MDS / "plain", tmp_path, longest_record=50
    )
