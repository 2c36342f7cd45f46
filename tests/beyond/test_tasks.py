"""Many tasks against one process: the same scores, threshold, ranking and mask, bit for bit."""

import importlib
import json
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import dill
import multiprocess
import numpy as np
import pytest
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from micro import run

from ifguide.corpus.blocks import pack
from ifguide.corpus.tokenizers import open_tokenizer
from ifguide.datatrove import Plan, Score, Select, Tally, Tokenise, WriteMask, pipelines
from ifguide.datatrove.plan import as_found, scorer_of
from ifguide.datatrove.rounds import ROUNDS, decide, decision, selection_of, write_tally
from ifguide.datatrove.task import MARK, Task
from ifguide.errors import InputError
from ifguide.files import describe
from ifguide.influence.config import ScoreConfig
from ifguide.influence.score import score
from ifguide.models.load import load_checkpoint
from ifguide.nouns import Document
from ifguide.run.artifacts import ScoreShards, load_direction
from ifguide.selection.config import SelectionConfig
from ifguide.selection.select import select
from ifguide.settings.reader import read_run_config

TASKS = 6


@pytest.fixture(scope="module")
def documents(many, tmp_path_factory):
    """Six files of posts; the posts of the second are blank."""
    return many.write_documents(tmp_path_factory.mktemp("documents") / "texts", TASKS, 12)


@pytest.fixture(scope="module")
def made(many, finished, documents, tmp_path_factory):
    """The plan of a corpus whose mask has been made."""
    plan = Plan(run=str(finished), out=str(tmp_path_factory.mktemp("tasks") / "out"))
    for one in pipelines(plan, [JsonlReader(str(documents))], TASKS):
        many.launch(plan, one)
    return plan


@pytest.fixture
def again(made, tmp_path):
    """The same, where whatever follows from the scores is still to be made."""
    out = tmp_path / "out"
    for name in ("blocks", "scores"):
        shutil.copytree(Path(made.out) / name, out / name)
    shutil.copy(Path(made.out) / MARK, out / MARK)
    return replace(made, out=str(out))


def rescored(out, seed):
    """Replace all scores by others that are heavy-tailed, often tied and of either sign."""
    rng = np.random.default_rng(seed)
    for rank in range(TASKS):
        task = Task(Path(out), rank, TASKS)
        corpus, _ = task.corpus()
        if corpus is None:
            continue
        values = (rng.standard_t(2, size=corpus.tokens.shape) * 8).round() / 8 + rng.normal()
        folder, said = task.folder("scores"), task.recorded("scores")
        for file in folder.glob("*.npy"):
            file.unlink()
        ScoreShards(folder, corpus.tokens.shape, 5).put(slice(0, len(values)), values)
        files = sorted(folder.glob("*.npy"))
        task.record("scores", {**said, "values": [describe(file)["sha256"] for file in files]})


def decided(out, chosen):
    for of in ROUNDS:
        for rank in range(TASKS):
            write_tally(Task(Path(out), rank, TASKS), of)
        found = decide(Path(out), of, chosen)
    return found


def assert_selected_as_one(many, out, chosen):
    corpus, rows = many.one_corpus(out, TASKS)
    expected = select(many.stored_scores(out, TASKS, corpus), chosen)
    for rank, mine in enumerate(rows):
        found = selection_of(Task(Path(out), rank, TASKS))
        assert (found is None) == (mine.stop == mine.start)
        if found is not None:
            selection, _ = found
            assert selection.threshold == expected.threshold
            assert selection.budget == expected.budget
            np.testing.assert_array_equal(selection.suppress, expected.suppress[mine])
    ranking = zip(expected.ranking.tolist(), expected.rank_value.tolist(), strict=True)
    assert many.ranking_of(out, TASKS) == dict(ranking)
    return expected


def test_tasks_select_what_one_process_selects(many, made):
    corpus, _ = many.one_corpus(made.out, TASKS)
    expected = assert_selected_as_one(many, made.out, made.chosen)
    assert 0 < expected.suppress.sum() == expected.budget
    learnt = many.learnt_by_mask(made.out, TASKS).reshape(corpus.tokens.shape)
    np.testing.assert_array_equal(learnt, corpus.has_loss & ~expected.suppress)
    assert decision(Path(made.out), "documents")["selected"] == expected.suppress.sum()


def test_tasks_score_as_one_process_scores(many, made, finished):
    corpus, rows = many.one_corpus(made.out, TASKS)
    sink, config = many.ByTask(corpus.tokens.shape, rows), read_run_config(finished).scores
    model, direction = load_checkpoint(finished / "baseline"), load_direction(finished / "aim")
    found = score(model, corpus, direction, config, sink=sink)
    stored = many.stored_scores(made.out, TASKS, corpus)
    np.testing.assert_array_equal(found.values.astype(np.float32), stored.values)


