"""Fields of ``transformers.TrainingArguments`` by their own names, up to what they do."""

from dataclasses import MISSING, fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from micro import write_settings
from tiny import random_corpus, tiny_model
from torch._dynamo.utils import counters
from transformers import TrainerCallback, TrainingArguments

from ifguide.errors import InputError
from ifguide.models.losses import forward_losses
from ifguide.settings.reader import read_config
from ifguide.training.arguments import OURS, check_trainer, training_arguments
from ifguide.training.config import Guard, TrainingConfig
from ifguide.training.train import train

CONFIG = TrainingConfig(batch_size=2, learning_rate=1e-3, warmup=0.0)
FIELDS = {field.name: field for field in fields(TrainingArguments)}
THEIRS = sorted(set(FIELDS) - set(OURS))


def trained(folder, corpus=None, config=CONFIG, **changes):
    model = tiny_model("llama", torch.float32)
    return train(model, corpus or random_corpus(), None, replace(config, **changes), folder=folder)


def steps_in(folder):
    return sorted(int(p.name.split("-")[1]) for p in folder.glob("checkpoint-*"))


def test_what_is_ours_are_fields_of_this_version():
    assert set(OURS) <= set(FIELDS)


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_field_of_ours_is_refused_with_what_decides_it(name):
    with pytest.raises(InputError, match=f"baseline.trainer.{name}: .* decides this") as refused:
        check_trainer({name: 1}, "baseline")
    assert "GROUP" not in str(refused.value)


@pytest.mark.parametrize("name", THEIRS)
def test_a_field_of_theirs_takes_its_default_and_no_strange_type(name):
    field = FIELDS[name]
    usual = field.default if field.default is not MISSING else field.default_factory()
    check_trainer({name: usual}, "training")
    with pytest.raises(InputError, match=rf"training\.trainer\.{name}: .* does not fit; give "):
        check_trainer({name: object()}, "training")


@settings(max_examples=50, deadline=None)
@given(name=st.text(min_size=1).filter(lambda name: name not in FIELDS))
def test_an_unknown_field_is_refused(name):
    with pytest.raises(InputError, match=r"no such field; (did you mean \w+\?|remove it)"):
        check_trainer({name: 1}, "training")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("max_steps", 2.5, "'2.5' does not fit; give a whole number"),
        ("max_steps", 10**12, "the number is not in"),
        ("max_steps", True, "'True' does not fit; give a whole number"),
        ("neftune_noise_alpha", float("nan"), "the number is not in"),
        ("logging_first_step", "yes", "'yes' does not fit; give true or false"),
        ("eval_strategy", "sometimes", "'sometimes' does not fit; give no or steps or epoch"),
        ("report_to", 3, "'3' does not fit; give null or text or a list of text"),
        ("optim_target_modules", ["a", 1], "does not fit; give null or text or a list of text"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(field, value, said):
    with pytest.raises(InputError) as refused:
        check_trainer({field: value}, "training")
    assert f"training.trainer.{field}: " in str(refused.value)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"baseline__trainer": {"learning_rat": 1}}, "baseline.trainer.learning_rat: "),
        ({"baseline__trainer": {"seed": 1}}, "baseline.trainer.seed: seed decides this"),
        (
            {"training__trainer": {"learning_rate": 1.0}},
            "training.trainer.learning_rate: training.learning_rate decides this; remove it here",
        ),
        ({"training__trainer": {"max_steps": 3}}, "training.epochs: 0.15 would be ignored"),
        ({"training__trainer": {"eval_strategy": "steps"}}, "name one in training.guard.text"),
        ({"training__trainer": {"push_to_hub": True}}, "training.trainer.hub_model_id: it is"),
    ],
)
def test_a_yaml_is_refused_when_it_is_read(tmp_path, settings, said):
    with pytest.raises(InputError) as refused:
        read_config(write_settings(tmp_path, **settings))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("trainer", "said"),
    [
        ({"report_to": "no-such-tracker"}, "no-such-tracker"),
        ({"lr_scheduler_kwargs": "{"}, ""),
        ({"fsdp": "no_such_way"}, ""),
        ({"optim": "adamw_torch", "dataloader_prefetch_factor": 2}, "prefetch"),
    ],
)
def test_what_transformers_refuses_is_one_line(tmp_path, trainer, said):
    config = replace(CONFIG, trainer=trainer)
    with pytest.raises(InputError, match=r"training\.trainer: refused by transformers") as refused:
        training_arguments(config, tmp_path, 0, tiny_model("llama"))
    assert said in str(refused.value)


