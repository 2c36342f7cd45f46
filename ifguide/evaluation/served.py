"""Continuations from a server that speaks the OpenAI API (vLLM, SGLang, llama.cpp, ...).

A prompt is sent as token ids, cut by the run's tokenizer and behind what stands before every text,
so that a served model reads what one in this process would. Only ``/v1/completions`` is asked, by
HTTP.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from transformers import PreTrainedTokenizerBase

from ifguide.corpus.starts import text_start
from ifguide.corpus.tokenizers import encode
from ifguide.errors import InputError, one_line
from ifguide.evaluation.config import KEY, Sampling, Server
from ifguide.evaluation.generate import derived_seed

LARGEST = 1 << 26  # bytes of an answer
BUSY = {408, 409, 425, 429, 500, 502, 503, 504}  # what may be otherwise a moment later
SEEDS = 2**31  # servers keep seeds in 32 bits


def served_continuations(
    server: Server,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    sampling: Sampling,
    seed: int,
    name: str = "baseline",
    progress: Callable[[int], None] = lambda tokens: None,
) -> list[list[str]]:
    """Return ``[prompt][sample]``: the text that the served model puts after each prompt.

    Args:
        server: where it is, and how it is asked.
        tokenizer: the model's.
        prompts: the texts to continue.
        sampling: how to draw; ``batch_size`` is the server's own affair.
        seed: the draws of prompt p come from (seed, p), as far as the server heeds a seed.
        name: of the model, under ``evaluation.servers``, for messages.
        progress: called with the number of tokens just generated.

    Raises:
        InputError: the server cannot be reached, refuses, or answers otherwise than it should.
    """
    start, place = text_start(tokenizer), f"evaluation.servers.{name}"
    cuts = [[*start, *cut.tokens.tolist()] for cut in encode(tokenizer, list(prompts))]
    ask = _Asker(server, sampling, place)
    numbered = [(ids, derived_seed(seed, number) % SEEDS) for number, ids in enumerate(cuts)]
    found = []
    with ThreadPoolExecutor(server.together) as pool:
        try:
            for texts in pool.map(lambda asked: ask(*asked), numbered):
                found.append(texts)
                progress(sum(len(cut.tokens) for cut in encode(tokenizer, texts)))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


class _Asker:
    """Asks a server for all samples of a prompt."""

    def __init__(self, server: Server, sampling: Sampling, place: str) -> None:
        self.server, self.sampling, self.place = server, sampling, place

    def __call__(self, prompt: Sequence[int], seed: int) -> list[str]:
        """Return the continuations; a server that gives fewer at once is asked for the others."""
        found: list[str] = []
        while len(found) < self.sampling.samples:
            missing = self.sampling.samples - len(found)
            answer = self._answer(prompt, missing, (seed + len(found)) % SEEDS)
            texts = list(_texts(answer, self.place))
            if not texts:
                raise InputError(
                    f"{self.place}.url: {self.server.url} gives no continuation; ask it by hand, "
                    "and see its log"
                )
            found += texts[:missing]
        return found

    def _answer(self, prompt: Sequence[int], samples: int, seed: int) -> Any:
        drawn = {"temperature": self.sampling.temperature, "top_p": self.sampling.top_p}
        asked = {
            "model": self.server.model,
            "prompt": list(prompt),
            "max_tokens": self.sampling.tokens,
            "n": samples,
            "seed": seed,
            **drawn,
            **self.server.extra,
        }
        url = f"{self.server.url.rstrip('/')}/completions"
        last = ""
        for attempt in range(self.server.retries + 1):
            if attempt:
                time.sleep(min(30.0, 0.5 * 2 ** (attempt - 1)))
            try:
                return _post(url, asked, self.server.timeout)
            except urllib.error.HTTPError as error:
                last = f"status {error.code}: {_said(error)}"
                if error.code not in BUSY:
                    break
            except (OSError, ValueError) as error:  # URLError and timeouts are OSErrors
                last = one_line(error)
        raise InputError(
            f"{self.place}.url: {self.server.url} gives no answer ({last}); see that the server "
            f"runs and serves '{self.server.model}'"
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: a key would go along."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Refuse."""


_OPENER = urllib.request.build_opener(_NoRedirect)


def _post(url: str, asked: Any, timeout: float) -> Any:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if key := os.environ.get(KEY):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, json.dumps(asked).encode(), headers)
    with _OPENER.open(request, timeout=timeout) as answer:
        held = answer.read(LARGEST + 1)
    if len(held) > LARGEST:
        raise ValueError(f"an answer of more than {LARGEST:,} bytes")
    return json.loads(held)


def _said(error: urllib.error.HTTPError) -> str:
    """Return what a server says with an error, without its layout."""
    try:
        return " ".join(error.read(2000).decode("utf-8", "replace").split()) or str(error.reason)
    except OSError:
        return str(error.reason)


def _texts(answer: Any, place: str) -> Iterator[str]:
    """Yield the texts of an answer.

    Raises:
        InputError: it is no answer of the API.
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list):
        raise InputError(f"{place}.url: the answer has no list 'choices'; give the address of /v1")
    for choice in choices:
        text = choice.get("text") if isinstance(choice, dict) else None
        if not isinstance(text, str):
            raise InputError(f"{place}.url: a choice has no 'text'; give a server of completions")
        yield text
