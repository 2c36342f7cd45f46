"""Training against steps written by hand, in one go, in pieces and after an interruption."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import random_corpus, tiny_model
from transformers import TrainingArguments
from transformers.utils import logging as transformers_logging

from ifguide.errors import InputError
from ifguide.models.losses import forward_losses
from ifguide.models.precision import full_precision
from ifguide.nouns import Selection
from ifguide.training.config import Objective, TrainingConfig
from ifguide.training.objectives import suppression_loss
from ifguide.training.train import MaskedBlocks, SuppressionTrainer, train

CONFIG = TrainingConfig(
    batch_size=2, epochs=1.0, learning_rate=1e-3, schedule="constant_with_warmup", warmup=0.0
)
# of trained weights: AdamW's first steps are the signs of gradients, and in float32 a gradient near
# 0 has the sign of its rounding, which is the processor's
FLOAT64 = {"rtol": 1e-9, "atol": 1e-11}


def uneven_corpus(blocks=6, length=12, seed=0):
    """Blocks of very different numbers of tokens with a loss."""
    corpus = random_corpus(blocks, length, seed)
    document = corpus.document.copy()
    for block in range(0, blocks, 2):
        document[block, 3 + block :] = -1
    return replace(corpus, document=document)


def selection_of(corpus, seed=1, share=0.2):
    suppress = np.random.default_rng(seed).random(corpus.tokens.shape) < share
    nothing = np.zeros(0)
    return Selection(suppress, 0.0, int(suppress.sum()), nothing.astype(int), nothing, corpus)


def weights_of(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def assert_same(model, expected, **tolerance):
    tolerance = tolerance or {"rtol": 0, "atol": 0}
    torch.testing.assert_close(weights_of(model), expected, **tolerance)


def loss_by_hand(model, corpus, selection, weight=1.0):
    """Eq. 9 over the whole corpus at once."""
    losses = forward_losses(model, torch.from_numpy(corpus.tokens).long())
    sign = torch.where(torch.from_numpy(selection.suppress), -weight, 1.0)
    has_loss = torch.from_numpy(corpus.has_loss)
    return (sign * losses)[has_loss].sum() / has_loss.sum()


def mean_losses(model, corpus, selection):
    """Mean loss of the selected tokens and of the others."""
    with torch.no_grad():
        losses = forward_losses(model, torch.from_numpy(corpus.tokens).long()).numpy()
    chosen = selection.suppress & corpus.has_loss
    return losses[chosen].mean(), losses[corpus.has_loss & ~chosen].mean()


class KilledError(Exception):
    """Stands for a kill: nothing after it runs."""


def interrupt_after(updates):
    """A progress callback that ends the run in its (updates + 1)-th update."""
    done = []

    def progress(tokens):
        if len(done) == updates:
            raise KilledError
        done.append(tokens)

    return progress


@pytest.mark.parametrize("accumulation", [1, 2, 3])
def test_one_update_is_a_gradient_step(tmp_path, accumulation):
    """Plain descent on the mean over the whole update's tokens, however it is cut into batches."""
    model, corpus = tiny_model("llama"), uneven_corpus()
    selection = selection_of(corpus)
    start = weights_of(model)
    gradients = torch.autograd.grad(
        loss_by_hand(model, corpus, selection, 0.5), list(model.parameters())
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = SuppressionTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(tmp_path),
            per_device_train_batch_size=6 // accumulation,
            gradient_accumulation_steps=accumulation,
            max_steps=1,
            max_grad_norm=0,
            use_cpu=True,
            dataloader_pin_memory=False,
            report_to="none",
            disable_tqdm=True,
            save_strategy="no",
            remove_unused_columns=False,
        ),
        train_dataset=MaskedBlocks(corpus, selection),
        optimizers=(optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)),
        objective=Objective(weight=0.5),
    )
    with full_precision(model):
        trainer.train()
    expected = {
        name: weight - 0.1 * gradient
        for (name, weight), gradient in zip(start.items(), gradients, strict=True)
    }
    assert_same(model, expected, **FLOAT64)


