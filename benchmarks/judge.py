"""A judge of toxicity that reads context, trained from a pretrained language model.

    python benchmarks/judge.py MODEL --data DIR --folder FOLDER [--depth D] [--layers N]
    python benchmarks/judge.py --quick

MODEL is a GGUF file, a checkpoint's folder or a name on the hub; DIR the folder of real text. A
sequence classifier is trained on tweets and on ParaDetox, never on civil comments, and saved into
FOLDER as an ordinary checkpoint with a card: `evaluation.judges: ["hf:FOLDER"]` grades with it. It
is made of the model's first D blocks (by default all), of which the last N learn. Then it is asked,
by that name, about texts that it has not seen, and so is every judge of --beside. Started again it
goes on: training from its last checkpoint, the asking from the last set. One thread.
"""

from __future__ import annotations

import argparse
import copy
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from judge_card import card, render
from judge_texts import Asked, Labelled, asked_about, learnt_from
from sklearn.metrics import roc_auc_score
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerBase, Trainer
from transformers.utils import logging as transformers_logging

from ifguide import InputError
from ifguide.corpus.config import TokenizerConfig
from ifguide.corpus.tokenizers import end_of_text, load_tokenizer
from ifguide.evaluation.judges.judging import judge_texts
from ifguide.evaluation.judges.registry import load_judge
from ifguide.evaluation.metrics import percentile_interval
from ifguide.files import read_json, write_json, write_text
from ifguide.models.config import ModelConfig
from ifguide.models.load import load_model
from ifguide.models.losses import embedding_of
from ifguide.models.tracked import find_blocks
from ifguide.run.progress import progress_line
from ifguide.training.arguments import training_arguments
from ifguide.training.config import Hyperparameters
from ifguide.training.running import remove_checkpoint, run_trainer

