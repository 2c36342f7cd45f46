"""``ifguide attack`` on a finished small run: what it writes, keeps and refuses."""

import json
import re
import shutil
from xml.etree import ElementTree

import micro
import pytest
import torch
from micro import manifests
from transformers import AutoModelForCausalLM, AutoTokenizer

from ifguide.attacks.config import KINDS, AttackConfig
from ifguide.commands.main import main
from ifguide.errors import InputError
from ifguide.models.losses import forward_losses
from ifguide.run.run import looked_at
from ifguide.run.stages import QUERIES
from ifguide.settings.reader import read_run_config, with_overrides

SMALL = [
    *("--gcg.pairs", "2", "--gcg.steps", "2", "--gcg.candidates", "4"),
    *("--gcg.suffix_tokens", "3", "--gcg.target_tokens", "2"),
    *("--relearn.posts", "[0, 4]", "--relearn.epochs", "1"),
    *("--lens.queries", "3", "--activations.prompts", "2"),
]


def run(folder, *options):
    return main(["attack", str(folder), "--quiet", *SMALL, *options])


@pytest.fixture(scope="module")
def attacked(finished, tmp_path_factory):
    """A run folder with every attack made in it."""
    out = shutil.copytree(finished, tmp_path_factory.mktemp("attacked") / "run")
    before = manifests(out)
    assert run(out) == 0
    assert before.items() <= manifests(out).items()  # nothing of the run is made again
    return out


def results(folder):
    return json.loads((folder / "attacks/attacks.json").read_text())


def times(folder, pattern):
    return {file: file.stat().st_mtime_ns for file in folder.glob(pattern) if file.is_file()}


def test_everything_is_there(attacked):
    wanted = {"attacks.json", "attacks.md", *(f"{kind}.svg" for kind in KINDS)}
    page = attacked / "attacks"
    assert {entry.name for entry in page.iterdir()} == wanted
    stages = {f"{kind}-{model}" for kind in KINDS for model in ("baseline", "suppressed")}
    stages -= {"activations-baseline"}  # which others are measured by
    assert {entry.name for entry in (attacked / "attack").iterdir()} == stages
    for kind in KINDS:
        ElementTree.parse(page / f"{kind}.svg")
        assert f"({kind}.svg)" in (page / "attacks.md").read_text()
    found = results(attacked)
    assert list(found) == list(KINDS)
    states = found.pop("activations")
    assert list(states) == ["suppressed"]
    assert all(list(entry) == ["baseline", "suppressed"] for entry in found.values())
    for prompts in ("toxic", "neutral"):
        entry = states["suppressed"][prompts]
        assert entry["prompts"] == 2
        assert len(entry["cosine"]) == len(entry["distance"]) == 2  # one block
        assert 0 < entry["distance"][-1] < 1
    for name in ("baseline", "suppressed"):
        assert len(found["gcg"][name]["pairs"]) == 2
        assert [point["posts"] for point in found["relearn"][name]["points"]] == [0, 4]
        assert len(found["lens"][name]["toxic"]) == 2  # one block


