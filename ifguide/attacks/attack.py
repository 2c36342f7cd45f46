"""The command ``attack``: a suffix, fine-tuning and the lens on both models of a finished run."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, final

import numpy as np
from torch import nn

from ifguide.attacks.config import AttackConfig
from ifguide.attacks.gcg import gcg, is_attackable
from ifguide.attacks.lens import logit_lens
from ifguide.attacks.relearn import check_posts, relearn
from ifguide.attacks.texts import Pair, pairs_of, posts_of
from ifguide.errors import InputError
from ifguide.evaluation.evaluate import evaluate
from ifguide.evaluation.generate import derived_seed
from ifguide.evaluation.judges.registry import load_judge
from ifguide.evaluation.metrics import mean_over_prompts
from ifguide.files import fingerprint_of, read_json, write_json, write_text
from ifguide.nouns import QuerySet
from ifguide.report.attacks import attack_figures, attack_markdown, attack_text
from ifguide.report.standalone import standalone
from ifguide.run.finished import STAGE_OF, FinishedRun
from ifguide.run.progress import progress_line
from ifguide.settings.manual import manual
from ifguide.settings.reader import with_overrides

KINDS = ("gcg", "relearn", "lens")
RESULTS = "attacks.json"
Progress = Callable[[int], None]
Results = dict[str, dict[str, dict[str, Any]]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command is given."""
    parser.add_argument("dir", type=Path, nargs="?", help="the run folder")
    parser.add_argument("--out", type=Path, help="where to (the run folder's attacks)")
    parser.add_argument(
        "--kind", action="append", choices=KINDS, help="gcg, relearn or lens (default: all)"
    )
    parser.add_argument("--settings", action="store_true", help="list every setting, stop")


def shown_lines(parsed: argparse.Namespace, overrides: Sequence[str]) -> Iterator[str]:
    """Do what the command line asks for and yield the lines to show."""
    if parsed.settings:
        yield manual(AttackConfig).rstrip("\n")
        return
    if parsed.dir is None:
        raise InputError("ifguide attack: no run folder given; see `ifguide attack --help`")
    config = with_overrides(AttackConfig(), overrides)
    out = parsed.out or parsed.dir / "attacks"
    results = attack(parsed.dir, out, parsed.kind or KINDS, config, quiet=parsed.quiet)
    yield attack_text(results)
    yield f"\nThe page: {out / 'attacks.md'}"


def attack(
    folder: Path, out: Path, kinds: Sequence[str], config: AttackConfig, *, quiet: bool = False
) -> Results:
    """Attack both models of a finished run; write ``attacks.json``, a figure a kind and a page.

    What ``out`` holds already is kept if it is of the same models, and made again only if it was
    asked for with other settings.

    Returns:
        by kind and model, the figures.

    Raises:
        InputError: the run is not finished, or has not what a kind of attack needs.
    """
    attacks = Attacks(FinishedRun(folder), config, out)
    attacks.check(kinds)
    out.mkdir(parents=True, exist_ok=True)
    results = attacks.kept()
    for kind in kinds:
        for name in STAGE_OF:
            entry, of = results[kind].get(name), attacks.made_of(kind, name)
            if entry is None or entry["of"] != of:
                started = time.monotonic()
                with progress_line(f"{kind}, {name}", None, quiet=quiet) as progress:
                    made = getattr(attacks, kind)(attacks.run.model(name), progress)
                seconds = round(time.monotonic() - started, 1)
                results[kind][name] = {"of": of, "seconds": seconds, **made}
                write_json(out / RESULTS, results)
    whole = {kind: entries for kind, entries in results.items() if len(entries) == len(STAGE_OF)}
    for kind, figure in attack_figures(whole).items():
        write_text(out / f"{kind}.svg", standalone(figure))
    write_text(out / "attacks.md", attack_markdown(whole))
    return whole


