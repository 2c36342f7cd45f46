"""What a user does with a run folder: make what is asked for, or look at what is there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from ifguide.attacks.config import KINDS, AttackConfig
from ifguide.corpus.starts import text_start
from ifguide.distributed import ranks
from ifguide.errors import InputError
from ifguide.evaluation.comparison import Comparison
from ifguide.evaluation.figures import Rejudged
from ifguide.evaluation.fluency import last_words
from ifguide.evaluation.generate import longest_text, prompt_room
from ifguide.evaluation.judges.registry import load_judge
from ifguide.evaluation.lm_eval import lm_eval_results
from ifguide.evaluation.rejudging import rejudge
from ifguide.evaluation.trial import try_generation
from ifguide.files import (
    check_no_links,
    check_output,
    check_output_folder,
    copy_files,
    json_text,
    write_text,
)
from ifguide.influence.pair_files import PerturbedPair
from ifguide.influence.trial import try_out, try_saving
from ifguide.models.forward import check_queries_fit
from ifguide.parts import tell
from ifguide.report.attacks import attack_figures, attack_markdown
from ifguide.report.ranked import ranked_documents
from ifguide.report.standalone import standalone
from ifguide.report.terminal import inspect_lines
from ifguide.rivals.methods import rows_of
from ifguide.rivals.sweep import Grid, swept
from ifguide.run import attacks, attacks_makers
from ifguide.run.comparison import shown_row, write_table
from ifguide.run.manifest import read_manifest
from ifguide.run.outside import CHECKPOINT, JUDGES, LAMBADA, data_folder
from ifguide.run.overview import is_optional, known_stages, samples_of
from ifguide.run.pair import perturbed
from ifguide.run.progress import progress_line
from ifguide.run.proxy import PROXY_RUN, has_proxy_run, proxy_folder
from ifguide.run.proxy_makers import mask_and_scores
from ifguide.run.rivals import Rivals, rows_under
from ifguide.run.room import check_room
from ifguide.run.rows import possible
from ifguide.run.run import Run, closure, looked_at, opened
from ifguide.run.stage import AnyStage, StageOf
from ifguide.run.stages import (
    BASELINE,
    CORPUS,
    EVALUATE,
    FIT,
    HELD_OUT,
    INITIAL,
    MODELS,
    PROMPTS,
    PROXY_MASK,
    QUERIES,
    REPORT,
    SCORE,
    SELECT,
    TRAIN,
)
from ifguide.run.table import stage_named
from ifguide.selection.checks import check_budget
from ifguide.settings.config import Config
from ifguide.settings.reader import read_run_config
from ifguide.training.arguments import training_arguments

COPIES = ("report.json", "report.html")  # beside the stages
ATTACKS = "attacks"
ATTACK_FILES = ("attacks.json", "attacks.md", *(f"{kind}.svg" for kind in KINDS))


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How a run folder is worked in.

    Args:
        quiet: no progress lines.
        replace: what was made under other settings may be made again.
        verify: read every byte of what is there, instead of trusting sizes and times.
    """

    quiet: bool = False
    replace: bool = False
    verify: bool = False


def run(config: Config, out: Path, until: str = "report", manner: Manner | None = None) -> Any:
    """Run the stages up to ``until`` in the folder ``out``; what stands already is reused.

    Returns:
        the noun of the last stage on the main rank, None on the others.

    Raises:
        InputError: something given cannot be used; it is found before a model is trained where
            that is possible.
    """
    stage = stage_named(until)
    check_room(config, out, closure([stage], config))
    with _working(config, out, manner) as run:
        if stage is REPORT and ranks.is_main():
            run.folder.check_outputs(COPIES)
        check(run, stage)
        run.ensure(stage)
        noun = run(stage)
        if stage is REPORT and ranks.is_main():
            for name in COPIES:
                _copy(run, run.path(REPORT) / name, name)
        return noun if ranks.is_main() else None


