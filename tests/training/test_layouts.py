"""Sequences laid out in every way, against one sequence a batch."""

import pytest
import torch
from tiny import VOCABULARY, tiny_model
from transformers import DataCollatorWithFlattening, TrainingArguments

from ifguide.errors import InputError
from ifguide.models.losses import forward_losses
from ifguide.models.precision import full_precision
from ifguide.training.collate import SuppressionCollator
from ifguide.training.config import Objective
from ifguide.training.train import SuppressionTrainer

LAYOUTS = ("right", "left", "flat")
SEPARATING = ("gemma2", "gpt2", "gpt_neo", "llama", "phi3")  # rows of several sequences

NO_DROPOUT = {
    "gpt2": {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0},
}


def examples(seed=0, lengths=(5, 8, 1, 9, 2, 5)):
    draw = torch.Generator().manual_seed(seed)
    return [
        {
            "input_ids": torch.randint(VOCABULARY, (n,), generator=draw),
            "suppress": torch.rand(n, generator=draw) < 0.3,
        }
        for n in lengths
    ]


def one_at_a_time(model, rows, weight):
    """Eq. 9's gradients, a sequence at a time."""
    total, count = 0, 0
    for row in rows:
        losses = forward_losses(model, row["input_ids"][None])[0, 1:]
        sign = torch.where(row["suppress"][1:], -weight, 1.0).to(losses)
        total = total + sign @ losses
        count += len(losses)
    return torch.autograd.grad(total / count, list(model.parameters()))


def trainer_of(model, rows, collator, folder, accumulation=1, **changes):
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    return SuppressionTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=len(rows) // accumulation,
            gradient_accumulation_steps=accumulation,
            max_steps=1,
            max_grad_norm=0,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            save_strategy="no",
            remove_unused_columns=False,
            **changes,
        ),
        train_dataset=rows,
        data_collator=collator,
        optimizers=(optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)),
        objective=Objective(weight=0.5),
    )


def gradients_by(model, rows, collator, folder, accumulation=1):
    before = [p.detach().clone() for p in model.parameters()]
    with full_precision(model):
        trainer_of(model, rows, collator, folder, accumulation).train()
    return [old - new.detach() for old, new in zip(before, model.parameters(), strict=True)]


@pytest.mark.parametrize("family", SEPARATING)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("accumulation", [1, 3])
def test_a_layout_gives_the_gradients_of_one_sequence_a_batch(
    tmp_path, family, layout, accumulation
):
    model, rows = tiny_model(family, **NO_DROPOUT.get(family, {})), examples()
    expected = one_at_a_time(model, rows, 0.5)
    collator = SuppressionCollator(pad=7, layout=layout)
    found = gradients_by(model, rows, collator, tmp_path, accumulation)
    torch.testing.assert_close(found, list(expected), rtol=1e-8, atol=1e-10)


def test_rows_of_several_packed_sequences_are_read_apart(tmp_path):
    """Two rows, each of two sequences, with positions that start anew."""
    model, rows = tiny_model("llama"), examples(lengths=(5, 3, 2, 6))
    expected = one_at_a_time(model, rows, 0.5)
    flat = SuppressionCollator(pad=0, layout="flat")

    def packed(pairs):
        parts = [flat(pair["of"]) for pair in pairs]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    found = gradients_by(model, [{"of": rows[:2]}, {"of": rows[2:]}], packed, tmp_path)
    torch.testing.assert_close(found, list(expected), rtol=1e-8, atol=1e-10)


def test_token_types_reach_the_model(tmp_path):
    model, rows = tiny_model("gpt2", **NO_DROPOUT["gpt2"]), examples()
    seen = []
    model.register_forward_pre_hook(
        lambda _, args, call: seen.append(call.get("token_type_ids")), with_kwargs=True
    )

    def collate(batch):
        laid = SuppressionCollator(pad=0)(batch)
        return {**laid, "token_type_ids": torch.ones_like(laid["input_ids"])}

    plain = one_at_a_time(model, rows, 0.5)
    found = gradients_by(model, rows, collate, tmp_path)
    assert seen[-1].all()
    assert not torch.allclose(found[0], plain[0])  # the second type's embedding is added


@pytest.mark.parametrize("family", ["bloom", "falcon", "mamba", "mpt", "opt"])
def test_a_family_that_looks_across_sequences_is_refused(tmp_path, family):
    collator = SuppressionCollator(pad=0, layout="flat")
    with pytest.raises(InputError, match=f"batch: {family} looks from one sequence"):
        gradients_by(tiny_model(family), examples(), collator, tmp_path)


def test_a_family_that_minds_padding_on_the_left_is_refused(tmp_path):
    """GPT-2 counts positions from the padding on, unless it is told them."""
    left = SuppressionCollator(pad=0, layout="left")

    def unplaced(batch):
        laid = left(batch)
        del laid["position_ids"]
        return laid

    with pytest.raises(InputError, match="batch: gpt2 minds padding on the left"):
        gradients_by(tiny_model("gpt2"), examples(), unplaced, tmp_path)


def test_an_all_seeing_mask_over_several_sequences_is_refused(tmp_path):
    flat = SuppressionCollator(pad=0, layout="flat")

    def masked(batch):
        laid = flat(batch)
        return {**laid, "attention_mask": torch.ones_like(laid["input_ids"])}

    with pytest.raises(InputError, match="without an attention mask"):
        gradients_by(tiny_model("llama"), examples(), masked, tmp_path)


def test_transformers_own_flattening_is_understood(tmp_path):
    model, rows = tiny_model("llama"), examples()
    expected = one_at_a_time(model, rows, 0.5)
    theirs = DataCollatorWithFlattening()

    def flattened(batch):
        laid = theirs([{"input_ids": row["input_ids"].tolist()} for row in batch])
        return {**laid, "suppress": torch.cat([row["suppress"] for row in batch])[None]}

    found = gradients_by(model, rows, flattened, tmp_path)
    torch.testing.assert_close(found, list(expected), rtol=1e-8, atol=1e-10)


def test_a_mask_of_another_length_is_refused():
    with pytest.raises(InputError, match="suppress: an example has 2 of them for 3 tokens"):
        SuppressionCollator(pad=0)([{"input_ids": [1, 2, 3], "suppress": [True, False]}])


def test_one_process_with_several_gpus_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingArguments, "n_gpu", 2)
    with pytest.raises(InputError, match="sees 2 GPUs"):
        trainer_of(tiny_model("llama"), examples(), SuppressionCollator(pad=0), tmp_path)
