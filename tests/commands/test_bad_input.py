"""Bad input on the command line: exit code 2 and one line that names the place and the mend."""

import json
import re
import sys

import numpy as np
import pytest
import torch
from micro import settings, write_settings
from safetensors.torch import load_file, save_file
from tiny import random_corpus, tiny_model

from ifguide.errors import InputError
from ifguide.nouns import Selection
from ifguide.training.config import TrainingConfig
from ifguide.training.train import train

POSTS = [
    {"id": f"p{k}", "text": f"The {name} is a fine old animal, you donkey.", "spans": [[31, 41]]}
    for k, name in enumerate(("cat", "dog", "cow", "hen", "pig", "fox", "owl", "bat", "ant", "bee"))
]


@pytest.fixture
def refused_run(refused, tmp_path):
    """Runs changed settings that must be refused before a model is trained."""

    def refuse(*options, **changes):
        config = write_settings(tmp_path, **changes)
        out = tmp_path / "run"
        options = ("--data_dir", tmp_path, "--quiet", *options)
        line = refused("run", config, "--out", out, *options)
        assert not list(out.glob("baseline*"))
        return line

    return refuse


def write_posts(file, posts=POSTS):
    file.write_text("".join(json.dumps(post) + "\n" for post in posts), encoding="utf-8")
    return file


def posts_source(**more):
    return {"name": "posts", "path": "posts.jsonl", "spans": "spans", "held_out": 0.4, **more}


# the corpus


def refused_source(refused_run, file, **more):
    return refused_run(corpus__sources=[posts_source(path=file, **more)])


def test_a_corpus_file_that_is_missing(refused_run):
    line = refused_source(refused_run, "posts.jsonl")
    assert re.match(r"posts.jsonl: no such file or folder \(looked at /.*\); correct the pa", line)


def test_a_corpus_file_that_is_empty(refused_run, tmp_path):
    (tmp_path / "posts.jsonl").touch()
    line = refused_source(refused_run, "posts.jsonl")
    assert line == "posts.jsonl: the file is empty; fill it, remove it or name another"


def test_a_field_that_is_missing(refused_run, tmp_path):
    write_posts(tmp_path / "posts.jsonl")
    line = refused_source(refused_run, "posts.jsonl", text="comment")
    assert line == (
        "posts.jsonl, line 1: field 'comment' is missing (fields there: id, text, spans); name "
        "the right one with the setting text of source posts"
    )


def test_a_corpus_that_is_not_utf8(refused_run, tmp_path):
    file = write_posts(tmp_path / "posts.jsonl")
    file.write_bytes(file.read_bytes().replace(b"hen", b"h\xe9n"))
    line = refused_source(refused_run, "posts.jsonl")
    assert re.match(r"posts.jsonl, line 4, byte \d+: not UTF-8 \(0xe9\); save the file as U", line)


def test_no_text_at_all(refused_run, tmp_path):
    write_posts(tmp_path / "posts.jsonl", [{"id": "a", "text": "  ", "spans": []}])
    line = refused_source(refused_run, "posts.jsonl", held_out=0.0)
    assert line == "corpus.sources: no document has any text; name a source that has some"


def test_a_tokenizer_that_cannot_be_loaded(refused_run, tmp_path):
    line = refused_run(tokenizer={"path": str(tmp_path / "nothing")})
    assert line.startswith(f"tokenizer.path: '{tmp_path}/nothing': cannot be loaded (")


# the queries


def refused_queries(refused_run, **queries):
    return refused_run(queries=queries)


def test_queries_that_are_missing(refused_run):
    line = refused_queries(refused_run, source={"path": "q.jsonl", "spans": "spans"})
    assert line.startswith("q.jsonl: no such file or folder")


def test_an_empty_completion(refused_run, tmp_path):
    pairs = [
        {"id": "a", "toxic": "you donkey", "safe": "hello"},
        {"id": "b", "toxic": "you donkey", "safe": ""},
    ]
    write_posts(tmp_path / "q.jsonl", pairs)
    line = refused_queries(refused_run, kind="pairs", source={"path": "q.jsonl"})
    assert line == (
        "q.jsonl, line 2 (id b): the completion 'safe' is empty; fill it or remove the record"
    )


def test_no_span_that_survives_tokenising(refused_run, tmp_path):
    write_posts(tmp_path / "q.jsonl")
    queries = {"source": {"path": "q.jsonl", "spans": "spans"}, "max_length": 8}
    assert refused_queries(refused_run, **queries) == (
        "q.jsonl: no token is left on the toxic side; raise queries.max_length, or check the "
        "spans and filters of queries.source"
    )


def test_no_marked_text(refused_run, tmp_path):
    write_posts(tmp_path / "q.jsonl", [post | {"spans": []} for post in POSTS])
    line = refused_queries(refused_run, source={"path": "q.jsonl", "spans": "spans"})
    assert line.startswith("q.jsonl: none of the 10 records left passes marked=true; change that")


