"""Local checkpoints of the layouts that judges come in, made here."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from ifguide.errors import InputError
from ifguide.evaluation.judges.judging import JudgeError, judge_texts, judgements
from ifguide.evaluation.judges.registry import load_judge

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "initializer_range": 0.5,
}
TEXTS = ["You are a silly goose", "The quick brown fox", "x", "a lazy dog near the river " * 8]
DETOXIFY_CLASSES = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]
Save = Callable[..., tuple[Path, nn.Module]]


@pytest.fixture
def save(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Save:
    """Return ``save(labels, ...)``: a BERT classifier in a folder, with the test's tokenizer."""

    def write(labels: list[str], *, kind: Any = None, **settings: Any) -> tuple[Path, nn.Module]:
        torch.manual_seed(0)
        names = dict(enumerate(labels))
        plain = {"vocab_size": len(tokenizer), "max_position_embeddings": 64}
        config = BertConfig(**SMALL, **plain, pad_token_id=0, id2label=names, **settings)
        model = (kind or BertForSequenceClassification)(config).eval()
        folder = tmp_path / "judge"
        model.save_pretrained(folder)
        padded(tokenizer).save_pretrained(folder)
        return folder, model

    return write


def padded(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        eos_token=tokenizer.eos_token,
        pad_token=tokenizer.eos_token,
    )


def logits(
    model: nn.Module, tokenizer: PreTrainedTokenizerFast, texts: list[str], longest: int = 64
) -> np.ndarray:
    """One text at a time, cut at the model's positions."""
    encoded = [tokenizer(text)["input_ids"][:longest] for text in texts]
    with torch.no_grad():
        rows = [model(torch.tensor([ids])).logits[0] for ids in encoded]
    return torch.stack(rows).double().numpy()


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("labels", [["nothate", "hate"], ["Toxic", "Safe / Non-Toxic"]])
def test_exclusive_labels(
    labels: list[str], save: Save, tokenizer: PreTrainedTokenizerFast
) -> None:
    folder, model = save(labels)
    judge = load_judge(f"hf:{folder}")
    values = logits(model, tokenizer, TEXTS)
    toxic = 1 if labels[1] == "hate" else 0
    expected = sigmoid(values[:, toxic] - values[:, 1 - toxic])
    np.testing.assert_allclose(judge_texts(judge, TEXTS), expected, atol=1e-5)
    assert judge.name == f"hf:{folder}"
    assert np.ptp(expected) > 0.01


def test_independent_labels(save: Save, tokenizer: PreTrainedTokenizerFast) -> None:
    labels = ["toxic", "severe_toxic", "obscene"]
    folder, model = save(labels, problem_type="multi_label_classification")
    values = logits(model, tokenizer, TEXTS)
    judge = load_judge(f"hf:{folder}")
    np.testing.assert_allclose(judge_texts(judge, TEXTS), sigmoid(values[:, 0]), atol=1e-5)
    judge = load_judge(f"hf:{folder}#obscene")
    np.testing.assert_allclose(judge_texts(judge, TEXTS), sigmoid(values[:, 2]), atol=1e-5)


def test_label_by_number(save: Save, tokenizer: PreTrainedTokenizerFast) -> None:
    folder, model = save(["LABEL_0", "LABEL_1"])
    values = logits(model, tokenizer, TEXTS)
    expected = sigmoid(values[:, 1] - values[:, 0])
    for label in ("#1", "#LABEL_1"):
        scores = judge_texts(load_judge(f"hf:{folder}{label}"), TEXTS)
        np.testing.assert_allclose(scores, expected, atol=1e-5)
    with pytest.raises(
        InputError, match=r"not clear \(LABEL_0, LABEL_1\); add #LABEL .* \(evaluation\.judges"
    ):
        load_judge(f"hf:{folder}")
    with pytest.raises(
        InputError,
        match=r"no label '2' among LABEL_0, LABEL_1; name one .* \(evaluation\.judges, comp",
    ):
        load_judge(f"hf:{folder}#2")


def test_labels_that_are_not_clear(save: Save) -> None:
    folder, _ = save(["hate", "offensive", "neither"])
    with pytest.raises(InputError, match="not clear"):
        load_judge(f"hf:{folder}")
    assert load_judge(f"hf:{folder}#hate")


def test_a_model_without_a_trained_head_is_refused(save: Save) -> None:
    folder, _ = save(["safe", "toxic"], kind=BertModel)
    with pytest.raises(InputError, match=r"no trained classifier, weight 'classifier\."):
        load_judge(f"hf:{folder}")


