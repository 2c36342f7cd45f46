"""Continuations by HTTP, from a server on this machine that serves a tiny model's own logits."""

from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from completions import nucleus, serving
from micro import run, write_settings
from tiny import tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from ifguide.corpus.builtin import builtin_posts
from ifguide.corpus.starts import text_start
from ifguide.corpus.tokenizers import ids_of, train_tokenizer
from ifguide.errors import InputError
from ifguide.evaluation import served
from ifguide.evaluation.config import Sampling, Server
from ifguide.evaluation.generate import sample_continuations
from ifguide.evaluation.served import served_continuations

PROMPTS = ["the garden is", "you are", "a"]


def at(server, **changes):
    url = f"http://127.0.0.1:{server.server_port}/v1"
    return Server(**{"url": url, "model": "tiny", "together": 2, **changes})


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([post.text for post in builtin_posts(60, seed=0)], 300)


@pytest.fixture(scope="module")
def model(tokenizer):
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.eos_token_id}
    sharp = tiny_model("llama", torch.float32, vocab_size=300, max_position_embeddings=64, **ends)
    whole = ["\ufffd" not in tokenizer.decode([token]) for token in range(300)]
    with torch.no_grad():  # a few likely tokens, each a text of its own, so that frequencies tell
        sharp.lm_head.weight.mul_(torch.tensor(whole)[:, None] * 3.0)
    return sharp


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(served.time, "sleep", lambda seconds: None)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_the_likeliest_tokens_are_those_of_the_model_here(model, tokenizer):
    sampling = Sampling(samples=2, tokens=6, temperature=0.0)
    here = sample_continuations(model, tokenizer, PROMPTS, sampling, 0)
    with serving(model, tokenizer) as server:
        there = served_continuations(at(server), tokenizer, PROMPTS, sampling, 0)
        asked = {tuple(body["prompt"]) for _, body, _ in server.asked}
    assert there == here
    assert len(set(here[0])) == 1
    assert asked == {(*text_start(tokenizer), *ids_of(tokenizer, p)) for p in PROMPTS}


def test_both_draw_from_the_same_nucleus(model, tokenizer):
    """A token's share among 600 draws is within 4 deviations of its probability, on both sides."""
    sampling = Sampling(samples=600, tokens=1, top_p=0.6, temperature=0.8, batch_size=600)
    ids = [*text_start(tokenizer), *ids_of(tokenizer, PROMPTS[0])]
    with torch.no_grad():
        p = nucleus(model(torch.tensor([ids])).logits[0, -1], 0.8, 0.6)
    exact = Counter()
    for token in np.flatnonzero(p):
        exact[tokenizer.decode([token], skip_special_tokens=True)] += float(p[token])
    with serving(model, tokenizer) as server:
        there = served_continuations(at(server), tokenizer, PROMPTS[:1], sampling, 7)
    here = sample_continuations(model, tokenizer, PROMPTS[:1], sampling, 7)
    assert len(exact) > 1
    for (texts,) in (there, here):
        drawn = Counter(texts)
        assert set(drawn) <= set(exact)
        for text, share in exact.items():
            bound = 4 * (share * (1 - share) / 600) ** 0.5 + 1 / 600
            assert abs(drawn[text] / 600 - share) < bound, text


def test_a_server_that_gives_fewer_at_once_is_asked_again_with_other_seeds(model, tokenizer):
    sampling = Sampling(samples=5, tokens=3)
    counted = []
    with serving(model, tokenizer, most=2) as server:
        found = served_continuations(
            at(server), tokenizer, PROMPTS, sampling, 1, progress=counted.append
        )
        seeds = [body["seed"] for _, body, _ in server.asked]
    assert [len(texts) for texts in found] == [5, 5, 5]
    assert len(set(seeds)) == len(seeds) == 9
    assert sum(counted) > 0


