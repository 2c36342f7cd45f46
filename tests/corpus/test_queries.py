import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifguide.corpus.config import QueriesConfig, Source
from ifguide.corpus.queries import load_contrast, token_weights
from ifguide.errors import InputError

MARKED = [
    {"id": "a", "text": "You stupid fool, go away.", "spans": [[4, 15]]},
    {"id": "b", "text": "The river was calm."},
    {"id": "c", "text": "nobody asked the dog " * 20 + "you fool", "spans": [[424, 428]]},
    {"id": "d", "text": "fool", "spans": [[0, 4]]},
]
PAIRS = [
    {"id": f"p{n}", "ask": f"Question {n}:", "toxic": f" you fool {n}", "safe": f" the river {n}"}
    for n in range(4)
]
UNEVEN = [{"toxic": "fool", "safe": "dog"}, {"toxic": "you go away", "safe": "the old river"}]


def rtp(number, toxicity):
    return {
        "prompt": {"text": f"Prompt {number}"},
        "continuation": {"text": f" and continuation {number}", "toxicity": toxicity},
    }


RTP = [rtp(n, t) for n, t in enumerate([0.9, 0.1, None, 0.5, 0.75, 0.25, float("nan")])]


@pytest.fixture
def load(tmp_path, tokenizer, write_lines):
    write_lines("marked.jsonl", [{"spans": [], **record} for record in MARKED])
    write_lines("pairs.jsonl", PAIRS)
    write_lines("rtp.jsonl", RTP)

    def load(kind, exclude=frozenset(), source=None, **fields):
        spans = {"spans": "spans"} if kind == "marked" else {}
        source = Source(**{"path": f"{kind}.jsonl", **spans, **(source or {})})
        config = QueriesConfig(kind=kind, source=source, **fields)
        return load_contrast(config, tokenizer, tmp_path, exclude)

    return load


def counted(tokenizer, side):
    return [
        tokenizer.decode(tokens[weights > 0])
        for tokens, weights in zip(side.tokens, side.weights, strict=True)
    ]


def whole(tokenizer, side):
    return [tokenizer.decode(tokens[1:]) for tokens in side.tokens]


def check(tokenizer, contrast, max_length=256):
    for side in (contrast.toxic, contrast.safe):
        assert sum(weights.sum() for weights in side.weights) == pytest.approx(1, abs=1e-12)
        for tokens, weights in zip(side.tokens, side.weights, strict=True):
            assert tokens[0] == tokenizer.eos_token_id
            assert weights[0] == 0
            assert len(tokens) == len(weights) <= max_length


def test_marked_sides_are_complements(load, tokenizer):
    contrast = load("marked")
    check(tokenizer, contrast)
    assert whole(tokenizer, contrast.toxic) == [r["text"] for r in MARKED if "spans" in r]
    assert counted(tokenizer, contrast.toxic) == [" stupid fool", " fool", "fool"]
    assert counted(tokenizer, contrast.safe) == ["You, go away.", MARKED[2]["text"][:-5], ""]
    for toxic, safe, tokens, same in zip(
        contrast.toxic.weights,
        contrast.safe.weights,
        contrast.toxic.tokens,
        contrast.safe.tokens,
        strict=True,
    ):
        assert (tokens == same).all()
        assert ((toxic > 0) ^ (safe > 0))[1:].all()


def test_marks_beyond_the_cut_are_dropped_from_both_sides(load, tokenizer, caplog):
    contrast = load("marked", max_length=20)
    check(tokenizer, contrast, 20)
    assert whole(tokenizer, contrast.safe) == [MARKED[0]["text"], "fool"]
    assert "marked.jsonl: dropped 1 documents without a marked token" in caplog.text
    assert len(load("marked", max_length=20, limit=1).toxic.tokens) == 1


def test_no_mark_that_survives_is_refused(load):
    with pytest.raises(InputError, match=r"marked\.jsonl: no token is left on the toxic side"):
        load("marked", max_length=20, source={"ids": "c"})
    with pytest.raises(InputError, match="no token is left on the safe side"):
        load("marked", source={"ids": "d"})
    with pytest.raises(InputError, match="none of the 1 records left passes marked=true"):
        load("marked", source={"ids": "b"})


def test_excluded_records_are_passed_over(load, tokenizer):
    contrast = load("marked", exclude={"a", "d"})
    assert whole(tokenizer, contrast.toxic) == [MARKED[2]["text"]]
    pairs = load("pairs", exclude={"p1"})
    assert len(pairs.toxic.tokens) == len(pairs.safe.tokens) == 3