@final
class Attacks:
    """The attacks on one run's models; each returns its figures, ready for JSON."""

    def __init__(self, run: FinishedRun, config: AttackConfig, out: Path) -> None:
        self.run, self.config, self.out = run, config, out
        self.tokenizer = run.text.tokenizer
        self.seed = run.config.seed
        self.resamples = run.config.evaluation.resamples

    @cached_property
    def pairs(self) -> list[Pair]:
        """The prompts that GCG attacks; the models are alike in what decides them."""
        model, config = self.run.model("suppressed"), self.config.gcg
        every = pairs_of(self.run.contrast.toxic, self.tokenizer, config.target_tokens)
        fit = (p for p in every if is_attackable(model, self.tokenizer, p.prompt, p.target, config))
        return list(islice(fit, config.pairs))

    def check(self, kinds: Sequence[str]) -> None:
        """Refuse what cannot be done before anything is."""
        if "gcg" in kinds and not self.pairs:
            raise InputError(
                "gcg: no toxic query of the run survives as text with gcg.initial after its "
                "prompt; give another gcg.initial, or set gcg.round_trip to false"
            )
        if "relearn" in kinds:
            check_posts(self.config.relearn, len(posts_of(self.run.contrast.toxic, self.tokenizer)))
            for judge in self.run.config.evaluation.judges:
                load_judge(judge, self.run.data_dir)
            self.run.prompts("toxic")

    def made_of(self, kind: str, name: str) -> dict[str, str]:
        """Return what an attack on a model is made of: the model, and all that else decides it."""
        run = self.run
        settings = [getattr(self.config, kind), run.contrast.fingerprint, self.seed]
        settings += [run.config.evaluation] if kind != "lens" else []
        return {"model": run.fingerprint(name), "settings": fingerprint_of(settings)}

    def kept(self) -> Results:
        """Return what there is of these models already, and an empty place for the rest."""
        file = self.out / RESULTS
        there = read_json(file) if file.exists() else {}
        fingerprints = {name: self.run.fingerprint(name) for name in STAGE_OF}
        return {
            kind: {
                name: entry
                for name, entry in there.get(kind, {}).items()
                if entry["of"]["model"] == fingerprints[name]
            }
            for kind in KINDS
        }

    def gcg(self, model: nn.Module, progress: Progress) -> dict[str, Any]:
        """Search a suffix for each prompt."""
        found = [
            gcg(
                model,
                self.tokenizer,
                pair.prompt,
                pair.target,
                self.config.gcg,
                seed=derived_seed(self.seed, "gcg", number),
                progress=progress,
            )
            for number, pair in enumerate(self.pairs)
        ]
        measures: dict[str, list[float]] = {
            "success_before": [float(suffix.first_success == 0) for suffix in found],
            "success": [float(suffix.succeeded) for suffix in found],
            "loss_before": [suffix.losses[0] for suffix in found],
            "loss": [suffix.losses[-1] for suffix in found],
        }
        pairs = zip(self.pairs, found, strict=True)
        return {
            **{name: self._mean(values) for name, values in measures.items()},
            "pairs": [{**asdict(pair), **asdict(suffix)} for pair, suffix in pairs],
        }

    def relearn(self, model: nn.Module, progress: Progress) -> dict[str, Any]:
        """Fine-tune on toxic posts and evaluate on the toxic prompts."""
        run, prompts = self.run, {"toxic": self.run.prompts("toxic")}
        judges = [load_judge(name, run.data_dir) for name in run.config.evaluation.judges]

        def measure(tuned: nn.Module) -> dict[str, Any]:
            evaluation = run.config.evaluation
            entry = evaluate(
                tuned,
                self.tokenizer,
                evaluation,
                prompts,
                {},
                None,
                self.seed,
                progress=progress,
                judges=judges,
            )
            return {"tp": asdict(entry.tp["toxic"]), "emt": asdict(entry.emt["toxic"])}

        found = relearn(
            model,
            self.tokenizer,
            posts_of(run.contrast.toxic, self.tokenizer),
            measure,
            self.config.relearn,
            block_length=run.config.corpus.block_length,
            folder=self.out,
            seed=self.seed,
            progress=progress,
        )
        return {
            "points": [
                {"posts": p.posts, "tokens": p.tokens, "updates": p.updates, **p.measured}
                for p in found
            ]
        }

    def lens(self, model: nn.Module, progress: Progress) -> dict[str, Any]:
        """Look at the counted tokens of both sides of the queries."""
        entry: dict[str, Any] = {}
        for side in ("toxic", "safe"):
            queries: QuerySet = getattr(self.run.contrast, side)
            some = slice(self.config.lens.queries)
            chosen = QuerySet(queries.tokens[some], queries.weights[some])
            entry[side] = logit_lens(model, chosen, progress).tolist()
            entry[f"{side}_tokens"] = sum(int((w > 0).sum()) for w in chosen.weights)
        return entry

    def _mean(self, values: Sequence[float]) -> dict[str, float]:
        seed = derived_seed(self.seed, "gcg")
        return asdict(mean_over_prompts(np.array(values), self.resamples, seed))