LABELS = ("neutral", "toxic")
BINS = 10  # of the calibration error
RESAMPLES = 200
TEXTS_A_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the judge, kept beside it: a folder belongs to its settings.

    Args:
        model: what the training started from.
        depth: the first blocks of the model, which the judge is made of; null means all.
        layers: the last of these, which learn.
        epochs: passes over the texts.
        learning_rate: of AdamW.
        tokens: a text's longest beginning that is learnt from.
        limit: at most this many texts are learnt from.
        most: at most this many texts a side of each set are asked about.
        seed: draws what is held out, the order, and the head's first weights.
    """

    model: str
    depth: int | None
    layers: int
    epochs: float
    learning_rate: float
    tokens: int
    limit: int | None
    most: int
    seed: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 0, or 2 after one line about input that cannot be used."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parsed = _parser().parse_args(given)
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            if parsed.quick:
                from judge_quick import make_inputs

                parsed.model, parsed.data = make_inputs(Path(scratch))
                parsed.folder = parsed.folder or Path(scratch) / "judge"
            if None in (parsed.model, parsed.data, parsed.folder):
                raise InputError("give MODEL, --data and --folder, or --quick")
            settings = Settings(
                **{name: getattr(parsed, name) for name in Settings.__annotations__}
            )
            page = made(settings, parsed, shlex.join(["python", "benchmarks/judge.py", *given]))
    except InputError as error:
        print(f"judge: error: {error}", file=sys.stderr)
        return 2
    print(page, end="")
    return 0


def made(settings: Settings, parsed: argparse.Namespace, command: str) -> str:
    """Train unless that is done, ask what is not asked yet, and return the page."""
    folder: Path = parsed.folder
    table = _begun(folder, settings)
    texts = learnt_from(parsed.data, settings.seed)[: settings.limit]
    table |= {"learnt_from": len(texts), "toxic": sum(toxic for _, toxic in texts)}
    if not (folder / "figures" / "trained.json").exists():
        train_judge(settings, texts, folder, quiet=parsed.quiet)
        write_json(folder / "figures" / "trained.json", table)
    sets = asked_about(parsed.data, settings.seed, settings.most)
    for name in (f"hf:{folder}", *parsed.beside):
        for asked in sets:
            kept = folder / "figures" / f"{_plain(name, folder)}-{_plain(asked.name, folder)}.json"
            if not kept.exists():
                kept.parent.mkdir(exist_ok=True)
                write_json(kept, ask(name, asked, parsed))
            row = {"judge": "this one" if name == f"hf:{folder}" else name, "texts": asked.name}
            table["rows"].append({**row, **read_json(kept)})
    table["meaning"] = {asked.name: asked.meaning for asked in sets}
    table |= {"command": command, "date": date.today().isoformat(), "torch": torch.__version__}
    write_text(folder / "README.md", card(table))
    if parsed.out:
        write_text(parsed.out, render(table))
        write_json(parsed.out.with_suffix(".json"), table)
    return render(table)


def _begun(folder: Path, settings: Settings) -> dict[str, Any]:
    """Return a table without rows of a folder that belongs to the settings.

    Raises:
        InputError: it belongs to others, or is somebody else's.
    """
    kept = folder / "figures" / "settings.json"
    wanted = {**asdict(settings), "model": Path(settings.model).name}  # wherever it lies
    if kept.exists():
        found = read_json(kept)
        differing = [name for name in wanted if found.get(name) != wanted[name]]
        if differing:
            name = differing[0]
            raise InputError(
                f"--folder: {folder} was made with {name} {found.get(name)}, not {wanted[name]}; "
                "give another folder"
            )
    elif folder.exists() and any(folder.iterdir()):
        raise InputError(f"--folder: {folder} holds something else; give a new one")
    else:
        kept.parent.mkdir(parents=True)
        write_json(kept, wanted)
    return {"settings": wanted, "rows": []}


def train_judge(settings: Settings, texts: list[Labelled], folder: Path, *, quiet: bool) -> None:
    """Train the classifier, from its last checkpoint where there is one, and save it."""
    model, tokenizer = starting_point(settings)
    examples = encoded(tokenizer, texts, settings.tokens)
    config = Hyperparameters(
        epochs=settings.epochs,
        batch_size=1,  # of batches that are made beforehand
        learning_rate=settings.learning_rate,
        warmup=0.06,
        weight_decay=0.01,
        precision="bfloat16",
        checkpoint_every=50,
    )
    checkpoints = folder / "training"
    trainer = Trainer(
        model=model,
        args=training_arguments(config, checkpoints, settings.seed, model, "judge"),
        train_dataset=batches(examples, settings.seed),
        data_collator=_Padded(end_of_text(tokenizer)),
    )
    total = int(settings.epochs * sum(len(tokens) for tokens, _ in examples))
    with progress_line("training", total, quiet=quiet) as move:
        run_trainer(trainer, checkpoints, "judge", move)
    tokenizer.save_pretrained(folder)
    own = copy.deepcopy(model).to(torch.bfloat16)
    own.save_pretrained(folder)
    for checkpoint in checkpoints.iterdir():
        remove_checkpoint(checkpoint)


def starting_point(settings: Settings) -> tuple[Any, PreTrainedTokenizerBase]:
    """Return a classifier over the pretrained model's blocks, of which the last ones learn.

    Raises:
        InputError: the model or its tokenizer cannot be loaded, or has fewer blocks than learn.
    """
    where = {"gguf" if settings.model.endswith(".gguf") else "path": settings.model}
    tokenizer = load_tokenizer(TokenizerConfig(**where))
    pretrained: Any = load_model(ModelConfig(**where), tokenizer, settings.tokens, settings.seed)
    whole = len(find_blocks(pretrained))
    if not 0 <= settings.layers <= (settings.depth or whole) <= whole:
        raise InputError(
            f"--layers, --depth: {settings.layers} of {settings.depth or whole} blocks are to "
            f"learn, the model has {whole}; give 0 <= layers <= depth <= {whole}"
        )
    config = copy.deepcopy(pretrained.config)
    config.num_hidden_layers = settings.depth or whole
    config.num_labels = len(LABELS)
    config.id2label = dict(enumerate(LABELS))
    config.label2id = {name: k for k, name in enumerate(LABELS)}
    config.pad_token_id = end_of_text(tokenizer)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[: config.num_hidden_layers]
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # a GGUF file's, which is dequantised
    torch.manual_seed(settings.seed)
    model: Any = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    found = model.base_model.load_state_dict(pretrained.base_model.state_dict(), strict=False)
    if found.missing_keys:
        raise InputError(f"{settings.model}: it has no weight '{found.missing_keys[0]}'")
    blocks = find_blocks(model)
    frozen: list[nn.Module] = [embedding_of(model), *blocks[: len(blocks) - settings.layers]]
    for module in frozen:
        module.requires_grad_(False)
    return model, tokenizer


def encoded(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[Labelled], longest: int
) -> list[tuple[list[int], bool]]:
    """Tokenise texts as the judge ``hf`` does; a text longer than ``longest`` loses its end."""
    only = [text for text, _ in texts]
    rows = tokenizer(only, split_special_tokens=True, truncation=True, max_length=longest)
    pairs = zip(rows["input_ids"], (toxic for _, toxic in texts), strict=True)
    return [(tokens, toxic) for tokens, toxic in pairs if tokens]


def batches(
    examples: Sequence[tuple[list[int], bool]], seed: int
) -> list[list[tuple[list[int], bool]]]:
    """Cut examples into batches of like length, so that little is padded."""
    draw = np.random.default_rng(seed).random(len(examples))
    order = sorted(range(len(examples)), key=lambda k: (len(examples[k][0]), draw[k]))
    starts = range(0, len(order), TEXTS_A_BATCH)
    return [[examples[k] for k in order[i : i + TEXTS_A_BATCH]] for i in starts]


class _Padded:
    """Make tensors of a batch of examples, padded on the right."""

    def __init__(self, padding: int) -> None:
        self.padding = padding

    def __call__(self, batch: Sequence[list[tuple[list[int], bool]]]) -> dict[str, torch.Tensor]:
        (examples,) = batch
        width = max(len(tokens) for tokens, _ in examples)
        input_ids = torch.full((len(examples), width), self.padding)
        mask = torch.zeros_like(input_ids)
        for row, (tokens, _) in enumerate(examples):
            input_ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        labels = torch.tensor([int(toxic) for _, toxic in examples])
        return {"input_ids": input_ids, "attention_mask": mask, "labels": labels}


def ask(name: str, asked: Asked, parsed: argparse.Namespace) -> dict[str, Any]:
    """Return what a judge's scores of a set of texts come to."""
    texts = [text for text, _ in asked.texts]
    with progress_line(f"{asked.name} by {name[:24]}", None, quiet=parsed.quiet):
        scores = judge_texts(load_judge(name, parsed.data), texts)
    return figures(scores, np.array([toxic for _, toxic in asked.texts]))