def check(run: Run, *wanted: AnyStage) -> None:
    """Refuse what cannot work before any model is trained, unless all that is wanted stands.

    Raises:
        InputError: what cannot.
    """
    stages = [stage for stage in closure(wanted, run.config) if stage.kept(run.config)]

    def stand() -> bool:
        return bool(stages) and all(run.standing(stage).state == "stands" for stage in stages)

    if ranks.agree(stand):
        return
    wanted_names = {stage.name for stage in closure(wanted, run.config)}
    with progress_line("judges", None, quiet=run.quiet):
        _ = run(JUDGES), run(CHECKPOINT)
    if has_proxy_run(run.config) and (not wanted or PROXY_MASK.name in wanted_names):
        _ = run(PROXY_RUN), run(PROXY_MASK)
    initial = run(INITIAL)
    with progress_line("trial", None, quiet=run.quiet):
        tell("loading the model")
        model = initial.open()
        tell("trying the model")
        try_out(
            model,
            run.config.curvature if not wanted or FIT.name in wanted_names else None,
            run.config.scores if not wanted or SCORE.name in wanted_names else None,
        )
        if ranks.is_main():  # transformers saves there alone
            tell("saving the model and loading it again")
            try_saving(model, trust_remote_code=initial.runs_code)
        _check_trainings(run, model)
    tokenizer, texts = run(CORPUS).tokenizer, run(LAMBADA)
    before = len(text_start(tokenizer))
    prompt_room(model, run.config.evaluation.sampling.tokens, before)
    if not has_proxy_run(run.config) or QUERIES.name in wanted_names:
        contrast = run(QUERIES)
        check_queries_fit(model, contrast.toxic, contrast.safe)
    if texts is not None:
        last_words(model, tokenizer, texts)
    prompts, _ = run(PROMPTS), run(HELD_OUT)
    if not wanted or EVALUATE.name in wanted_names:
        new = run.config.evaluation.sampling.tokens
        texts_of_all = [prompt.text for given in prompts.values() for prompt in given]
        try_generation(model, tokenizer, longest_text(model, tokenizer, texts_of_all, new))
    if SELECT.name in wanted_names:
        check_budget(run.config.selection.budget, run(CORPUS).corpus.token_count)


def _check_trainings(run: Run, model: nn.Module) -> None:
    """Let transformers see what is given for its trainer."""
    config = run.config
    rivals = {f"compare.trainings.{name}": t for name, t in config.compare.trainings.items()}
    for group, training in {
        "baseline": config.baseline,
        "training": config.training,
        **rivals,
    }.items():
        if training is not None and training.trainer:
            training_arguments(training, run.folder.root, config.seed, model, group)


def compare(
    config: Config,
    out: Path,
    wanted: Sequence[str] = ("all",),
    manner: Manner | None = None,
    *,
    command: str = "",
) -> Comparison | None:
    """Evaluate methods from one start as rows of a table, in ``out/compare``.

    Args:
        config: the run's settings; ``config.compare`` is what the rivals need.
        out: the run folder; what it holds already is reused.
        wanted: methods by name (see ``ifguide.rivals.methods.rows_of``).
        manner: how the folder is worked in.
        command: what the table says that it was made with.

    Returns:
        what table.json holds, on the main rank.

    Raises:
        InputError: something given cannot be used; what no method needs is not asked for.
    """
    names = ["baseline", *wanted]
    rows = rows_of(names, list(Rivals(config).trainings))
    with _working(config, out, manner) as run:
        check(run)
        return write_table(run, possible(run, rows, names), "compare", command)


def sweep(
    config: Config,
    out: Path,
    grid: Grid,
    training: str | None = None,
    manner: Manner | None = None,
    *,
    command: str = "",
) -> Comparison | None:
    """Evaluate our method at many settings without scoring again, in ``out/sweep``.

    Args:
        config: the run's settings.
        out: the run folder.
        grid: what is varied.
        training: the way of training, one of ``compare.trainings``; by default the first.
        manner: how the folder is worked in.
        command: what the table says that it was made with.

    Returns:
        what table.json holds, on the main rank.
    """
    trainings = Rivals(config).trainings
    name = training or next(iter(trainings))
    if name not in trainings:
        raise InputError(
            f"--training: '{name}' is not in compare.trainings; use one of {', '.join(trainings)}"
        )
    methods = swept(grid, config.selection, trainings[name].objective)
    with _working(config, out, manner) as run:
        check(run)
        rows = rows_of(["all"], [name], methods)
        return write_table(run, possible(run, rows, [row.name for row in rows]), "sweep", command)


