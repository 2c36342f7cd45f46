"""One of two processes that hold a model in shards: ``torchrun fsdp.py FOLDER``, by test_ranks.

Each verb runs on a model sharded by ``fully_shard``; what it makes is compared with what one
process makes of the whole model.
"""

import os
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tiny import random_corpus, tiny_model
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from ifguide.distributed import ranks
from ifguide.influence.config import CurvatureConfig, ScoreConfig
from ifguide.influence.curvature.fit import fit
from ifguide.influence.direction import aim
from ifguide.influence.score import score
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Contrast, Direction, QuerySet

CASES = {  # family, dtype, and how it is wrapped
    "blocks": ("llama", torch.float64, "blocks"),
    "blocks and head": ("gpt_neox", torch.float64, "blocks and head"),
    "root alone": ("gpt2", torch.float64, "root"),
    "resharded root": ("qwen2", torch.float64, "resharded root"),
    "float32": ("llama", torch.float32, "blocks"),
    "whole": ("gemma", torch.float64, "whole"),  # on every rank: only the blocks are shared
}
CONFIGS = {
    "jvp": ScoreConfig(engine="jvp", batch_tokens=24),
    "position": ScoreConfig(engine="position", batch_tokens=24),
    "difference": ScoreConfig(engine="difference", tolerance=1e-3, batch_tokens=24),
    "fallback": ScoreConfig(engine="difference", tolerance=1e-30, batch_tokens=24),
}


def make_model(case):
    family, dtype, _ = CASES[case]
    return tiny_model(family, dtype)


def make_corpus():
    """Nine blocks: four for one rank and five for the other, the last in another batch."""
    return random_corpus(blocks=9, length=12, padding=20)


def contrast():
    rng = np.random.default_rng(2)

    def queries(count):
        tokens = [rng.integers(1, 61, 5 + q) for q in range(count)]
        return QuerySet(tokens, [np.r_[0.0, np.full(len(t) - 1, 0.1)] for t in tokens])

    return Contrast(queries(3), queries(4), "random")


def shard(model, how):
    if how == "whole":
        return model
    blocks = next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList))
    if how != "root":
        for block in blocks:
            fully_shard(block)
    if how == "blocks and head":
        fully_shard(model.get_output_embeddings())
    fully_shard(model, **({"reshard_after_forward": True} if how == "resharded root" else {}))
    return model


def results(model):
    """The tensors that all verbs make, by name."""
    corpus, found = make_corpus(), {}
    curvature = fit(model, corpus, CurvatureConfig(sample_blocks=9, batch_size=3))
    for name, basis in curvature.bases.items():
        found[f"eigenvalues {name}"] = basis.eigenvalues.sort().values
    direction = aim(model, contrast(), curvature)
    found |= {f"direction {name}": v for name, v in direction.weights.items()}
    generator = torch.Generator().manual_seed(1)
    along = Direction(
        {
            w.name: torch.randn(w.matrix.shape, generator=generator, dtype=torch.float64)
            for w in find_tracked(model)
        }
    )
    for name, config in CONFIGS.items():
        made = score(model, corpus, along, config)
        assert made.metadata["engine"] == ("jvp" if name == "fallback" else name)
        found[f"scores {name}"] = torch.from_numpy(np.array(made.values))
    return {name: tensor.contiguous().clone() for name, tensor in found.items()}


def whole(parameter):
    return parameter.full_tensor() if isinstance(parameter, DTensor) else parameter.detach()


def main(folder):
    torch.set_num_threads(1)
    ranks.start()
    for case, (_, _, how) in CASES.items():
        model = shard(make_model(case), how)
        before = [whole(p).clone() for p in model.parameters()]
        needed = [p.requires_grad for p in model.parameters()]
        save_file(results(model), folder / f"{case}-{ranks.rank()}.safetensors")
        for module in model.modules():
            getattr(module, "reshard", lambda: None)()
        for parameter, kept, need in zip(model.parameters(), before, needed, strict=True):
            assert torch.equal(whole(parameter), kept)
            assert parameter.requires_grad == need
            assert parameter.grad is None
    ranks.barrier()
    ranks.stop()


def loaded(folder, case, rank):
    return load_file(folder / f"{case}-{rank}.safetensors")


if __name__ == "__main__":
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    main(Path(sys.argv[1]))
    # gloo's threads, which a sharded model's mesh keeps, may abort a process whose interpreter
    # ends before they have let go of their last tensors (pytorch/pytorch#190489)
    os._exit(0)
