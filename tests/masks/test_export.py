"""The folder that a mask is written to: whole or not there, and never somebody else's."""

import json
import os

import pytest

from ifguide.errors import InputError
from ifguide.masks.export import export_mask
from ifguide.masks.format import MaskFormat
from ifguide.masks.registry import MASK_FORMATS


def refusal(masked, out, **options):
    with pytest.raises(InputError) as caught:
        export_mask(masked, "spans", out, **options)
    return str(caught.value)


def contents(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_folder_that_is_not_ours_is_refused(masked, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "notes.txt").write_text("mine")
    for replace in (False, True):
        assert "is no mask of ifguide's" in refusal(masked, theirs, replace=replace)
    assert contents(theirs) == {theirs / "notes.txt": b"mine"}
    link = tmp_path / "link"
    link.symlink_to(theirs, target_is_directory=True)
    assert "is no mask of ifguide's" in refusal(masked, link, replace=True)
    assert "it is no folder" in refusal(masked, theirs / "notes.txt", replace=True)
    assert "it is no folder" in refusal(masked, theirs / "notes.txt" / "in", replace=True)


def test_a_mask_of_ours_is_replaced_only_when_asked(masked, tmp_path):
    out = export_mask(masked, "spans", tmp_path / "deep" / "out")
    before = contents(out)
    assert "--replace" in refusal(masked, out)
    assert export_mask(masked, "olmo", out, replace=True) == out
    assert (out / "tokens.npy").is_file()
    assert not (out / "spans.jsonl").exists()
    assert contents(export_mask(masked, "spans", out, replace=True)) == before
    (out / "notes.txt").write_text("mine")
    assert "ifguide did not write it" in refusal(masked, out, replace=True)
    assert (out / "notes.txt").read_text() == "mine"
    assert os.listdir(out.parent) == ["out"]


def test_a_card_that_was_changed_is_refused(masked, tmp_path):
    out = export_mask(masked, "spans", tmp_path / "out")
    card = out / "ifguide-mask.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "selected": 0}))
    assert "it is damaged" in refusal(masked, out, replace=True)


def test_an_empty_folder_will_do(masked, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    assert (export_mask(masked, "spans", out) / "spans.jsonl").is_file()


@pytest.mark.parametrize("error", [OSError("no space"), KeyboardInterrupt()])
def test_what_cannot_be_written_whole_is_not_there(masked, tmp_path, monkeypatch, error):
    def write(masked, folder):
        (folder / "half").write_text("half")
        raise error

    monkeypatch.setitem(MASK_FORMATS._added, "broken", MaskFormat("half a file", write))
    with pytest.raises(type(error)):
        export_mask(masked, "broken", tmp_path / "out")
    assert not list(tmp_path.iterdir())
    whole = export_mask(masked, "spans", tmp_path / "out")
    before = contents(whole)
    with pytest.raises(type(error)):
        export_mask(masked, "broken", whole, replace=True)
    assert contents(whole) == before
    assert list(tmp_path.iterdir()) == [whole]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--to", "gguf"], "--to: 'gguf' is not known"),
        (["--to", "trl", "--share", "0.5"], "--share: it would be ignored"),
        (["--to", "trl", "--block-length", "9"], "--block-length: it would be ignored"),
        (["--to", "trl", "--tokenizer", "gone", "--share", "2"], "--share: 2.0 is not in [0, 1]"),
        (["--to", "trl", "--tokenizer", "gone", "--block-length", "1"], "--block-length: 1 is not"),
        (["--to", "trl", "--tokenizer", "no/such"], "--tokenizer: tokenizer.path: 'no/such'"),
    ],
)
def test_the_command_refuses_in_a_line(finished, tmp_path, refused, options, said):
    out = tmp_path / "out"
    assert said in refused("export-mask", finished, "--out", out, *options)
    assert not list(tmp_path.iterdir())


def test_a_mask_does_not_go_into_the_run_folder(finished, refused):
    line = refused("export-mask", finished, "--to", "spans", "--out", finished / "mask")
    assert "it lies in the run folder" in line
    assert not (finished / "mask").exists()


def test_the_command_refuses_what_is_no_finished_run(tmp_path, refused):
    line = refused("export-mask", tmp_path / "gone", "--to", "spans", "--out", tmp_path / "out")
    assert "no such folder" in line
