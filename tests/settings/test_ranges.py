"""A number out of its setting's range is refused in a line that names setting, number and mend."""

from math import inf, nan

import pytest

from ifguide.attacks.config import ActivationsConfig, GcgConfig, LensConfig
from ifguide.corpus.config import CorpusConfig, QueriesConfig, TokenizerConfig
from ifguide.corpus.sources import Source
from ifguide.errors import InputError
from ifguide.evaluation.config import EvaluationConfig, Prompts, Sampling
from ifguide.influence.config import CurvatureConfig, DirectionConfig, ScoreConfig
from ifguide.rivals.config import (
    ChoiceConfig,
    CompareConfig,
    DecodingConfig,
    FilterConfig,
    RewardConfig,
    SidesConfig,
)
from ifguide.selection.config import LexiconConfig, SelectionConfig, SmoothingConfig
from ifguide.training.config import Guard, Objective, PreferenceConfig, TrainingConfig

POSTS = Source(builtin=9)
NEEDED = {  # what cannot be left out
    CorpusConfig: {"sources": (POSTS,)},
    QueriesConfig: {"source": POSTS},
    EvaluationConfig: {name: Prompts(source=POSTS) for name in ("toxic", "neutral")},
    Guard: {"text": "calm"},
}
TRAINED = {  # of everything that is trained
    "epochs": [0.0, -1.0, inf],
    "batch_size": [0],
    "accumulation": [-1],
    "learning_rate": [0.0, -1.0, nan],
    "warmup": [-0.1, 1.0, nan],
    "weight_decay": [-0.1],
    "max_grad_norm": [-1.0],
    "checkpoint_every": [0],
}
OUT_OF_RANGE = {
    (CorpusConfig, "corpus"): {"block_length": [1]},
    (TokenizerConfig, "tokenizer"): {"vocab_size": [256]},
    (QueriesConfig, "queries"): {"max_length": [1], "limit": [0], "safe_at_most": [0.75, 1.0]},
    (CurvatureConfig, "curvature"): {"sample_blocks": [0], "batch_size": [0]},
    (DirectionConfig, "direction"): {"damping": [0.0, -1.0, nan], "batch_size": [0]},
    (ScoreConfig, "scores"): {
        "step": [0.0, -1.0, nan],
        "tolerance": [0.0, -1.0, nan],
        "batch_tokens": [0],
        "shard_blocks": [0],
    },
    (SmoothingConfig, "smoothing"): {"neighbours": [-1], "type_share": [-0.1, 1.5, nan]},
    (LexiconConfig, "lexicon"): {"share": [-0.1, 1.1, nan], "pseudo_count": [0.0, nan]},
    (SelectionConfig, "selection"): {
        "quantile": [0.0, 1.0, nan],
        "window": [-1],
        "budget": [0.0, 1.5, nan],
    },
    (TrainingConfig, "training"): TRAINED,
    (Objective, "training.objective"): {
        "weight": [-0.1],
        "ceiling": [0.0, nan],
        "ramp": [-0.1, 1.1, nan],
    },
    (Guard, "training.guard"): {"bound": [0.9, nan], "every": [0]},
    (PreferenceConfig, "compare.dpo"): {
        **TRAINED,
        "beta": [0.0, nan],
        "limit": [0],
        "max_length": [1],
    },
    (RewardConfig, "compare.reward"): {**TRAINED, "max_length": [1]},
    (DecodingConfig, "compare.decoding"): {"top_k": [0], "beta": [-1.0, nan, inf]},
    (CompareConfig, "compare"): {
        "document_budget": [0.0, 1.1, nan],
        "lexicon_prior": [0.0, nan],
        "reward_texts": [0],
        "sampled_pairs": [0],
    },
    (ChoiceConfig, "compare.choice"): {"prompts": [0], "bound": [0.9, nan]},
    (FilterConfig, "compare.filters"): {"window": [-1]},
    (SidesConfig, "compare.sides"): TRAINED,
    (Sampling, "evaluation.sampling"): {
        "samples": [0],
        "tokens": [0],
        "batch_size": [0],
        "top_p": [0.0, 1.1, nan],
        "temperature": [-0.1, nan, inf],
    },
    (EvaluationConfig, "evaluation"): {
        "threshold": [0.0, 1.5, nan],
        "lambada_limit": [0],
        "batch_size": [0],
        "resamples": [0],
    },
    (GcgConfig, "gcg"): {
        name: [0]
        for name in (
            "pairs",
            "target_tokens",
            "suffix_tokens",
            "steps",
            "top_k",
            "candidates",
            "batch_size",
        )
    },
    (LensConfig, "lens"): {"queries": [0]},
    (ActivationsConfig, "activations"): {"prompts": [0]},
}
CASES = [
    pytest.param(settings, name, value, f"{place}.{name}: {value} ", id=f"{place}.{name}={value}")
    for (settings, place), fields in OUT_OF_RANGE.items()
    for name, values in fields.items()
    for value in values
]


@pytest.mark.parametrize(("settings", "name", "value", "said"), CASES)
def test_a_number_out_of_range_is_named_with_its_setting(settings, name, value, said):
    with pytest.raises(InputError) as refused:
        settings(**{**NEEDED.get(settings, {}), name: value})
    line = str(refused.value)
    assert line.startswith(said)
    assert "; " in line  # and the mend
    assert "\n" not in line


@pytest.mark.parametrize("settings", [settings for settings, _ in OUT_OF_RANGE])
def test_what_is_needed_alone_is_no_fault(settings):
    """So that a row's refusal is of its number."""
    chosen = {"vocab_size": 300} if settings is TokenizerConfig else {}
    settings(**NEEDED.get(settings, {}), **chosen)
