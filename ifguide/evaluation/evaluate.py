"""The verb ``evaluate``: what a model says to prompts, what judges make of it, how fluent it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
from torch import nn
from transformers import PreTrainedTokenizerBase

from ifguide.errors import InputError
from ifguide.evaluation.config import EvaluationConfig, HeldOutText, Prompts, Sampling
from ifguide.evaluation.figures import Fluency, ModelFigures, Verdict
from ifguide.evaluation.fluency import last_word_figures, perplexity
from ifguide.evaluation.generate import Processors, derived_seed, sample_continuations
from ifguide.evaluation.judges.judging import Judge
from ifguide.evaluation.judges.registry import load_judge
from ifguide.evaluation.prompts import Prompt
from ifguide.evaluation.verdict import judge_table, verdict
from ifguide.nouns import Corpus
from ifguide.parts import tell

__all__ = [
    "EvaluationConfig",
    "HeldOutText",
    "Prompts",
    "Sampling",
    "continue_prompts",
    "evaluate",
    "fluency",
    "generate_table",
    "judge_table",
    "judge_tables",
]

SAMPLES = pa.schema(
    {
        "prompt_id": pa.string(),
        "prompt": pa.string(),
        "sample": pa.int32(),
        "continuation": pa.string(),
    }
)
PROMPT_SET = b"ifguide.prompt_set"  # where a table's metadata has the name of its prompt set
SampleStore = Callable[[str, Callable[[], pa.Table]], pa.Table]


def evaluate(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    config: EvaluationConfig,
    prompt_sets: Mapping[str, Sequence[Prompt]],
    held_out_corpora: Mapping[str, Corpus],
    lambada: Sequence[str] | None,
    seed: int,
    samples: SampleStore = lambda name, make: make(),
    progress: Callable[[int], None] = lambda tokens: None,
    processors: Processors = tuple,
    judges: Sequence[Judge] | None = None,
) -> ModelFigures:
    """Return a model's entry of the report.

    Args:
        model: any causal language model of transformers.
        tokenizer: the model's.
        config: judges, sampling and resampling.
        prompt_sets: prompts by the set's name.
        held_out_corpora: texts for perplexity by name, packed with the model's tokenizer.
        lambada: texts for last-word accuracy, None to leave it out.
        seed: a set's draws depend on (seed, its name) only, so two models are sampled alike.
        samples: returns the kept continuations of a set if there are any, else makes and keeps
            them; they are kept before anything is judged. A set's name is any text: the table
            carries it (see ``prompt_set_of``), so that no file need be called by it.
        progress: called with the number of tokens just done.
        processors: change the logits while continuations are drawn, see ``sample_continuations``;
            perplexity and last words are the bare model's.
        judges: those of ``config``, loaded already; None loads them by name, their files found
            from the working directory.

    Raises:
        JudgeError: a judge failed; the message names the text.
        InputError: a judge cannot be loaded, or a loss is not finite.
    """
    if judges is None:
        judges = [load_judge(name) for name in config.judges]
    tables = continue_prompts(
        model, tokenizer, config, prompt_sets, seed, samples, progress, processors
    )
    verdicts = judge_tables(judges, tables, config, seed)
    known = fluency(model, tokenizer, config.batch_size, held_out_corpora, lambada, progress)
    return ModelFigures.of(verdicts, known)


def continue_prompts(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    config: EvaluationConfig,
    prompt_sets: Mapping[str, Sequence[Prompt]],
    seed: int,
    samples: SampleStore = lambda name, make: make(),
    progress: Callable[[int], None] = lambda tokens: None,
    processors: Processors = tuple,
) -> dict[str, pa.Table]:
    """Return the continuations by prompt set; the arguments are those of ``evaluate``."""
    tables = {}
    for name, prompts in prompt_sets.items():

        def make(name: str = name, prompts: Sequence[Prompt] = prompts) -> pa.Table:
            set_seed = derived_seed(seed, name)
            table = generate_table(
                model, tokenizer, prompts, config.sampling, set_seed, progress, processors
            )
            return named_table(table, name)

        tables[name] = samples(name, make)
        _check_samples(name, tables[name], prompts, config.sampling.samples)
    return tables


def judge_tables(
    judges: Sequence[Judge], tables: Mapping[str, pa.Table], config: EvaluationConfig, seed: int
) -> dict[str, Verdict]:
    """Return what each judge makes of the continuations, by the judge's name.

    The arguments are those of ``verdict``.

    Raises:
        JudgeError: a judge failed; the message names the text.
    """
    verdicts = {}
    for judge in judges:
        tell(f"judging by {judge.name}")
        verdicts[judge.name] = verdict(judge, tables, config, seed)
    return verdicts


def fluency(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    batch_size: int,
    held_out_corpora: Mapping[str, Corpus],
    lambada: Sequence[str] | None,
    progress: Callable[[int], None] = lambda tokens: None,
) -> Fluency:
    """Return what a model still knows; the arguments are those of ``evaluate``."""
    perplexities = {}
    for name, corpus in held_out_corpora.items():
        tell(f"perplexity of {name}")
        perplexities[name] = perplexity(model, corpus, batch_size, progress)
    if lambada is None:
        return Fluency(perplexity=perplexities)
    tell("LAMBADA")
    known = last_word_figures(model, tokenizer, lambada, batch_size, progress)
    return Fluency(
        perplexity=perplexities,
        lambada_accuracy=known.accuracy,
        lambada_last_token=known.last_token_accuracy,
    )


def generate_table(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    seed: int,
    progress: Callable[[int], None] = lambda tokens: None,
    processors: Processors = tuple,
) -> pa.Table:
    """Return the continuations of a prompt set as a table, a prompt's samples in a row.

    The arguments are those of ``sample_continuations``.
    """
    tell("sampling")
    texts = [prompt.text for prompt in prompts]
    continuations = sample_continuations(
        model, tokenizer, texts, sampling, seed, progress, processors
    )
    return table_of(prompts, continuations)


def table_of(prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> pa.Table:
    """Return continuations ``[prompt][sample]`` as a table, a prompt's samples in a row."""
    rows = [
        (prompt.id, prompt.text, number, continuation)
        for prompt, found in zip(prompts, continuations, strict=True)
        for number, continuation in enumerate(found)
    ]
    columns = list(zip(*rows, strict=True)) or [()] * len(SAMPLES)
    return pa.table(dict(zip(SAMPLES.names, columns, strict=True)), schema=SAMPLES)


def named_table(table: pa.Table, prompt_set: str) -> pa.Table:
    """Return a table of continuations that carries its prompt set's name, which is any text."""
    return table.replace_schema_metadata({PROMPT_SET: prompt_set.encode("utf-8", "surrogatepass")})


def prompt_set_of(table: pa.Table) -> str | None:
    """Return the name of the prompt set that a table carries, None where it carries none."""
    name = (table.schema.metadata or {}).get(PROMPT_SET)
    return None if name is None else name.decode("utf-8", "surrogatepass")


def _check_samples(name: str, table: pa.Table, prompts: Sequence[Prompt], samples: int) -> None:
    """Refuse kept continuations that belong to other prompts or settings."""
    expected = [prompt.id for prompt in prompts for _ in range(samples)]
    if table["prompt_id"].to_pylist() != expected:
        raise InputError(
            f"evaluation: the kept continuations of prompt set '{name}' are of other prompts or of "
            "another number of samples; delete them and run again"
        )
