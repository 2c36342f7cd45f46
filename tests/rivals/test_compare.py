"""Comparisons end to end: every method on a tiny run, what is kept, and what the table says."""

import json
import math
import shutil

import numpy as np
import pytest
from micro import SETTINGS, TRAINING, run, write_settings
from transformers import AutoModelForCausalLM

from ifguide.corpus.words import spelling
from ifguide.errors import InputError
from ifguide.influence.score import score
from ifguide.rivals.methods import METHODS, MethodRow, all_methods, rows_of
from ifguide.run.proxy import proxy_model
from ifguide.run.rivals import Rivals
from ifguide.run.rivals_sources import APART, SAMPLED_PAIRS
from ifguide.run.run import looked_at
from ifguide.run.scorers import AUTHORS, AUTHORS_AIM, PLAIN, POSITION
from ifguide.run.stage import folder_name
from ifguide.run.stages import AIM, BASELINE, CORPUS, PROMPTS, QUERIES, SCORE, TRAIN
from ifguide.selection.lexicon import lexicon
from ifguide.selection.select import select
from ifguide.settings.reader import read_config, read_run_config

QUICK = {**TRAINING, "start": "baseline", "objective": {"kind": "clamped", "weight": 2.0}}
COMPARE = {
    "trainings": {"tuned": QUICK, "scratch": dict(TRAINING)},
    "labeller": "alt-profanity-check",
    "prompts": {"source": {"builtin": 90}, "cut": "before_span", "limit": 14},
    "margin": 1e-6,
    "dpo": {"batch_size": 1, "epochs": 1, "max_length": 64},
    "dpo_curve": {"learning_rate": [1e-5, 5e-4]},
    "sampled_pairs": 6,
    "decoding": {"top_k": 5},
    "decoding_curve": {"beta": [0.0, 20.0]},
    "choice": {"prompts": 3, "bound": 1.2},
    "filters": {"judge": "alt-profanity-check", "words": "words.txt"},
    "sides": {"batch_size": 8, "epochs": 1, "learning_rate": 1e-3},
    "reward_texts": 40,
    "reward": {"batch_size": 8, "epochs": 1, "max_length": 64},
}
LEFT_OUT = ("dpo-texts",)


def config_file(folder, **changes):
    (folder / "words.txt").write_text("the\ndonkey\n", encoding="utf-8")
    changes = {"data_dir": str(folder), **changes}
    return write_settings(folder, compare=COMPARE, smoothing={"neighbours": 2}, **changes)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return config_file(tmp_path_factory.mktemp("settings"))


@pytest.fixture(scope="module")
def compared(config, tmp_path_factory):
    """A comparison of all that needs no judge's labels, by fine-tuning."""
    out = tmp_path_factory.mktemp("runs") / "compared"
    names = [name for name in METHODS.names() if name not in LEFT_OUT]
    rows = ",".join(row.name for row in rows_of(names, ["tuned"]))
    assert run("compare", config, out, "--methods", rows) == 0
    return out


def table_of(out, name="compare"):
    return json.loads((out / name / "table.json").read_text())


def rows_by_name(out):
    return {row["name"]: row for row in table_of(out)["rows"]}


@pytest.fixture
def opened(compared):
    """The comparison's run, opened to be looked at."""
    with looked_at(read_run_config(compared), compared) as run:
        yield run


def stages_of(out, *names):
    """The folders of stages that hold a manifest, by their place in the run folder."""
    folders = (file.parent for name in names for file in out.glob(f"{name}/**/manifest.json"))
    return {folder.relative_to(out).as_posix(): folder for folder in folders}


def times(folders):
    return {f: f.stat().st_mtime_ns for d in folders for f in d.rglob("*") if f.is_file()}


def test_every_row_is_evaluated_on_the_same_prompts(compared):
    rows = rows_by_name(compared)
    assert next(iter(rows)) == "baseline"
    assert len(rows) == len(all_methods()) - len(LEFT_OUT)
    for row in rows.values():
        worst = row["figures"]["judges"]["rule"]["worst"]
        assert {name: len(values) for name, values in worst.items()} == {"toxic": 3, "neutral": 3}
        assert math.isfinite(row["figures"]["perplexity"]["benign"])


def test_methods_train_different_models(compared):
    models = {
        name: (folder / "model.safetensors").read_bytes()
        for name, folder in stages_of(compared, "model").items()
    }
    assert f"model/{folder_name('everything@tuned')}" in models
    assert len(set(models.values())) == len(models) > 8


