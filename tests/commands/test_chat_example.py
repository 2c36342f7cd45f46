"""The example of conversations, from made data to a page, on a tiny model with a chat template."""

import json
import runpy
from pathlib import Path

import datasets
import numpy as np
import pytest
from chats import CHATML

from ifguide.commands.main import main
from ifguide.corpus.blocks import open_corpus
from ifguide.corpus.builtin import builtin_posts
from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.training.collate import NO_LOSS
from ifguide.training.train import MaskedBlocks

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat")
    made = runpy.run_path(str(EXAMPLES / "conversations.py"))
    made["main"]([str(folder / "chat"), "--count", "40"])
    tokenizer = train_tokenizer((post.text for post in builtin_posts(60)), 400)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(folder / "tokenizer")
    scratch = {
        "model_type": "llama",
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 128,
    }
    options = {
        "data_dir": folder,
        "tokenizer.gguf": "null",
        "tokenizer.path": folder / "tokenizer",
        "model.gguf": "null",
        "model.scratch": json.dumps(scratch),
        "scores.weights": "baseline",
        "baseline.epochs": 0.2,
        "training.epochs": 0.2,
        "curvature.sample_blocks": 8,
        "evaluation.sampling.samples": 2,
        "evaluation.sampling.tokens": 4,
        "evaluation.toxic.limit": 3,
        "evaluation.neutral.limit": 3,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    out = folder / "run"
    assert main(["run", str(EXAMPLES / "chat.yaml"), "--out", str(out), "--quiet", *words]) == 0
    return out


def roles(corpus):
    """[N, T]: the role whose text a token shares a character with, "" for none."""
    found = np.full(corpus.tokens.shape, "", dtype="<U9")
    for number, document in enumerate(corpus.documents):
        for turn in document.turns:
            here = (corpus.document == number) & (corpus.start < turn.end)
            found[here & (corpus.end > turn.start)] = turn.role
    return found


def test_users_are_never_suppressed_and_never_trained_on(finished):
    corpus = open_corpus(finished / "corpus" / "blocks")
    said_by = roles(corpus)
    assert {"user", "assistant"} <= set(said_by.ravel().tolist())
    mask = datasets.load_from_disk(str(finished / "select" / "mask"))
    suppress, score = (np.array(mask[name]) for name in ("suppress", "score"))
    assert suppress.any()
    assert corpus.has_loss[suppress].all()
    assert not suppress[said_by == "user"].any()
    assert not score[~corpus.has_loss].any()
    assert suppress.sum() == int(0.05 * corpus.token_count)
    assert corpus.token_count < (np.asarray(corpus.document) >= 0).sum() / 1.1
    blocks = MaskedBlocks(corpus, None)
    labels = np.stack([blocks[k]["labels"].numpy() for k in range(len(blocks))])
    assert (labels[said_by == "user"] == NO_LOSS).all()
    learnt = (said_by == "assistant") & (np.arange(labels.shape[1]) > 0)
    assert (labels[learnt] == np.asarray(corpus.tokens)[learnt]).all()


def test_marks_are_those_of_the_messages(finished):
    corpus = open_corpus(finished / "corpus" / "blocks")
    lines = (finished.parent / "chat" / "chat.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    by_id = {record["id"]: record["messages"] for record in records}
    for document in corpus.documents:
        said = by_id[document.id]
        marks = [m["content"][a:b] for m in said for a, b in m.get("toxic_spans", []) if a < b]
        assert [document.text[a:b] for a, b in document.spans] == marks
    assert corpus.marked.any()


def test_inspect_and_the_page_show_what_was_said(finished, capfd):
    corpus = open_corpus(finished / "corpus" / "blocks")
    document = corpus.documents[0]
    assert main(["inspect", str(finished), "--doc", document.id, "--quiet"]) == 0
    shown = capfd.readouterr().out.replace("[", "").replace("]", "")
    for turn in document.turns:
        assert document.text[turn.start : turn.end].replace("[", "") in shown
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "assistant" in page


def test_perplexity_is_of_what_the_assistant_says(finished):
    report = json.loads((finished / "report.json").read_text())
    assert report["localisation"] != {}
    for model in report["models"].values():
        assert model["perplexity"]["conversations"] > 1
