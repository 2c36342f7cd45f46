"""What is asked of every model: how far it reads."""

from types import SimpleNamespace

from tiny import tiny_model

from ifguide.models.forward import positions_of


def test_every_family_says_how_far_it_reads(family):
    assert positions_of(tiny_model(family)) == 32


def test_the_text_part_of_a_model_of_several_kinds_counts():
    model = tiny_model()
    text = SimpleNamespace(max_position_embeddings=8)
    model.config = SimpleNamespace(max_position_embeddings=99, get_text_config=lambda: text)
    assert positions_of(model) == 8
    model.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace())
    assert positions_of(model) is None
