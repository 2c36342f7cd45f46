"""``ifguide attack`` on a finished small run: what it writes, keeps and refuses."""

import json
import re
import shutil
from xml.etree import ElementTree

import pytest
import torch
from micro import manifests
from transformers import AutoModelForCausalLM, AutoTokenizer

from ifguide.attacks.attack import KINDS
from ifguide.attacks.config import AttackConfig
from ifguide.commands.main import main
from ifguide.errors import InputError
from ifguide.models.losses import forward_losses
from ifguide.run.finished import FinishedRun
from ifguide.run.pipeline import Pipeline
from ifguide.run.store import Store
from ifguide.settings.reader import read_config, with_overrides

SMALL = [
    *("--gcg.pairs", "2", "--gcg.steps", "2", "--gcg.candidates", "4"),
    *("--gcg.suffix_tokens", "3", "--gcg.target_tokens", "2"),
    *("--relearn.posts", "[0, 4]", "--relearn.epochs", "1"),
    *("--lens.queries", "3"),
]


def run(folder, out, *options):
    return main(["attack", str(folder), "--out", str(out), "--quiet", *SMALL, *options])


@pytest.fixture(scope="module")
def attacked(finished, tmp_path_factory):
    before, listed = manifests(finished), sorted(finished.iterdir())
    out = tmp_path_factory.mktemp("attacked") / "out"
    assert run(finished, out) == 0
    assert manifests(finished) == before
    assert sorted(finished.iterdir()) == listed
    return out


def results(out):
    return json.loads((out / "attacks.json").read_text())


def test_everything_is_there(attacked):
    wanted = {"attacks.json", "attacks.md", *(f"{kind}.svg" for kind in KINDS)}
    assert {entry.name for entry in attacked.iterdir()} == wanted
    for kind in KINDS:
        ElementTree.parse(attacked / f"{kind}.svg")
        assert f"({kind}.svg)" in (attacked / "attacks.md").read_text()
    found = results(attacked)
    assert list(found) == list(KINDS)
    assert all(list(entry) == ["baseline", "suppressed"] for entry in found.values())
    for name in ("baseline", "suppressed"):
        assert len(found["gcg"][name]["pairs"]) == 2
        assert [point["posts"] for point in found["relearn"][name]["points"]] == [0, 4]
        assert len(found["lens"][name]["toxic"]) == 2  # one block