def write_pair(
    config: Config,
    out: Path,
    step: float | None = None,
    to: Path | None = None,
    manner: Manner | None = None,
) -> PerturbedPair | None:
    """Write the perturbed checkpoints θ+εv and θ-εv to ``out/pair``, and copy them to ``to``.

    Returns:
        what the pair was made with, on the main rank.

    Raises:
        InputError: something is at ``to`` already, and ``manner.replace`` is not set; or it is no
            folder, or a link lies in it.
    """
    if to is not None:
        check_output_folder(to, "--to")
        if os.path.lexists(to) and not (manner is not None and manner.replace):
            raise InputError(f"{to}: it is there already; give --to a new folder, or --replace")
        check_no_links(to)
    with _working(config, out, manner) as run:
        check(run)
        pair, folder = run(perturbed(step)), run.path(perturbed(step))
        if to is not None and ranks.is_main():
            copy_files(folder, read_manifest(folder).files, to)
        return pair if ranks.is_main() else None


def attack(
    folder: Path,
    config: AttackConfig,
    kinds: Sequence[str] = tuple(KINDS),
    out: Path | None = None,
    manner: Manner | None = None,
    *,
    models: Sequence[str] = tuple(MODELS),
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Attack models of a finished run; write ``attacks.json``, a figure a kind and a page.

    Args:
        folder: of the run.
        config: how its models are attacked.
        kinds: of attack.
        out: where the page goes; by default ``attacks`` in the run folder.
        manner: how the folder is worked in; ``replace`` also lets ``out`` be written over.
        models: ``baseline``, ``suppressed``, rows of a comparison by name, or ``all`` that stand.
        trust_remote_code: let a checkpoint's or tokenizer's own code run.

    Returns:
        by kind and model, the figures.

    Raises:
        InputError: the run is not finished or does not stand, or has not what an attack needs.
    """
    manner = manner or Manner()
    if out is not None:
        check_output_folder(out, "--out")
        for name in ATTACK_FILES if out.is_dir() else ():
            check_output(out / name, replace=manner.replace)
    with _finishing(folder, manner, trust_remote_code=trust_remote_code) as run:
        if out is None:
            run.folder.check_outputs(f"{ATTACKS}/{name}" for name in ATTACK_FILES)
        asked = attacks_makers.models_asked(run, models)
        attacks_makers.check(run, config, kinds, asked)
        found = attacks_makers.made(run, attacks.attacks(config, asked), kinds)
        texts = {"attacks.json": json_text(found), "attacks.md": attack_markdown(found)}
        for kind, figure in attack_figures(found).items():
            texts[f"{kind}.svg"] = standalone(figure)
        for name, text in texts.items():
            if out is None:
                run.folder.output(f"{ATTACKS}/{name}", text)
            else:
                out.mkdir(parents=True, exist_ok=True)
                write_text(out / name, text)
        return found


def judge(
    folder: Path,
    judges: Sequence[str],
    unjudged: Literal["stop", "report"] | None = None,
    *,
    verify: bool = False,
    trust_remote_code: bool = False,
) -> Rejudged:
    """Return what judges make of all continuations that a run folder holds, those of rivals too.

    Args:
        folder: of a run that is finished, or that was stopped, say by another judge.
        judges: by name (see ``load_judge``).
        unjudged: see ``EvaluationConfig``; by default as the run was set.
        verify: read every byte.
        trust_remote_code: let a judge's checkpoint run its own code.

    Raises:
        InputError: the folder holds no continuations that stand, or a judge cannot be loaded, or
            fails.
    """
    config = read_run_config(folder)
    asked = replace(
        config.evaluation, judges=tuple(judges), unjudged=unjudged or config.evaluation.unjudged
    )
    with looked_at(config, folder, verify=verify) as run:
        found = {
            name: run(stage)
            for name, stage in samples_of(config).items()
            if (standing := run.standing(stage)).state not in ("not made", "begun") or standing.why
        }
    if not found:
        raise InputError(f"{folder}: it holds no continuations; run `ifguide evaluate` first")
    folder_of_data = data_folder(config)
    loaded = [
        load_judge(name, folder_of_data, trust_remote_code=trust_remote_code)
        for name in asked.judges
    ]
    return rejudge(found, loaded, asked, config.seed)


def inspect(
    folder: Path, top: int, ids: Sequence[str], *, colour: bool, trust_remote_code: bool = False
) -> Iterator[str]:
    """Yield lines that show the highest-ranked documents of a finished run, or those named.

    Raises:
        InputError: the selection is not made or does not stand, or there is no such document.
    """
    config = read_run_config(folder, trust_remote_code=trust_remote_code)
    with looked_at(config, folder) as run:
        text, (selection, scores) = run(CORPUS), mask_and_scores(run)
        documents = ranked_documents(text.corpus, scores, selection, 0 if ids else top, ids)
        yield from inspect_lines(documents, selection.threshold, colour=colour)


def lm_eval(
    folder: Path,
    model: str,
    tasks: Sequence[str],
    include: Path | None = None,
    limit: int | None = None,
    *,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Return lm-eval's figures of a run's model (see ``lm_eval_results``).

    Args:
        folder: of the run.
        model: ``baseline``, ``suppressed``, or a method of a comparison by its row's name.
        tasks, include, limit: see ``lm_eval_results``.
        trust_remote_code: let a checkpoint's or tokenizer's own code run.

    Raises:
        InputError: there is no such model, or it does not stand.
    """
    config = read_run_config(folder, trust_remote_code=trust_remote_code)
    with looked_at(config, folder) as run:
        rivals = Rivals(config)
        rows = {row.name: row for row in rows_under(config) if not row.method.model}
        rows |= {point.name: point for row in rows.values() for point in rivals.points(row)}
        ours: dict[str, StageOf[Any]] = {"baseline": BASELINE, "suppressed": TRAIN}
        if model not in {**ours, **rows}:
            raise InputError(
                f"--model: {folder} has no model '{model}'; use one of {', '.join([*ours, *rows])}"
            )
        stage = ours.get(model) or rivals.model(shown_row(run, rows[model]))
        if stage.kept(config):
            checkpoint: str | Path = run.path(stage)
        else:
            run.path(CORPUS)
            if config.model.gguf is not None:
                raise InputError(
                    f"--model: the baseline is {config.model.named_by}, which lm-eval does not "
                    "read; name a trained model"
                )
            checkpoint = str(config.model.path)
    return lm_eval_results(
        checkpoint, tasks, include=include, limit=limit, trust_remote_code=trust_remote_code
    )


# details


def _working(config: Config, out: Path, manner: Manner | None) -> AbstractContextManager[Run]:
    manner = manner or Manner()
    if has_proxy_run(config) and proxy_folder(config).resolve() == out.resolve():
        raise InputError(
            "training.mask_from: it is the run folder itself; name another run's, or leave it out"
        )
    reported = {stage.name for stage in closure([REPORT], config)}
    return opened(
        config,
        out,
        [stage for stage in known_stages(config) if not is_optional(stage)],
        quiet=manner.quiet,
        replace=manner.replace,
        verify=manner.verify,
        shown=lambda stage: stage.name in reported,
    )


def _finishing(
    folder: Path, manner: Manner, *, trust_remote_code: bool
) -> AbstractContextManager[Run]:
    """Open a finished run to attack its models: whatever else is missing is refused."""
    config = read_run_config(folder, trust_remote_code=trust_remote_code)
    return opened(
        config,
        folder,
        quiet=manner.quiet,
        replace=True,
        verify=manner.verify,
        makes=attacks.is_attack,
        finished=True,
    )


def _copy(run: Run, file: Path, name: str) -> None:
    """Copy a file of a stage beside the stages, where it is not there already."""
    place = run.folder.root / name
    if not place.exists() or place.read_bytes() != file.read_bytes():
        run.folder.output(name, file.read_text(encoding="utf-8"))
