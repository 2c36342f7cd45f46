"""``export-pair`` and ``score --from-logprobs`` on a whole small run."""

import json

import numpy as np
import torch
from micro import contents, manifests, run, write_settings
from transformers import AutoModelForCausalLM, AutoTokenizer


def logprobs(folder, tokens):
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        logits = model(tokens).logits.double()
    found = -torch.nn.functional.cross_entropy(
        logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none"
    )
    return np.pad(found.numpy(), ((0, 0), (1, 0)))


def test_a_run_goes_through_an_engine_of_ones_own(tmp_path, capfd):
    config, out = write_settings(tmp_path), tmp_path / "run"
    assert run("score", config, out) == 0
    computed, whole = json.loads((out / "score/scores.json").read_text()), manifests(out)
    assert run("export-pair", config, out, "--step", "0.003") == 0
    assert whole.items() <= manifests(out).items()  # nothing is made again
    pair = out / "pair"
    assert len(AutoTokenizer.from_pretrained(pair / "plus")) == 400
    tokens = torch.from_numpy(np.load(pair / "tokens.npy")).long()
    files = []
    for name in ("plus", "minus"):
        files.append(str(tmp_path / f"{name}.npy"))
        np.save(files[-1], logprobs(pair / name, tokens))
    given = ["--from-logprobs", *files]
    capfd.readouterr()
    assert run("score", config, out, *given) == 2  # other scores are there
    assert "made with other settings (scores.logprobs." in capfd.readouterr().err
    assert run("score", config, out, *given, "--replace") == 0
    made = json.loads((out / "score/scores.json").read_text())
    assert (computed["engine"], made["engine"]) == ("jvp", "logprobs")
    assert made["spearman"] > 0.99
    assert f"{made['spearman']:.4f}" in capfd.readouterr().out
    before = contents(out)
    assert run("select", config, out, *given) == 0  # from the scores that are there
    assert {k: v for k, v in contents(out).items() if not k.startswith("select")} == before
    kept = manifests(out)["score"]
    assert run("score", config, out, given[0], *files[::-1], "--replace") == 2
    assert "look swapped" in capfd.readouterr().err
    assert run("select", config, out, *given) == 0
    assert manifests(out)["score"] == kept
    missing = str(tmp_path / "missing.npy")
    assert run("score", config, out, "--from-logprobs", missing, files[1]) == 2
    assert "no such file" in capfd.readouterr().err
