"""Every text file of a person's is read alike, whichever editor and system it was written with."""

import gzip
import io
import json

import pytest

from ifguide.corpus.config import Source
from ifguide.corpus.documents import read_documents
from ifguide.corpus.raw import lines_of
from ifguide.corpus.subsets import read_subset
from ifguide.errors import InputError
from ifguide.evaluation.judges.registry import load_judge
from ifguide.files import read_json
from ifguide.influence.logprobs import _read_lines
from ifguide.settings.plain import read_yaml_file

RECORDS = [{"id": "é1", "text": "naïve\ntext"}, {"id": "2", "text": "\ufeffmore"}]
LINES = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS)
MARKS = {"": b"", "BOM": b"\xef\xbb\xbf"}
ENDS = {"LF": "\n", "CRLF": "\r\n", "CR": "\r"}


def documents(name, file):
    found = read_documents(Source(path=file.name, name=name), file.parent)
    return [(document.id, document.text) for document in found]


def judged(file):
    judge = load_judge(f"words:{file.name}", file.parent)
    return judge(["a naïve one", "two words", "other"]).tolist()


READERS = {  # file name: what is in it, and how it is read
    "a.jsonl": (LINES, lambda file: documents("a", file)),
    "a.ndjson": (LINES + "\n\n", lambda file: documents("a", file)),
    "a.jsonl.gz": (LINES, lambda file: documents("a", file)),
    "lines.json": (LINES, lambda file: documents("a", file)),
    "list.json": (json.dumps(RECORDS, indent=1), lambda file: documents("a", file)),
    "ids.txt": ("é1\n\n2b\n", lambda file: read_subset(file, file.name)),
    "numbers.txt": ("1\n2\n", lambda file: read_subset(file, file.name)),
    "ids.json": (json.dumps(["é1", "2"], indent=1), lambda file: read_subset(file, file.name)),
    "words.txt": ("naïve\ntwo words\n", judged),
    "settings.yaml": ("a: é\nb:\n- 1\n", read_yaml_file),
    "pair.json": (json.dumps({"é": 1}, indent=1), read_json),
    "logprobs.jsonl": ("[null, 1.5]\n[0, 2]\n", lambda file: _read_lines(file, 2)[:, 1].tolist()),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("name", READERS)
def test_a_byte_order_mark_and_the_ends_of_lines_change_nothing(name, mark, end, tmp_path):
    text, read = READERS[name]

    def written(folder, start, separator):
        folder.mkdir()
        raw = start + text.replace("\n", separator).encode()
        (folder / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return folder / name

    plain = read(written(tmp_path / "plain", b"", "\n"))
    assert read(written(tmp_path / "other", MARKS[mark], ENDS[end])) == plain


def test_what_is_read_is_what_was_written(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + LINES.replace("\n", "\r\n").encode())
    assert documents("a", tmp_path / "a.jsonl") == [(r["id"], r["text"]) for r in RECORDS]
    text = "First line\r\n\nthird naïve\r"  # a document's own text stays as it is
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert documents("a", tmp_path / "a.txt") == [("a.txt", text)]


def test_lines_keep_their_numbers(tmp_path):
    stream = io.BytesIO(b"a\r\n\r\nb\rc\nd")
    assert [*lines_of(stream, "a.jsonl", 1)] == [(1, b"a"), (3, b"b"), (4, b"c"), (5, b"d")]
    for end in ENDS.values():
        (tmp_path / "a.jsonl").write_bytes(f'{{"text": "a"}}{end}{end}{{"tex'.encode())
        with pytest.raises(InputError, match=r"^a\.jsonl, line 3: not valid JSON"):
            documents("a", tmp_path / "a.jsonl")
