from __future__ import annotations

import math
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from ifguide.report.display import colour_scale, score_level, visible_text, visible_token


@given(st.text(st.characters()))
def test_no_character_that_acts_is_left(text: str) -> None:
    acting = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    kept = {"\n", "\t", "\u200c", "\u200d"}
    assert all(unicodedata.category(c) not in acting or c in kept for c in visible_text(text))
    assert "\n" not in visible_text(text, one_line=True)
    visible_text(text).encode()  # no lone surrogate is left


def test_ordinary_text_stays_as_it_is() -> None:
    text = "Tämä on — مرحبا 👩‍💻 \t日本語\n"
    assert visible_text(text) == text


def test_nothing_selected_is_invisible() -> None:
    assert visible_token("", selected=True).strip()
    assert visible_token("\n\n", selected=True).strip()
    assert visible_token("\n\n", selected=False) == "\n\n"


def test_the_colour_scale_is_the_threshold_where_it_can_be() -> None:
    assert colour_scale(0.5, 9.0) == 0.5
    for unusable in (0.0, -1.0, math.nan, math.inf):
        assert score_level(9.0, colour_scale(unusable, 9.0)) == 5
        assert colour_scale(unusable, 0.0) == 1.0


@given(st.floats(-100, 100), st.floats(0.01, 100))
def test_levels_mirror_and_reach_3_at_the_scale(score: float, scale: float) -> None:
    level = score_level(score, scale)
    assert score_level(-score, scale) == -level
    assert (level >= 3) == (score / scale >= 1.0)