def test_a_row_is_trained_without_the_tokens_that_its_method_finds(opened):
    """The mask of the lexicon's row is the lexicon's selection, made again by hand."""
    text, rivals = opened(CORPUS), Rivals(opened.config)
    scores = lexicon(text.corpus, opened(QUERIES), 4.0, spelling(text.tokenizer))
    expected = select(scores, opened.config.selection)
    by_tokens, by_words = (
        MethodRow(method=METHODS.get(name, ""), training="tuned")
        for name in ("lexicon-tokens", "word-filter")
    )
    found = opened(rivals.selection(by_tokens.method.mask))
    assert (found.suppress != expected.suppress).mean() < 1e-3  # float32 against float64 ties
    objective = rivals.training(by_tokens).objective
    assert (objective.kind, objective.weight) == ("clamped", 2.0)
    assert rivals.training(by_words).objective.kind == "masking"


def test_the_authors_form_reads_position_scores_at_the_input(opened):
    corpus, model = opened(CORPUS).corpus, opened(BASELINE).model
    config = opened.config.scores.by("position")
    for stage, aim in ((POSITION, AIM), (AUTHORS, AUTHORS_AIM)):
        found = np.asarray(opened(stage).values)
        expected = np.asarray(score(model, corpus, opened(aim), config).values)
        np.testing.assert_allclose(found[:, :-1], expected[:, 1:], rtol=1e-4, atol=1e-6)


def test_the_authors_direction_is_hardly_damped(opened):
    """Their 1e-8 stands beside the curvature of a block's summed loss."""
    metadata = opened(AUTHORS_AIM).metadata
    assert metadata["damping"] == pytest.approx(1e-8 / 63)
    assert metadata["relative"] is False
    assert opened(AIM).metadata["damping"] == 0.1


def test_a_row_with_a_curve_shows_the_point_that_its_rule_chooses(compared):
    rows, text = rows_by_name(compared), "benign"
    before = rows["baseline"]["figures"]["perplexity"][text]
    for name, count in (("dpo", 2), ("rad", 2), ("ours-rad@tuned", 2)):
        curve = rows[name]["curve"]
        points = {point["name"]: point for point in curve["points"]}
        assert len(points) == count
        assert (curve["judge"], curve["prompts"]) == ("alt-profanity-check", 3)
        for point in points.values():
            assert point["rise"] == pytest.approx(point["perplexity"] / before - 1)
            assert point["within"] == (point["rise"] <= 0.2)
            assert point["cost"]["seconds"] > 0
        allowed = [point for point in points.values() if point["within"]]
        if not allowed:
            allowed = [min(points.values(), key=lambda point: point["perplexity"])]
        least = min(point["tp"]["value"] for point in allowed)
        shown = points[curve["chosen"]]
        assert shown in allowed
        assert shown["tp"]["value"] == least
        assert rows[name]["figures"]["perplexity"][text] == shown["perplexity"]
        assert rows[name]["cost"] == shown["cost"]
        assert curve["chosen"].partition(", ")[2].partition("@")[0] in rows[name]["about"]
    page = (compared / "compare/index.html").read_text()
    assert "The curve of dpo, by alt-profanity-check on 3 prompts set apart" in page


def test_points_are_chosen_on_prompts_that_nothing_else_uses(opened, compared):
    apart = {prompt.text for prompt in opened(APART)["apart"]}
    assert len(apart) == 3
    paired = {pair.prompt for pair in opened(SAMPLED_PAIRS)}
    compared_on = {p.text for prompts in opened(PROMPTS).values() for p in prompts}
    assert paired
    assert not apart & (paired | compared_on)


def test_without_a_preference_rad_is_as_fluent_as_the_model(compared):
    rows = rows_by_name(compared)
    points = {point["name"]: point for point in rows["rad"]["curve"]["points"]}
    assert points["rad, beta 0"]["rise"] == pytest.approx(0, abs=1e-5)
    assert abs(points["rad, beta 20"]["rise"]) > 1e-6


def test_filters_drop_up_to_their_share_and_words_all_their_tokens(opened):
    rivals, corpus = Rivals(opened.config), opened(CORPUS).corpus
    sizes = {}
    for name in ("judge-documents", "words-documents"):
        for percent in (10, 25, 50):
            method = METHODS.get(f"{name}-{percent}", "")
            found = opened(rivals.selection(method.mask))
            sizes[name, percent] = found.suppress.sum() / corpus.token_count
            assert sizes[name, percent] <= percent / 100
        assert sizes[name, 10] < sizes[name, 25] < sizes[name, 50]
    listed = opened(rivals.selection(METHODS.get("words-tokens", "").mask))
    words = {
        corpus.documents[int(d)].text[s:e].strip().lower()
        for d, s, e in zip(
            *(np.asarray(a)[listed.suppress] for a in (corpus.document, corpus.start, corpus.end)),
            strict=True,
        )
    }
    assert words
    assert all(word in "the" or word in "donkey" for word in words)


