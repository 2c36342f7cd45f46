"""What the trainers' own libraries make of an export: the same tokens, and our loss.

trl is a dependency of the tests; the others have environments that benchmarks/trainers/install.py
makes. A test whose environment is missing is skipped. Fast-LLM is on no package index: its spans
are read here as its preparator's source reads them. The model is in float64; transformers and
OLMo-core take the loss itself in float32, which the tolerance says. Trainers divide by the tokens
that are learnt, so ``suppression_loss`` is given that count.
"""

import json
import os
import subprocess
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from table_of_masks import CHECKS, environment

from ifguide.masks.export import export_mask
from ifguide.training.config import Objective
from ifguide.training.objectives import suppression_loss

from .conftest import LENGTH, TEXTS, selected_characters

SCRIPTS = Path(__file__).parent / "libraries"
MASKING = Objective(kind="masking")


@pytest.fixture(scope="session")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def ours(masked, model):
    """Our loss over all blocks, its mean over the tokens that are learnt."""
    tokens = torch.from_numpy(np.array(masked.corpus.tokens)).long()
    suppress = torch.from_numpy(masked.selection.suppress)
    has_loss = torch.from_numpy(masked.corpus.has_loss.copy())
    count = int((has_loss & ~suppress).sum())
    with torch.no_grad():
        logits = model(tokens).logits
    loss = suppression_loss(logits, tokens, suppress, has_loss, MASKING, count)
    whole = suppression_loss(logits, tokens, suppress, has_loss, MASKING)
    assert loss.item() * count == pytest.approx(whole.item() * int(has_loss.sum()))
    everything = suppression_loss(logits, tokens, torch.zeros_like(suppress), has_loss, MASKING)
    assert loss.item() != pytest.approx(everything.item(), rel=1e-4)
    return {"loss": loss.item(), "learnt": count}


