"""What a tokenizer puts before a text stands before every text that a model reads."""

import numpy as np
import pytest
import torch
from tiny import tiny_model
from tokenizers import processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ifguide.attacks.config import GcgConfig
from ifguide.attacks.gcg import gcg
from ifguide.attacks.texts import attacked_texts, posts_of
from ifguide.corpus.blocks import pack
from ifguide.corpus.config import CorpusConfig, QueriesConfig, Source, TokenizerConfig
from ifguide.corpus.prepare import open_prepared, prepare
from ifguide.corpus.queries import load_contrast
from ifguide.corpus.starts import (
    document_start,
    padding_of,
    room_behind,
    set_document_start,
    start_names,
    text_start,
)
from ifguide.corpus.tokenizers import ids_of, train_tokenizer
from ifguide.errors import InputError
from ifguide.evaluation import generate
from ifguide.evaluation.fluency import _with_last_word
from ifguide.nouns import Document
from ifguide.rivals.config import DecodingConfig, RewardConfig
from ifguide.rivals.decoding import RewardAugmented
from ifguide.rivals.reward import reward_from
from ifguide.rivals.reward_training import _examples, _Padding
from ifguide.training.preference_pairs import PreferencePair, tokenised_pair

from .conftest import SAMPLE

POSTS = [Document(str(k), text, ((0, 3),)) for k, text in enumerate(SAMPLE[:4])]


def tokenizer_with(*start, eos="</s>", **more):
    """Byte-level, with a template that puts these tokens before a text and one behind it."""
    rules = train_tokenizer(SAMPLE, 320).backend_tokenizer
    rules.add_special_tokens(["</s>", "<s>", "[mask]"])
    if start:
        names = [(name, rules.token_to_id(name)) for name in {*start, "</s>"}]
        rules.post_processor = processors.TemplateProcessing(
            single=" ".join([*start, "$A", "</s>"]), special_tokens=names
        )
    return PreTrainedTokenizerFast(tokenizer_object=rules, eos_token=eos, **more)


STARTS = {
    "none": (),
    "bos": ("<s>",),
    "two": ("[mask]", "<s>"),
    "end-of-text": ("</s>",),
}


@pytest.fixture(params=sorted(STARTS))
def started(request):
    return tokenizer_with(*STARTS[request.param]), STARTS[request.param]


def ids(tokenizer, names):
    return [tokenizer.convert_tokens_to_ids(name) for name in names]


def test_the_start_is_what_the_tokenizer_adds_before_a_text(started):
    tokenizer, names = started
    assert list(document_start(tokenizer)) == ids(tokenizer, names)
    assert start_names(tokenizer) == names
    assert list(text_start(tokenizer)) == ids(tokenizer, names or ["</s>"])


def test_packed_documents_begin_with_it_and_nothing_learns_it(started, tmp_path):
    tokenizer, names = started
    corpus = pack(POSTS, tokenizer, 16, tmp_path / "blocks")
    end, start = tokenizer.eos_token_id, ids(tokenizer, names)
    expected, owner = [], []
    for number, post in enumerate(POSTS):
        before = start if number == 0 or start != [end] else []
        text = [*ids_of(tokenizer, post.text), end]
        expected += [*before, *text]
        owner += [-1] * len(before) + [number] * len(text)
    flat = np.asarray(corpus.tokens).ravel()
    assert flat[: len(expected)].tolist() == expected
    assert (flat[len(expected) :] == end).all()
    document = np.asarray(corpus.document)
    assert document.ravel()[: len(owner)].tolist() == owner
    assert not corpus.has_loss[document < 0].any()
    assert corpus.has_loss[:, 1:][document[:, 1:] >= 0].all()
    assert corpus.token_count == sum(n >= 0 for n in owner)


