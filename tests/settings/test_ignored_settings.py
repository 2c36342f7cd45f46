"""A setting that is given where nothing reads it is refused, and told by its dotted name."""

from dataclasses import replace

import pytest
import yaml
from micro import settings, write_settings

from ifguide.errors import InputError
from ifguide.ignored import refuse_ignored
from ifguide.influence.config import ScoreConfig
from ifguide.settings.config import Config
from ifguide.settings.reader import checked, read_config, to_yaml

FILE = {"path": "posts.jsonl"}
BUILTIN = {"builtin": 60}
PROMPTS = {"held_out": "posts"}
IGNORED = [
    ("training.objective.ceiling", 9.0, {}),
    ("training.objective.ceiling", 9.0, {"training__objective": {"kind": "unlikelihood"}}),
    ("training.objective.weight", 2.0, {"training__objective": {"kind": "masking"}}),
    ("training.objective.ramp", 0.5, {"training__objective": {"kind": "masking"}}),
    ("baseline.objective", {"kind": "masking"}, {}),
    ("compare.trainings.slow.objective.ceiling", 9.0, {"compare__trainings": {"slow": {}}}),
    ("scores.step", 0.01, {}),
    ("scores.tolerance", 0.01, {"scores": {"engine": "position"}}),
    ("curvature.rotation", "bfloat16", {"curvature": {"kind": "kfac"}}),
    ("curvature.sample_blocks", 8, {"curvature": {"kind": "identity"}}),
    ("direction.damping", 0.2, {"curvature": {"kind": "identity"}}),
    ("lexicon.pseudo_count", 2.0, {}),
    ("model.revision", "abc", {}),
    ("model.trust_remote_code", True, {}),
    ("tokenizer.trust_remote_code", True, {}),
    ("queries.toxic", "bad", {}),
    ("queries.prompt", "prompt", {}),
    ("queries.toxicity", "rated", {"queries": {"kind": "pairs", "source": FILE}}),
    ("queries.toxic_at_least", 0.6, {"queries": {"kind": "pairs", "source": FILE}}),
    ("queries.safe", "good", {"queries": {"kind": "rtp", "source": FILE}}),
    (
        "queries.toxic_at_least",
        0.6,
        {"queries": {"kind": "rtp", "source": FILE, "toxic_subset": "toxic.npy"}},
    ),
    (
        "queries.safe_at_most",
        0.1,
        {"queries": {"kind": "rtp", "source": FILE, "safe_subset": "safe.npy"}},
    ),
    (
        "queries.toxicity",
        "rated",
        {"queries": {"kind": "rtp", "source": FILE, "toxic_subset": "t", "safe_subset": "s"}},
    ),
    ("queries.source.text", "body", {"queries": {"kind": "pairs", "source": FILE}}),
    (
        "queries.safe_source.text",
        "body",
        {"queries": {"kind": "pairs", "source": FILE, "safe_source": {"path": "safe.jsonl"}}},
    ),
    ("evaluation.toxic.words", 5, {}),
    ("evaluation.more.odd.words", 5, {"evaluation__more": {"odd": PROMPTS}}),
    ("evaluation.toxic.source.held_out", 0.1, {"evaluation__toxic": {"source": FILE}}),
    ("evaluation.lambada.held_out", 0.1, {"evaluation__lambada": FILE}),
    ("evaluation.lambada_limit", 9, {}),
    ("evaluation.sampling.top_p", 0.5, {"evaluation__sampling__temperature": 0}),
    ("compare.margin", 0.5, {}),
    ("compare.pairs.text", "body", {"compare__pairs": FILE}),
    ("evaluation.lambada.config", "en", {"evaluation__lambada": FILE}),
    ("evaluation.lambada.revision", "abc", {"evaluation__lambada": FILE}),
    ("evaluation.lambada.streaming", True, {"evaluation__lambada": FILE}),
    ("evaluation.lambada.split", "test", {"evaluation__lambada": FILE}),
    ("queries.source.split", "test", {}),
    ("queries.source.text", "body", {}),
]


@pytest.mark.parametrize(("name", "value", "changes"), IGNORED)
def test_what_nothing_reads_is_refused(name, value, changes, tmp_path):
    file = write_settings(tmp_path, **changes)
    read_config(file)  # without it all is well
    given = yaml.safe_load(file.read_text())
    *groups, last = name.split(".")
    place = given
    for group in groups:
        place = place.setdefault(group, {})
    place[last] = value
    file.write_text(yaml.safe_dump(given))
    with pytest.raises(InputError) as refused:
        read_config(file)
    assert str(refused.value).startswith(f"{file}: {name}: ")
    assert "would be ignored, since " in str(refused.value)
    assert str(refused.value).endswith("; remove it")


@pytest.mark.parametrize("kind", ["identity", "kfac", "ekfac", "dense"])
@pytest.mark.parametrize("engine", ["difference", "jvp", "position"])
@pytest.mark.parametrize("objective", ["penalty", "clamped", "unlikelihood", "masking"])
def test_settings_written_out_in_full_read_back(kind, engine, objective, tmp_path):
    changes = {"curvature": {"kind": kind}, "scores": {"engine": engine}}
    file = write_settings(tmp_path, **changes, training__objective={"kind": objective})
    config = read_config(file, ["--data_dir", str(tmp_path)])
    file.write_text(to_yaml(config))
    assert read_config(file) == config


def test_another_engine_leaves_out_what_it_does_not_read():
    config = ScoreConfig(
        engine="difference", step=0.1, tolerance=0.2, precision="bfloat16", batch_tokens=9
    )
    assert config.by("difference") == config
    assert config.by("jvp") == ScoreConfig(engine="jvp", batch_tokens=9)
    with pytest.raises(InputError, match="scores"):
        replace(config, engine="jvp")


def test_a_default_counts_as_not_given():
    config = checked(Config, settings() | {"training": {}})
    refuse_ignored(config.training, "training", tuple(vars(config.training)), "no reason")
    with pytest.raises(InputError, match=r"^g\.seed: 3 would be ignored, since it rains; remove"):
        refuse_ignored(config, "g", ("seed",), "it rains")


@pytest.mark.parametrize("option", ["--ceiling", "--weight"])
def test_a_sweep_over_what_is_ignored_is_refused(option, refused, tmp_path):
    kind = {"--ceiling": "penalty", "--weight": "masking"}[option]
    file = write_settings(tmp_path, training__objective={"kind": kind})
    line = refused("sweep", file, "--out", tmp_path / "run", "--quiet", option, "9")
    assert line.startswith(
        f"sweep: {option} would be ignored, since the objective's kind is {kind}"
    )
