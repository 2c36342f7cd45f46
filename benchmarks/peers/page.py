"""The Markdown page of a comparison, and the sums on it."""

from __future__ import annotations

from typing import Any

NORMALISE = {
    "kronfluence": """\
- Kronfluence's per-token score of input position t is `sum_W δ_tᵀ V_W a_t` with the loss that its
  task defines, here summed over a block: our `position`, which is reported at the token that t
  predicts. It has no own-loss score.
- Its eigenvalues are second moments a *block*, ours a predicted token, so its direction along
  EK-FAC is ours divided by the losses a block. Its damping with `damping_factor=None` is 0.1 of the
  mean eigenvalue of each weight, as ours is, so that nothing else changes.
- It counts a bias as one more column of its weight's gradient; here biases stand outside the linear
  maps, so that both track the same weights.
- Its covariances are means over the positions of the attention mask, here those that predict.
- What remains between the two EK-FACs: the covariances agree to float32 rounding, but eigenvectors
  of nearly equal eigenvalues are arbitrary within their span, and the corrected eigenvalues with
  them.
""",
    "bergson": """\
- Bergson scores tokens in two ways (`token_influence` with `attribute_tokens`): `output` is the
  derivative of token t + 1's own loss along the query by `torch.func.jvp`, our `jvp`; `gradient`
  is the share that passes through position t, our `position`. Row t of both is our token t + 1.
- With `loss_reduction="sum"` losses are summed over a document, as ours are; `mean` divides each
  document's scores by its losses.
- Its eigenvalues (`method="kfac"`, `ev_correction=True`) are means a *document*, ours a predicted
  token, so its direction along EK-FAC is ours divided by the losses a block. `damped_inverse` is
  ours: damping of 0.1 of the mean eigenvalue. Biases are left out by default, as ours.
- It draws labels from the model by its own draws. With the same labels, given as the data set's
  own (`use_dataset_labels`), it fits the same factors; with its own, it is as far from ours as ours
  with labels drawn anew.
""",
}


def render(table: dict[str, Any]) -> str:
    """The whole Markdown page."""
    peer = table["peer"].partition("==")[0]
    lines = [
        f"# {table['peer'].replace('==', ' ')} beside ours",
        "",
        f"`{table['command']}`, {table['date']}, {table['machine']}.",
        "",
        f"{table['blocks']} of the corpus's {table['blocks_of_corpus']} blocks of "
        f"{table['block_length']} tokens, drawn by seed; EK-FAC on {table['sampled_blocks']} of "
        f"them; {table['queries']} queries.",
        "",
        "## The same scores",
        "",
        f"| {peer} | our curvature | our engine | Pearson | Spearman | top 1% in common | "
        "theirs / ours | expected |",
        "|---|---|---|---|---|---|---|---|",
        *(_agreement(row, table) for row in table["agreement"]),
        "",
        NORMALISE[peer],
        "## Costs",
        "",
        "A pass is a plain forward pass over the same tokens, in the same process. Processor time;",
        "a side's stages include what it reads and writes on the way.",
        "",
        "| | stage | tokens | seconds | passes |",
        "|---|---|---|---|---|",
        *(_cost(peer, name, cost) for name, cost in table["theirs"].items()),
        *(_cost("ours", name, cost) for name, cost in table["ours"].items()),
        "",
    ]
    if peer == "kronfluence":
        lines += _end_to_end(table)
    return "\n".join(lines)


def _agreement(row: dict[str, Any], table: dict[str, Any]) -> str:
    scaled = row["curvature"] == "ekfac" and not row["name"].startswith("ours")
    expected = 1 / table["losses_a_block"] if scaled else 1.0
    cells = [row["name"], row["curvature"], row["engine"]]
    cells += [f"{row['pearson']:.6f}", f"{row['spearman']:.6f}", f"{row['top']:.3f}"]
    return f"| {' | '.join(cells)} | {row['ratio']:.6f} | {expected:.6f} |"


def _cost(side: str, name: str, cost: dict[str, float]) -> str:
    tokens, passes = int(cost["tokens"]), f"{cost['passes']:.1f}"
    return f"| {side} | {name} | {tokens} | {cost['seconds']:.1f} | {passes} |"


def totals(table: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Plain passes over the scored blocks that both sides take end to end: (theirs, ours).

    ``part`` is as measured. ``corpus`` is reckoned from the same stages: Kronfluence's fit grows
    with the blocks, ours is of the run's own sample, and each side's scoring is what a block more
    costs, and once what comes with the first few (Kronfluence: the query; ours: a calibration).
    """
    cost = {
        (side, name): found["passes"] * found["tokens"]
        for side in ("theirs", "ours")
        for name, found in table[side].items()
    }
    tokens = table["blocks"] * table["block_length"]
    whole = table["blocks_of_corpus"] * table["block_length"]
    fit = cost["theirs", "covariances"] + cost["theirs", "eigenvalues"]
    once, aim = cost["theirs", "eigenvectors"], cost["ours", "aim"]
    few = table["ours"]["score, few"]["tokens"]
    more = (cost["ours", "score"] - cost["ours", "score, few"]) / (tokens - few)
    their_more = (cost["theirs", "scores"] - cost["theirs", "query"]) / tokens
    sampled = table["run_sample_blocks"] / table["own_sample_blocks"]
    part = fit + once + cost["theirs", "scores"], cost["ours", "fit"] + aim + cost["ours", "score"]
    corpus = (
        fit * whole / (table["sampled_blocks"] * table["block_length"])
        + once
        + cost["theirs", "query"]
        + their_more * whole,
        sampled * cost["ours", "fit"] + aim + cost["ours", "score, few"] + more * (whole - few),
    )
    return {
        "part": (part[0] / tokens, part[1] / tokens),
        "corpus": (corpus[0] / whole, corpus[1] / whole),
    }


def _end_to_end(table: dict[str, Any]) -> list[str]:
    found, spearman = totals(table), table["own_against_whole_fit"]["spearman"]
    rows = [
        f"| {name} | {theirs:.1f} | {ours:.1f} | {theirs / ours:.1f} |"
        for name, (theirs, ours) in (
            (f"the {table['blocks']} blocks", found["part"]),
            (f"the corpus, {table['blocks_of_corpus']} blocks, reckoned", found["corpus"]),
        )
    ]
    return [
        "## End to end",
        "",
        "Kronfluence: covariances, eigenvectors and eigenvalues of all these blocks, query and",
        f"scores. Ours: fit on {table['own_sample_blocks']} of them, aim, and score by",
        f"`{table['own_engine']}`, as the run's settings have it. In plain passes over the blocks.",
        "",
        "| | Kronfluence | ours | ratio |",
        "|---|---|---|---|",
        *rows,
        "",
        f"Reckoned: Kronfluence's fit and each side's scoring grow with the blocks; our fit is of "
        f"{table['run_sample_blocks']} blocks.",
        "Our end-to-end scores against `jvp` along the fit on all "
        f"{table['sampled_blocks']} blocks: Spearman {spearman:.4f}, top 1% in common "
        f"{table['own_against_whole_fit']['top']:.3f}.",
        "",
    ]