def test_plain_influence_is_along_the_toxic_queries_alone(opened):
    """S_plain - S_own is the influence on the safe queries; it is not nothing."""
    plain, own = (np.asarray(opened(stage).values) for stage in (PLAIN, SCORE))
    assert np.corrcoef(plain.ravel(), own.ravel())[0, 1] < 0.999
    assert np.isfinite(plain).all()


def test_costs_count_what_a_method_takes_beside_the_baseline(compared):
    rows = rows_by_name(compared)
    assert rows["baseline"]["cost"]["passes"] == 0
    training = rows["everything@tuned"]["cost"]["passes"]
    assert rows["word-filter@tuned"]["cost"]["passes"] == training
    blocks = json.loads((compared / "corpus/blocks/corpus.json").read_text())["blocks"]
    updates = math.ceil(0.15 * math.ceil(blocks / 4))
    assert training == pytest.approx(3 * updates * 4 / blocks, abs=1e-3)
    assert rows["classifier-tokens@tuned"]["cost"]["passes"] == pytest.approx(training + 1)
    assert rows["ours@tuned"]["cost"]["passes"] > training + 2
    decoding = {name: row["cost"]["passes_a_generated_token"] for name, row in rows.items()}
    assert {name for name, passes in decoding.items() if passes == 6} == {"rad", "ours-rad@tuned"}
    assert set(decoding.values()) == {1, 6}


def test_the_table_sets_each_row_against_the_first(compared):
    rows = rows_by_name(compared)
    for row in rows.values():
        found = row["against_first"]["rule"]["toxic"]
        before, after = (
            np.array(r["figures"]["judges"]["rule"]["worst"]["toxic"])
            for r in (rows["baseline"], row)
        )
        assert found["emt_difference"]["value"] == pytest.approx((after - before).mean())
        changed = (after >= 0.5).mean() - (before >= 0.5).mean()
        assert found["tp_difference"]["value"] == pytest.approx(changed)


def test_what_is_there_is_reused_and_what_is_missing_is_made(compared, config, tmp_path):
    out = shutil.copytree(compared, tmp_path / "run")
    before = times(stages_of(out, "**").values())
    assert run("compare", config, out, "--methods", "ours@scratch,lexicon-tokens@tuned") == 0
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert list(rows_by_name(out)) == ["baseline", "lexicon-tokens@tuned", "ours@scratch"]
    assert (out / "train").is_dir()  # the run's own training is that row's


def test_another_judge_or_threshold_costs_only_the_judging(compared, config, tmp_path):
    out = shutil.copytree(compared, tmp_path / "run")
    judged = {*stages_of(out, "judge"), "human_text"}
    kept = {name: at for name, at in stages_of(out, "**").items() if name not in judged}
    before = times(kept.values())
    options = ("--methods", "ours@tuned", "--replace", "--evaluation.judges", "[better-profanity]")
    assert run("compare", config, out, *options, "--compare.thresholds", "[0.9]") == 0
    assert {file: file.stat().st_mtime_ns for file in before} == before
    result = table_of(out)
    assert result["thresholds"] == [0.5, 0.9]
    assert list(result["human_text"]["tp"]) == ["better-profanity"]


def test_tp_at_each_threshold_is_the_share_of_prompts_at_or_above_it(compared):
    result = table_of(compared)
    assert result["thresholds"] == [0.5, 0.8, 0.95]
    for row in result["rows"]:
        worst = np.array(row["figures"]["judges"]["rule"]["worst"]["toxic"])
        for threshold, found in row["by_threshold"]["rule"]["toxic"].items():
            assert found["tp"]["value"] == pytest.approx((worst >= float(threshold)).mean())
        ours = row["by_threshold"]["rule"]["toxic"]["0.5"]
        assert ours["tp"] == row["figures"]["judges"]["rule"]["tp"]["toxic"]
        assert ours["ratio"] == row["against_first"]["rule"]["toxic"]["tp_ratio"]


def test_the_proxy_has_half_the_width_and_the_same_corpus(compared):
    small, whole = (
        AutoModelForCausalLM.from_pretrained(compared / folder)
        for folder in ("proxy/baseline", "baseline")
    )
    assert small.config.hidden_size * 2 == whole.config.hidden_size
    corpora = {
        json.loads((compared / folder / "manifest.json").read_text())["needs"]["corpus"]
        for folder in ("proxy/baseline", "baseline")
    }
    assert len(corpora) == 1


