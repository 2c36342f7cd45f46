"""``ifguide score-corpus``: equal to the run's own scores on the run's own documents, and safe."""

import json
import re
import shutil

import numpy as np
import pytest
from micro import run

from ifguide.commands.main import main
from ifguide.corpus.blocks import open_corpus
from ifguide.errors import InputError
from ifguide.nouns import TokenScores
from ifguide.run import artifacts
from ifguide.run.actions import Manner
from ifguide.run.screening import document_lines, score_corpus

QUIET = Manner(quiet=True)


@pytest.fixture(scope="module")
def own(finished, tmp_path_factory):
    """The run's corpus again as a file of documents, and the run's scores of it."""
    corpus = open_corpus(finished / "corpus" / "blocks")
    file = tmp_path_factory.mktemp("delivery") / "own.jsonl"
    records = [{"id": document.id, "text": document.text} for document in corpus.documents]
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return file, artifacts.load_scores(finished / "score", corpus)


@pytest.fixture(scope="module")
def scored(finished, own, tmp_path_factory):
    out = tmp_path_factory.mktemp("scored") / "own"
    words = ["score-corpus", str(finished), "--source", str(own[0]), "--out", str(out), "--quiet"]
    assert main(words) == 0
    return out


def lines(out):
    held = (out / "spans" / "spans.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in held.split("\n")[:-1]]


def test_the_run_s_own_documents_have_the_run_s_own_scores(scored, own):
    corpus = open_corpus(scored / "documents")
    assert np.array_equal(corpus.tokens, own[1].corpus.tokens)
    found = artifacts.load_scores(scored / "scores", corpus)
    assert np.array_equal(np.asarray(found.values), np.asarray(own[1].values))


def test_a_line_a_document_holds_each_token_s_characters_and_score(scored, own, finished):
    scores = own[1]
    corpus, values = scores.corpus, np.asarray(scores.values)
    threshold = json.loads((scored / "spans" / "summary.json").read_text())["threshold"]
    assert (
        threshold == json.loads((finished / "select" / "selection.json").read_text())["threshold"]
    )
    found = lines(scored)
    assert [line["id"] for line in found] == [document.id for document in corpus.documents]
    for number, line in enumerate(found):
        mine = (corpus.document == number) & corpus.has_loss
        expected_sum = values[mine].astype(np.float64).sum()
        assert line["score"] == pytest.approx(expected_sum, rel=1e-9, abs=1e-9)
        assert line["above"] == int((values[mine] > threshold).sum())
        of_text = mine & (corpus.end > corpus.start)
        expected = zip(corpus.start[of_text], corpus.end[of_text], values[of_text], strict=True)
        assert line["spans"] == [[int(s), int(e), float(v)] for s, e, v in expected]


def test_what_stands_is_reused_and_a_lost_shard_is_made_again_the_same(scored, own, finished):
    before = {f: f.read_bytes() for f in (scored / "scores").glob("scores-*.npy")}
    assert len(before) > 1
    lost = sorted(before)[1]
    kept = sorted(before)[0].stat().st_mtime_ns
    lost.unlink()
    again = score_corpus(finished, [source(own[0])], scored, QUIET)
    assert {f: f.read_bytes() for f in before} == before
    assert sorted(before)[0].stat().st_mtime_ns == kept
    assert np.array_equal(np.asarray(again.values), np.asarray(own[1].values))


def source(path, **settings):
    from ifguide.corpus.config import Source

    return Source(path=str(path), **settings)


def test_new_documents_and_the_function(finished, tmp_path):
    texts = ["You absolute donkey, go away.", " \n", "The garden is lovely today."]
    (tmp_path / "new").mkdir()
    for name, text in zip("abc", texts, strict=True):
        (tmp_path / "new" / f"{name}.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="lies in the source new; name another folder"):
        score_corpus(finished, [source(tmp_path / "new")], tmp_path / "new" / "out", QUIET)
    found = score_corpus(finished, [source(tmp_path / "new")], tmp_path / "out", QUIET)
    told = lines(tmp_path / "out")
    assert len(told) == 2  # a blank one is left out, as from a corpus
    assert isinstance(found, TokenScores)
    assert np.isfinite(np.asarray(found.values)).all()
    for line, text in zip(told, [texts[0], texts[2]], strict=True):
        assert line["spans"][-1][1] == len(text)


def test_a_document_that_crosses_blocks_or_has_no_loss_has_its_line(own):
    """By brute force, over the same scores cut into slabs of one block."""
    scores = own[1]
    told = {line["id"]: line for line in document_lines(scores, 0.0)}
    assert len(told) == len(scores.corpus.documents)
    spans = sum(len(line["spans"]) for line in told.values())
    of_text = scores.corpus.has_loss & (scores.corpus.end > scores.corpus.start)
    assert spans == int(of_text.sum())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("nowhere.jsonl", "no such file or folder"),
        ("{path: x.jsonl, held_out: 0.5}", "all documents are scored; remove it"),
        ("{path: x.jsonl, txet: body}", "txet"),
    ],
)
def test_what_cannot_be_used_is_refused(given, said, finished, tmp_path, refused):
    line = refused("score-corpus", finished, "--source", given, "--out", tmp_path / "o", "--quiet")
    assert said in line
    assert not (tmp_path / "o" / "documents").exists()


