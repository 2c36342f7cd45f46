"""What is written is what is read back, for every noun."""

import json
from dataclasses import replace

import datasets
import numpy as np
import pytest
import torch
from tiny import random_corpus, tiny_model

from ifguide.arrays import LazyArray
from ifguide.errors import InputError
from ifguide.influence.config import CurvatureConfig
from ifguide.influence.curvature.fit import fit
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Direction, TokenScores
from ifguide.run import artifacts
from ifguide.run.artifacts import (
    ScoreShards,
    load_curvature,
    load_direction,
    load_mask_scores,
    load_scores,
    load_selection,
    save_curvature,
    save_direction,
    save_scores,
    save_selection,
)
from ifguide.selection.config import SelectionConfig
from ifguide.selection.select import select
from ifguide.training.train import MaskedBlocks


def corpus_with_spans(blocks=7, length=12, **settings):
    """Every token has three characters of its document."""
    corpus = random_corpus(blocks, length, padding=5, **settings)
    place = np.arange(blocks * length, dtype=np.int32).reshape(blocks, length) % (length // 2)
    return replace(corpus, start=3 * place, end=3 * place + 3)


def random_scores(corpus, seed=0):
    values = np.random.default_rng(seed).normal(size=corpus.tokens.shape).astype(np.float32)
    return TokenScores(np.where(corpus.has_loss, values, np.float32(0)), corpus, {"engine": "jvp"})


# curvature


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("kind", ["identity", "kfac", "ekfac"])
def test_curvature_comes_back(tmp_path, kind, family):
    model = tiny_model(family)
    fitted = fit(model, random_corpus(), CurvatureConfig(kind=kind))
    check_curvature(tmp_path, fitted, model, kind)


def test_dense_curvature_comes_back(tmp_path):
    small = {"hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1}
    model = tiny_model("llama", num_attention_heads=1, num_key_value_heads=1, **small)
    fitted = fit(model, random_corpus(2, 6), CurvatureConfig(kind="dense"))
    check_curvature(tmp_path, fitted, model, "dense")


def check_curvature(folder, fitted, model, kind):
    save_curvature(folder, fitted)
    opened = load_curvature(folder)
    assert opened.kind == fitted.kind == kind
    torch.testing.assert_close(opened.tensors(), fitted.tensors(), rtol=0, atol=0)
    gradients = {w.name: torch.randn(w.matrix.shape).to(w.matrix) for w in find_tracked(model)}
    expected, found = (c.solve(gradients, 0.1) for c in (fitted, opened))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)
    assert [file.name for file in folder.iterdir()] == ["curvature.safetensors"]


# direction


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_direction_comes_back(tmp_path, dtype):
    wide = torch.randn(6, 4, dtype=torch.float64)
    weights = {"a.weight": wide.to(dtype), "b.weight": wide.to(dtype).T}  # one memory, two tensors
    metadata = {"curvature": "ekfac", "damping": 0.1, "queries": "ab", "toxic_queries": 3}
    save_direction(tmp_path, Direction(weights, metadata))
    opened = load_direction(tmp_path)
    torch.testing.assert_close(dict(opened.weights), weights, rtol=0, atol=0)
    assert opened.metadata == metadata


# scores


@pytest.mark.parametrize("shard_blocks", [1, 3, 7, 100])
def test_scores_come_back_from_their_shards(tmp_path, shard_blocks):
    corpus = corpus_with_spans()
    scores = random_scores(corpus)
    shards = ScoreShards(tmp_path, corpus.tokens.shape, shard_blocks)
    for rows in shards.missing():
        shards.put(rows, scores.values[rows].astype(np.float64))
    assert not list(shards.missing())
    np.testing.assert_array_equal(shards.collect(), scores.values)
    save_scores(tmp_path, scores)
    opened = load_scores(tmp_path, corpus)
    np.testing.assert_array_equal(opened.values, scores.values)
    assert opened.values.dtype == np.float32
    assert opened.metadata == {"engine": "jvp"}
    assert opened.corpus is corpus
    assert len(list(tmp_path.glob("scores-*.npy"))) == -(-7 // shard_blocks)


@pytest.mark.parametrize("shard_blocks", [1, 3, 7])
def test_any_rows_of_the_shards_can_be_read(tmp_path, shard_blocks):
    corpus = corpus_with_spans()
    scores = random_scores(corpus)
    shards = ScoreShards(tmp_path, corpus.tokens.shape, shard_blocks)
    for rows in shards.missing():
        shards.put(rows, scores.values[rows])
    save_scores(tmp_path, scores)
    opened = load_scores(tmp_path, corpus).values
    for start in range(8):
        for stop in range(8):
            rows = slice(start, stop)
            np.testing.assert_array_equal(opened[rows], scores.values[rows])


def test_opening_scores_reads_none_of_their_values(tmp_path):
    corpus = corpus_with_spans()
    scores = random_scores(corpus)
    shards = ScoreShards(tmp_path, corpus.tokens.shape, 3)
    for rows in shards.missing():
        shards.put(rows, scores.values[rows])
    save_scores(tmp_path, scores)
    opened = load_scores(tmp_path, corpus).values
    shards.put(slice(3, 6), scores.values[3:6] + 1)
    np.testing.assert_array_equal(
        opened[2:7] - scores.values[2:7] > 0.5, [[b] * 12 for b in (0, 1, 1, 1, 0)]
    )


def test_a_folder_without_scores_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no scores; score the corpus again"):
        load_scores(tmp_path, corpus_with_spans())


def test_shards_of_two_kinds_are_refused(tmp_path):
    for start, length in ((0, 12), (3, 5)):
        ScoreShards(tmp_path, (6, length), 3).put(slice(start, start + 3), np.ones((3, length)))
    with pytest.raises(InputError, match="shards are not of one kind"):
        load_scores(tmp_path, corpus_with_spans())


def test_only_missing_shards_are_asked_for(tmp_path):
    shards = ScoreShards(tmp_path, (7, 3), 2)
    shards.put(slice(2, 4), np.ones((2, 3)))
    shards.put(slice(6, 7), np.ones((1, 3)))
    (tmp_path / "scores-000000000.tmp").write_bytes(b"half a shard")
    assert list(shards.missing()) == [slice(0, 2), slice(4, 6)]


def test_scores_of_another_shape_are_refused(tmp_path):
    corpus = corpus_with_spans()
    ScoreShards(tmp_path, (5, 12), 8).put(slice(0, 5), np.ones((5, 12)))
    save_scores(tmp_path, random_scores(corpus))
    with pytest.raises(InputError, match=r"shape \(5, 12\), the corpus \(7, 12\); score this"):
        load_scores(tmp_path, corpus)


# selection


def selection_in(folder, corpus):
    scores = random_scores(corpus)
    made = select(scores, SelectionConfig(quantile=0.8, budget=0.2))
    save_selection(folder, made, scores)
    return made, scores


def test_a_selection_comes_back(tmp_path):
    corpus = corpus_with_spans()
    made, _ = selection_in(tmp_path, corpus)
    opened = load_selection(tmp_path, corpus)
    assert made.suppress.sum() == made.budget > 0
    for name in ("suppress", "ranking", "rank_value"):
        np.testing.assert_array_equal(getattr(opened, name), getattr(made, name))
        assert getattr(opened, name).dtype == getattr(made, name).dtype
    assert (opened.threshold, opened.budget) == (made.threshold, made.budget)
    assert opened.metadata == made.metadata == {"engine": "jvp", "unit": "document"}
    assert opened.corpus is corpus
    assert MaskedBlocks(corpus, opened)[3]["suppress"].tolist() == made.suppress[3].tolist()
    written = sorted(file.name for file in tmp_path.iterdir())
    assert written == ["mask", "ranking.npz", "selection.json"]


@pytest.mark.parametrize("rows", [1, 3, 1024])
def test_the_mask_is_a_dataset_of_blocks(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(artifacts, "MASK_ROWS", rows)
    corpus = corpus_with_spans()
    made, scores = selection_in(tmp_path, corpus)
    mask = datasets.load_from_disk(str(tmp_path / "mask"))
    types = {name: feature.feature.dtype for name, feature in mask.features.items()}
    assert types == {
        "input_ids": "int32",
        "suppress": "bool",
        "score": "float32",
        "document": "int32",
        "start": "int32",
        "end": "int32",
    }
    columns = mask.with_format("numpy")[:]
    np.testing.assert_array_equal(columns["input_ids"], corpus.tokens)
    np.testing.assert_array_equal(columns["suppress"], made.suppress)
    np.testing.assert_array_equal(columns["score"], scores.values)
    np.testing.assert_array_equal(columns["document"], corpus.document)
    np.testing.assert_array_equal(columns["start"], corpus.start)
    np.testing.assert_array_equal(columns["end"], corpus.end)
    np.testing.assert_array_equal(load_selection(tmp_path, corpus).suppress, made.suppress)


def test_the_mask_is_never_in_memory_as_a_whole(tmp_path, monkeypatch):
    """Rows are read in parts, in order, once."""
    seen = []

    class Watched(np.ndarray):
        def __getitem__(self, rows):
            if isinstance(rows, slice):
                seen.append((rows.start, rows.stop))
            return np.asarray(super().__getitem__(rows))

    monkeypatch.setattr(artifacts, "MASK_ROWS", 3)
    corpus = corpus_with_spans()
    scores = random_scores(corpus)
    made = select(scores, SelectionConfig(quantile=0.8, budget=0.2))
    watched = replace(scores, values=scores.values.view(Watched))
    save_selection(tmp_path, made, watched)
    assert seen == [(0, 3), (3, 6), (6, 9)]


@pytest.mark.parametrize("rows", [1, 3, 1024])
def test_the_scores_of_a_mask_are_read_as_asked_for(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(artifacts, "MASK_ROWS", rows)
    corpus = corpus_with_spans()
    made, scores = selection_in(tmp_path, corpus)
    opened = load_mask_scores(tmp_path, corpus)
    assert isinstance(opened.values, LazyArray)
    assert opened.values.dtype == np.float32
    for start in range(7):
        part = opened.values[start : start + 4]
        np.testing.assert_array_equal(part, scores.values[start : start + 4])
    assert opened.metadata == made.metadata
    again = select(opened, SelectionConfig(quantile=0.8, budget=0.2))
    np.testing.assert_array_equal(again.suppress, made.suppress)


def test_scores_in_shards_make_the_same_mask(tmp_path):
    corpus = corpus_with_spans()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    made, scores = selection_in(tmp_path / "a", corpus)
    shards = ScoreShards(tmp_path, corpus.tokens.shape, 3)
    for rows in shards.missing():
        shards.put(rows, scores.values[rows])
    save_scores(tmp_path, scores)
    save_selection(tmp_path / "b", made, load_scores(tmp_path, corpus))
    found, expected = (
        datasets.load_from_disk(str(tmp_path / name / "mask")).with_format("numpy")[:]
        for name in ("b", "a")
    )
    assert found.keys() == expected.keys()
    for name, column in expected.items():
        np.testing.assert_array_equal(found[name], column)


def test_an_empty_selection_comes_back(tmp_path):
    corpus = corpus_with_spans()
    scores = TokenScores(np.zeros(corpus.tokens.shape, np.float32), corpus)
    save_selection(tmp_path, select(scores), scores)
    opened = load_selection(tmp_path, corpus)
    assert not opened.suppress.any()
    assert opened.ranking.shape == (0,)


def test_a_selection_is_written_anew_over_an_old_one(tmp_path):
    corpus = corpus_with_spans()
    selection_in(tmp_path, corpus)
    (tmp_path / "mask" / "state.json").unlink()
    made, _ = selection_in(tmp_path, corpus)
    np.testing.assert_array_equal(load_selection(tmp_path, corpus).suppress, made.suppress)


def test_a_mask_of_another_corpus_is_refused(tmp_path):
    corpus = corpus_with_spans()
    selection_in(tmp_path, corpus)
    other = replace(corpus, fingerprint="0123456789abcdef")
    with pytest.raises(InputError, match=r"made for corpus random-7-12.*one \(0123456789ab\)"):
        load_selection(tmp_path, other)


def test_metadata_is_plain_json(tmp_path):
    corpus = corpus_with_spans()
    selection_in(tmp_path, corpus)
    described = json.loads((tmp_path / "selection.json").read_text())
    assert described.keys() == {"corpus", "threshold", "budget", "metadata"}
    assert described["corpus"] == corpus.fingerprint