def test_train_is_adamw_with_clipping_and_decay_of_matrices(tmp_path):
    model, corpus = tiny_model("llama"), uneven_corpus()
    selection = selection_of(corpus)
    config = replace(CONFIG, batch_size=6, max_grad_norm=0.3, weight_decay=0.2, epochs=3.0)
    by_hand = deepcopy(model)
    decayed = [p for name, p in by_hand.named_parameters() if "norm" not in name]
    others = [p for name, p in by_hand.named_parameters() if "norm" in name]
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": others, "weight_decay": 0.0}],
        lr=1e-3,
        betas=(0.9, 0.95),
        weight_decay=0.2,
    )
    for _ in range(3):
        optimizer.zero_grad()
        loss_by_hand(by_hand, corpus, selection).backward()
        torch.nn.utils.clip_grad_norm_(by_hand.parameters(), 0.3)
        optimizer.step()
    with full_precision(model):
        trained = train(model, corpus, selection, config, folder=tmp_path)
    assert trained is model
    assert not model.training
    assert_same(model, weights_of(by_hand), **FLOAT64)


def test_accumulated_batches_are_one_large_batch(tmp_path):
    corpus = uneven_corpus(blocks=8)
    selection, start = selection_of(corpus), tiny_model("llama")
    trained = {}
    for size, accumulation in ((4, 1), (2, 2), (1, 4)):
        config = replace(CONFIG, batch_size=size, accumulation=accumulation, epochs=2.0)
        folder = tmp_path / str(size)
        with full_precision(start):
            trained[size] = train(deepcopy(start), corpus, selection, config, folder=folder)
    for size in (2, 1):
        assert_same(trained[size], weights_of(trained[4]), **FLOAT64)


def test_without_a_selection_every_token_is_learnt(tmp_path):
    corpus, start = random_corpus(), tiny_model("llama", torch.float32)
    nothing = selection_of(corpus, share=0.0)
    plain, masked = (
        train(deepcopy(start), corpus, chosen, CONFIG, folder=tmp_path / str(i))
        for i, chosen in enumerate((None, nothing))
    )
    assert_same(plain, weights_of(masked))


@pytest.mark.parametrize("kind", ["penalty", "clamped", "unlikelihood"])
def test_selected_tokens_are_unlearnt_and_the_others_learnt(tmp_path, kind):
    model, corpus = tiny_model("llama", torch.float32), random_corpus()
    selection = selection_of(corpus)
    objective = Objective(kind=kind, **({"ceiling": 8.0} if kind == "clamped" else {}))
    config = replace(CONFIG, epochs=12.0, learning_rate=5e-3, objective=objective)
    selected_before, others_before = mean_losses(model, corpus, selection)
    train(model, corpus, selection, config, folder=tmp_path)
    selected_after, others_after = mean_losses(model, corpus, selection)
    assert selected_after > selected_before
    assert others_after < others_before - 0.5


def test_masking_learns_nothing_from_selected_tokens(tmp_path):
    """With everything selected the model stays as it was."""
    model, corpus = tiny_model("llama", torch.float32), random_corpus()
    start = weights_of(model)
    config = replace(CONFIG, objective=Objective(kind="masking"), weight_decay=0.0)
    train(model, corpus, selection_of(corpus, share=1.1), config, folder=tmp_path)
    assert_same(model, start)


@pytest.mark.parametrize(
    ("family", "updates"), [("gpt2", 1), ("gpt2", 3), ("gpt2", 5), ("gpt_neox", 3)]
)
def test_an_interrupted_run_ends_with_the_same_bits(tmp_path, family, updates):
    """GPT-2 has dropout: the random state goes on too. A GPT-NeoX file renames a weight."""
    start, corpus = tiny_model(family, torch.float32), random_corpus()
    selection = selection_of(corpus)
    config = replace(CONFIG, epochs=2.0, checkpoint_every=2, schedule="cosine", warmup=0.2)
    whole = train(deepcopy(start), corpus, selection, config, folder=tmp_path / "whole")
    folder = tmp_path / "interrupted"
    with pytest.raises(KilledError):
        train(
            deepcopy(start),
            corpus,
            selection,
            config,
            folder=folder,
            progress=interrupt_after(updates),
        )
    done = []
    resumed = train(deepcopy(start), corpus, selection, config, folder=folder, progress=done.append)
    assert_same(resumed, weights_of(whole))
    assert len(done) == 6 - updates // 2 * 2  # from the last checkpoint, not from the start
    again = train(deepcopy(start), corpus, selection, config, folder=folder, progress=done.append)
    assert_same(again, weights_of(whole))
    assert len(done) == 6 - updates // 2 * 2  # nothing was left to do


