"""Checksums are taken once, and no change goes unseen."""

import hashlib
import os
import time

import pytest

from ifguide.run import checksums
from ifguide.run.checksums import Checksums


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"before")
    return file


@pytest.fixture
def settled(monkeypatch):
    """The clock's tick is over for whatever has been written."""
    monkeypatch.setattr(checksums, "TICK", -1)
    monkeypatch.setattr(checksums, "COARSE_TICK", -1)


@pytest.fixture
def reads(monkeypatch):
    """Counts how often a file is read."""
    count, digest = [], hashlib.file_digest
    monkeypatch.setattr(
        hashlib,
        "file_digest",
        lambda stream, name: (count.append(stream.name), digest(stream, name))[1],
    )
    return count


def opened(file, *, verify=False):
    return Checksums(file.parent, file.parent / "memory.json", verify=verify)


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.mark.usefixtures("settled")
def test_a_file_is_read_once_and_remembered(file, reads):
    sums = opened(file)
    assert [sums.of(file) for _ in range(3)] == [sha256(b"before")] * 3
    assert len(reads) == 1
    sums.save()
    assert opened(file).of(file) == sha256(b"before")
    assert len(reads) == 1


@pytest.mark.usefixtures("settled")
def test_verify_reads_every_byte_once(file, reads):
    sums = opened(file)
    sums.of(file)
    sums.save()
    again = opened(file, verify=True)
    assert again.of(file) == again.of(file) == sha256(b"before")
    assert len(reads) == 2


@pytest.mark.usefixtures("settled")
def test_verify_sees_what_times_cannot_tell(file, reads, monkeypatch):
    sums = opened(file)
    sums.of(file)
    sums.save()
    before = checksums._stat(file)
    file.write_bytes(b"BEFORE")
    monkeypatch.setattr(checksums, "_stat", lambda file: before)  # a disk that lost the change
    assert opened(file).of(file) == sha256(b"before")
    assert opened(file, verify=True).of(file) == sha256(b"BEFORE")


def test_a_change_of_the_same_size_within_the_clock_s_tick_is_seen(file):
    sums = opened(file)
    for number in range(50):
        content = f"{number:06d}".encode()
        file.write_bytes(content)
        assert sums.of(file) == sha256(content)


@pytest.mark.parametrize("nanoseconds", [0, 5])
def test_a_file_just_written_is_not_remembered_until_the_tick_is_over(
    file, reads, monkeypatch, nanoseconds
):
    """Also where times are whole seconds, and the tick is longer."""
    written = time.time_ns() // 10**9 * 10**9 + nanoseconds
    stat = (6, written, written, 1)
    monkeypatch.setattr(checksums, "_stat", lambda file: stat)
    sums, tick = opened(file), 100_000_000 if nanoseconds else 2_500_000_000
    for later, count in ((0, 1), (tick - 10**6, 2), (tick + 10**6, 3), (2 * tick, 3)):
        monkeypatch.setattr(time, "time_ns", lambda later=later: written + later)
        sums.of(file)
        assert len(reads) == count


@pytest.mark.usefixtures("settled")
def test_times_that_were_set_back_hide_nothing(file):
    sums, before = opened(file), file.stat()
    sums.of(file)
    sums.save()
    time.sleep(0.02)  # a tick of the kernel's clock
    file.write_bytes(b"BEFORE")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert sums.of(file) == opened(file).of(file) == sha256(b"BEFORE")


@pytest.mark.usefixtures("settled")
def test_another_file_in_its_place_is_seen(file):
    sums, before = opened(file), file.stat()
    sums.of(file)
    other = file.with_name("other")
    other.write_bytes(b"BEFORE")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(other, file)
    assert sums.of(file) == sha256(b"BEFORE")


@pytest.mark.usefixtures("settled")
def test_a_file_that_changes_while_it_is_read_is_not_remembered(file, monkeypatch):
    digest = hashlib.file_digest

    def slowly(stream, name):
        found = digest(stream, name)
        time.sleep(0.02)
        file.write_bytes(b"BEFORE")
        return found

    sums = opened(file)
    with monkeypatch.context() as patched:
        patched.setattr(hashlib, "file_digest", slowly)
        assert sums.of(file) == sha256(b"before")
    assert sums.of(file) == sha256(b"BEFORE")


@pytest.mark.usefixtures("settled")
def test_a_folder_that_moves_takes_its_memory_along(tmp_path, reads):
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "file"
    file.write_bytes(b"before")
    sums = opened(file)
    sums.of(file)
    sums.save()
    (tmp_path / "a").rename(tmp_path / "b")
    moved = tmp_path / "b" / "file"
    assert opened(moved).of(moved) == sha256(b"before")
    assert len(reads) == 1


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"file": 3}', b'{"file": [1, 2, 3, 4]}', b"\xff", b"null"]
)
def test_a_memory_that_cannot_be_read_is_forgotten(file, content):
    (file.parent / "memory.json").write_bytes(content)
    sums = opened(file)
    assert sums.of(file) == sha256(b"before")
    sums.save()
    assert sha256(b"before") in (file.parent / "memory.json").read_text()


@pytest.mark.usefixtures("settled")
def test_a_memory_that_is_a_link_is_not_read(file, tmp_path):
    sums = opened(file)
    sums.of(file)
    sums.save()
    lie = (file.parent / "memory.json").rename(tmp_path / "lie.json")
    lie.write_text(lie.read_text().replace(sha256(b"before"), "0" * 64))
    (file.parent / "memory.json").symlink_to(lie)
    assert opened(file).of(file) == sha256(b"before")


def test_where_nothing_is_to_be_written_nothing_is(file):
    sums = Checksums(file.parent, None)
    sums.of(file)
    sums.save()
    assert list(file.parent.iterdir()) == [file]