def figures(scores: np.ndarray, toxic: np.ndarray) -> dict[str, Any]:
    """Return how well scores in [0, 1] tell the toxic texts, with 95% bootstrap intervals.

    ``accuracy`` is at 0.5; ``brier`` the mean of (score - label)²; ``calibration_error`` the mean
    over texts of ``|mean score - share of toxic|`` of the text's bin, of ten. A set of one side has
    no AUC.
    """

    def every(scores: np.ndarray, toxic: np.ndarray) -> dict[str, float]:
        both = 0 < toxic.sum() < len(toxic)
        return {
            "auc": float(roc_auc_score(toxic, scores)) if both else float("nan"),
            "accuracy": float(((scores >= 0.5) == toxic).mean()),
            "brier": float(np.square(scores - toxic).mean()),
            "calibration_error": calibration_error(scores, toxic),
            "at_least_half": float((scores >= 0.5).mean()),
        }

    value, rng = every(scores, toxic), np.random.default_rng(0)
    draws = []
    while len(draws) < RESAMPLES:
        drawn = rng.integers(len(scores), size=len(scores))
        if len(np.unique(toxic[drawn])) == len(np.unique(toxic)):
            draws.append(every(scores[drawn], toxic[drawn]))
    found: dict[str, Any] = {
        name: asdict(percentile_interval(one, np.array([draw[name] for draw in draws])))
        for name, one in value.items()
        if np.isfinite(one)
    }
    return {"count": len(toxic), "toxic": int(toxic.sum()), **found}


def calibration_error(scores: np.ndarray, toxic: np.ndarray) -> float:
    """Return the expected calibration error over ``BINS`` bins of equal width."""
    place = np.minimum((scores * BINS).astype(int), BINS - 1)
    size = np.bincount(place, minlength=BINS)
    gap = np.bincount(place, weights=scores - toxic, minlength=BINS)
    return float(np.abs(gap).sum() / size.sum())


def _plain(name: str, folder: Path) -> str:
    """A file's name for a judge or a set of texts."""
    own = name.replace(f"hf:{folder}", "own")
    return "".join(c if c.isalnum() else "_" for c in own)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train a judge of toxicity and ask it.")
    parser.add_argument("model", nargs="?", help="a GGUF file, a checkpoint or a hub name")
    parser.add_argument("--data", type=Path, help="the folder of real text")
    parser.add_argument("--folder", type=Path, help="where the judge goes")
    parser.add_argument("--depth", type=int, help="blocks of the model to keep, the first ones")
    parser.add_argument("--layers", type=int, default=8, help="the last of them, which learn")
    parser.add_argument("--epochs", type=float, default=1.0, help="passes over the texts")
    parser.add_argument("--learning-rate", type=float, default=2e-4, help="of AdamW")
    parser.add_argument("--tokens", type=int, default=64, help="longest text in training")
    parser.add_argument("--limit", type=int, help="learn from at most this many texts")
    parser.add_argument("--most", type=int, default=600, help="texts a side that are asked about")
    parser.add_argument("--seed", type=int, default=1, help="of all that is drawn")
    parser.add_argument("--beside", nargs="*", default=[], help="judges asked the same")
    parser.add_argument("--out", type=Path, help="where the table goes; FILE.json lies beside it")
    parser.add_argument("--quick", action="store_true", help="on a tiny model and texts of its own")
    parser.add_argument("--quiet", action="store_true", help="no progress lines")
    return parser


if __name__ == "__main__":
    sys.exit(main())