def test_figures_are_those_of_each_model(attacked, finished):
    found, report = results(attacked), json.loads((finished / "report.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(finished / "train")
    opened = FinishedRun(finished)
    for name, stage in (("baseline", "baseline"), ("suppressed", "train")):
        as_it_is = found["relearn"][name]["points"][0]
        assert as_it_is["tp"] == report["models"][name]["tp"]["toxic"]
        model = AutoModelForCausalLM.from_pretrained(finished / stage).eval()
        for pair in found["gcg"][name]["pairs"]:
            target = tokenizer(pair["target"])["input_ids"]
            head = tokenizer(pair["prompt"] + pair["text"])["input_ids"]
            ids = torch.tensor([[tokenizer.eos_token_id, *head, *target]])
            with torch.no_grad():
                loss = forward_losses(model, ids)[0, -len(target) :].mean()
            assert pair["losses"][-1] == pytest.approx(float(loss), rel=1e-5)
        toxic = opened.contrast.toxic
        logprob = weight = 0.0
        for tokens, weights in zip(toxic.tokens[:3], toxic.weights[:3], strict=True):
            with torch.no_grad():
                losses = forward_losses(model, torch.as_tensor(tokens)[None]).numpy()[0]
            logprob, weight = logprob - losses @ weights, weight + weights.sum()
        assert found["lens"][name]["toxic"][-1] == pytest.approx(logprob / weight, rel=1e-5)
    gcg = found["gcg"]
    assert gcg["baseline"]["pairs"][0]["losses"] != gcg["suppressed"]["pairs"][0]["losses"]
    assert gcg["baseline"]["loss"]["value"] == pytest.approx(
        sum(pair["losses"][-1] for pair in gcg["baseline"]["pairs"]) / 2
    )


def test_the_queries_and_prompts_are_those_of_the_run(finished):
    store = Store(finished, "")  # never entered: nothing is written
    run, opened = Pipeline(read_config(finished / "config.yaml"), store), FinishedRun(finished)
    run.text = opened.text
    assert opened.contrast.fingerprint == run.contrast.fingerprint
    assert opened.prompts("toxic") == run.prompts["toxic"]


def test_what_is_there_is_kept_and_what_differs_is_made_again(attacked, finished, tmp_path, capfd):
    out = shutil.copytree(attacked, tmp_path / "out")
    before = results(out)
    capfd.readouterr()
    assert run(finished, out, "--kind", "lens") == 0
    assert results(out) == before
    shown = capfd.readouterr().out
    assert "(GCG)" in shown
    assert f"The page: {out / 'attacks.md'}" in shown
    assert run(finished, out, "--kind", "lens", "--lens.queries", "1") == 0
    after = results(out)
    assert after["gcg"] == before["gcg"]
    assert after["lens"]["baseline"]["toxic"] != before["lens"]["baseline"]["toxic"]
    edited = results(out)
    edited["gcg"]["suppressed"]["of"]["model"] = "another"
    (out / "attacks.json").write_text(json.dumps(edited))
    assert run(finished, out, "--kind", "lens", "--lens.queries", "1") == 0
    assert "suppressed" not in results(out).get("gcg", {}) or results(out) == edited
    assert "(GCG)" not in (out / "attacks.md").read_text()


def test_settings_are_listed_and_read(capfd):
    assert main(["attack", "--settings"]) == 0
    shown = capfd.readouterr().out
    for name in ("gcg.suffix_tokens: whole number (10)", "relearn.posts: ", "lens.queries: "):
        assert name in shown
    config = with_overrides(AttackConfig(), ["--gcg.steps", "7", "--relearn.posts=[1, 2]"])
    assert (config.gcg.steps, config.relearn.posts) == (7, (1, 2))
    assert config.gcg.top_k == AttackConfig().gcg.top_k
    assert with_overrides(AttackConfig(), []) == AttackConfig()
    assert with_overrides(AttackConfig(), ["--relearn.learning_rate", "1e-4"]).relearn == (
        with_overrides(AttackConfig(), ["--relearn.learning_rate", "0.0001"]).relearn
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--gcg.step", "7"], "gcg.step: there is no such setting; did you mean steps?"),
        (["--gcg.steps", "0"], "gcg.steps: 0 is below 1; give 1 or more"),
        (["--gcg.steps", "many"], "gcg.steps: 'many' is not a whole number; give a whole number"),
        (["--gcg.steps"], "'--gcg.steps' is no option with a value; see --help"),
        (["steps", "3"], "'steps' is no option with a value; see --help"),
        (["--relearn.batch_size", "0"], "relearn.batch_size: 0 is not above 0; give a positive"),
        (["--relearn.precision", "int8"], "relearn.precision: 'int8' is not known; give one of"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options, said):
    with pytest.raises(InputError, match=rf"^command line: {re.escape(said)}"):
        with_overrides(AttackConfig(), options)


def test_what_cannot_be_attacked_is_refused(refused, finished, tmp_path):
    assert refused("attack") == ("ifguide attack: no run folder given; see `ifguide attack --help`")
    assert refused("attack", tmp_path) == (
        f"{tmp_path}: it has no finished stage 'corpus'; run `ifguide train` first"
    )
    assert "invalid choice: 'gcc'" in refused("attack", tmp_path, "--kind", "gcc")
    out = tmp_path / "out"
    line = refused("attack", finished, "--out", out, "--quiet", "--relearn.posts", "[9, 9999]")
    assert line.startswith("relearn.posts: 9999 are asked for, but there are ")
    assert not out.exists()
    line = refused("attack", finished, "--out", out, "--gcg.suffix_tokens", "60")
    assert line.startswith("gcg.suffix_tokens: suffix and target have 6")
    assert not out.exists()
