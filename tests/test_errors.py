"""One line for what users can mend, and for what libraries say."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifguide.errors import LONGEST, InputError, escaped, one_line

anything = st.text(st.characters(), max_size=60)


def is_one_plain_line(text):
    return len(text.splitlines()) <= 1 and not set(text) & {chr(code) for code in range(32)}


@given(anything)
def test_any_name_leaves_the_message_one_line(name):
    line = str(InputError(f"source {name}: the path is not there"))
    assert is_one_plain_line(line)
    line.encode()


@given(anything)
def test_escaping_is_done_once(text):
    assert escaped(escaped(text)) == escaped(text)


def test_letters_of_all_scripts_stay():
    text = "é 日本語 עברית 👩‍👩‍👧 \u3000a/b\\..\\n"
    assert escaped(text) == text


def test_an_input_error_travels_to_another_process():
    error = pickle.loads(pickle.dumps(InputError("a\nb")))
    assert (type(error), str(error)) == (InputError, r"a\nb")


@given(anything.map(ValueError))
def test_what_an_exception_says_is_one_bounded_line(error):
    said = one_line(error)
    assert said
    assert is_one_plain_line(said)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("  two\n  lines. "), "two lines"),
        (ValueError("\n\n"), "ValueError"),
        (AssertionError(), "AssertionError"),
        (FileNotFoundError(2, "No such file or directory", "/a/b"), "No such file or directory"),
        (OSError("told by a library"), "told by a library"),
        (ValueError("gone \x1b[2J"), r"gone \x1b[2J"),
        (ValueError("\x1b[1mbold\x1b[0m words"), "bold words"),
    ],
)
def test_the_line_of_an_exception(error, said):
    assert one_line(error) == said


def test_a_long_message_is_cut():
    said = one_line(ValueError("a " * 9999))
    assert len(said) == LONGEST
    assert said.endswith("…")


def test_the_first_lines_alone_can_be_asked_for():
    assert one_line(ValueError("\nfirst\nsecond\nthird"), 1) == "first"
    assert one_line(ValueError("first\nsecond\nthird"), 2) == "first second"