def test_a_query_set_of_size_0(refused_run, tmp_path):
    records = [
        {"prompt": {"text": "You"}, "continuation": {"text": " donkey", "toxicity": 0.1 * k}}
        for k in range(5)
    ]
    write_posts(tmp_path / "q.jsonl", records)
    assert refused_queries(refused_run, kind="rtp", source={"path": "q.jsonl"}) == (
        "q.jsonl: 0 queries on the toxic side, no record has continuation.toxicity >= 0.75; "
        "change queries.toxic_at_least"
    )


# the model


@pytest.mark.parametrize(
    ("scratch", "said"),
    [
        ({"vocab_size": 100}, "model.scratch: its vocabulary has 100 entries, the tokenizer 400; "),
        (
            {"max_position_embeddings": 32},
            "model.scratch: it has 32 positions, corpus.block_length is 64; lower corpus.block_le",
        ),
        ({"num_hidden_layers": 0}, "model: no weight can be tracked: there is no trainable Linear"),
        ({"model_type": "bogus"}, "model.scratch: no bogus can be made of these settings (Unreco"),
        ({"hiden_size": 16}, "model.scratch.hiden_size: llama has no such setting; see the confi"),
        ({"hidden_size": "wide"}, "model.scratch: no llama can be made of these settings (Validat"),
        ({"hidden_size": 15}, "model.scratch: no llama can be made of these settings (Class valid"),
    ],
)
def test_a_model_that_cannot_be_made(scratch, said, refused_run):
    whole = {**settings()["model"]["scratch"], **scratch}
    line = refused_run(model={"scratch": whole})
    assert line.startswith(said)


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint that fits the micro run's tokenizer, and the settings that name it."""
    folder = tmp_path / "checkpoint"
    tiny_model("llama", torch.float32, vocab_size=400, max_position_embeddings=64).save_pretrained(
        folder
    )
    return folder


def refused_checkpoint(refused_run, folder):
    return refused_run(model={"path": str(folder)}, baseline=None)


def test_nan_in_a_checkpoint(refused_run, checkpoint):
    tensors = load_file(checkpoint / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = torch.nan
    save_file(tensors, checkpoint / "model.safetensors", {"format": "pt"})
    assert refused_checkpoint(refused_run, checkpoint) == (
        f"{checkpoint}: weight 'model.layers.1.mlp.up_proj.weight' holds NaN or infinity; use a "
        "sound checkpoint"
    )


def test_a_checkpoint_without_one_of_its_weights(refused_run, checkpoint):
    tensors = load_file(checkpoint / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, checkpoint / "model.safetensors", {"format": "pt"})
    assert refused_checkpoint(refused_run, checkpoint) == (
        f"model.path: '{checkpoint}' lacks the weight 'model.norm.weight', which would be random; "
        "give a whole checkpoint of a causal language model"
    )


def test_a_checkpoint_that_was_cut_short(refused_run, checkpoint):
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:500])
    line = refused_checkpoint(refused_run, checkpoint)
    assert line.startswith(f"model.path: '{checkpoint}': cannot be loaded (")


def test_no_checkpoint_there(refused_run, tmp_path):
    line = refused_checkpoint(refused_run, tmp_path / "nothing")
    assert line.startswith(f"model.path: '{tmp_path}/nothing': cannot be loaded (")
    assert line.endswith("give a checkpoint folder or a hub name (the hub needs the network)")


# the evaluation


def test_a_judge_that_is_not_known(refused_run):
    line = refused_run(evaluation__judges=["bogus"])
    assert line.startswith("evaluation.judges: 'bogus' is not known; use one of rule, ")


def test_a_judge_whose_extra_is_missing(refused_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "profanity_check", None)
    line = refused_run(evaluation__judges=["alt-profanity-check"])
    assert line.startswith("evaluation.judges: alt-profanity-check is not installed")
    assert line.endswith("run pip install 'ifguide[profanity]'")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"evaluation__toxic__held_out": "other"},
            "evaluation set 'toxic': held_out is 'other', ",
        ),
        ({"evaluation__toxic__kind": "poem"}, "evaluation set 'toxic': no document is there to us"),
        ({"evaluation__toxic__min_words": 99}, "evaluation prompt set 'toxic': none of "),
        ({"evaluation__lambada": {"path": "l.jsonl"}}, "l.jsonl: no such file or folder"),
        (
            {"evaluation__perplexity": {"news": {"source": {"path": "n.txt"}}}},
            "n.txt: no such file or folder",
        ),
        ({"evaluation__sampling__tokens": 63}, "evaluation.sampling.tokens: 63 new tokens leave n"),
    ],
)
def test_an_evaluation_that_cannot_be_made(changes, said, refused_run):
    assert refused_run(**changes).startswith(said)


# in the library


def test_a_mask_of_another_corpus(tmp_path):
    ours, other = random_corpus(), random_corpus(seed=1)
    none = np.zeros(0, dtype=np.int64)
    selection = Selection(
        suppress=np.zeros(ours.tokens.shape, dtype=bool),
        threshold=0.0,
        budget=0,
        ranking=none,
        rank_value=none.astype(np.float64),
        corpus=other,
    )
    with pytest.raises(InputError, match=r"selection: its mask was made for corpus .*; score and"):
        train(tiny_model(), ours, selection, TrainingConfig(), folder=tmp_path)
