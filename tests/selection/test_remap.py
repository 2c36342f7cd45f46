"""A mask on another tokenizer's tokens: the same, no character lost, fewer for a larger share."""

from dataclasses import replace

import numpy as np
import pytest
from cutters import MORE, SAMPLE
from hypothesis import given, settings
from hypothesis import strategies as st

from ifguide import remap
from ifguide.corpus.blocks import pack
from ifguide.corpus.characters import Characters, common
from ifguide.errors import InputError
from ifguide.nouns import Document, Selection, TokenScores
from ifguide.selection.remap import CharacterCounts, remap_onto, spread

TEXTS = [
    *SAMPLE[:4],
    "Née zażółć ﬁne ½, e\u0301 ☎️ 👩‍👩‍👧 日本語 river",
    "  two  spaces\tand\na line <|endoftext|> </s> [SEP]  ",
    "fox",
]
DOCUMENTS = [Document(str(number), text) for number, text in enumerate(TEXTS)]
seeds = st.integers(0, 2**32 - 1)
shares = st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 0.75, 1.0])


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """The documents by a tokenizer, in blocks of a length."""
    kinds, made = {}, {}

    def corpus(kind, length=7):
        if (kind, length) not in made:
            tokenizer = kinds.setdefault(kind, MORE[kind]())
            folder = tmp_path_factory.mktemp(kind)
            made[kind, length] = pack(DOCUMENTS, tokenizer, length, folder)
        return made[kind, length]

    return corpus


def drawn(corpus, seed, rate=None):
    """A random mask over tokens with a loss."""
    rng = np.random.default_rng(seed)
    rate = rng.choice([0.02, 0.2, 0.9]) if rate is None else rate
    suppress = corpus.has_loss & (rng.random(corpus.tokens.shape) < rate)
    budget = int(suppress.sum())
    return Selection(suppress, 0.5, budget, np.arange(3), np.ones(3), corpus, {"engine": "drawn"})


def characters(corpus, which):
    """A set of (document, character) that some tokens hold, one at a time."""
    return {
        (int(corpus.document[place]), k)
        for place in zip(*np.nonzero(which & (corpus.document >= 0)), strict=True)
        for k in range(corpus.start[place], corpus.end[place])
    }


def by_hand(selection, corpus, share):
    """The mask token by token, as the docstring says, where the cuts differ."""
    chosen = characters(selection.corpus, selection.suppress)
    mask = np.zeros(corpus.tokens.shape, bool)
    for place in zip(*np.nonzero(corpus.has_loss), strict=True):
        own = [
            (int(corpus.document[place]), k) for k in range(corpus.start[place], corpus.end[place])
        ]
        inside = sum(one in chosen for one in own)
        mask[place] = inside > 0 and inside / len(own) >= share
    return mask


@given(seed=seeds, share=shares)
@settings(max_examples=15, deadline=None)
@pytest.mark.parametrize("kind", sorted(MORE))
def test_the_same_tokenizer_gives_the_same_mask(cut, kind, seed, share):
    selection = drawn(cut(kind), seed)
    found, _ = remap_onto(selection, cut(kind), share)
    np.testing.assert_array_equal(found.suppress, selection.suppress)
    elsewhere, _ = remap_onto(selection, cut(kind, 64), share)  # other blocks, the same tokens
    lost = drawn(cut(kind), 0, 1.0).suppress & ~selection.suppress
    flat = {True: [], False: []}
    for corpus, mask in ((cut(kind), selection.suppress), (cut(kind, 64), elsewhere.suppress)):
        flat[corpus is cut(kind)] = np.where(corpus.has_loss, mask, -1)[corpus.document >= 0]
    both = (flat[True] >= 0) & (flat[False] >= 0)
    np.testing.assert_array_equal(flat[True][both], flat[False][both])
    assert lost.any() or selection.suppress.any()


@given(seed=seeds, share=shares)
@settings(max_examples=6, deadline=None)
@pytest.mark.parametrize("other", sorted(MORE))
@pytest.mark.parametrize("kind", sorted(MORE))
def test_a_token_is_selected_by_its_share_of_selected_characters(cut, kind, other, seed, share):
    selection, corpus = drawn(cut(kind), seed), cut(other, 9)
    found, counts = remap_onto(selection, corpus, share)
    mask, ours = found.suppress, cut(kind)
    differs = np.ones(len(DOCUMENTS), bool)
    for number in range(len(DOCUMENTS)):
        spans = [
            np.stack([c.start, c.end])[:, c.document == number].tolist() for c in (ours, corpus)
        ]
        differs[number] = spans[0] != spans[1]
    judged = corpus.has_loss & (corpus.end > corpus.start) & differs[corpus.document]
    np.testing.assert_array_equal(
        mask[judged], by_hand(selection, corpus, share)[judged], err_msg=f"{kind} {other}"
    )
    assert not (mask & ~corpus.has_loss).any()
    closing = {
        int(d) for d in ours.document[selection.suppress & (ours.tokens == ours.end_of_text)]
    }
    ends = corpus.has_loss & (corpus.tokens == corpus.end_of_text) & (corpus.start == corpus.end)
    assert {int(d) for d in corpus.document[ends & mask]} == closing & {
        int(d) for d in corpus.document[ends]
    }
    chosen, now = characters(ours, selection.suppress), characters(corpus, mask)
    learnt = characters(corpus, corpus.has_loss & ~mask)
    beside = characters(corpus, ~corpus.has_loss)
    assert counts == CharacterCounts(
        selected=len(chosen),
        lost=len((chosen & learnt) - now - beside),
        gained=len(now - chosen),
    )
    if share == 0:
        assert counts.lost == 0
    assert (found.budget, found.threshold) == (int(mask.sum()), selection.threshold)