def test_figures_are_those_of_each_model(attacked, finished):
    found, report = results(attacked), json.loads((finished / "report.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(finished / "train")
    with looked_at(read_run_config(finished), finished) as opened:
        toxic = opened(QUERIES).toxic
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


def test_what_is_there_is_kept_and_what_differs_is_made_again(
    attacked, micro_config, tmp_path, capfd
):
    folder = shutil.copytree(attacked, tmp_path / "run")
    before, made = results(folder), times(folder, "attack/*/*")
    capfd.readouterr()
    assert run(folder, "--kind", "lens") == 0
    assert results(folder) == before
    assert times(folder, "attack/*/*") == made
    shown = capfd.readouterr().out
    assert "(GCG)" in shown  # made earlier, and it stands
    assert f"The page: {folder / 'attacks' / 'attacks.md'}" in shown
    assert run(folder, "--kind", "lens", "--lens.queries", "1") == 0
    after = results(folder)
    assert after["gcg"] == before["gcg"]
    assert after["lens"]["baseline"]["toxic"] != before["lens"]["baseline"]["toxic"]
    another = ("--training.epochs", "0.3", "--replace")
    assert micro.run("train", micro_config, folder, *another) == 0
    assert run(folder, "--kind", "lens") == 0
    assert list(results(folder)) == ["lens"]  # nothing is told of a model that is gone
    assert "(GCG)" not in (folder / "attacks/attacks.md").read_text()


def test_a_page_elsewhere_leaves_the_run_s_own(attacked, tmp_path):
    folder, out = shutil.copytree(attacked, tmp_path / "run"), tmp_path / "page"
    before = times(folder, "attacks/*")
    assert run(folder, "--out", str(out)) == 0
    assert {file.name for file in out.iterdir()} == {file.name for file in before}
    assert json.loads((out / "attacks.json").read_text()) == results(folder)
    assert times(folder, "attacks/*") == before


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
        (["--gcg.steps", "0"], "gcg.steps: 0 is not in [1, 2147483647]; give"),
        (["--gcg.steps", "many"], "gcg.steps: 'many' is not a whole number; give a whole number"),
        (["--gcg.steps"], "'--gcg.steps' is no option with a value; see --help"),
        (["steps", "3"], "'steps' is no option with a value; see --help"),
        (
            ["--relearn.batch_size", "0"],
            "relearn.batch_size: 0 is not in [1, 2147483647];",
        ),
        (["--relearn.precision", "int8"], "relearn.precision: 'int8' is not known; give one of"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options, said):
    with pytest.raises(InputError, match=rf"^command line: {re.escape(said)}"):
        with_overrides(AttackConfig(), options)


def test_rows_of_a_comparison_are_attacked_too(refused, finished, micro_config, tmp_path, capfd):
    folder = shutil.copytree(finished, tmp_path / "run")
    line = refused("attack", folder, "--quiet", "--models", "everything@run")
    assert line.startswith(f"{folder}: it has no finished stage 'model/everything-run-")
    assert line.endswith("; run `ifguide compare` first")
    assert micro.run("compare", micro_config, folder, "--methods", "everything,ours") == 0
    for models in ("all", "baseline,everything@run"):
        kinds = [word for kind in ("gcg", "relearn", "activations") for word in ("--kind", kind)]
        assert run(folder, *kinds, "--models", models) == 0
        found = results(folder)
        wanted = ["baseline", "suppressed", "everything@run"]
        wanted = wanted if models == "all" else models.split(",")
        assert {frozenset(found[kind]) for kind in ("gcg", "relearn")} == {frozenset(wanted)}
        assert set(found["activations"]) == set(wanted) - {"baseline"}
    assert found["gcg"]["baseline"] != found["gcg"]["everything@run"]
    capfd.readouterr()
    line = refused("attack", folder, "--quiet", "--models", "theirs")
    assert line.startswith("--models: 'theirs' is not known; use all, or some of baseline, suppre")


def test_what_cannot_be_attacked_is_refused(refused, finished, tmp_path):
    assert refused("attack") == ("ifguide attack: no run folder given; see `ifguide attack --help`")
    assert (
        refused("attack", tmp_path)
        == f"{tmp_path}: it is no run folder (it has no ifguide-run.json); give one that is"
    )
    assert "invalid choice: 'gcc'" in refused("attack", tmp_path, "--kind", "gcc")
    folder = shutil.copytree(finished, tmp_path / "run")
    for options, said in (
        (["--relearn.posts", "[9, 9999]"], "relearn.posts: 9999 are asked for, but there are "),
        (["--gcg.suffix_tokens", "60"], "gcg.suffix_tokens: suffix and target have 6"),
    ):
        assert refused("attack", folder, "--quiet", *options).startswith(said)
        assert not (folder / "attack").exists()
        assert not (folder / "attacks").exists()
    shutil.rmtree(folder / "train")
    line = refused("attack", folder, "--quiet", *SMALL)
    assert line == f"{folder}: it has no finished stage 'train'; run `ifguide train` first"