@pytest.mark.parametrize(
    "length",
    [
        {"epochs": 0.5},
        {"epochs": 1.5},
        {"trainer": {"max_steps": 2}},
        {"trainer": {"max_steps": 2, "neftune_noise_alpha": 5.0}},
    ],
    ids=str,
)
def test_a_training_killed_at_its_end_takes_no_further_update(tmp_path, length):
    """Also where the end lies within an epoch."""
    start, corpus, done, curves = tiny_model("llama", torch.float32), random_corpus(), [], []
    rates = {"schedule": "constant_with_warmup", "warmup": 0.0}
    config = replace(CONFIG, checkpoint_every=1, **rates, **length)
    again = {"folder": tmp_path, "record": curves.append}
    whole = train(deepcopy(start), corpus, None, config, **again)
    resumed = train(deepcopy(start), corpus, None, config, progress=done.append, **again)
    assert_same(resumed, weights_of(whole))
    assert not done
    assert not any(module._forward_hooks for module in resumed.modules())
    assert curves[0] == curves[1]


def drop_mark(checkpoint):
    (checkpoint / "complete").unlink()


def shorten_optimizer(checkpoint):
    with (checkpoint / "optimizer.pt").open("r+b") as file:
        file.truncate(100)


def lose_weights(checkpoint):
    (checkpoint / "model.safetensors").unlink()


def break_mark(checkpoint):
    (checkpoint / "complete").write_text('{"model.safete')


@pytest.mark.parametrize("damage", [drop_mark, shorten_optimizer, lose_weights, break_mark])
def test_an_incomplete_checkpoint_is_ignored(tmp_path, damage):
    start, corpus = tiny_model("llama", torch.float32), random_corpus()
    config = replace(CONFIG, epochs=2.0, checkpoint_every=2)
    whole = train(deepcopy(start), corpus, None, config, folder=tmp_path / "whole")
    folder, progress = tmp_path / "interrupted", interrupt_after(5)
    with pytest.raises(KilledError):
        train(deepcopy(start), corpus, None, config, folder=folder, progress=progress)
    damage(folder / "checkpoint-4")
    done = []
    resumed = train(deepcopy(start), corpus, None, config, folder=folder, progress=done.append)
    assert len(done) == 4
    assert_same(resumed, weights_of(whole))


def test_progress_counts_every_token_once(tmp_path):
    """Five blocks in batches of two: the last batch of an epoch is half as large."""
    corpus = random_corpus(blocks=5, length=12)
    done = []
    train(
        tiny_model("llama", torch.float32),
        corpus,
        None,
        replace(CONFIG, epochs=2.0),
        folder=tmp_path,
        progress=done.append,
    )
    assert done == [24, 24, 12] * 2


def test_training_is_silent(tmp_path, capfd, caplog):
    transformers_logging.disable_progress_bar()  # of the file writer, as the command line does
    train(tiny_model("llama", torch.float32), random_corpus(), None, CONFIG, folder=tmp_path)
    transformers_logging.enable_progress_bar()
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_the_seed_orders_the_blocks(tmp_path):
    corpus, start = random_corpus(), tiny_model("llama", torch.float32)
    first, same, other = (
        weights_of(
            train(deepcopy(start), corpus, None, CONFIG, folder=tmp_path / str(i), seed=seed)
        )
        for i, seed in enumerate((3, 3, 4))
    )
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_half_precision_leaves_no_trace_on_the_model_or_the_next_run(tmp_path):
    corpus, start = random_corpus(), tiny_model("llama", torch.float32)
    plain = train(deepcopy(start), corpus, None, CONFIG, folder=tmp_path / "a")
    narrow = train(
        deepcopy(start), corpus, None, replace(CONFIG, precision="bfloat16"), folder=tmp_path / "b"
    )
    again = train(deepcopy(start), corpus, None, CONFIG, folder=tmp_path / "c")
    assert_same(again, weights_of(plain))
    assert_same(narrow, weights_of(plain), rtol=0, atol=0.02)
    assert any(
        not torch.equal(p, weights_of(plain)[name]) for name, p in weights_of(narrow).items()
    )
    assert all(p.dtype == torch.float32 for p in narrow.parameters())
    assert "forward" not in vars(narrow)  # autocast is off again
    deepcopy(narrow)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    model = tiny_model("llama", torch.float32)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = torch.nan
    said = r"^baseline: the loss is nan at update 1; lower baseline\.learning_rate$"
    with pytest.raises(InputError, match=said):
        train(model, random_corpus(), None, CONFIG, folder=tmp_path, place="baseline")
    diverging = replace(CONFIG, learning_rate=1e9, epochs=3.0)
    with pytest.raises(InputError, match=r"the loss is (nan|-?inf) at update 3; lower"):
        train(
            tiny_model("llama", torch.float32),
            random_corpus(),
            None,
            diverging,
            folder=tmp_path / "diverging",
        )