def test_whatever_else_a_model_reads_begins_with_it(started):
    tokenizer, _ = started
    start, text = list(text_start(tokenizer)), "The river was calm"
    plain = [*start, *ids_of(tokenizer, text)]
    model = tiny_model(max_position_embeddings=64, vocab_size=len(tokenizer))
    assert generate._encode(model, tokenizer, [text, ""], 4) == [plain, start]
    sequence, target = _with_last_word(tokenizer, text, 0, None)
    assert sequence == plain
    assert tokenizer.decode(sequence[target:]).strip() == "calm"
    pair = tokenised_pair(PreferencePair(text, " and", " or", whole=True), tokenizer, 64)
    assert pair["prompt_ids"] == plain
    assert pair["chosen_ids"][-1] == tokenizer.eos_token_id
    (example,) = _examples_of(tokenizer, text)
    assert example["input_ids"] == plain


def _examples_of(tokenizer, text):
    config = RewardConfig(batch_size=1)
    both = _examples(tokenizer, [text, "an"], np.array([0.2, 0.4]), config)
    return both[:1]


def test_what_does_not_fit_keeps_the_start_and_the_end_of_its_text(started):
    tokenizer, _ = started
    start, text = list(text_start(tokenizer)), "The river was calm and the dog was asleep"
    own = ids_of(tokenizer, text)
    positions = len(start) + len(own) - 2
    sequence, target = _with_last_word(tokenizer, text, 0, positions)
    assert sequence == [*start, *own[2:]]
    assert tokenizer.decode(sequence[target:]).strip() == "asleep"
    model = tiny_model(max_position_embeddings=positions, vocab_size=len(tokenizer))
    (prompt,) = generate._encode(model, tokenizer, [text], 4)
    assert prompt == [*start, *own[6:]]
    assert len(prompt) + 4 == positions


def test_queries_begin_with_it_and_do_not_count_it(started, write_lines, tmp_path):
    tokenizer, _ = started
    write_lines("q.jsonl", [{"id": p.id, "text": p.text, "spans": [[0, 3]]} for p in POSTS])
    config = QueriesConfig(source=Source(path="q.jsonl", spans="spans"), max_length=64)
    contrast = load_contrast(config, tokenizer, tmp_path)
    start = list(text_start(tokenizer))
    for side in (contrast.toxic, contrast.safe):
        for post, tokens, weights in zip(POSTS, side.tokens, side.weights, strict=True):
            assert tokens.tolist() == [*start, *ids_of(tokenizer, post.text)]
            assert not weights[: len(start)].any()
    assert [post.text for post in posts_of(contrast.toxic, tokenizer)] == [p.text for p in POSTS]
    first = next(iter(attacked_texts(contrast.toxic, tokenizer, 3)))
    assert first.prompt == ""
    assert POSTS[0].text.startswith(first.target)


def test_a_query_must_have_room_behind_it(write_lines, tmp_path):
    write_lines("q.jsonl", [{"id": "a", "text": "a b", "spans": [[0, 1]]}])
    config = QueriesConfig(source=Source(path="q.jsonl", spans="spans"), max_length=2)
    with pytest.raises(InputError, match=r"^queries.max_length: 2 leaves no room behind the 2"):
        load_contrast(config, tokenizer_with("[mask]", "<s>"), tmp_path)


def test_every_longest_length_leaves_room_for_a_text():
    assert room_behind((1, 2), 3, "x") == 1
    tokenizer = tokenizer_with("[mask]", "<s>")
    with pytest.raises(InputError, match=r"^compare\.dpo\.max_length: 2 leaves no room behind"):
        tokenised_pair(PreferencePair("a", "b", "c"), tokenizer, 2)
    config = RewardConfig(batch_size=1, max_length=2)
    with pytest.raises(InputError, match=r"^compare\.reward\.max_length: 2 leaves no room behind"):
        _examples(tokenizer, ["a", "b"], np.array([0.2, 0.4]), config)