def test_the_run_s_folder_is_never_written_in(finished, own):
    for out in (finished, finished / "new"):
        with pytest.raises(InputError, match="lies in the run's folder, which is only read"):
            score_corpus(finished, [source(own[0])], out, QUIET)


def test_another_delivery_into_the_same_folder_needs_leave(finished, tmp_path, refused, capfd):
    (tmp_path / "one.txt").write_text("A first text of some words.", encoding="utf-8")
    out = tmp_path / "out"
    words = ["score-corpus", finished, "--out", out, "--quiet", "--source"]
    assert main([str(word) for word in (*words, tmp_path / "one.txt", "--to", "shards")]) == 0
    assert not (out / "spans").exists()
    assert capfd.readouterr().out == f"The scores: {out}/scores\n"
    line = refused(*words, "{path: " + str(tmp_path / "one.txt") + ", name: other}")
    assert "the folder was made with other settings" in line


def test_a_run_that_is_not_finished_is_refused_with_its_command(micro_config, tmp_path, refused):
    out = tmp_path / "begun"
    assert run("queries", micro_config, out) == 0
    line = refused(
        "score-corpus", out, "--source", micro_config, "--out", tmp_path / "o", "--quiet"
    )
    assert "run `ifguide aim` first" in line


def test_status_says_what_the_folder_is(scored, own, capfd):
    assert main(["status", str(scored)]) == 0
    told = capfd.readouterr().out
    assert told.startswith(f"{scored}: documents that ifguide score-corpus has scored, of own\n")
    documents = len(own[1].corpus.documents)
    assert f"tokens of {documents:,} documents are above the run's threshold" in told
    for name in ("documents", "scores", "spans"):
        assert re.search(rf"^{name} +made +20", told, re.MULTILINE), told


def test_status_tells_of_damage(scored, tmp_path, capfd):
    shutil.copytree(scored, tmp_path / "copy")
    (tmp_path / "copy" / "spans" / "spans.jsonl").write_text("cut")
    assert main(["status", str(tmp_path / "copy")]) == 0
    assert "spans: damaged: spans.jsonl" in capfd.readouterr().out


HOLDS = "it holds documents that ifguide score-corpus has scored"


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "{}"],
        ["judge", "{}", "--judges", "words"],
        ["lm-eval", "{}", "--tasks", "lambada_openai"],
        ["attack", "{}", "--kind", "gcg"],
        ["export-mask", "{}", "--to", "spans", "--out", "new"],
        ["push", "{}", "--mask", "me/mask", "--dry", "new"],
        ["score-corpus", "{}", "--source", "a.txt", "--out", "new"],
    ],
    ids=lambda words: words[0],
)
def test_no_other_command_takes_it_for_a_run(words, scored, capfd):
    assert main([word.replace("{}", str(scored)) for word in words]) == 2
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert f"{scored}: {HOLDS}, and no run; give the folder of the run" in told


@pytest.mark.parametrize("command", ["run", "fit", "compare", "export-pair"])
def test_no_run_is_made_in_it(command, scored, finished, capfd):
    words = [command, str(finished / "config.yaml"), "--out", str(scored)]
    assert main(words) == 2
    assert f"{scored}: {HOLDS}; give --out a new folder" in capfd.readouterr().err


def test_documents_are_not_scored_into_a_run(finished, own, tmp_path):
    shutil.copytree(finished, tmp_path / "other")
    with pytest.raises(InputError, match="it holds a run; give --out a new folder"):
        score_corpus(finished, [source(own[0])], tmp_path / "other", QUIET)
    assert not (tmp_path / "other" / "documents").exists()