@given(seed=seeds, low=shares, high=shares)
@settings(max_examples=4, deadline=None)
@pytest.mark.parametrize("other", sorted(MORE))
@pytest.mark.parametrize("kind", ["byte_level", "unigram", "word_piece"])
def test_a_larger_share_selects_a_part(cut, kind, other, seed, low, high):
    low, high = sorted((low, high))
    selection = drawn(cut(kind), seed)
    more, fewer = (remap_onto(selection, cut(other), share)[0].suppress for share in (low, high))
    assert not (fewer & ~more).any()


def test_the_verb_packs_the_documents_anew_and_clears_up(cut, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    selection = drawn(cut("byte_level"), 1, 0.3)
    found = remap(selection, MORE["unigram"](), block_length=16)
    assert found.corpus.tokens.shape[1] == 16
    expected, _ = remap_onto(selection, cut("unigram", 16))
    np.testing.assert_array_equal(found.suppress, expected.suppress)
    assert len(list(tmp_path.iterdir())) == 1
    del found
    assert not list(tmp_path.iterdir())
    kept = remap(selection, MORE["unigram"](), folder=tmp_path / "kept")
    assert kept.corpus.tokens.shape[1] == 7
    assert (tmp_path / "kept" / "tokens.bin").exists()


@pytest.mark.parametrize("length", [7, 64])
@pytest.mark.parametrize("kind", sorted(MORE))
def test_the_same_tokenizer_gives_the_same_scores(cut, kind, length):
    corpus = cut(kind)
    values = np.random.default_rng(3).normal(size=corpus.tokens.shape).astype(np.float32)
    values[~corpus.has_loss] = 0
    found = spread(TokenScores(values, corpus), cut(kind, length))
    before = np.where(corpus.has_loss, values, np.nan)[corpus.document >= 0]
    after = np.where(found.corpus.has_loss, found.values, np.nan)[found.corpus.document >= 0]
    both = ~np.isnan(before) & ~np.isnan(after)
    np.testing.assert_array_equal(before[both], after[both])
    assert both.sum() > 0.8 * len(both)


def test_a_score_is_the_mean_over_the_characters(cut):
    source, target = cut("byte_level"), cut("word_piece")
    values = np.random.default_rng(4).normal(size=source.tokens.shape).astype(np.float32)
    found = np.asarray(spread(TokenScores(values, source), target).values)
    for place in zip(*np.nonzero(target.has_loss), strict=True):
        shared = np.minimum(source.end, target.end[place]) - np.maximum(
            source.start, target.start[place]
        )
        counted = source.has_loss & (source.document == target.document[place])
        shared = np.where(counted, shared.clip(0), 0)
        expected = (shared * values).sum() / shared.sum() if shared.any() else 0
        assert found[place] == pytest.approx(expected, abs=1e-6)
    assert not found[~target.has_loss].any()


def test_what_does_not_fit_is_refused(cut, tmp_path):
    selection = drawn(cut("byte_level"), 0)
    other = [replace(DOCUMENTS[0], text="Another text."), *DOCUMENTS[1:]]
    for documents, said in ((DOCUMENTS[:-1], "it has 7 documents"), (other, "its document 0")):
        corpus = pack(documents, MORE["unigram"](), 8, tmp_path / str(len(documents)))
        with pytest.raises(InputError, match=said):
            remap_onto(selection, corpus)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="share: "):
            remap(selection, MORE["unigram"](), share=share)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=8),
        min_size=2,
        max_size=4,
    ),
    st.integers(1, 2),
)
@settings(max_examples=100, deadline=None)
def test_sets_of_characters_are_sets(drawn_sets, inside):
    spans = [
        np.array([(start, start + length) for start, length in one], np.int64).reshape(-1, 2)
        for one in drawn_sets
    ]
    plain = [{k for start, end in one for k in range(start, end)} for one in spans]
    found = [Characters.of(one) for one in spans]
    assert [one.size for one in found] == [len(one) for one in plain]
    wanted = set.intersection(*plain[:inside]).difference(*plain[inside:])
    assert common(found[:inside], found[inside:]) == len(wanted)
    start = np.arange(36)
    expected = [sum(k in plain[0] for k in range(a, a + 4)) for a in start.tolist()]
    assert found[0].within(start, start + 4).tolist() == expected
