"""The attacks' tables: a model a column, or a row where there are many."""

from ifguide.report.attacks import attack_markdown, attack_tables


def states(distance):
    return {"cosine": [1.0, 0.5], "distance": [0.0, distance], "prompts": 3}


def results(models):
    entries = {
        f"m{k}": {"seconds": 1.0, "toxic": states(k), "neutral": states(k / 2)}
        for k in range(models)
    }
    return {"activations": entries}


def test_few_models_are_columns():
    (table,) = attack_tables(results(2))
    assert table.header == ("", "m0, toxic", "m0, neutral", "m1, toxic", "m1, neutral")
    assert table.rows[1] == (
        "layer 1", "0.5000 (0.000)", "0.5000 (0.000)", "0.5000 (1.000)", "0.5000 (0.500)",
    )  # fmt: skip


def test_many_models_are_rows():
    (table,) = attack_tables(results(9))
    assert table.header == ("", "layer 0", "layer 1")
    assert table.rows[16] == ("m8, toxic", "1.0000 (0.000)", "0.5000 (8.000)")
    assert len(table.rows) == 18
    page = attack_markdown(results(9))
    assert "| m8, neutral |" in page
    assert "(activations.svg)" in page