def test_a_task_s_blocks_are_those_of_its_documents(made, documents, finished, tmp_path):
    tokenizer = open_tokenizer(finished / "corpus" / "tokenizer")
    lines = (documents / "00003.jsonl").read_text(encoding="utf-8").splitlines()
    given = [Document(record["id"], record["text"]) for record in map(json.loads, lines)]
    expected = pack(given, tokenizer, 64, tmp_path / "packed")
    found, record = Task(Path(made.out), 3, TASKS).corpus()
    assert found.fingerprint == expected.fingerprint == record["corpus"]
    assert [document.id for document in found.documents] == [document.id for document in given]


@pytest.mark.parametrize("unit", ["document", "block"])
@pytest.mark.parametrize(
    ("seed", "quantile", "window", "budget"),
    [(0, 0.99, 1, 0.02), (1, 0.3, 0, 0.5), (2, 0.9, 70, 0.1), (3, 0.999, 2, 0.9)],
)
def test_whatever_the_scores_and_settings(many, again, unit, seed, quantile, window, budget):
    chosen = SelectionConfig(quantile=quantile, window=window, budget=budget, unit=unit)
    rescored(again.out, seed)
    found = decided(again.out, chosen)
    expected = assert_selected_as_one(many, again.out, chosen)
    assert found["selected"] == expected.suppress.sum() > 0


class Kill:
    """Kills the processes of some tasks where it stands in their pipeline."""

    def __init__(self, ranks):
        self.ranks = ranks

    def __call__(self, data, rank, world_size):
        if rank in self.ranks:
            os.killpg(0, signal.SIGKILL)
        return data


@pytest.mark.parametrize("place", [1, 3])
def test_a_relaunch_makes_only_what_a_killed_task_has_not(many, made, documents, tmp_path, place):
    out = tmp_path / "out"
    plan = replace(made, out=str(out))
    first = pipelines(plan, [JsonlReader(str(documents))], TASKS)[0]
    steps = [*first.steps]
    steps.insert(place, Kill({4}))
    killed = many.executor_of(plan, replace(first, steps=tuple(steps)), workers=1)
    child = multiprocess.get_context("fork").Process(target=many.alone, args=(killed.run,))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert many.completed(plan, first) == set(range(4))
    before = many.state_of(out)
    assert {many.rank_of(file) for file in before} >= set(range(4))
    for one in pipelines(plan, [JsonlReader(str(documents))], TASKS):
        many.launch(plan, one)
    after = many.state_of(out)
    written = {many.rank_of(file) for file in after if after[file] != before.get(file)}
    assert {many.rank_of(f) for f in before if after[f] != before[f]} <= {4}
    assert {4, 5} <= written
    learnt = many.learnt_by_mask(out, TASKS)
    np.testing.assert_array_equal(learnt, many.learnt_by_mask(made.out, TASKS))


def test_a_killed_mask_is_written_anew(again):
    decided(again.out, again.chosen)
    folder = Task(Path(again.out), 0, TASKS).folder("mask")
    left = folder.with_name(".00000.abcd.ifguide-tmp")
    left.mkdir(parents=True)
    step = WriteMask(again)
    for _ in range(2):
        step.run(None, 0, TASKS)
    assert not left.exists()
    assert (folder / "corpus.ds.loss").exists()


def test_an_executor_travels_to_another_machine(made):
    for one in pipelines(made, [], TASKS):
        executor = LocalPipelineExecutor(list(one.steps), tasks=one.tasks, logging_dir=made.out)
        executor.save_executor_as_json()
        found = dill.loads(dill.dumps(executor))
        assert [step.plan for step in found.pipeline] == [step.plan for step in one.steps]


def test_all_tasks_take_the_step_that_the_run_found():
    given = ScoreConfig(engine="difference")
    found = as_found(given, {"engine": "difference", "step": 0.003})
    assert found == replace(given, step=0.003)
    assert as_found(given, {"engine": "jvp"}).engine == "jvp"
    assert as_found(ScoreConfig(engine="position"), {"engine": "position"}).engine == "position"


# refusals


def test_scores_that_were_made_again_are_not_mixed_with_older_tallies(again):
    first = ROUNDS[0]
    for rank in range(TASKS):
        write_tally(Task(Path(again.out), rank, TASKS), first)
    decide(Path(again.out), first, again.chosen)
    rescored(again.out, 5)
    for rank in range(TASKS):
        write_tally(Task(Path(again.out), rank, TASKS), "fine")
    with pytest.raises(InputError, match="scores were made again since round coarse"):
        decide(Path(again.out), "fine", again.chosen)


def test_a_mask_of_other_scores_is_refused(again):
    decided(again.out, again.chosen)
    rescored(again.out, 6)
    with pytest.raises(InputError, match="not of task 2's scores"):
        WriteMask(again).run(None, 2, TASKS)


def test_rounds_by_different_settings_are_refused(again):
    for rank in range(TASKS):
        write_tally(Task(Path(again.out), rank, TASKS), "coarse")
    decide(Path(again.out), "coarse", again.chosen)
    for rank in range(TASKS):
        write_tally(Task(Path(again.out), rank, TASKS), "fine")
    other = replace(again.chosen, budget=0.3)
    with pytest.raises(InputError, match="round coarse was decided by other settings"):
        decide(Path(again.out), "fine", other)


