"""The comparison with other libraries: the same scores, where an environment of theirs is there."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "peers"
# where `make test` puts them, unless told otherwise
ENVIRONMENTS = Path(os.environ.get("IFGUIDE_PEERS", Path(sys.prefix) / "peers"))


@pytest.fixture
def peers(monkeypatch):
    """A module of the folder, by name."""
    from importlib import import_module

    monkeypatch.syspath_prepend(str(FOLDER.parent))
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module


@pytest.mark.parametrize("peer", ["kronfluence", "bergson"])
def test_the_same_mathematics_gives_the_same_scores(peers, peer, tmp_path, capfd):
    compare = peers("compare")
    if not peers("install").interpreter(ENVIRONMENTS / peer).exists():
        pytest.skip(f"no environment of {peer}; benchmarks/peers/install.py makes it")
    out = tmp_path / "page.md"
    options = ["--environments", str(ENVIRONMENTS), "--quick", "--out", str(out)]
    assert compare.main([peer, *options]) == 0
    assert capfd.readouterr().out == out.read_text()
    table = json.loads(out.with_suffix(".json").read_text())
    rows = {row["name"]: row for row in table["agreement"]}
    assert [pair[0] for pair in compare.PAIRS[peer]] == list(rows)[: len(compare.PAIRS[peer])]
    assert table["queries"] > 10
    for row in rows.values():
        if row["same"]:
            scale = 1 / table["losses_a_block"] if row["curvature"] == "ekfac" else 1
            assert row["pearson"] > compare.BOUND
            assert row["ratio"] == pytest.approx(scale, rel=1e-3)
    if peer == "bergson":  # labels of another draw: as far as ours from ours, and no nearer
        own, chance = rows["output, ekfac, own labels"], rows["ours, other labels"]
        assert own["pearson"] < 0.9999
        assert own["pearson"] == pytest.approx(chance["pearson"], abs=0.05)
    assert all(cost["seconds"] > 0 for side in ("theirs", "ours") for cost in table[side].values())


def test_the_sums_end_to_end(peers):
    """Stages that cost a pass a token each, by hand."""

    def cost(tokens, passes=1.0):
        return {"tokens": tokens, "passes": passes, "seconds": 0.0}

    table = {
        "blocks": 10,
        "blocks_of_corpus": 40,
        "sampled_blocks": 10,
        "block_length": 8,
        "theirs": {
            "covariances": cost(80, 7.0),
            "eigenvectors": cost(80, 0.5),
            "eigenvalues": cost(80, 10.0),
            "query": cost(16, 5.0),
            "scores": cost(80, 4.0),
        },
        "end_to_end": {"a way": {"sample_blocks": 2, "run_sample_blocks": 4}},
        "ours": {
            "fit, a way": cost(16, 9.0),
            "aim, a way": cost(16, 5.0),
            "calibrate, a way": cost(40, 2.0),
            "score, a way": cost(80, 3.0),
        },
    }
    found = peers("page").totals(table, "a way")
    assert found["part"] == pytest.approx((7 + 0.5 + 10 + 4, (16 * 9 + 16 * 5 + 80) / 80 + 3))
    ours = (2 * 16 * 9 + 16 * 5 + 80) / 320 + 3
    assert found["corpus"] == pytest.approx((7 + 10 + 0.5 / 4 + 80 / 320 + 3, ours))


def test_a_missing_environment_is_one_line(peers, tmp_path, capfd):
    compare = peers("compare")
    assert compare.main(["bergson", "--environments", str(tmp_path), "--quick"]) == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "install.py" in shown.err
    assert shown.err.count("\n") == 1


def test_scores_that_disagree_end_with_1(peers, monkeypatch, capfd):
    compare = peers("compare")
    row = {"name": "x", "same": True, "pearson": 0.9, "spearman": 1.0, "top": 1.0, "ratio": 1.0}
    monkeypatch.setattr(compare, "compare", lambda parsed, scratch: {"agreement": [row]})
    monkeypatch.setattr(compare, "render", lambda table: "")
    assert compare.main(["bergson", "--environments", "x"]) == 1
    assert "scores disagree: x" in capfd.readouterr().err


def test_theirs_at_a_position_is_ours_at_the_next_token(peers, tmp_path):
    compare = peers("compare")

    has_loss = np.array([[False, True, True], [False, True, False]])
    case = SimpleNamespace(run=SimpleNamespace(part=SimpleNamespace(has_loss=has_loss)))
    ours = SimpleNamespace(scores=lambda curvature, engine: np.array([2.0, 4.0, 6.0]))
    np.save(tmp_path / "theirs.npy", np.array([[1.0, 2.0, 9.0], [3.0, 9.0, 9.0]]))
    row = next(compare.compared(case, tmp_path, ours, [("theirs", "identity", "jvp", True)]))
    assert row["ratio"] == pytest.approx(0.5)
    assert row["pearson"] == pytest.approx(1)


def test_an_environment_sees_these_packages_behind_its_own(peers, tmp_path):
    install = peers("install")
    own = tmp_path / "lib" / "python3.11" / "site-packages"
    own.mkdir(parents=True)
    install.inherit(tmp_path, Path("/somewhere/site-packages"))
    line = (own / install.INHERITED).read_text()
    assert line == "import site; site.addsitedir('/somewhere/site-packages')\n"
