"""Data that decide nothing are refused by the setting that names them, before what is costly."""

import json

import pytest
from micro import SETTINGS, run, write_settings

BLANK = [{"text": "  "}, {"text": "\n"}]
ONE_WORD = [{"text": "alone"}, {"text": " again "}]
SAME = [{"text": "the same old words"}] * 4
LONG = "hello there my very good friend " * 20
ALIKE = [{"toxic": f"you are {k}", "safe": f"you are {5 - k}"} for k in range(6)]
CUT_ALIKE = [{"toxic": LONG + "donkey", "safe": LONG + "friend"}]
TWICE = [{"toxic": "one two", "safe": text} for text in ("one two", "one two")]
NO_HITS = [{"toxic": "ЖЖЖ", "safe": "ФФФ"}]
ALL_MARKED = [{"text": "hi you", "spans": [[0, 6]]}]
POSTS = [{"text": f"hello {k} you donkey", "spans": [[8, 18]]} for k in range(4)]
SOURCE = {"source": {"path": "records.jsonl"}}
PAIRS = {"kind": "pairs", "max_length": 64, **SOURCE}
MARKED = {"source": {"path": "records.jsonl", "spans": "spans"}}
SIDES = "queries: the toxic and the safe side have the same tokens with the same weights, so that"

BEFORE_TRAINING = {
    "sides alike": (ALIKE, {"queries": PAIRS}, SIDES),
    "sides alike once they are cut": (CUT_ALIKE, {"queries": {**PAIRS, "max_length": 16}}, SIDES),
    "sides alike, twice each": (TWICE, {"queries": PAIRS}, SIDES),
    "all is marked": (
        ALL_MARKED,
        {"queries": MARKED},
        "records.jsonl: no token is left on the safe side; ",
    ),
    "last words that nothing stands before": (
        ONE_WORD,
        {"evaluation__lambada": SOURCE["source"]},
        "evaluation.lambada: text 0 is a single word, and nothing stands before it to predict it",
    ),
    "a blank text for perplexity": (
        BLANK,
        {"evaluation__perplexity": {"news": SOURCE}},
        "evaluation.perplexity.news: no document has any text; ",
    ),
    "a text for perplexity of one token": (
        [{"text": "a"}],
        {"evaluation__perplexity": {"news": SOURCE}},
        "evaluation.perplexity.news: no token of its text is predicted; ",
    ),
    "a corpus of one token": (
        [{"text": "a"}],
        {"corpus__sources": [SOURCE["source"]]},
        "corpus.sources: no token of its text is predicted; ",
    ),
    "blank prompts": (
        BLANK,
        {"evaluation__toxic": SOURCE},
        "evaluation prompt set 'toxic': none of 2 documents leaves a prompt of 3 words",
    ),
    "prompts that are all the same": (
        SAME,
        {"evaluation__neutral": SOURCE},
        "evaluation prompt set 'neutral': all 4 prompts are the same text; ",
    ),
    "a budget below a token": (
        [],
        {"selection": {"budget": 1e-9}},
        "selection.budget: 1e-09 of 5,442 tokens is not a single one; give at least 0.000184",
    ),
    "a seed beyond any generator's": (
        [],
        {"seed": 2**32},
        "seed: 4294967296 is not in [0, 4294967295]",
    ),
    "infinite damping": ([], {"direction": {"damping": float("inf")}}, "direction.damping: inf is"),
}
BY_SCORES = {
    "every token is selected": (
        [],
        {"selection": {"budget": 1.0, "window": 1000, "quantile": 0.01}},
        "selection.budget: every token of the corpus is selected, so that nothing is left to learn",
    ),
    "a lexicon without a hit": (
        NO_HITS,
        {"queries": PAIRS, "lexicon": {"share": 0.5}},
        "lexicon.share: what is blended in is the same for every token; ",
    ),
    "a lexicon without a hit alone": (
        NO_HITS,
        {"queries": PAIRS, "lexicon": {"share": 1.0}},
        "lexicon.share: what is blended in is the same for every token; ",
    ),
}
FEW_POSITIONS = {**SETTINGS["model"]["scratch"], "max_position_embeddings": 32}
OF_RIVALS = {
    "a proxy that reads less than a block": (
        "proxy",
        [],
        {"proxy": {"scratch": FEW_POSITIONS}},
        "compare.proxy: model.scratch: it has 32 positions, ",
    ),
    "pairs of the same text": (
        "dpo-texts",
        [{"toxic": "same", "neutral": "same"}] * 20,
        {"pairs": SOURCE["source"]},
        "compare.dpo: 0 pairs are fewer than one batch of 16; ",
    ),
    "fewer prompts than a batch of pairs": (
        "dpo",
        POSTS,
        {"prompts": SOURCE},
        "compare.dpo: 4 pairs are fewer than one batch of 16; ",
    ),
    "blank prompts for pairs": (
        "dpo",
        BLANK,
        {"prompts": SOURCE},
        "compare.prompts: evaluation prompt set 'dpo': none of 2 documents leaves a prompt of 3",
    ),
    "fewer texts than a batch for the reward model": (
        "rad",
        [],
        {"reward_texts": 4},
        "compare.reward_texts: 4 texts of the corpus are fewer than one batch of 32; ",
    ),
    "a budget below a token": (
        "word-filter",
        [],
        {"document_budget": 1e-9},
        "compare.document_budget: 1e-09 of 5,442 tokens is not a single one; ",
    ),
}