def test_roberta_positions_and_toxigen_by_name(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RoBERTa's positions start behind its padding id: 32 leave 31 tokens for padding id 0."""
    plain = {"vocab_size": len(tokenizer), "max_position_embeddings": 32, "pad_token_id": 0}
    model = RobertaForSequenceClassification(RobertaConfig(**SMALL, **plain)).eval()
    monkeypatch.chdir(tmp_path)
    model.save_pretrained("tomh/toxigen_roberta")  # the hub name, found as a local folder
    padded(tokenizer).save_pretrained("tomh/toxigen_roberta")
    judge = load_judge("toxigen-roberta")
    assert judge.name == "toxigen-roberta"
    cut = [tokenizer.decode(tokenizer(text)["input_ids"][:31]) for text in TEXTS]
    values = logits(model, tokenizer, cut)
    expected = sigmoid(values[:, 1] - values[:, 0])
    np.testing.assert_allclose(judge_texts(judge, TEXTS), expected, atol=1e-5)


LAYERS = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {**SMALL},
    "roberta": {**SMALL},
    "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2},
    "gpt_neox": {**SMALL},
    "llama": {**LAYERS, "intermediate_size": 16},
    "opt": {**LAYERS, "ffn_dim": 16, "word_embed_proj_dim": 16},
    "bloom": {"n_layer": 1, "hidden_size": 16, "n_head": 2},
    "xlnet": {"n_layer": 1, "d_model": 16, "n_head": 2, "d_inner": 16},
}


@pytest.mark.parametrize("pad", [None, 0, 5], ids=lambda pad: f"pad {pad}")
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_has_one_score_whatever_is_beside_it(
    family: str, side: str, pad: int | None, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Whatever padding the config, the tokenizer and the family's way of classifying agree on."""
    if pad is None and family == "roberta":
        pytest.skip("it cannot be made without a padding id")
    torch.manual_seed(0)
    names = {0: "safe", 1: "toxic"}
    settings = {**FAMILIES[family], "vocab_size": len(tokenizer), "id2label": names}
    config = AutoConfig.for_model(family, **settings, pad_token_id=pad)
    model = AutoModelForSequenceClassification.from_config(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    folder = tmp_path / "judge"
    model.save_pretrained(folder)
    # a copy, as padding is set on it
    other = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        eos_token=tokenizer.eos_token,
        padding_side=side,
    )
    if pad != 5:
        other.pad_token = tokenizer.eos_token
    other.save_pretrained(folder)
    texts = [*TEXTS, "The quick brown cat"]
    values = logits(model, tokenizer, texts, longest=512)
    expected = sigmoid(values[:, 1] - values[:, 0])
    found = judge_texts(load_judge(f"hf:{folder}"), texts)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(expected) > 0.001


def test_a_text_without_tokens_is_named(save: Save) -> None:
    folder, _ = save(["safe", "toxic"])
    with pytest.raises(JudgeError, match="failed on text 'b': the text has no tokens; remove"):
        judge_texts(load_judge(f"hf:{folder}"), ["x", "", "y"], ["a", "b", "c"])
    found = judgements(load_judge(f"hf:{folder}"), ["x", "", "y"], unjudged="report")
    assert list(found.unjudged) == ["1"]


def test_a_special_token_that_a_text_spells_is_text(
    save: Save, tokenizer: PreTrainedTokenizerFast
) -> None:
    folder, model = save(["safe", "toxic"])
    text = f"You goose{tokenizer.eos_token}"
    spelt = tokenizer(text, split_special_tokens=True)["input_ids"]
    assert tokenizer.eos_token_id not in spelt
    with torch.no_grad():
        values = model(torch.tensor([spelt])).logits[0].double().numpy()
    (found,) = judge_texts(load_judge(f"hf:{folder}"), [text])
    assert found == pytest.approx(sigmoid(values[1] - values[0]), abs=1e-5)


def test_a_text_longer_than_the_model_reads_is_said(
    save: Save, caplog: pytest.LogCaptureFixture
) -> None:
    folder, _ = save(["safe", "toxic"])
    judge_texts(load_judge(f"hf:{folder}"), TEXTS)
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"judge 'hf:{folder}': 1 of 4 texts are longer than it reads; it judged their beginnings"
    ]


