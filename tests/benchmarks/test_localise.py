"""The benchmark of localisation on tiny runs: what the numbers mean, never how long they took."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ifguide.corpus.tokenizers import ids_of, train_tokenizer
from ifguide.corpus.words import spelling
from ifguide.nouns import Corpus
from ifguide.run import artifacts

FOLDER = Path(__file__).parents[2] / "benchmarks"
ROWS = [
    "the marks",
    "chance",
    "own scores",
    "own, neighbours 0, type share 0.5",
    "own, neighbours 2, type share 0.0",
    "own, neighbours 2, type share 0.5",
    "own, by words",
    "own, by words, blended",
    "authors' form",
    "authors' form, window 1",
    "position, predicted token",
    "curvature identity",
    "curvature kfac",
    "pair queries",
    "lexicon, prior 1",
    "lexicon, prior 4",
    "lexicon of words",
    "linear probe",
    "judge, 1-word window",
    "judge, 5-word window",
    "token loss",
]
SCOPES = ("all", "marked_posts")


@pytest.fixture
def localise(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import localise

    return localise


@pytest.fixture
def within_words(localise):
    from word_contexts import within_words

    return within_words


@pytest.fixture
def scorers(localise):
    import scorers

    return scorers


def test_the_quick_table(localise, tmp_path, capfd):
    out = tmp_path / "table.md"
    assert localise.main(["--quick", "--quiet", "--resamples", "100", "--out", str(out)]) == 0
    shown = capfd.readouterr()
    assert shown.out == out.read_text()
    assert shown.err == ""
    table = json.loads(out.with_suffix(".json").read_text())
    rows = {row["name"]: row for row in table["rows"]}
    assert list(rows) == ROWS
    check_page(out.read_text(), rows)
    share = table["marked_tokens"] / table["tokens"]
    for row in rows.values():
        check_row(row, table, share)
    for scope in SCOPES:
        chance, marks = rows["chance"][scope], rows["the marks"][scope]
        assert abs(chance["average_precision"]["value"] - chance["base_rate"]) < 0.03
        assert abs(chance["auroc"]["value"] - 0.5) < 0.03
        for name in ("average_precision", "auroc", "precision_at_1_percent"):
            assert marks[name]["value"] == pytest.approx(1.0)
            assert marks[name]["value"] >= max(r[scope][name]["value"] for r in rows.values())
    known = rows["lexicon of words"]
    assert known["within_words"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert rows["the marks"]["within_words"]["value"] == 1
    assert abs(rows["chance"]["within_words"]["value"] - 0.5) < 0.05
    assert rows["own scores"]["within_words"]["low"] > 0.5
    for name in ("own scores", "authors' form", "lexicon, prior 1", "linear probe"):
        assert rows[name]["all"]["auroc"]["low"] > rows["chance"]["all"]["auroc"]["high"]


def check_row(row, table, share):
    """Intervals hold their value, and the figures of one row agree with one another."""
    figures = [f for scope in SCOPES for f in row[scope].values() if isinstance(f, dict)]
    rounding = 1 / table["tokens"]  # a resample's top 1% is a whole number of tokens too
    for figure in [*figures, row["character_f1"]]:
        assert 0 <= figure["low"] <= figure["value"] + rounding
        assert figure["value"] - rounding <= figure["high"] <= 1 + 1e-12
    assert row["all"]["base_rate"] == pytest.approx(share)
    assert row["marked_posts"]["base_rate"] > 1.5 * share
    for percent in (1, 2):
        precision, recall = (
            row["all"][f"{figure}_at_{percent}_percent"]["value"]
            for figure in ("precision", "recall")
        )
        hits = precision * int(percent / 100 * table["tokens"] + 1e-9)
        assert recall * table["marked_tokens"] == pytest.approx(hits)


def check_page(page, rows):
    for name in rows:
        value = rows[name]["all"]["average_precision"]["value"]
        assert f"\n| {name} | {value:.3f} [" in page
        assert page.count(f"\n| {name} |") == 1 + len(SCOPES)
        assert f"\n- {name}: " in page


def contents(folder):
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*")}


def test_a_part_of_a_run_that_has_no_pairs(localise, finished, tmp_path):
    before, out = contents(finished), tmp_path / "table.md"
    options = ["--blocks", "30", "--judge", "rule", "--words", "1", "--resamples", "5"]
    assert localise.main([str(finished), *options, "--quiet", "--out", str(out)]) == 0
    table = json.loads(out.with_suffix(".json").read_text())
    left_out = {"pair queries", "judge, 1-word window", "judge, 5-word window"}
    expected = [name for name in ROWS if name not in left_out]
    expected.insert(expected.index("token loss"), "judge, 3-word window")
    assert [row["name"] for row in table["rows"]] == expected
    assert table["blocks"] == 30 < table["blocks_of_corpus"]
    assert contents(finished) == before


def test_own_scores_are_those_of_the_run(localise, scorers, finished):
    run = scorers.open_run(finished, None, quiet=True)
    corpus = run.text.corpus
    stored = np.asarray(artifacts.load_scores(finished / "score", corpus).values)
    own = next(row for row in scorers.own_scores(run) if row.name == "own scores")
    np.testing.assert_array_equal(own.values, stored)
    measured = localise.measure(own, run.part, localise.scopes_of(run), 5, 0)
    truth, found = corpus.marked[corpus.has_loss], stored[corpus.has_loss]
    expected = average_precision_score(truth, found)
    assert measured["all"]["average_precision"].value == pytest.approx(expected)
    inside = np.isin(corpus.document, np.unique(corpus.document[corpus.marked])) & corpus.has_loss
    expected = roc_auc_score(corpus.marked[inside], stored[inside])
    assert measured["marked_posts"]["auroc"].value == pytest.approx(expected)


def test_within_words_counts_pairs_of_one_word(within_words):
    rng = np.random.default_rng(0)
    n = 300
    scores, marked = rng.integers(0, 6, n) / 5, rng.random(n) < 0.3
    words, document = rng.integers(0, 12, n), rng.integers(0, 40, n)
    pairs = [
        (scores[i] > scores[j]) + (scores[i] == scores[j]) / 2
        for i in np.flatnonzero(marked)
        for j in np.flatnonzero(~marked)
        if words[i] == words[j]
    ]
    found = within_words(scores, marked, words, document, resamples=50, seed=0)
    assert found.value == pytest.approx(np.mean(pairs))
    assert found.low < found.value < found.high
    rate = np.array([marked[words == w].mean() for w in words])
    assert within_words(rate, marked, words, document, resamples=3, seed=0).low == 0.5
    with pytest.raises(ValueError, match="no word"):
        within_words(scores, words < 6, words, document, resamples=3, seed=0)


def test_words_in_and_out_are_those_of_counted_tokens(localise):
    from word_contexts import in_and_out, words_of

    words = np.array([[0, 0, 1, 1, 2, 3, 3]])
    marked = np.array([[1, 0, 1, 1, 0, 1, 0]], dtype=bool)
    counted = np.array([[1, 1, 1, 1, 1, 1, 0]], dtype=bool)
    assert in_and_out(words, marked, counted).nonzero()[1].tolist() == [0, 1]

    tokenizer = train_tokenizer(["The cat sat on the mat, catlike."] * 9, 280)
    texts = ["The", "cat", "sat", "THE", "mat", "the", "CAT", "catlike", "Catlike"]
    rows = [ids_of(tokenizer, text) for text in (f" {text}" for text in texts)]
    tokens = np.array([[token for row in rows for token in row]])
    nowhere = np.zeros_like(tokens)
    found = words_of(
        Corpus(tokens, nowhere, nowhere, nowhere, nowhere.astype(bool), (), 0, "words"),
        spelling(tokenizer),
    )[0]
    last = found[np.cumsum([len(row) for row in rows]) - 1]
    for (a, one), (b, other) in product(zip(texts, last, strict=True), repeat=2):
        assert (one == other) == (a.lower() == b.lower())


def test_the_authors_form_is_the_position_s_score_at_the_position(scorers, finished):
    whole = scorers.open_run(finished, None, quiet=True)
    rows = {row.name: row.values for row in scorers.authors_form(whole)}
    form, wide, moved = (rows[name] for name in list(rows))
    np.testing.assert_array_equal(form[:, :-1], moved[:, 1:])
    assert not form[:, -1].any()
    for i, j in np.ndindex(form.shape):
        assert wide[i, j] == form[i, max(0, j - 1) : j + 2].max()

    part = scorers.open_run(finished, 12, quiet=True)
    again = next(iter(scorers.authors_form(part))).values
    np.testing.assert_allclose(again, form[part.rows], rtol=1e-4, atol=1e-7)


def test_bad_input_is_one_line(localise, finished, tmp_path, capfd):
    assert localise.main([]) == 2
    assert localise.main([str(tmp_path)]) == 2
    assert localise.main([str(finished), "--blocks", "0"]) == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    first, second, third = shown.err.splitlines()
    assert "--quick" in first
    assert "holds no config.yaml" in second
    assert "--blocks: 0" in third