def test_a_proxy_of_a_checkpoint_has_to_be_named(config):
    settings = read_config(config, ["--model.scratch", "null", "--model.path", "somewhere"])
    with pytest.raises(InputError, match=r"compare\.proxy: the method 'proxy' needs"):
        proxy_model(settings)


def test_the_page_and_the_figure_show_every_row(compared):
    page, figure = ((compared / "compare" / f).read_text() for f in ("index.html", "tradeoff.svg"))
    markdown = (compared / "compare/table.md").read_text()
    for name in rows_by_name(compared):
        assert name in page
        assert name in figure
        assert f"| {name} |" in markdown
    assert "ifguide compare" in markdown


def test_a_sweep_scores_nothing_again(compared, config, tmp_path):
    out = shutil.copytree(compared, tmp_path / "run")
    before = times(stages_of(out, "score", "smooth", "fit", "aim").values())
    options = ("--budget", "0.01", "0.04", "--weight", "1", "--training", "tuned")
    assert run("sweep", config, out, *options) == 0
    assert {file: file.stat().st_mtime_ns for file in before} == before
    names = [row["name"] for row in table_of(out, "sweep")["rows"]]
    assert names == [
        "baseline",
        "ours, budget 0.01, weight 1@tuned",
        "ours, budget 0.04, weight 1@tuned",
    ]


@pytest.mark.parametrize(
    ("command", "options", "said"),
    [
        ("compare", ("--methods", "theirs"), "--methods: 'theirs' is not known"),
        ("compare", ("--methods", "dpo-texts"), "compare.pairs: the method 'dpo-texts' needs"),
        (
            "compare",
            ("--methods", "dpo", "--compare.choice.prompts", "99"),
            "compare.choice.prompts: 99 are to be set apart of the ",
        ),
        (
            "compare",
            ("--methods", "dpo", "--compare.choice.text", "nothing"),
            "compare.choice.text: 'nothing' is no text of evaluation.perplexity",
        ),
        (
            "compare",
            ("--methods", "judge-tokens", "--compare.filters", "{}"),
            "compare.filters.judge: the filters by a judge need it; name one",
        ),
        (
            "compare",
            ("--methods", "words-tokens", "--compare.filters.words", "nowhere.txt"),
            "compare.filters.words: ",
        ),
        (
            "compare",
            (
                "--methods",
                "rad",
                "--compare.reward_texts",
                "4000",
                "--compare.reward",
                "{}",
                "--compare.reward_model",
                "nowhere",
            ),
            "/nowhere holds neither model.safetensors nor pytorch_model.bin",
        ),
        (
            "compare",
            ("--methods", "rad", "--compare.labeller", "nobody"),
            "compare.labeller: evaluation.judges: 'nobody' is not known",
        ),
        (
            "compare",
            ("--methods", "baseline", "--compare.thresholds", "[0]"),
            "compare.thresholds.0: 0.0 is not in (0, 1]",
        ),
        ("sweep", (), "sweep: there is nothing to vary"),
        ("sweep", ("--weight", "1", "--training", "no"), "--training: 'no' is not in compare."),
        ("sweep", ("--budget", "2"), "selection.budget: 2.0 is not in (0, 1]"),
    ],
)
def test_what_cannot_be_compared_is_refused(refused, config, tmp_path, command, options, said):
    line = refused(command, config, "--out", tmp_path / "run", "--quiet", *options)
    assert said in line
    assert not (tmp_path / "run/baseline").exists()


def test_settings_of_the_comparison_are_checked(refused, tmp_path):
    wrong = {**COMPARE, "document_budget": 0}
    file = write_settings(tmp_path, compare=wrong)
    assert "compare.document_budget: 0.0 is not in (0, 1]" in refused(
        "compare", file, "--out", tmp_path / "run"
    )


def test_the_run_s_settings_are_untouched_by_a_comparison():
    assert "compare" not in SETTINGS


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, {"ours", "own-scores"}),
        ({"smoothing": {"neighbours": 1}}, {"ours"}),
        ({"lexicon": {"share": 0.5}}, {"ours"}),
        ({"compare": {"trainings": {"tuned": QUICK}}}, set()),
    ],
    ids=["as it is", "smoothing", "lexicon", "other trainings"],
)
def test_a_model_that_the_run_has_trained_is_not_trained_again(changes, names, tmp_path):
    config = read_config(write_settings(tmp_path, **changes), [])
    rivals = Rivals(config)
    rows = rows_of([*METHODS.names()], list(rivals.trainings))
    own = {row.method.name for row in rows if rivals.model(row) is TRAIN}
    assert own - {"ours-rad"} == names
