"""The exported pair and scores from log-probabilities, against plain transformers and ``jvp``."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr
from tiny import calibrated_on, random_corpus, tiny_model
from transformers import AutoModelForCausalLM

from ifguide.errors import InputError
from ifguide.influence import calibrate
from ifguide.influence.agreement import spearman
from ifguide.influence.config import ScoreConfig
from ifguide.influence.pair_files import LogprobFiles, read_pair
from ifguide.influence.perturbed import export_pair, score_from_logprobs
from ifguide.influence.score import score
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Direction


def random_direction(model, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return Direction(
        {
            w.name: torch.randn(w.matrix.shape, generator=generator, dtype=torch.float32)
            for w in find_tracked(model)
        },
        {"damping": 0.1},
    )


def logprobs(folder, corpus):
    """What plain transformers gives: NaN at the first token of a block and at padding."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
    found = np.full(corpus.tokens.shape, np.nan)
    for i, block in enumerate(torch.as_tensor(corpus.tokens).long()):
        with torch.no_grad():
            logits = model(block[None]).logits[0].float()
        for j in range(1, len(block)):
            if corpus.has_loss[i, j]:
                found[i, j] = logits[j - 1].log_softmax(-1)[block[j]]
    return found


def write_lines(file, values):
    rows = [[None if np.isnan(x) else float(x) for x in row] for row in values]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


class Case:
    """A model, a corpus, a direction, the pair on disk and its two files."""

    def __init__(self, folder, family="llama", dtype=torch.float32, step=0.003):
        self.model = tiny_model(family, dtype)
        self.corpus = random_corpus(padding=5)
        self.direction = random_direction(self.model)
        self.folder = folder
        self.pair = export_pair(self.model, None, self.corpus, self.direction, folder, step)
        self.values = {n: logprobs(folder / n, self.corpus) for n in ("plus", "minus")}
        self.files = LogprobFiles(plus=folder / "a.npy", minus=folder / "b.npy", pair=folder)
        np.save(self.files.plus, self.values["plus"])
        np.save(self.files.minus, self.values["minus"])

    def score(self, **changes):
        files = dataclasses.replace(self.files, **changes)
        return score_from_logprobs(self.model, self.corpus, self.direction, files)

    def jvp(self):
        wide = score(self.model.float(), self.corpus, self.direction, ScoreConfig(engine="jvp"))
        return np.asarray(wide.values)


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


@pytest.mark.parametrize("family", ["llama", "gpt2"])  # gpt2 keeps its weights transposed
def test_plain_transformers_on_the_pair_give_the_scores_of_jvp(family, tmp_path):
    case = Case(tmp_path, family)
    made, counted = case.score(), case.corpus.has_loss
    exact = case.jvp()
    rank = spearmanr(made.values[counted], exact[counted]).statistic
    assert rank > 0.99
    assert made.metadata["spearman"] == pytest.approx(rank)
    assert made.metadata["epsilon"] == case.pair.epsilon
    assert made.metadata["damping"] == 0.1
    slope = (made.values * exact).sum() / (exact**2).sum()
    assert slope == pytest.approx(1, abs=0.02)  # sign and scale
    assert not made.values[~counted].any()


def test_the_two_models_lie_opposite_and_the_model_is_left_as_it_was(tmp_path):
    case = Case(tmp_path, "gpt2", step=0.05)
    before = tiny_model("gpt2", torch.float32).state_dict()
    after, moved = case.model.state_dict(), {w.name for w in find_tracked(case.model)}
    ends = [
        AutoModelForCausalLM.from_pretrained(tmp_path / n).state_dict() for n in ("plus", "minus")
    ]
    squared = of_all = 0.0
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0)
        if name.removesuffix(".weight") in moved:
            torch.testing.assert_close((ends[0][name] + ends[1][name]) / 2, value)
            squared += float((ends[0][name] - value).square().sum())
            of_all += float(value.square().sum())
        else:
            torch.testing.assert_close(ends[0][name], value, rtol=0, atol=0)
    assert (squared / of_all) ** 0.5 == pytest.approx(0.05, rel=1e-3)
    np.testing.assert_array_equal(np.load(tmp_path / "tokens.npy"), case.corpus.tokens)
    assert f"{case.pair.epsilon:.6e}" in (tmp_path / "README.md").read_text()


def test_the_snippet_of_the_readme_makes_the_files(case, monkeypatch):
    monkeypatch.chdir(case.folder)
    text = (case.folder / "README.md").read_text()
    exec(text.split("```python\n")[1].split("```")[0], {})
    plus, minus = case.folder / "plus.npy", case.folder / "minus.npy"
    given, own = case.score(plus=plus, minus=minus), case.score()
    np.testing.assert_allclose(given.values, own.values, atol=1e-3 * np.abs(own.values).max())


def test_json_lines_give_the_same_scores(case):
    plus, minus = case.folder / "a.jsonl", case.folder / "b.jsonl"
    write_lines(plus, case.values["plus"])
    write_lines(minus, case.values["minus"])
    np.testing.assert_array_equal(case.score(plus=plus, minus=minus).values, case.score().values)