def test_a_suffix_is_searched_behind_it(started, monkeypatch):
    tokenizer, _ = started
    model = tiny_model(max_position_embeddings=64, vocab_size=len(tokenizer))
    seen = []
    monkeypatch.setattr("ifguide.attacks.gcg.find_suffix", lambda *a, **k: seen.append(a) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        gcg(model, tokenizer, "The river", " was", GcgConfig(suffix_tokens=2))
    assert seen[0][1] == [*text_start(tokenizer), *ids_of(tokenizer, "The river")]


def test_a_reward_model_reads_it_and_learns_nothing_at_it(started):
    tokenizer, _ = started
    start, (example,) = text_start(tokenizer), _examples_of(tokenizer, "The river was calm")
    batch = _Padding(tokenizer.eos_token_id, len(start))([example])
    assert batch["place"][0].tolist() == [
        *[0] * len(start),
        *range(1, 1 + len(example["input_ids"]) - len(start)),
    ]


def test_steered_decoding_finds_where_a_text_begins(started):
    tokenizer, _ = started
    model = tiny_model(max_position_embeddings=64, vocab_size=len(tokenizer))
    processor = RewardAugmented(reward_from(model, tokenizer), tokenizer, DecodingConfig())
    start, text = list(text_start(tokenizer)), ids_of(tokenizer, "The river")
    padding = [padding_of(tokenizer)] * 3
    rows = torch.tensor([[*padding, *start, *text]])
    read = processor._prefix._text_of(rows)[0].tolist()
    assert read == [False] * 3 + [True] * (len(start) + len(text))


@pytest.mark.parametrize("own", sorted(STARTS))
@pytest.mark.parametrize("said", ["tokenizer", "none", "<s>", "[mask]"])
def test_the_setting_is_kept_with_the_prepared_corpus(own, said, write_lines, tmp_path):
    write_lines("posts.jsonl", [{"id": p.id, "text": p.text} for p in POSTS])
    tokenizer_with(*STARTS[own]).save_pretrained(tmp_path / "given")
    config = CorpusConfig(
        sources=(Source(path="posts.jsonl"),), block_length=16, document_start=said
    )
    tokenizer = TokenizerConfig(path=str(tmp_path / "given"))
    names = {"tokenizer": STARTS[own], "none": ()}.get(said, (said,))
    made = prepare(config, tokenizer, tmp_path, 0, tmp_path / "out")
    again = open_prepared(tmp_path / "out")
    made.tokenizer.save_pretrained(tmp_path / "beside a model")
    plain = AutoTokenizer.from_pretrained(tmp_path / "beside a model")
    for found in (made.tokenizer, again.tokenizer, plain):
        assert start_names(found) == names
        assert found.eos_token == "</s>"
        for text in SAMPLE:
            assert ids_of(found, text) == ids_of(tokenizer_with(), text)
    before = ids(made.tokenizer, names)
    assert np.asarray(again.corpus.tokens).ravel()[: len(before)].tolist() == before


def test_a_token_that_is_none_is_refused():
    with pytest.raises(InputError, match=r"^corpus.document_start: '<bos>' is no token of the tok"):
        set_document_start(tokenizer_with(), "<bos>")
    with pytest.raises(InputError, match=r"^corpus.document_start: it is empty"):
        CorpusConfig(sources=(Source(builtin=3),), document_start="")


def test_a_trained_tokenizer_adds_nothing_unless_it_is_told_to():
    tokenizer = train_tokenizer(SAMPLE, 320)
    before = tokenizer.backend_tokenizer.to_str()
    set_document_start(tokenizer, "tokenizer")
    assert (document_start(tokenizer), tokenizer.backend_tokenizer.to_str()) == ((), before)
    set_document_start(tokenizer, "<|endoftext|>")
    assert document_start(tokenizer) == (tokenizer.eos_token_id,)
    set_document_start(tokenizer, "none")
    assert document_start(tokenizer) == ()


@pytest.mark.parametrize(
    ("special", "first"),
    [
        ({"eos_token": "a", "bos_token": "b"}, "a"),
        ({"eos_token": "a"}, "a"),
        ({"bos_token": "b"}, "b"),
    ],
)
def test_a_batch_is_filled_with_end_of_text_or_where_there_is_none_bos(special, first):
    rules = train_tokenizer([], 257).backend_tokenizer
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=rules, **special)
    assert padding_of(tokenizer) == tokenizer.convert_tokens_to_ids(first)
    assert text_start(tokenizer) == (padding_of(tokenizer),)


def test_a_tokenizer_with_neither_is_refused():
    bare = PreTrainedTokenizerFast(tokenizer_object=train_tokenizer([], 257).backend_tokenizer)
    with pytest.raises(InputError, match=r"has no end-of-text token \(eos_token\); set one"):
        padding_of(bare)