def test_a_weight_that_is_not_finite_after_the_last_update_is_named(tmp_path):
    config = replace(CONFIG, learning_rate=1e9, weight_decay=1e9, batch_size=6)
    model = tiny_model("llama", torch.float32)
    with torch.no_grad():
        model.model.embed_tokens.weight[0] = 1e25  # of a token that the corpus has not
    with pytest.raises(InputError, match=r"weight 'model\.\S+' is not finite after the last"):
        train(model, random_corpus(), None, config, folder=tmp_path)


def test_a_mask_of_another_corpus_is_refused(tmp_path):
    model, corpus, other = tiny_model("llama"), random_corpus(seed=0), random_corpus(seed=1)
    with pytest.raises(InputError, match="selection: its mask was made for corpus"):
        train(model, corpus, selection_of(other), CONFIG, folder=tmp_path)


def test_batches_carry_the_mask_on_the_axis_of_the_predicted_token():
    corpus = uneven_corpus()
    selection = selection_of(corpus)
    blocks = MaskedBlocks(corpus, selection)
    assert len(blocks) == 6
    for i in range(6):
        block = blocks[i]
        np.testing.assert_array_equal(block["input_ids"], corpus.tokens[i])
        np.testing.assert_array_equal(block["suppress"], selection.suppress[i])
        np.testing.assert_array_equal(block["labels"] != -100, corpus.has_loss[i])
    assert not MaskedBlocks(corpus, None)[0]["suppress"].any()


@pytest.mark.parametrize("kind", ["penalty", "clamped", "unlikelihood", "masking"])
def test_gradients_in_chunks_are_those_of_all_logits(tmp_path, family, kind):
    """Whatever the family does to its logits; where its head is no plain map, from logits."""
    model, corpus = tiny_model(family), uneven_corpus()
    blocks = MaskedBlocks(corpus, selection_of(corpus))
    batch = torch.utils.data.default_collate([blocks[i] for i in range(6)])
    objective = Objective(kind=kind)
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, report_to="none")
    trainer = SuppressionTrainer(model=model, args=arguments, objective=objective)
    with full_precision(model):
        found = trainer.compute_loss(model, batch)
        logits = model(input_ids=batch["input_ids"]).logits
    rest = (batch["input_ids"], batch["suppress"], torch.from_numpy(corpus.has_loss), objective)
    expected = suppression_loss(logits, *rest)
    weights = list(model.parameters())
    torch.testing.assert_close(
        [found, *torch.autograd.grad(found, weights)],
        [expected, *torch.autograd.grad(expected, weights)],
        rtol=1e-9,
        atol=1e-11,
    )


def test_a_batch_without_a_counted_token_has_a_loss_of_0(tmp_path):
    """As a process may be given where the last blocks are padding."""
    model = tiny_model("llama", torch.float32)
    batch = torch.utils.data.default_collate([MaskedBlocks(random_corpus(), None)[0]])
    batch["labels"][:] = -100
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, report_to="none")
    loss = SuppressionTrainer(model=model, args=arguments).compute_loss(model, batch)
    loss.backward()
    assert loss == 0
    assert all((p.grad is not None) and not p.grad.any() for p in model.parameters())


def test_a_plain_head_never_makes_all_logits(tmp_path):
    model, corpus = tiny_model("llama", torch.float32), random_corpus()
    shapes = []
    trained = SuppressionTrainer(
        model=model,
        args=TrainingArguments(str(tmp_path), use_cpu=True, report_to="none"),
    )
    model.register_forward_hook(lambda _, args, outputs: shapes.append(outputs.logits.shape))
    batch = torch.utils.data.default_collate([MaskedBlocks(corpus, None)[i] for i in range(6)])
    trained.compute_loss(model, batch)
    assert shapes == [()]  # the loss, which the head's place in the model's own pass has made
    assert "forward" not in vars(model.lm_head)
