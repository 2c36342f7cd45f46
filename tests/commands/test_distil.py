"""``ifguide distil`` and what scores new documents by it, on a finished run."""

import json
import shutil

import numpy as np
import pytest

from ifguide.commands.main import main
from ifguide.corpus.blocks import open_corpus
from ifguide.influence.distil import load_scorer, score_by
from ifguide.run import artifacts


@pytest.fixture(scope="module")
def scorer(finished, tmp_path_factory):
    out = tmp_path_factory.mktemp("distilled") / "scorer"
    assert main(["distil", str(finished), "--out", str(out), "--epochs", "1", "--quiet"]) == 0
    return out


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    file = tmp_path_factory.mktemp("new") / "new.jsonl"
    file.write_text("".join(json.dumps({"text": f"you silly goose {n}"}) + "\n" for n in range(30)))
    return file


def test_documents_are_scored_by_it(finished, scorer, source, tmp_path, capfd):
    out = tmp_path / "out"
    words = ["score-corpus", str(finished), "--source", str(source), "--out", str(out), "--quiet"]
    assert main([*words, "--scorer", str(scorer)]) == 0
    corpus = open_corpus(out / "documents")
    found = np.asarray(artifacts.load_scores(out / "scores", corpus).values)
    own = score_by(load_scorer(scorer, "--scorer"), corpus, 8192)
    assert found == pytest.approx(own.values, rel=1e-5, abs=1e-7)
    assert "tokens of 30 documents are above the run's threshold" in capfd.readouterr().out
    assert main(words) == 0  # they are made again by the direction
    again = np.asarray(artifacts.load_scores(out / "scores", corpus).values)
    assert not np.allclose(again, found)


def test_what_it_is_known_by(finished, scorer):
    told = json.loads((scorer / "ifguide-scorer.json").read_text())
    assert told["run"] == json.loads((finished / "ifguide-run.json").read_text())["id"]
    assert told["settings"]["layers"] == 1
    assert -1 <= told["likeness"]["spearman"] <= 1


def test_refusals(finished, scorer, source, tmp_path, capfd):
    def line(*words):
        assert main([*map(str, words), "--quiet"]) == 2
        told = capfd.readouterr().err
        assert told.count("\n") == 1
        return told

    assert "add --replace" in line("distil", finished, "--out", scorer)
    assert "--layers: 7, but the model has 1 blocks" in line(
        "distil", finished, "--out", tmp_path / "n", "--layers", 7
    )
    assert "lies in the run's folder" in line("distil", finished, "--out", finished / "scorer")
    assert "it is not empty; give --out a new folder" in line(
        "distil", finished, "--out", source.parent
    )
    score = ["score-corpus", finished, "--source", source, "--out", tmp_path / "o", "--scorer"]
    assert "is no scorer; give a folder of ifguide distil" in line(*score, tmp_path)
    other = tmp_path / "other"
    shutil.copytree(scorer, other)
    told = json.loads((other / "ifguide-scorer.json").read_text())
    (other / "ifguide-scorer.json").write_text(json.dumps({**told, "run": "another"}))
    assert "was learnt from another run" in line(*score, other)
    assert not (tmp_path / "o").exists()
