"""TRL's SFTTrainer with the suppression loss in its ``compute_loss``.

python examples/recipes/trl_sft.py RUN MODEL OUT
"""

import sys

import torch
from rows import rows_of
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from ifguide import Objective, SuppressionCollator, predicted_tokens, suppression_loss


class SuppressionSFTTrainer(SFTTrainer):
    """An SFTTrainer whose rows have ``suppress`` beside ``input_ids`` and ``labels``."""

    objective = Objective(kind="clamped", weight=1.0)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return the objective's mean over the tokens of the whole update."""
        call = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        outputs = model(**call, use_cache=False)
        loss = suppression_loss(
            outputs.logits,
            inputs["input_ids"],
            inputs["suppress"],
            predicted_tokens(inputs),
            self.objective,
            num_items_in_batch,
        )
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss


def trainer_of(model, tokenizer, rows, **settings):
    """Return the trainer of rows that are tokenised already."""
    return SuppressionSFTTrainer(
        model=model,
        args=SFTConfig(
            dataset_kwargs={"skip_prepare_dataset": True}, remove_unused_columns=False, **settings
        ),
        train_dataset=rows,
        processing_class=tokenizer,
        data_collator=SuppressionCollator(pad=tokenizer.pad_token_id or 0),
    )


def main(run, start, out):
    """Train one pass over the run's corpus."""
    model = AutoModelForCausalLM.from_pretrained(start)
    tokenizer = AutoTokenizer.from_pretrained(f"{run}/corpus/tokenizer")
    trainer = trainer_of(
        model,
        tokenizer,
        rows_of(run),
        output_dir=out,
        per_device_train_batch_size=8,
        num_train_epochs=1,
        bf16=torch.cuda.is_available(),
        report_to="none",
    )
    trainer.train()
    trainer.save_model(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