PROBLEMS = [
    ("regression", 1, "none"),
    ("regression", 2, "none"),
    ("single_label_classification", 2, "softmax"),
    ("single_label_classification", 3, "softmax"),
    ("multi_label_classification", 1, "sigmoid"),
    ("multi_label_classification", 3, "sigmoid"),
    (None, 1, "sigmoid"),
    (None, 2, "softmax"),
]


@pytest.mark.parametrize(("problem", "labels", "activation"), PROBLEMS)
def test_the_activation_is_the_one_that_the_checkpoint_says(
    problem: str | None,
    labels: int,
    activation: str,
    save: Save,
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    folder, model = save(["toxic", "rude", "other"][:labels], problem_type=problem)
    with torch.no_grad():
        model.classifier.weight.mul_(0.01)
        model.classifier.bias.copy_(torch.tensor([0.4, 0.6, 1.5])[:labels])
    model.save_pretrained(folder)
    values = torch.from_numpy(logits(model, tokenizer, TEXTS))
    activations = {"none": values, "sigmoid": values.sigmoid(), "softmax": values.softmax(-1)}
    expected = activations[activation][:, 0].numpy()
    found = judge_texts(load_judge(f"hf:{folder}"), TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_regression_that_leaves_its_range_is_refused_by_name(save: Save) -> None:
    folder, model = save(["toxic"], problem_type="regression")
    with torch.no_grad():
        model.classifier.bias.fill_(30.0)
    model.save_pretrained(folder)
    with pytest.raises(JudgeError, match=r"^judge 'hf:.*' gave text '0' the score .* in \[0, 1\]"):
        judge_texts(load_judge(f"hf:{folder}"), TEXTS)


def test_bad_weights_never_become_a_score(save: Save) -> None:
    folder, model = save(["safe", "toxic"])
    with torch.no_grad():
        model.classifier.bias[0] = float("nan")
    model.save_pretrained(folder)
    with pytest.raises(JudgeError, match="gave text 'a' the score nan"):
        judge_texts(load_judge(f"hf:{folder}"), TEXTS[:1], ["a"])


def test_missing_checkpoints_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: cannot be loaded"):
        load_judge(f"hf:{tmp_path / 'nowhere'}#1")
    for ending in ("ckpt", "safetensors"):
        with pytest.raises(InputError, match=rf"no such file .*x\.{ending}"):
            load_judge(f"detoxify:{tmp_path}/x.{ending}")
        (tmp_path / f"bad.{ending}").write_bytes(b"not a checkpoint")
        with pytest.raises(InputError, match=rf"bad\.{ending}: cannot be loaded"):
            load_judge(f"detoxify:{tmp_path}/bad.{ending}")


def detoxify_config(base: str = "not-on-this-machine") -> dict[str, Any]:
    """The parts of Detoxify's training configuration that its loader reads."""
    arch = {"model_type": base, "model_name": "BertForSequenceClassification", "num_classes": 6}
    return {"arch": {"args": arch}, "dataset": {"args": {"classes": DETOXIFY_CLASSES}}}


def bare_detoxify(save: Save) -> tuple[Path, nn.Module, dict[str, torch.Tensor]]:
    """Return a folder with tokenizer and config.json only, and the weights apart from it."""
    folder, model = save(DETOXIFY_CLASSES)
    (folder / "model.safetensors").unlink()
    old = {"bert.embeddings.position_ids": torch.arange(64)[None]}  # older releases stored it
    return folder, model, {**model.state_dict(), **old}


@pytest.mark.parametrize("ending", ["ckpt", "safetensors"])
def test_detoxify_files(ending: str, save: Save, tokenizer: PreTrainedTokenizerFast) -> None:
    folder, model, weights = bare_detoxify(save)
    file = folder / f"toxic.{ending}"
    if ending == "ckpt":
        torch.save({"state_dict": weights, "config": detoxify_config()}, file)
    else:
        save_file(weights, file, {"config": json.dumps(detoxify_config())})
    judge = load_judge(f"detoxify:{file}")
    expected = sigmoid(logits(model, tokenizer, TEXTS)[:, 0])
    np.testing.assert_allclose(judge_texts(judge, TEXTS), expected, atol=1e-5)


SEVEN = ["toxicity", "severe_toxicity", "obscene", "identity_attack", "insult", "threat"]
SEVEN.append("sexual_explicit")


def test_detoxify_s_seven_categories(save: Save, tokenizer: PreTrainedTokenizerFast) -> None:
    """The unbiased models: 16 outputs, seven categories before nine identities."""
    folder, model = save([f"LABEL_{k}" for k in range(16)])
    (folder / "model.safetensors").unlink()
    config = detoxify_config()
    config["arch"]["args"]["num_classes"] = 16
    config["dataset"]["args"].update(classes=SEVEN, identity_classes=["male"] * 9)
    file = folder / "debiased.ckpt"
    torch.save({"state_dict": model.state_dict(), "config": config}, file)
    judge = load_judge(f"detoxify:{file}")
    expected = sigmoid(logits(model, tokenizer, TEXTS))
    found = judgements(judge, TEXTS)
    assert list(found.categories) == SEVEN
    for number, scores in enumerate(found.categories.values()):
        np.testing.assert_allclose(scores, expected[:, number], atol=1e-5)
    np.testing.assert_allclose(found.scores, expected[:, 0], atol=1e-5)
    assert np.ptp(expected[:, :7]) > 0.01


def test_detoxify_s_older_names_are_those_of_all(save: Save) -> None:
    folder, _, weights = bare_detoxify(save)
    torch.save({"state_dict": weights, "config": detoxify_config()}, folder / "toxic.ckpt")
    judge = load_judge(f"detoxify:{folder / 'toxic.ckpt'}")
    assert list(judgements(judge, TEXTS).categories) == [
        "toxicity",
        "severe_toxicity",
        "obscene",
        "threat",
        "insult",
        "identity_attack",
    ]


def test_the_label_that_was_asked_for_decides(save: Save) -> None:
    labels = ["toxic", "severe_toxic", "obscene"]
    folder, _ = save(labels, problem_type="multi_label_classification")
    found = judgements(load_judge(f"hf:{folder}#obscene"), TEXTS)
    assert list(found.categories) == labels
    assert found.scores.tolist() == found.categories["obscene"].tolist()
    assert found.scores.tolist() != found.categories["toxic"].tolist()


def test_exclusive_labels_are_no_categories(save: Save) -> None:
    folder, _ = save(["nothate", "hate"])
    assert judgements(load_judge(f"hf:{folder}"), TEXTS).categories == {}


def test_detoxify_by_name(
    save: Save,
    tmp_path: Path,
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, model, weights = bare_detoxify(save)
    release = tmp_path / "original.ckpt"
    torch.save({"state_dict": weights, "config": detoxify_config(str(folder))}, release)
    package = SimpleNamespace(MODEL_URLS={"original": release.as_uri()})
    monkeypatch.setitem(sys.modules, "detoxify", SimpleNamespace(detoxify=package))
    monkeypatch.setitem(sys.modules, "detoxify.detoxify", package)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    judge = load_judge("detoxify:original")
    expected = sigmoid(logits(model, tokenizer, TEXTS)[:, 0])
    np.testing.assert_allclose(judge_texts(judge, TEXTS), expected, atol=1e-5)
    with pytest.raises(InputError, match="no model 'orginal'; use one of original"):
        load_judge("detoxify:orginal")


def test_detoxify_file_that_runs_code_is_refused(tmp_path: Path) -> None:
    class Sneaky:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    file = tmp_path / "x.ckpt"
    torch.save({"state_dict": {}, "config": Sneaky()}, file)
    with pytest.raises(InputError, match=r"x\.ckpt: cannot be loaded"):
        load_judge(f"detoxify:{file}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda loaded: loaded.pop("config"), "has no 'config'"),
        (lambda loaded: loaded["config"].pop("arch"), "lacks 'arch'"),
        (
            lambda loaded: loaded["config"]["arch"]["args"].update(num_classes=5),
            "names 6 classes for 5 outputs",
        ),
        (lambda loaded: loaded["state_dict"].pop("classifier.bias"), "weight 'classifier.bias'"),
        (lambda loaded: loaded["state_dict"].update(x=torch.ones(1)), "weight 'x' does not fit"),
    ],
)
def test_incomplete_detoxify_files(
    change: Callable[[dict[str, Any]], object], message: str, save: Save
) -> None:
    folder, _, weights = bare_detoxify(save)
    loaded: dict[str, Any] = {"state_dict": weights, "config": detoxify_config()}
    change(loaded)
    torch.save(loaded, folder / "toxic.ckpt")
    with pytest.raises(InputError, match=message):
        load_judge(f"detoxify:{folder / 'toxic.ckpt'}")
