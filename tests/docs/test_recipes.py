"""docs/your_own_trainer.md: each recipe's loss is our trainer's, and its commands run."""

import importlib
import runpy
import shlex
import sys
from dataclasses import dataclass
from types import ModuleType

import pytest
import torch
from accelerate import Accelerator
from pages import ROOT, blocks
from tiny import VOCABULARY, tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

from ifguide import (
    InputError,
    Objective,
    SuppressionCollator,
    SuppressionTrainer,
    full_precision,
    predicted_tokens,
    signed_labels,
    suppression_loss_of_labels,
)

pytestmark = [  # of TRL's own settings, and of Trainer's on a machine without a GPU
    pytest.mark.filterwarnings("ignore:`gradient_checkpointing`:FutureWarning"),
    pytest.mark.filterwarnings("ignore:'pin_memory':UserWarning"),
]
PAGE = ROOT / "docs" / "your_own_trainer.md"
RECIPES = ROOT / "examples" / "recipes"
OBJECTIVE = Objective(kind="clamped", weight=1.0)
CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def rows():
    draw = torch.Generator().manual_seed(0)
    return [
        {
            "input_ids": torch.randint(VOCABULARY, (n,), generator=draw),
            "suppress": torch.rand(n, generator=draw) < 0.3,
        }
        for n in (5, 9, 7, 3)
    ]


@pytest.fixture
def batch():
    return SuppressionCollator(pad=0)(rows())


@pytest.fixture
def model():
    found = tiny_model("llama")
    with full_precision(found):
        yield found


@pytest.fixture
def arguments(tmp_path):
    return TrainingArguments(str(tmp_path), use_cpu=True, report_to="none")


@pytest.fixture
def expected(model, batch, arguments):
    """Our trainer's loss and its gradients."""
    trainer = SuppressionTrainer(model=model, args=arguments, objective=OBJECTIVE)
    return with_gradients(trainer.compute_loss(model, dict(batch)), model)


def with_gradients(loss, model):
    return [loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))]


@pytest.fixture
def recipe(monkeypatch):
    """Imports a recipe by name, as a script of that folder would."""
    monkeypatch.syspath_prepend(RECIPES)
    names = [file.stem for file in RECIPES.glob("*.py")]
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


def test_a_plain_loop_s_loss_is_our_trainer_s(recipe, model, batch, expected):
    found = recipe("plain_loop").loss_of(model, batch)
    torch.testing.assert_close(with_gradients(found, model), expected, **CLOSE)


def test_accelerate_s_shares_add_up_to_our_trainer_s_loss(recipe, model, expected):
    collate, given = SuppressionCollator(pad=0), rows()
    batches = [collate(given[:1]), collate(given[1:])]
    loop = recipe("accelerate_loop")
    found = sum(loop.loss_of(Accelerator(cpu=True), model, batches))
    torch.testing.assert_close(with_gradients(found, model), expected, **CLOSE)