@pytest.fixture
def refused_of(refused, tmp_path):
    """Runs a command on records that decide nothing; returns its one line and the run folder."""

    def refuse(command, records, changes, *options):
        lines = "".join(json.dumps({"id": str(k), **r}) + "\n" for k, r in enumerate(records))
        (tmp_path / "records.jsonl").write_text(lines)
        file, out = write_settings(tmp_path, data_dir=str(tmp_path), **changes), tmp_path / "out"
        line = refused(command, file, "--out", out, "--quiet", *options)
        return line.removeprefix(f"{file}: "), out

    return refuse


@pytest.mark.parametrize("name", BEFORE_TRAINING)
def test_it_is_refused_before_anything_is_trained(name, refused_of):
    records, changes, said = BEFORE_TRAINING[name]
    line, out = refused_of("run", records, changes)
    assert line.startswith(said)
    assert "; " in line
    assert not list(out.rglob("model.safetensors"))


@pytest.mark.parametrize("name", BY_SCORES)
def test_what_only_scores_show_is_refused_there_and_they_are_kept(name, refused_of):
    records, changes, said = BY_SCORES[name]
    line, out = refused_of("run", records, changes)
    assert line.startswith(said)
    assert (out / "score/manifest.json").exists()
    assert not list(out.glob("train*"))


@pytest.mark.parametrize("name", OF_RIVALS)
def test_a_rival_is_refused_before_anything_is_trained(name, refused_of):
    method, records, compare, said = OF_RIVALS[name]
    line, out = refused_of("compare", records, {"compare": compare}, "--methods", method)
    assert line.startswith(said)
    assert not list(out.rglob("model.safetensors"))


def test_a_sweep_is_refused_before_anything_is_trained(refused_of):
    line, out = refused_of("sweep", [], {}, "--budget", "0.02", "1e-9")
    assert line.startswith("selection.budget: 1e-09 of 5,442 tokens is not a single one; ")
    assert not list(out.rglob("model.safetensors"))


def test_a_corpus_whose_every_token_is_marked_has_no_figures_of_localisation(tmp_path):
    posts = [{"id": str(k), "text": f"Say {k} words, you donkey, today."} for k in range(60)]
    lines = [json.dumps({**post, "spans": [[0, len(post["text"])]]}) for post in posts]
    (tmp_path / "posts.jsonl").write_text("\n".join(lines))
    source = {"name": "posts", "path": "posts.jsonl", "spans": "spans", "held_out": 0.3}
    held_out = {"held_out": "posts", "limit": 3}
    file = write_settings(
        tmp_path,
        data_dir=str(tmp_path),
        corpus__sources=[source],
        evaluation__toxic=held_out,
        evaluation__neutral=held_out,
        evaluation__perplexity={},
    )
    assert run("run", file, tmp_path / "out") == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["localisation"].get("average_precision") is None


def test_a_judge_that_tells_nothing_apart_is_named(tmp_path, caplog):
    (tmp_path / "words.txt").write_text("qzqzqzqz\n")
    judges = ["rule", "words:words.txt"]
    file = write_settings(tmp_path, data_dir=str(tmp_path), evaluation__judges=judges)
    assert run("run", file, tmp_path / "out") == 0
    said = [record.getMessage() for record in caplog.records]
    assert any(
        "'words:words.txt' gives whatever the models say the toxicity 0.0" in s for s in said
    )