@pytest.fixture
def read(masked, tmp_path, monkeypatch):
    """Exports, and lets a library's script read the export in an environment of its own."""

    def run(name, *arguments):
        folder = export_mask(masked, name, tmp_path / name)
        python = environment(name)
        if not python.exists():
            pytest.skip(f"no environment of {CHECKS[name].library}: benchmarks/trainers/install.py")
        words = [python, "-W", "ignore", SCRIPTS / f"{name}.py", folder, *arguments]
        variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run(
            [*map(str, words)], env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


# trl 1.16 sets an old name of transformers itself
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning")
def test_trl(masked, model, ours, tmp_path):
    from trl import SFTConfig, SFTTrainer

    folder = export_mask(masked, "trl", tmp_path / "trl")
    rows = datasets.load_from_disk(str(folder / "data"))
    assert version("trl").partition(".")[0] == "1"
    arguments = SFTConfig(
        output_dir=str(tmp_path / "out"),
        max_length=LENGTH,
        per_device_train_batch_size=len(rows),
        report_to=[],
        use_cpu=True,
        bf16=False,
    )
    trainer = SFTTrainer(
        model=model, args=arguments, train_dataset=rows, processing_class=masked.tokenizer
    )
    (batch,) = trainer.get_train_dataloader()
    assert int((batch["labels"] != -100).sum()) == ours["learnt"]
    with torch.no_grad():
        loss = trainer.compute_loss(model, batch)
    assert loss.item() == pytest.approx(ours["loss"], rel=1e-6)


def test_olmo(read, masked, saved, ours):
    end = masked.corpus.end_of_text
    found = read("olmo", saved, LENGTH, masked.vocabulary, end)
    assert found["blocks"] == len(masked.corpus.tokens)
    assert found["learnt"] == ours["learnt"]
    assert found["loss"] == pytest.approx(ours["loss"], rel=1e-6)


def test_datatrove(read, masked, saved, ours, tmp_path):
    found = read("datatrove", saved, LENGTH - 1, 2, tmp_path / "merged")
    assert found["merged"] == [True, True]
    assert found["blocks"] == len(masked.corpus.tokens)
    assert found["learnt"] == ours["learnt"]
    assert found["loss"] == pytest.approx(ours["loss"], rel=1e-9)


def test_megatron(read, masked, saved, ours):
    found = read("megatron", saved, LENGTH, masked.vocabulary, masked.corpus.end_of_text)
    tokens = np.asarray(masked.corpus.tokens).tolist()
    lost = len(tokens) - len(found["rows"])  # an epoch may end within its last block
    assert lost in (0, 1)
    assert all(row in tokens for row in found["rows"])
    if not lost:
        assert found["rows"] == sorted(tokens)
        assert found["learnt"] == ours["learnt"]
        assert found["loss"] == pytest.approx(ours["loss"], rel=1e-9)


def loss_of_text(model, ids, suppress):
    """Our loss of one document that stands alone, its mean over the tokens that are learnt."""
    tokens = torch.tensor([ids])
    mask = torch.tensor([suppress])
    has_loss = torch.ones_like(mask)
    has_loss[0, 0] = False
    with torch.no_grad():
        logits = model(tokens).logits
    count = int((has_loss & ~mask).sum())
    return suppression_loss(logits, tokens, mask, has_loss, MASKING, count).item()


def documents_of(masked):
    """Each document's token ids and mask: what shares a selected character is selected too."""
    corpus, chosen = masked.corpus, selected_characters(masked)
    for number in range(len(corpus.documents)):
        of = corpus.document == number
        spans = zip(corpus.start[of].tolist(), corpus.end[of].tolist(), strict=True)
        by_character = [not chosen[number].isdisjoint(range(*span)) for span in spans]
        by_character[-1] = bool(masked.selection.suppress[of][-1])  # end-of-text has none
        yield corpus.tokens[of].tolist(), by_character


def test_axolotl(read, masked, model, saved, tmp_path):
    masked.tokenizer.save_pretrained(tmp_path / "tokenizer")
    found = read("axolotl", saved, tmp_path / "tokenizer")
    assert len(found) == len(TEXTS)
    same = 0
    for row, (ids, suppress) in zip(found, documents_of(masked), strict=True):
        if row["input_ids"] != ids:
            continue  # its segments are cut otherwise alone
        same += 1
        labels = [-100 if out else token for token, out in zip(ids, suppress, strict=True)]
        assert row["labels"] == labels
        assert row["loss"] == pytest.approx(loss_of_text(model, ids, suppress), rel=1e-6)
    assert same
    said = f"{len(TEXTS) - same:,} of {len(TEXTS):,} documents are cut"
    assert said in (tmp_path / "axolotl" / "README.md").read_text()


def test_dolma(read, masked):
    chosen = selected_characters(masked)
    expected = [
        "".join(c for k, c in enumerate(text) if k not in out)
        for text, out in zip(TEXTS, chosen, strict=True)
    ]
    assert read("dolma") == expected


def test_fast_llm_as_its_source_reads_it(masked, model, tmp_path):
    """``tokenize_with_spans``: pieces between the spans' bounds, beginning and end put around.

    From fast_llm/data/preparation/tokenizer.py; labels within a span are left out.
    """
    tokenizer = masked.tokenizer
    folder = export_mask(masked, "fast-llm", tmp_path / "fast-llm")
    same = 0
    for row, (ids, suppress) in zip(
        pq.read_table(folder / "documents.parquet").to_pylist(), documents_of(masked), strict=True
    ):
        spans = [(begin, last + 1) for begin, last in row["loss_masking_spans"]]
        bounds = [0, *(bound for span in spans for bound in span), len(row["text"])]
        tokens, mask = [tokenizer.bos_token_id], [False]
        for number, (begin, end) in enumerate(pairwise(bounds)):
            piece = tokenizer.encode(row["text"][begin:end], add_special_tokens=False)
            tokens, mask = tokens + piece, mask + [number % 2 == 1] * len(piece)
        if tokens[1:] != ids[:-1] or suppress[-1]:
            continue
        same += 1
        assert mask[1:] == suppress[:-1]
        before = [tokenizer.bos_token_id, *ids]
        loss = loss_of_text(model, before, [False, *suppress])
        with torch.no_grad():
            logits = model(torch.tensor([[*tokens, ids[-1]]])).logits[0, :-1]
        labels = torch.tensor([*tokens[1:], ids[-1]])
        labels[torch.tensor([*mask[1:], False])] = -100
        assert torch.nn.functional.cross_entropy(logits, labels).item() == pytest.approx(loss)
    assert same


def test_spans(masked, tmp_path):
    folder = export_mask(masked, "spans", tmp_path / "spans")
    lines = datasets.load_dataset(
        "json",
        data_files=str(folder / "spans.jsonl"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    found = {
        line["id"]: {k for start, end, _ in line["spans"] for k in range(int(start), int(end))}
        for line in lines
    }
    names = [document.id for document in masked.corpus.documents]
    assert found == dict(zip(names, selected_characters(masked), strict=True))