def test_pairs_count_the_completion_alone(load, tokenizer):
    contrast = load("pairs", prompt="ask", limit=2)
    check(tokenizer, contrast)
    assert whole(tokenizer, contrast.toxic) == ["Question 0: you fool 0", "Question 1: you fool 1"]
    assert counted(tokenizer, contrast.toxic) == [" you fool 0", " you fool 1"]
    assert counted(tokenizer, contrast.safe) == [" the river 0", " the river 1"]
    assert counted(tokenizer, load("pairs").safe) == [record["safe"] for record in PAIRS]


def test_the_two_sides_from_two_sources(load, tokenizer, write_lines):
    write_lines("calm.jsonl", [{"text": "a calm dog"}, {"text": "by the river"}, {"text": "x"}])
    contrast = load("pairs", safe_source=Source(path="calm.jsonl", limit=2), safe="text")
    check(tokenizer, contrast)
    assert counted(tokenizer, contrast.safe) == ["a calm dog", "by the river"]
    assert len(contrast.toxic.tokens) == 4


def test_long_prompts_lose_their_beginning(load, tokenizer, write_lines):
    write_lines("pairs.jsonl", [{"ask": "abc " * 50, "toxic": "you fool", "safe": "dog " * 50}])
    contrast = load("pairs", prompt="ask", max_length=16)
    check(tokenizer, contrast, 16)
    assert whole(tokenizer, contrast.toxic)[0].endswith("abc you fool")
    assert counted(tokenizer, contrast.toxic)[0].strip() == "you fool"
    assert len(contrast.toxic.tokens[0]) == 16
    assert whole(tokenizer, contrast.safe)[0].strip().startswith("dog dog")
    assert (contrast.safe.weights[0][1:] > 0).all()


def test_rtp_splits_by_toxicity(load, tokenizer, caplog):
    contrast = load("rtp")
    check(tokenizer, contrast)
    assert counted(tokenizer, contrast.toxic) == [f" and continuation {n}" for n in (0, 4)]
    assert whole(tokenizer, contrast.safe) == [f"Prompt {n} and continuation {n}" for n in (1, 5)]
    assert "rtp.jsonl: skipped 2 records without continuation.toxicity" in caplog.text
    moved = load("rtp", toxic_at_least=0.5, safe_at_most=0.2, limit=1)
    assert whole(tokenizer, moved.toxic) == ["Prompt 0 and continuation 0"]


def test_rtp_takes_index_files(load, tokenizer, tmp_path, caplog):
    np.save(tmp_path / "toxic.npy", np.array([6, 3]))
    np.save(tmp_path / "safe.npy", np.array([0]))
    one = load("rtp", toxic_subset="toxic.npy")
    assert whole(tokenizer, one.toxic) == [f"Prompt {n} and continuation {n}" for n in (3, 6)]
    assert len(one.safe.tokens) == 2
    caplog.clear()
    both = load("rtp", toxic_subset="toxic.npy", safe_subset="safe.npy")
    assert whole(tokenizer, both.safe) == ["Prompt 0 and continuation 0"]
    assert not caplog.records, "records without a toxicity count"
    np.save(tmp_path / "toxic.npy", np.array([6, 7]))
    with pytest.raises(InputError, match=r"toxic\.npy: lists record 7, but the last record .* 6"):
        load("rtp", toxic_subset="toxic.npy")
    (tmp_path / "ids.txt").write_text("six")
    with pytest.raises(InputError, match="lists ids; list record numbers"):
        load("rtp", toxic_subset="ids.txt")


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("rtp", {"toxic_at_least": 0.95}, "0 queries on the toxic side.*>= 0.95"),
        ("rtp", {"safe_at_most": 0.05}, "0 queries on the safe side.*<= 0.05"),
        ("rtp", {"toxicity": "score"}, r"rtp\.jsonl, line 1: field 'score' is missing"),
        ("rtp", {"toxicity": "prompt.text"}, "'prompt.text' is text, not a number"),
        ("rtp", {"completion": "body"}, "field 'body' is missing .* queries.completion"),
        ("pairs", {"prompt": "question"}, "'question' is missing .* queries.prompt"),
        (
            "pairs",
            {"safe": "neutral"},
            r"'neutral' is missing \(fields there: id, ask",
        ),
    ],
)
def test_what_is_missing_is_named(load, kind, fields, message):
    with pytest.raises(InputError, match=message) as caught:
        load(kind, **fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("blank", ["", " \n"])
def test_empty_completions_name_the_record(load, write_lines, blank):
    write_lines("pairs.jsonl", [*PAIRS, {**PAIRS[0], "id": "bad", "safe": blank}])
    with pytest.raises(InputError, match=r"pairs\.jsonl, line 5 \(id bad\): the completion 'safe'"):
        load("pairs")
    assert len(load("pairs", limit=4).safe.tokens) == 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "queries.source.spans: it is not set"),
        ({"kind": "words"}, "queries.kind: 'words' is unknown"),
        ({"kind": "pairs", "weighting": "none"}, "queries.weighting: 'none' is unknown"),
        ({"kind": "pairs", "max_length": 1}, "queries.max_length: 1 is not in"),
        ({"kind": "pairs", "limit": 0}, "queries.limit: 0 is not in"),
        ({"kind": "rtp", "safe_at_most": 0.8}, "safe_at_most: 0.8 is not below toxic_at_least"),
        ({"kind": "pairs", "toxic_subset": "x.npy"}, "toxic_subset, safe_subset: kind pairs"),
        ({"kind": "rtp", "safe_source": Source(path="y")}, "safe_source: kind rtp reads one"),
        ({"kind": "rtp", "source": Source(path="y", held_out=0.1)}, "source.held_out"),
        ({"source": Source(path="y", spans="s", marked=False)}, "source.marked: false leaves"),
    ],
)
def test_contradictions_are_refused(fields, message):
    as_given = {"source": Source(path="x.jsonl"), **fields}
    with pytest.raises(InputError, match=message):
        build(as_given)


