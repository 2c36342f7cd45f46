"""What a run folder says of remote code is not heard: only the command may trust it."""

import json
import shutil

import pytest
import torch
import yaml
from micro import settings
from tiny import tiny_model
from transformers import AutoConfig, AutoModelForSequenceClassification, dynamic_module_utils

from ifguide.commands.main import main
from ifguide.corpus.builtin import builtin_posts
from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.errors import InputError

pytestmark = pytest.mark.usefixtures("terminal")

CODE = """
from pathlib import Path

from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

Path({mark!r}).write_text("ran")


class OwnConfig(LlamaConfig):
    model_type = "own"


class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig


class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""
OWN = {
    "AutoConfig": "modeling_own.OwnConfig",
    "AutoModelForCausalLM": "modeling_own.OwnModel",
    "AutoTokenizer": [None, "tokenization_own.OwnTokenizer"],
}


def put_code(folder, mark):
    """Make what lies in a folder need code that leaves a file."""
    for name in ("modeling_own.py", "tokenization_own.py"):
        (folder / name).write_text(CODE.format(mark=str(mark)), encoding="utf-8")
    changes = {
        "config.json": {"model_type": "own", "auto_map": OWN},
        "tokenizer_config.json": {"tokenizer_class": "OwnTokenizer", "auto_map": OWN},
    }
    for name, changed in changes.items():
        if (folder / name).is_file():
            held = json.loads((folder / name).read_text(encoding="utf-8"))
            (folder / name).write_text(json.dumps({**held, **changed}), encoding="utf-8")


@pytest.fixture(scope="module")
def trusted(tmp_path_factory):
    """A finished run of a model and a tokenizer with code of their own, and the code's mark."""
    folder = tmp_path_factory.mktemp("trusted")
    own, mark = folder / "own", folder / "mark"
    tokenizer = train_tokenizer([post.text for post in builtin_posts(60)], 400)
    tokenizer.save_pretrained(own)
    size = {"vocab_size": len(tokenizer), "max_position_embeddings": 64}
    tiny_model(dtype=torch.float32, **size).save_pretrained(own)
    put_code(own, mark)
    held = settings()
    held["model"] = {"path": str(own), "trust_remote_code": True}
    held["tokenizer"] = {"path": str(own), "trust_remote_code": True}
    (folder / "run.yaml").write_text(yaml.safe_dump(held), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(folder / "modules"))
        patched.syspath_prepend(str(folder / "modules"))
        given = ["run", str(folder / "run.yaml"), "--out", str(folder / "run"), "--quiet"]
        assert main(given) == 0
    assert mark.read_text() == "ran"
    return folder / "run", mark


@pytest.fixture
def sent(trusted, tmp_path, monkeypatch):
    """That run as it would be sent to somebody, whose machine has not run its code yet."""
    finished, mark = trusted
    mark.unlink(missing_ok=True)
    run = shutil.copytree(finished, tmp_path / "run")
    file = run / "config.yaml"
    held = yaml.safe_load(file.read_text(encoding="utf-8"))
    for section in ("model", "tokenizer"):
        held[section]["trust_remote_code"] = True  # as whoever sends it would have it
    file.write_text(yaml.safe_dump(held), encoding="utf-8")
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    return run, mark


def test_a_model_s_code_is_left_in_no_checkpoint_of_a_training(trusted):
    finished, _ = trusted
    assert (finished / "train" / "modeling_own.py").is_file()
    assert not list(finished.rglob("*.part"))


RUNS_CODE = {  # by command: what it takes
    "inspect": [],
    "attack": ["--kind", "lens"],
}
RUNS_NONE = {"status": ["--verify"], "judge": ["--judges", "rule"]}


@pytest.mark.parametrize("command", RUNS_CODE)
def test_code_of_a_run_folder_is_refused_with_what_to_give(command, sent, refused):
    run, mark = sent
    line = refused(command, run, "--quiet", *RUNS_CODE[command])
    assert "comes with code of its own; read it, and " in line
    assert "--trust-remote-code" in line
    assert not mark.exists()


@pytest.mark.parametrize("command", RUNS_CODE)
def test_code_of_a_run_folder_runs_where_the_command_trusts_it(command, sent):
    run, mark = sent
    assert main([command, str(run), "--quiet", "--trust-remote-code", *RUNS_CODE[command]]) == 0
    assert mark.read_text() == "ran"


@pytest.mark.parametrize("command", RUNS_NONE)
def test_commands_that_need_no_model_run_no_code(command, sent):
    run, mark = sent
    assert main([command, str(run), "--quiet", *RUNS_NONE[command]]) == 0
    assert not mark.exists()


def test_a_run_by_a_folders_own_settings_trusts_nothing(sent, refused, tmp_path):
    run, mark = sent
    line = refused("run", run / "config.yaml", "--out", tmp_path / "again", "--quiet")
    assert "comes with code of its own; read it, and set " in line
    assert not mark.exists()


@pytest.fixture
def classifier(tmp_path, sent):
    """A judge with code of its own."""
    folder, (_, mark) = tmp_path / "classifier", sent
    tokenizer = train_tokenizer([post.text for post in builtin_posts(60)], 400)
    tokenizer.save_pretrained(folder)
    labels = {"id2label": {0: "fine", 1: "toxic"}, "label2id": {"fine": 0, "toxic": 1}}
    size = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2}
    config = AutoConfig.for_model(
        "llama", vocab_size=400, num_hidden_layers=1, pad_token_id=0, **size, **labels
    )
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    put_code(folder, mark)
    return folder


def test_code_of_a_judge_runs_only_where_the_command_trusts_it(classifier, sent, refused):
    run, mark = sent
    line = refused("judge", run, "--judges", f"hf:{classifier}", "--quiet")
    assert "--trust-remote-code" in line
    assert not mark.exists()
    given = ["judge", str(run), "--quiet", "--trust-remote-code", "--judges", f"hf:{classifier}"]
    main(given)
    assert mark.read_text() == "ran"


@pytest.fixture
def told(monkeypatch):
    """What lm-eval is told, instead of being run."""
    from ifguide.run import actions

    given = {}

    def stop(*_, **named):
        given.update(named)
        raise InputError("told")

    monkeypatch.setattr(actions, "lm_eval_results", stop)
    return given


def test_lm_eval_is_told_that_code_is_trusted(sent, told, refused):
    run, _ = sent
    given = ("lm-eval", run, "--quiet", "--tasks", "none")
    assert refused(*given, "--trust-remote-code") == "told"
    assert told["trust_remote_code"] is True


def test_lm_eval_is_not_reached_where_code_is_not_trusted(sent, told, refused):
    run, mark = sent
    assert "--trust-remote-code" in refused("lm-eval", run, "--quiet", "--tasks", "none")
    assert told == {}
    assert not mark.exists()


def test_compare_by_a_folders_own_settings_trusts_nothing(sent, refused, tmp_path):
    run, mark = sent
    given = ("compare", run / "config.yaml", "--quiet", "--methods", "baseline,ours")
    for out in (run, tmp_path / "again"):
        line = refused(*given, "--out", out)
        assert "comes with code of its own; read it, and " in line
        assert not mark.exists()