def test_swapped_files_are_refused_unless_forced(case):
    swapped = {"plus": case.files.minus, "minus": case.files.plus}
    with pytest.raises(InputError, match=r"look swapped.*--force"):
        case.score(**swapped)
    forced = case.score(**swapped, force=True)
    np.testing.assert_array_equal(forced.values, -case.score().values)
    assert forced.metadata["forced"]
    assert forced.metadata["spearman"] < -0.99
    assert not case.score().metadata["forced"]


def test_noise_is_refused(case):
    noise = np.random.default_rng(0).normal(0, 1, case.corpus.tokens.shape)
    np.save(case.files.plus, -np.abs(noise))
    with pytest.raises(InputError, match=r"below 0\.98"):
        case.score()


def test_a_bfloat16_pair_is_compared_with_float32(tmp_path):
    case = Case(tmp_path, dtype=torch.bfloat16, step=0.03)
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "plus", dtype="auto")
    assert saved.dtype == torch.bfloat16
    made = case.score(force=True)
    exact, counted = case.jvp(), case.corpus.has_loss
    rank = spearmanr(made.values[counted], exact[counted]).statistic
    assert made.metadata["spearman"] == pytest.approx(rank)
    assert rank > 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[:-1], r"shape is \[5, 12\], the corpus has 6 blocks of 12"),
        (lambda a: a.astype(int), "not float16, float32 or float64"),
        (lambda a: np.where(np.arange(12) == 4, np.nan, a), "token 4 of block 0 holds nan"),
        (lambda a: np.where(np.arange(12) == 4, -np.inf, a), "token 4 of block 0 holds -inf"),
        (lambda a: -a, "at most 0"),
    ],
)
def test_a_bad_array_is_one_clear_line(case, change, message):
    np.save(case.files.minus, change(np.nan_to_num(case.values["minus"])))
    with pytest.raises(InputError, match=message) as refused:
        case.score()
    assert str(case.files.minus) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"shape is \[0, 12\]"),
        ("[1, 2]\n", "line 1 has 2 numbers, a block 12"),
        ("{}\n", "line 1 has 0 numbers"),
        ("7\n", "line 1 is not a list of numbers"),
        ('["x"]\n', "line 1 is not a list of numbers"),
        ("[1,\n", "line 1 is not a list of numbers"),
    ],
)
def test_bad_lines_are_one_clear_line(case, text, message):
    file = case.folder / "bad.jsonl"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        case.score(plus=file)


def test_a_damaged_array_is_refused(case):
    case.files.plus.write_bytes(case.files.plus.read_bytes()[:200])
    with pytest.raises(InputError, match=r"a\.npy: cannot be read"):
        case.score()
    case.files.plus.write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.npy: cannot be read"):
        case.score()


@pytest.mark.parametrize("epsilon", [None, "1", 0.0, float("nan")])
def test_a_pair_without_epsilon_is_refused(case, epsilon):
    file = case.folder / "pair.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "epsilon": epsilon}))
    with pytest.raises(InputError, match="gives no epsilon"):
        read_pair(case.folder)
    file.unlink()
    with pytest.raises(InputError, match="export-pair"):
        case.score()


def test_a_pair_of_another_direction_or_corpus_is_refused(case):
    other = random_direction(case.model, seed=2)
    with pytest.raises(InputError, match="another corpus or direction"):
        score_from_logprobs(case.model, case.corpus, other, case.files)
    with pytest.raises(InputError, match="another corpus or direction"):
        score_from_logprobs(case.model, random_corpus(), case.direction, case.files)


def test_a_pair_that_cannot_be_made_is_refused(tmp_path):
    model, corpus = tiny_model("llama"), random_corpus()
    zero = Direction({w.name: torch.zeros_like(w.matrix) for w in find_tracked(model)})
    with pytest.raises(InputError, match="it is 0"):
        export_pair(model, None, corpus, zero, tmp_path)
    with pytest.raises(InputError, match="--step"):
        export_pair(model, None, corpus, random_direction(model), tmp_path, -1.0)
    with pytest.raises(InputError, match="does not fit"):
        export_pair(model, None, corpus, random_direction(tiny_model("gpt2")), tmp_path)


@given(arrays(np.float64, (2, 9), elements=st.integers(-3, 3).map(float)))
def test_spearman_is_scipys(values):
    a, b = values
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert spearman(a, b) == 0
    else:
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-9)


def test_difference_on_a_bfloat16_model_states_its_rank_and_bows_to_the_bound(monkeypatch):
    model, corpus = tiny_model("llama", torch.bfloat16), random_corpus()
    direction, config = random_direction(model), ScoreConfig(engine="difference")
    monkeypatch.setattr(calibrate, "RANK_BOUND", 0.5)
    kept = score(model, corpus, direction, config)
    assert kept.metadata["engine"] == "difference"
    exact = np.asarray(score(model.float(), corpus, direction).values)
    counted = calibrated_on(model, corpus)
    rank = spearmanr(np.asarray(kept.values)[counted], exact[counted]).statistic
    assert kept.metadata["spearman"] == pytest.approx(rank, abs=0.02)  # ties are ranked otherwise
    assert kept.metadata["step"] >= 1e-3  # what bfloat16 can hold
    monkeypatch.setattr(calibrate, "RANK_BOUND", 1.1)
    refused = score(tiny_model("llama", torch.bfloat16), corpus, direction, config)
    assert refused.metadata["engine"] == "jvp"
    assert refused.metadata["refused_difference"]["spearman"] < 1.1