def test_a_run_is_refused_before_any_training(tmp_path, refused):
    file = write_settings(tmp_path, training__trainer={"report_to": "no-such-tracker"})
    said = refused("run", file, "--out", tmp_path / "run", "--quiet")
    assert said.startswith("training.trainer: refused by transformers (")
    assert not (tmp_path / "run" / "baseline").exists()


def test_max_steps_ends_training(tmp_path):
    trained(tmp_path, checkpoint_every=1, trainer={"max_steps": 2})
    assert steps_in(tmp_path) == [1, 2]


def test_another_optimizer_and_betas_change_the_weights(tmp_path):
    plain = trained(tmp_path / "plain")
    for name, trainer in {
        "optim": {"optim": "adafactor"},
        "beta": {"adam_beta1": 0.5},
        "noise": {"neftune_noise_alpha": 5.0},
    }.items():
        other = trained(tmp_path / name, trainer=trainer)
        assert not torch.equal(other.lm_head.weight, plain.lm_head.weight)


def test_checkpointed_activations_change_nothing_and_are_off_again(tmp_path):
    plain = trained(tmp_path / "plain")
    frugal = trained(tmp_path / "frugal", trainer={"gradient_checkpointing": True})
    assert not frugal.is_gradient_checkpointing
    torch.testing.assert_close(frugal.state_dict(), plain.state_dict(), rtol=0, atol=1e-6)


def told(monkeypatch, folder, **more):
    """Everything that a training logs, as a tracker sees it."""
    seen = {}

    class Tracker(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            seen.update({name: (state.global_step, value) for name, value in logs.items()})

    monkeypatch.setattr(
        "transformers.trainer.get_reporting_integration_callbacks", lambda names: [Tracker]
    )
    model = tiny_model("llama", torch.float32)
    return train(model, random_corpus(), None, folder=folder, **more), seen


def test_the_text_that_is_evaluated_is_the_one_given(tmp_path, monkeypatch):
    config = replace(
        CONFIG, guard=Guard(text="watched", bound=1e9), trainer={"eval_strategy": "epoch"}
    )
    held_out = random_corpus(4, seed=7, padding=5)
    model, seen = told(
        monkeypatch, tmp_path, config=config, measure=lambda model: 1.0, held_out=held_out
    )
    with torch.no_grad():
        losses = forward_losses(model, torch.from_numpy(held_out.tokens).long())
    step, value = seen["eval_loss"]
    assert step == 3
    assert value == pytest.approx(losses[torch.from_numpy(held_out.has_loss)].mean().item(), 1e-5)


def test_logging_steps_say_when(tmp_path, monkeypatch):
    config = replace(CONFIG, trainer={"logging_strategy": "no"})
    assert "benign_loss" not in told(monkeypatch, tmp_path / "never", config=config)[1]
    config = replace(CONFIG, trainer={"logging_steps": 2.0})
    assert told(monkeypatch, tmp_path / "second", config=config)[1]["benign_loss"][0] == 2


def test_a_compiled_model_learns_the_same(tmp_path):
    plain = trained(tmp_path / "plain")
    torch._dynamo.reset()
    counters.clear()
    compiled = trained(
        tmp_path / "compiled", trainer={"torch_compile": True, "torch_compile_backend": "eager"}
    )
    assert counters["frames"]["ok"] > 0
    torch._dynamo.reset()
    torch.testing.assert_close(compiled.state_dict(), plain.state_dict(), rtol=0, atol=1e-6)


def test_tensorboard_is_told(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trained(tmp_path, trainer={"report_to": "tensorboard", "logging_steps": 1.0})
    (file,) = tmp_path.rglob("events.out.tfevents.*")
    read = events.EventAccumulator(str(file)).Reload()
    assert [event.step for event in read.Scalars("train/benign_loss")] == [1, 2, 3]


def test_the_best_checkpoint_is_kept_and_returned(tmp_path):
    """Every update after the first makes the text that is evaluated worse: the first one stays."""
    trainer = {"eval_strategy": "steps", "eval_steps": 1, "load_best_model_at_end": True}
    config = replace(
        CONFIG,
        learning_rate=1.0,
        schedule="constant_with_warmup",
        checkpoint_every=1,
        guard=Guard(text="watched", bound=1e9, every=1),
        trainer=trainer,
    )
    seen = []

    def measure(model):
        seen.append({name: p.detach().clone() for name, p in model.named_parameters()})
        return 1.0

    found = train(
        tiny_model("llama", torch.float32),
        random_corpus(blocks=12),
        None,
        config,
        folder=tmp_path,
        measure=measure,
        held_out=random_corpus(4),
    )
    best, *last = steps_in(tmp_path)
    assert best < 4
    assert last == [5, 6]
    for name, parameter in found.named_parameters():
        assert torch.equal(parameter, seen[best][name])
