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


def totals(table: dict[str, Any], way: str) -> dict[str, tuple[float, float]]:
    """Plain passes over the scored blocks that both sides take end to end: (theirs, ours).

    ``part`` is as measured. ``corpus`` is reckoned from the same stages: Kronfluence's fit and each
    side's scoring grow with the blocks; our fit is of the run's own sample; Kronfluence's
    eigenvectors and query, our aim and our calibration come once.
    """
    cost = {
        (side, name): found["passes"] * found["tokens"]
        for side in ("theirs", "ours")
        for name, found in table[side].items()
    }
    fit, aim, calibration, scoring = (
        cost["ours", f"{stage}, {way}"] for stage in ("fit", "aim", "calibrate", "score")
    )
    their_fit = cost["theirs", "covariances"] + cost["theirs", "eigenvalues"]
    their_scoring = cost["theirs", "scores"] - cost["theirs", "query"]
    their_once = cost["theirs", "eigenvectors"] + cost["theirs", "query"]
    more = table["blocks_of_corpus"] / table["blocks"]
    fitted = table["blocks_of_corpus"] / table["sampled_blocks"]
    own = table["end_to_end"][way]
    sampled = own["run_sample_blocks"] / own["sample_blocks"]
    tokens = table["blocks"] * table["block_length"]
    once = aim + calibration
    return {
        "part": (
            (their_fit + their_once + their_scoring) / tokens,
            (fit + once + scoring) / tokens,
        ),
        "corpus": (
            (their_fit * fitted + their_once + their_scoring * more) / (tokens * more),
            (fit * sampled + once + scoring * more) / (tokens * more),
        ),
    }


def _end_to_end(table: dict[str, Any]) -> list[str]:
    parts = {
        "part": f"the {table['blocks']} blocks",
        "corpus": f"the corpus, {table['blocks_of_corpus']} blocks, reckoned",
    }
    lines = [
        "## End to end",
        "",
        "Kronfluence: covariances, eigenvectors and eigenvalues of all these blocks, query and",
        "scores. Ours: fit on a sample of them, aim, calibrate and score. In plain passes over the",
        "blocks. The last columns: our scores against `jvp` along the fit on all "
        f"{table['sampled_blocks']} blocks.",
        "",
        "| | ours | engine | Kronfluence | ours | ratio | Spearman | top 1% in common |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for way, own in table["end_to_end"].items():
        agreed = own["against_whole_fit"]
        for part, (theirs, ours) in totals(table, way).items():
            cells = [parts[part], way, own["engine"], f"{theirs:.1f}", f"{ours:.2f}"]
            cells += [f"{theirs / ours:.1f}", f"{agreed['spearman']:.4f}", f"{agreed['top']:.3f}"]
            lines.append(f"| {' | '.join(cells)} |")
    sampled = {own["run_sample_blocks"] for own in table["end_to_end"].values()}
    return [
        *lines,
        "",
        "Reckoned: Kronfluence's fit and each side's scoring grow with the blocks; our fit is of "
        f"{max(sampled)} blocks.",
        "",
    ]