def test_cuts_of_the_servers_own_are_turned_off_and_the_key_is_sent(model, tokenizer, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    sampling = Sampling(samples=1, tokens=2)
    with serving(model, tokenizer) as server:
        served_continuations(at(server), tokenizer, PROMPTS[:1], sampling, 1)
        served_continuations(at(server, extra={}), tokenizer, PROMPTS[:1], sampling, 1)
    (path, first, headers), (_, second, _) = server.asked
    assert path == "/v1/completions"
    assert (first["top_k"], first["min_p"], first["repetition_penalty"]) == (-1, 0.0, 1.0)
    assert "top_k" not in second
    assert headers["Authorization"] == "Bearer a-key"


def test_a_busy_server_is_asked_again(model, tokenizer):
    sampling = Sampling(samples=1, tokens=2)
    failures = [(503, b"busy"), (429, b"slow down"), (200, b"no json")]
    with serving(model, tokenizer, failures=failures) as server:
        found = served_continuations(at(server), tokenizer, PROMPTS[:1], sampling, 1)
        assert len(server.asked) == 4
    assert len(found[0]) == 1


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ((400, b"too\nlong"), "(status 400: too long)"),
        ((307, b""), "(status 307"),
        ((200, b"[]"), "the answer has no list 'choices'"),
        ((200, b'{"choices": [{}]}'), "a choice has no 'text'"),
        ((200, b'{"choices": []}'), "gives no continuation"),
    ],
)
def test_what_a_server_should_not_answer_is_one_line(failure, said, model, tokenizer):
    with (
        serving(model, tokenizer, failures=[failure] * 3) as server,
        pytest.raises(InputError) as refused,
    ):
        served_continuations(
            at(server), tokenizer, PROMPTS[:1], Sampling(tokens=2), 1, "suppressed"
        )
    line = str(refused.value)
    assert said in line
    assert line.startswith("evaluation.servers.suppressed.url: ")
    assert "\n" not in line
    assert len(server.asked) == 1


def test_no_server_at_all_is_one_line(model, tokenizer):
    with serving(model, tokenizer) as server:
        gone = at(server, retries=1, timeout=5.0)
    with pytest.raises(InputError, match="gives no answer"):
        served_continuations(gone, tokenizer, PROMPTS, Sampling(tokens=2), 1)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("file:///etc/passwd", "is no address"),
        ("localhost:8000", "is no address"),
        ("http://me:secret@localhost/v1", "holds a password"),
        ("http://[::1/v1", "is no address"),
    ],
)
def test_what_is_no_address_is_refused(url, said):
    with pytest.raises(InputError, match=said):
        Server(url=url, model="m")


def test_a_run_s_baseline_is_continued_where_it_is_served(tmp_path):
    """With the likeliest tokens the server's continuations are those that were drawn here."""
    changes = {"evaluation__sampling": {"samples": 1, "tokens": 4, "temperature": 0}}
    out = tmp_path / "run"
    assert run("evaluate", write_settings(tmp_path, **changes), out) == 0
    files = sorted((out / "sample" / "baseline").glob("samples-*.parquet"))
    before = [pq.read_table(file).to_pylist() for file in files]
    tokenizer = AutoTokenizer.from_pretrained(out / "baseline")
    model = AutoModelForCausalLM.from_pretrained(out / "baseline")
    with serving(model, tokenizer) as server:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        servers = {"baseline": {"url": url, "model": "b"}}
        config = write_settings(tmp_path, **changes, evaluation__servers=servers)
        assert run("evaluate", config, out, "--replace") == 0
        assert len(server.asked) == sum(map(len, before))
    assert [pq.read_table(file).to_pylist() for file in files] == before
    assert run("evaluate", config, out) == 0  # it stands, and the server is gone


def test_a_model_that_no_run_has_is_refused(tmp_path, refused):
    servers = {"other": {"url": "http://localhost/v1", "model": "m"}}
    config = write_settings(tmp_path, evaluation__servers=servers)
    assert "evaluation.servers: 'other' is no model" in refused("run", config, "--out", tmp_path)