def test_trl_s_loss_is_our_trainer_s(recipe, model, batch, expected, finished, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(finished / "corpus" / "tokenizer")
    settings = {"output_dir": str(tmp_path), "use_cpu": True, "bf16": False, "report_to": "none"}
    listed = [{name: column.tolist() for name, column in row.items()} for row in rows()]
    trainer = recipe("trl_sft").trainer_of(model, tokenizer, dataset(listed), **settings)
    count = trainer._get_num_items_in_batch([batch], torch.device("cpu"))
    assert count == predicted_tokens(batch).sum()
    found = trainer.compute_loss(model, dict(batch), num_items_in_batch=count)
    torch.testing.assert_close(with_gradients(found, model), expected, **CLOSE)


def dataset(listed):
    import datasets

    return datasets.Dataset.from_list(listed)


def stand_in(monkeypatch, name, **members):
    """Have a module of a library where the library itself cannot be imported."""
    try:
        importlib.import_module(name)
    except ImportError:
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            module = ModuleType(".".join(parts[:end]))
            monkeypatch.setitem(sys.modules, module.__name__, module)
        vars(module).update(members)


class Plugin:
    """What of axolotl's BasePlugin the recipe overrides."""

    def post_trainer_create(self, cfg, trainer):
        pass


class Loss:
    """What of torchtitan's BaseLoss the recipe inherits."""

    @dataclass(kw_only=True, slots=True)
    class Config:
        pass

    def __call__(self, pred, labels, global_valid_tokens=None, **kwargs):
        loss = self.fn(pred, labels)
        return loss if global_valid_tokens is None else loss / global_valid_tokens, {}


def test_axolotl_s_plugin_gives_its_trainer_our_loss(
    recipe, monkeypatch, model, batch, arguments, expected
):
    """Its trainer is a transformers.Trainer."""
    stand_in(monkeypatch, "axolotl.integrations.base", BasePlugin=Plugin)
    trainer = Trainer(model=model, args=arguments)
    recipe("axolotl_plugin").SuppressionPlugin().post_trainer_create({}, trainer)
    labels = signed_labels(batch["labels"], batch["suppress"])
    given = {**{n: batch[n] for n in ("input_ids", "attention_mask")}, "labels": labels}
    count = trainer._get_num_items_in_batch([given], torch.device("cpu"))
    assert count == predicted_tokens(batch).sum()
    found = trainer.compute_loss(model, given, num_items_in_batch=count)
    torch.testing.assert_close(with_gradients(found, model), expected, **CLOSE)


@pytest.mark.parametrize("flat", [False, True])
def test_torchtitan_s_loss_is_our_trainer_s(recipe, monkeypatch, model, batch, expected, flat):
    """Rows side by side, and all tokens in one row as later versions have them."""
    stand_in(monkeypatch, "torchtitan.components.loss", BaseLoss=Loss)
    loaded = recipe("torchtitan_loss")
    labels = loaded.labels_of(batch["labels"], batch["suppress"])
    assert not labels.eq(-100).all()
    pred = model(input_ids=batch["input_ids"][:, :-1]).logits
    if flat:
        pred, labels = pred.flatten(0, 1), labels.flatten()
    loss = loaded.SuppressionLoss(loaded.SuppressionLoss.Config())
    found, _ = loss(pred, labels, labels.ne(-100).sum())
    torch.testing.assert_close(with_gradients(found, model), expected, **CLOSE)


def test_rows_that_are_packed_by_their_labels_count_none_twice(model, batch):
    """Two rows end to end: the first label of the second has no loss."""
    labels = signed_labels(batch["labels"], batch["suppress"])
    logits = model(input_ids=batch["input_ids"]).logits
    apart = suppression_loss_of_labels(logits, labels, OBJECTIVE)
    packed = suppression_loss_of_labels(logits.flatten(0, 1), labels.flatten(), OBJECTIVE)
    torch.testing.assert_close(packed, apart, **CLOSE)


def test_an_objective_that_needs_the_start_is_refused_by_labels():
    with pytest.raises(InputError, match="compares with the model that training starts from"):
        suppression_loss_of_labels(
            torch.zeros(1, 3, 4), torch.tensor([[1, 2, 3]]), Objective(kind="npo")
        )


def test_what_axolotl_takes_carries_the_mask(recipe, monkeypatch, finished, tmp_path):
    import datasets

    stand_in(monkeypatch, "axolotl.integrations.base", BasePlugin=Plugin)
    recipe("axolotl_plugin").prepare(finished, tmp_path / "rows")
    rows, mask = (datasets.load_from_disk(p) for p in (tmp_path / "rows", finished / "select/mask"))
    assert set(rows.column_names) == {"input_ids", "attention_mask", "labels"}
    labels, chosen = torch.tensor(rows["labels"][:]), torch.tensor(mask["suppress"][:])
    document = torch.tensor(mask["document"][:])
    document[:, 0] = -1
    assert (labels < -100).equal(chosen & (document >= 0))
    assert labels.ne(-100).equal(document >= 0)


COMMANDS = [shlex.split(line) for text in blocks(PAGE, "sh") for line in text.splitlines()]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[-1])
def test_a_command_of_the_page_trains(words, recipe, monkeypatch, finished, tmp_path, capsys):
    """By the same script, in this process; ``accelerate launch`` is its launcher alone."""
    script = words.index(next(word for word in words if word.endswith(".py")))
    place = {"runs/mine": finished, "runs/mine/baseline": finished / "baseline"}
    given = [str(place.get(word, tmp_path / word)) for word in words[script + 1 :]]
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setattr(sys, "argv", [words[script], *given])
    runpy.run_path(str(ROOT / words[script]), run_name="__main__")
    before, after = (AutoModelForCausalLM.from_pretrained(path) for path in given[1:])
    changed = [not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters())]  # noqa: B905
    assert all(changed)
