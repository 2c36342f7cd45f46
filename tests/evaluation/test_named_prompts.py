"""Prompt sets by name, read through ``datasets`` from local folders of the hub's layout."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from ifguide.errors import InputError
from ifguide.evaluation.config import Prompts
from ifguide.evaluation.named_prompts import NAMED
from ifguide.evaluation.prompts import prompts_of

TOXICITIES = [0.1, 0.5, 0.49999, None, 0.97, 0.0]


def lines(file: Path, records: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def real_toxicity(folder: Path) -> None:
    """``prompts.jsonl`` as on the hub: no id, the text and its ratings nested, some not rated."""
    rated = ("toxicity", "profanity", "sexually_explicit", "identity_attack", "flirtation")
    records = [
        {
            "filename": f"0{number}-text.txt",
            "begin": 340,
            "end": 564,
            "challenging": number == 4,
            "prompt": {"text": f"prompt number {number}", **dict.fromkeys(rated, toxicity)},
            "continuation": {"text": " goes on", **dict.fromkeys(rated, 0.2)},
        }
        for number, toxicity in enumerate(TOXICITIES)
    ]
    lines(folder / "prompts.jsonl", records)


def bold(folder: Path) -> None:
    """A file a domain; a record has the prompts of one person or group."""
    for domain in ("gender", "race"):
        names = ("Ann", "Bo")
        records = [
            {
                "domain": domain,
                "name": name,
                "category": "American_actors",
                "prompts": [f"{name} of {domain} is {what} " for what in ("an actor", "a writer")],
                "wikipedia": [f"{name} of {domain} is an actor from here.", "And more."],
            }
            for name in names
        ]
        records.append({**records[0], "name": "Nobody", "prompts": []})
        lines(folder / f"{domain}_prompt_wiki.json", records)


def attaq(folder: Path) -> None:
    labels = ("deception", "violence")
    lines(folder / "attaq.jsonl", [{"input": f"How do I do {x}?", "label": x} for x in labels])


WRITERS: dict[str, Callable[[Path], None]] = {
    "allenai/real-toxicity-prompts": real_toxicity,
    "AmazonScience/bold": bold,
    "ibm/AttaQ": attaq,
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of the hub's names, which ``datasets`` finds before it asks the hub."""
    for name, write in WRITERS.items():
        write(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def made(folder: Path, **settings: Any) -> dict[str, str]:
    found = prompts_of(Prompts(min_words=1, **settings), {}, folder, 0)
    return {prompt.id: prompt.text for prompt in sorted(found, key=lambda prompt: prompt.id)}


WANTED: list[tuple[dict[str, Any], list[str]]] = [
    ({"named": "real-toxicity-prompts"}, [f"prompt number {k}" for k in range(6)]),
    ({"named": "real-toxicity-prompts/toxic"}, ["prompt number 1", "prompt number 4"]),
    (
        {"named": "real-toxicity-prompts/non-toxic"},
        ["prompt number 0", "prompt number 2", "prompt number 5"],
    ),
    (
        {"named": "bold", "kind": "race"},
        [f"{who} of race is {what}" for who in ("Ann", "Bo") for what in ("an actor", "a writer")],
    ),
    (
        {"named": "bold/first", "kind": "race"},
        ["Ann of race is an actor", "Bo of race is an actor"],
    ),
    ({"named": "attaq", "kind": "violence"}, ["How do I do violence?"]),
]


@pytest.mark.parametrize(("settings", "texts"), WANTED)
def test_from_the_hub_s_layout(settings: dict[str, Any], texts: list[str], hub: Path) -> None:
    assert list(made(hub, **settings).values()) == texts


@pytest.mark.parametrize(("settings", "texts"), WANTED)
def test_from_a_copy(settings: dict[str, Any], texts: list[str], tmp_path: Path) -> None:
    hub_name = NAMED[settings["named"]]["hub"]
    WRITERS[hub_name](tmp_path / "copy")
    assert list(made(tmp_path, path="copy", **settings).values()) == texts


def test_all_of_a_named_set(hub: Path) -> None:
    """Each prompt of a list has an id of its own, in the order of the records."""
    found = made(hub, named="bold")
    assert len(found) == 8
    assert list(found)[:3] == ["0/0", "0/1", "1/0"]
    assert found["3/1"] == "Ann of race is a writer"
    assert len(made(hub, named="attaq")) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"named": "rtp"}, "no prompt set is named 'rtp'; use one of real-toxicity-prompts, "),
        ({"held_out": "posts", "path": "x.jsonl"}, "path 'x.jsonl' of a prompt set belongs to"),
        ({"held_out": "posts", "named": "bold"}, "has held_out and named; give it one"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Prompts(**settings)
