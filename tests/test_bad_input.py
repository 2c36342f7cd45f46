"""Bad input on the command line: exit code 2 and one line that names the place and the mend."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from micro import run, settings, write_settings
from safetensors.torch import load_file, save_file
from tiny import random_corpus, tiny_model

from ifguide import store
from ifguide.cli import main
from ifguide.errors import InputError
from ifguide.nouns import Selection
from ifguide.training import TrainingConfig, train

POSTS = [
    {"id": f"p{k}", "text": f"The {name} is a fine old animal, you donkey.", "spans": [[31, 41]]}
    for k, name in enumerate(("cat", "dog", "cow", "hen", "pig", "fox", "owl", "bat", "ant", "bee"))
]


@pytest.fixture
def refused(capfd):
    """Runs a command that must be refused, and returns what its one line says."""

    def refuse(*arguments):
        assert main([str(argument) for argument in arguments]) == 2
        shown = capfd.readouterr()
        assert shown.out == ""
        assert shown.err.startswith("ifguide: error: ")
        assert shown.err.endswith("\n")
        assert shown.err.count("\n") == 1
        return shown.err.removeprefix("ifguide: error: ").rstrip("\n")

    return refuse


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


# the command line itself


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["bogus"], "invalid choice: 'bogus'"),
        (["run"], "no YAML file given"),
        (["run", "nowhere.yaml", "--out", "x"], "nowhere.yaml: no such file; give the YAML file"),
        (["inspect"], "dir"),
        (["inspect", "nowhere"], "nowhere: it has no finished stage 'corpus'"),
        (["inspect", "nowhere", "--top", "x"], "--top: invalid int value: 'x'"),
        (["inspect", "nowhere", "--top", "0"], "--top: 0 is below 1; give the number"),
        (["inspect", "nowhere", "--bogus"], "--bogus: not an option of inspect"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, said, refused):
    assert said in refused(*arguments)


def test_no_run_folder(refused, tmp_path):
    assert refused("run", write_settings(tmp_path)) == "--out: no run folder given; add --out DIR"


def test_an_id_that_is_not_in_the_corpus(refused, tmp_path):
    assert run("select", write_settings(tmp_path), tmp_path / "run") == 0
    line = refused("inspect", tmp_path / "run", "--doc", "nobody")
    assert line == (
        "document id 'nobody': the corpus has no such document; use an id that `ifguide inspect` "
        "shows"
    )


# the YAML


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty; write the run's settings into it"),
        ("seed: [1, 2", "line 1, column 12: not valid YAML (expected ',' or ']'"),
        ("seed:\n\t- 1", "line 2, column 1: not valid YAML (found character '\\t'"),
        ("- 1", "a list is not settings by name"),
        ("hello", "'hello' is not settings by name"),
    ],
)
def test_a_file_that_is_no_yaml_of_settings(text, said, refused, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(text)
    line = refused("run", file, "--out", tmp_path / "run")
    assert line.startswith(str(file))
    assert said in line
    assert not (tmp_path / "run").exists()


def test_a_yaml_file_that_is_not_utf8(refused, tmp_path):
    (tmp_path / "run.yaml").write_bytes(b"seed: 0 # caf\xe9")
    line = refused("run", tmp_path / "run.yaml", "--out", tmp_path / "run")
    assert line.endswith("run.yaml: not UTF-8 at byte 13; save it as UTF-8")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bogus": 1}, "bogus: there is no such setting; use one of corpus, "),
        ({"selection__budgget": 1}, "selection.budgget: there is no such setting; did you mean b"),
        ({"evaluation__toxic__bogus": 1}, "evaluation.toxic.bogus: there is no such setting"),
        ({"training__objective__bogus": 1}, "training.objective.bogus: there is no such setting"),
        (
            {"corpus__sources": [{"builtin": 9, "bogus": 1}]},
            "corpus.sources.0.bogus: there is no such setting",
        ),
        ({"corpus__block_length": "many"}, "corpus.block_length: 'many' is not a whole number; g"),
        ({"corpus__block_length": 6.5}, "corpus.block_length: 6.5 is not a whole number"),
        ({"corpus__sources": {"builtin": 9}}, "corpus.sources: settings by name is not a list"),
        ({"scores": None}, "scores: null is not settings by name"),
        ({"training__epochs": "few"}, "training.epochs: 'few' is not a number; give a number"),
        ({"baseline__epochs": True}, "baseline.epochs: true is not a number"),
        ({"corpus__sources": [{"builtin": "x"}]}, "corpus.sources.0.builtin: 'x' is not a whole"),
        ({"curvature__kind": "full"}, "curvature.kind: 'full' is not known; give one of identity"),
        ({"baseline__epochs": -1}, "baseline.epochs: -1.0 is not above 0; give a positive number"),
        ({"training__objective__weight": -1}, "training.objective.weight: -1.0 is below 0; try"),
        ({"evaluation__toxic__limit": 0}, "evaluation.toxic: limit of a prompt set is 0; give 1"),
        ({"evaluation__more": {"x": {}}}, "evaluation.more.x: every set of prompts or texts"),
        ({"corpus__sources": [{"builtin": 0}]}, "corpus.sources.0: source builtin: builtin is 0"),
        ({"corpus__sources": []}, "corpus.sources: there is none; list at least one source"),
        ({"selection__quantile": 2}, "selection.quantile: 2.0 is not between 0 and 1; try 0.99"),
        ({"seed": -1}, "seed: -1 is below 0"),
        ({"model__path": "x"}, "model: give either path (a checkpoint or hub name) or scratch"),
        ({"model__scratch": {"hidden_size": 8}}, "model.scratch: model_type is missing; name a"),
        ({"baseline": None}, "baseline: it is null, but model.scratch has random weights"),
        ({"baseline__start": "baseline"}, "baseline.start: the baseline cannot start from itself"),
    ],
)
def test_settings_that_cannot_be_used(changes, said, refused, tmp_path):
    config = write_settings(tmp_path, **changes)
    line = refused("run", config, "--out", tmp_path / "run")
    assert line.startswith(f"{config}: {said}")
    assert not (tmp_path / "run").exists()


def test_a_section_that_is_missing(refused, tmp_path):
    without = {name: part for name, part in settings().items() if name != "queries"}
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(without))
    assert refused("run", file, "--out", tmp_path / "run") == (
        f"{file}: queries: it is missing; add it"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--bogus.x", "1"], "bogus: there is no such setting"),
        (["--selection.budget=2"], "selection.budget: 2.0 is not in (0, 1]; try 0.02"),
        (["--selection.budget", "lots"], "selection.budget: 'lots' is not a number"),
        (["--model.path", "x"], "model: give either path (a checkpoint or hub name) or scratch"),
        (["--selection.budget"], "argument --selection.budget: expected one argument"),
        (["more.yaml"], "unrecognized arguments: more.yaml"),
    ],
)
def test_overrides_that_cannot_be_used(options, said, refused, tmp_path):
    line = refused("run", write_settings(tmp_path), "--out", tmp_path / "run", *options)
    assert line.startswith(f"command line: {said}")


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
    assert line.startswith(f"tokenizer.path: no tokenizer can be loaded from '{tmp_path}/nothing'")


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
    assert line.startswith(f"model.path: '{checkpoint}' cannot be loaded: ")


def test_no_checkpoint_there(refused_run, tmp_path):
    line = refused_checkpoint(refused_run, tmp_path / "nothing")
    assert line.startswith(f"model.path: '{tmp_path}/nothing' cannot be loaded: ")
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


# the run folder


def test_a_folder_made_by_other_settings(refused, tmp_path):
    config = write_settings(tmp_path)
    assert run("select", config, tmp_path / "run") == 0
    line = refused("run", config, "--out", tmp_path / "run", "--seed", "9")
    assert line == (
        f"{tmp_path}/run/config.yaml: the folder was made with other settings (seed: 3, now 9); "
        "give another --out, or --replace to make again what differs"
    )


@pytest.mark.parametrize("name", ["file", "file/run"])
def test_a_folder_that_cannot_be_one(name, refused, tmp_path):
    (tmp_path / "file").touch()
    line = refused("run", write_settings(tmp_path), "--out", tmp_path / name)
    assert line == f"{tmp_path}/{name}: it is a file; give --out a folder"


def test_a_folder_of_something_else(refused, tmp_path):
    line = refused("run", write_settings(tmp_path), "--out", tmp_path)
    assert line == f"{tmp_path}: not empty and not a run folder; give --out a new folder"


def test_a_folder_in_use(refused, tmp_path):
    config = write_settings(tmp_path)
    with store.Store(tmp_path / "run", ""):
        line = refused("run", config, "--out", tmp_path / "run")
    assert line.startswith(f"{tmp_path}/run: another process is working in this folder; wait")


@pytest.fixture
def small_disk(tmp_path):
    """Makes a folder on a disk of so many KiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def make(kibibytes):
        nonlocal mounted
        command = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("a disk of its own can only be mounted by root")
        mounted = True
        return folder

    yield make
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    ("kibibytes", "stage", "finished"),
    [(20, "corpus", []), (160, "corpus", []), (400, "baseline", ["corpus", "held_out"])],
)
def test_a_full_disk_loses_nothing(kibibytes, stage, finished, refused, small_disk, tmp_path):
    out = small_disk(kibibytes) / "run"
    config = write_settings(tmp_path)
    assert refused("run", config, "--out", out, "--quiet") == (
        f"{out}/{stage}.part: No space left on device; nothing finished is lost: mend it and run "
        "the same command again"
    )
    assert [name for name in ("corpus", "held_out", "baseline") if (out / name).exists()] == (
        finished
    )
    subprocess.run(["mount", "-o", "remount,size=64m", str(out.parent)], check=True)
    assert run("fit", config, out) == 0


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_takes_nothing(code, refused, tmp_path, monkeypatch):
    def fails(file, *_, **__):
        raise OSError(code, os.strerror(code), str(file))

    config = write_settings(tmp_path)
    monkeypatch.setattr(Path, "write_text", fails)
    line = refused("run", config, "--out", tmp_path / "run")
    assert line.startswith(f"{tmp_path}/run/config.yaml.tmp: {os.strerror(code)}; nothing finish")


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