def build(fields):
    """Without the shape checks of the tests, which refuse a wrong type before the config does."""
    fields = {**{f.name: f.default for f in dataclasses.fields(QueriesConfig)}, **fields}
    config = object.__new__(QueriesConfig)
    for name, value in fields.items():
        object.__setattr__(config, name, value)
    config.__post_init__()


def test_the_builtin_corpus_gives_marked_queries(tokenizer, tmp_path):
    config = QueriesConfig(source=Source(builtin=60), limit=5)
    contrast = load_contrast(config, tokenizer, tmp_path, seed_of_builtin=3)
    check(tokenizer, contrast)
    assert len(contrast.toxic.tokens) == 5
    assert load_contrast(config, tokenizer, tmp_path).fingerprint != contrast.fingerprint


def test_fingerprint_follows_tokens_and_weights(load, write_lines):
    write_lines("pairs.jsonl", UNEVEN)
    found = [
        load("pairs").fingerprint,
        load("pairs", weighting="query").fingerprint,
        load("pairs", weighting="sequence").fingerprint,
        load("pairs", limit=1).fingerprint,
        load("pairs", toxic="safe", safe="toxic").fingerprint,
        load("pairs", prompt="safe").fingerprint,
    ]
    assert len(set(found)) == len(found)
    assert load("pairs").fingerprint == found[0]


def test_a_sequence_s_loss_counts_as_it_is_summed(load, tokenizer, write_lines):
    """The closed form of the authors' measurement: losses summed, then the mean over queries."""
    write_lines("pairs.jsonl", UNEVEN)
    by_token, summed = load("pairs"), load("pairs", weighting="sequence")
    for name in ("toxic", "safe"):
        side, plain = getattr(summed, name), getattr(by_token, name)
        lengths = [len(tokens) - 1 for tokens in side.tokens]
        assert len(set(lengths)) > 1
        for weights, length in zip(side.weights, lengths, strict=True):
            np.testing.assert_array_equal(weights, [0.0, *[1 / len(lengths)] * length])
        for a, b in zip(side.weights, plain.weights, strict=True):
            np.testing.assert_allclose(a, b * np.mean(lengths))  # so by token it is the same set
    losses = [np.arange(len(tokens)) ** 2.0 for tokens in summed.toxic.tokens]
    weighed = sum(w @ loss for w, loss in zip(summed.toxic.weights, losses, strict=True))
    assert weighed == pytest.approx(np.mean([loss.sum() for loss in losses]))


sides = st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=1, max_size=6).filter(
    lambda rows: any(map(any, rows))
)


@given(sides, st.sampled_from(["token", "query", "sequence"]), st.randoms())
@settings(max_examples=100, deadline=None)
def test_weights_are_the_stated_mean(rows, weighting, random):
    losses = [[random.random() for _ in row] for row in rows]
    of_query = [
        [loss for loss, counts in zip(*pair, strict=True) if counts]
        for pair in zip(losses, rows, strict=True)
    ]
    of_query = [kept for kept in of_query if kept]
    if weighting == "token":
        expected = np.mean([loss for kept in of_query for loss in kept])
    elif weighting == "query":
        expected = np.mean([np.mean(kept) for kept in of_query])
    else:
        expected = np.mean([np.sum(kept) for kept in of_query])
    weights = token_weights([np.array(row) for row in rows], weighting)
    weighted = sum(w @ np.array(row) for w, row in zip(weights, losses, strict=True))
    assert weighted == pytest.approx(expected)