def test_rounds_out_of_order_are_refused(again):
    with pytest.raises(InputError, match="round coarse is not decided; launch the rounds in"):
        write_tally(Task(Path(again.out), 0, TASKS), "fine")


@pytest.mark.parametrize("rank", [0, 4])
def test_a_missing_or_damaged_tally_is_named(again, rank):
    for number in range(TASKS):
        write_tally(Task(Path(again.out), number, TASKS), "coarse")
    file = Path(again.out) / "tallies" / "coarse" / f"{rank:05d}.npz"
    held = file.read_bytes()
    file.write_bytes(held[: len(held) // 2])
    with pytest.raises(InputError, match=f"{rank:05d}.npz: cannot be read .*; delete the task's"):
        decide(Path(again.out), "coarse", again.chosen)
    file.unlink()
    with pytest.raises(InputError, match=f"{rank:05d}.npz: it is not there; delete the task's"):
        decide(Path(again.out), "coarse", again.chosen)


def test_another_number_of_tasks_is_refused(again):
    with pytest.raises(InputError, match=f"of task 2 of {TASKS}, and this is 2 of 9; launch as"):
        Score(again).run(None, 2, 9)
    with pytest.raises(InputError, match="00007: it is not there, or not whole; delete the task"):
        Tally(again, "coarse").run(None, 7, 9)


def test_blocks_of_another_run_are_refused(again):
    task = Task(Path(again.out), 0, TASKS)
    task.record("blocks", {**task.recorded("blocks"), "scorer": "another"})
    with pytest.raises(InputError, match="cut for another run than"):
        Score(again).run(None, 0, TASKS)


def test_nothing_to_select_is_refused(again):
    with pytest.raises(InputError, match=r"selection\.budget: 1e-08 of [\d,]+ tokens is not a"):
        decided(again.out, replace(again.chosen, budget=1e-8))
    with pytest.raises(InputError, match=r"selection\.budget: every token of the corpus is"):
        decided(again.out, SelectionConfig(quantile=1e-9, window=64, budget=1.0))


def test_steps_in_the_wrong_place_are_refused(again):
    with pytest.raises(InputError, match="Tokenise: no documents come to it; put a reader"):
        Tokenise(again).run(None, 0, 1)
    with pytest.raises(InputError, match=r"Score: documents come to it, .*; put Tokenise before"):
        Score(again).run(iter(()), 0, 1)
    with pytest.raises(InputError, match="Select: 3 tasks are too many; give its executor"):
        Select(again, "coarse").run(None, 0, 3)
    with pytest.raises(InputError, match="of: there is no round first; give one of coarse, fine"):
        Tally(again, "first")
    with pytest.raises(InputError, match=r"to: .*parquet"):
        WriteMask(again, "parquet")


def test_folders_that_cannot_be_used_are_refused(finished, tmp_path):
    given = {"run": str(finished), "out": str(tmp_path / "out")}
    with pytest.raises(InputError, match="out: s3://bucket/out is an address"):
        Plan(**{**given, "out": "s3://bucket/out"})
    with pytest.raises(InputError, match="lies in the run's folder"):
        Plan(**{**given, "out": str(finished / "tasks")})
    with pytest.raises(InputError, match=r"holds no config\.yaml; give the folder of a run"):
        Plan(**{**given, "run": str(tmp_path / "none")})
    (tmp_path / "out" / "scores").mkdir(parents=True)
    (tmp_path / "out" / "scores" / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="out/scores: ifguide did not make it; give another"):
        Tokenise(Plan(**given)).run(iter(()), 0, 1)
    assert (tmp_path / "out" / "scores" / "mine.txt").read_text() == "precious"


def test_a_run_that_smooths_is_refused(finished, tmp_path):
    folder = tmp_path / "smoothing"
    folder.mkdir()
    text = (finished / "config.yaml").read_text(encoding="utf-8").split("\n", 1)[1]
    assert "neighbours: 0" in text
    (folder / "config.yaml").write_text(text.replace("neighbours: 0", "neighbours: 2"))
    with pytest.raises(InputError, match="smooths or blends its scores"):
        Plan(run=str(folder), out=str(tmp_path / "out"))


def test_a_run_that_is_not_finished_is_refused(micro_config, tmp_path):
    assert run("corpus", micro_config, tmp_path / "begun") == 0
    plan = Plan(run=str(tmp_path / "begun"), out=str(tmp_path / "out"))
    with pytest.raises(InputError, match="it has no finished stage"):
        scorer_of(plan)


def test_without_datatrove_the_extra_is_named(monkeypatch):
    import ifguide.datatrove

    monkeypatch.setitem(sys.modules, "datatrove.executor", None)
    with pytest.raises(InputError, match=r"pip install 'ifguide\[datatrove\]'"):
        importlib.reload(ifguide.datatrove)
