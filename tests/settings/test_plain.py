"""YAML is data, within bounds: what is read, what is refused in one line, and how fast."""

import os
import threading

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ifguide.errors import InputError
from ifguide.settings import plain
from ifguide.settings.plain import (
    DEPTH,
    NODES,
    height,
    read_plain_yaml,
    read_yaml_file,
    visible,
    write_plain_yaml,
)


def refused(text):
    with pytest.raises(InputError) as error:
        read_plain_yaml(text, "x.yaml")
    line = str(error.value)
    assert line.startswith("x.yaml")
    assert line.isprintable()
    assert len(line) < 600
    return line


@pytest.mark.parametrize("loader", ["short", "long"])
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("tRue", "tRue"),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("+12", 12),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("1e-3", 0.001),
        ("1.5E+2", 150.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.inf", float("-inf")),
        ("2026-01-02", "2026-01-02"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("'12'", "12"),
        ('"null"', "null"),
        ("=", "="),
        ("<", "<"),
        ("{{ 7 * 7 }}", "{{ 7 * 7 }}"),
        ("torch.nn.Linear", "torch.nn.Linear"),
        ("[a, 1, [b]]", ["a", 1, ["b"]]),
        ("|\n  a\n  b\n", "a\nb\n"),
        ("&x {p: 1}", {"p": 1}),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value, loader, monkeypatch):
    monkeypatch.setattr(plain, "_SHORT", 10**9 if loader == "short" else 0)
    if text.startswith("{{"):
        text = f'"{text}"'
    found = read_plain_yaml(text if text.startswith("|") else f"- {text}", "x")
    assert found == (value if text.startswith("|") else [value])
    assert not isinstance(value, bool) or isinstance(found[0], bool)


def test_nan_is_a_number():
    assert read_plain_yaml(".nan", "x") != read_plain_yaml(".nan", "x")


def test_merge_keys_work():
    text = """
one: &one {a: 1, b: 2}
two: &two {b: 3, c: 4}
first: {<<: *one, b: 9}
both:
  d: 5
  <<: [*one, *two]
"""
    found = read_plain_yaml(text, "x")
    assert found["first"] == {"a": 1, "b": 9}
    assert found["both"] == {"a": 1, "b": 2, "c": 4, "d": 5}


def test_an_alias_is_a_copy():
    found = read_plain_yaml("a: &a {x: [1]}\nb: *a\nc: {<<: *a}", "x")
    found["a"]["x"].append(2)
    assert found["b"] == found["c"] == {"x": [1]}


def laughs(levels=30, wide=9):
    first = f"l0: &l0 [{', '.join(['lol'] * wide)}]"
    rows = (f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * wide)}]" for n in range(1, levels))
    return "\n".join([first, *rows])


def ladder(rungs=60):
    """Aliases each as deep as is allowed, one below the other."""
    rows = (f"r{n}: &r{n} {'[' * 90}*r{n - 1}{']' * 90}" for n in range(1, rungs))
    return "\n".join([f"r0: &r0 {'[' * 90}{']' * 90}", *rows])


HOSTILE = {
    "billion laughs": (laughs(), f"more than {NODES} values"),
    "billion laughs by merging": (
        "a0: &a0 {k: [1, 2, 3, 4, 5, 6, 7, 8]}\n"
        + "\n".join(
            f"a{n}: &a{n} {{p: *a{n - 1}, q: *a{n - 1}, <<: *a{n - 1}}}" for n in range(1, 40)
        ),
        f"more than {NODES} values",
    ),
    "a ladder of deep aliases": (ladder(), f"nested deeper than {DEPTH} levels"),
    "an alias of itself": ("a: &a [1, *a]", "the alias *a stands within what it names"),
    "a merge of itself": ("a: &a {b: {<<: *a}}", "the alias *a stands within what it names"),
    "an alias of nothing": ("a: *b", "the alias *b names nothing above it"),
    "deep lists": ("[" * 100_000, f"nested deeper than {DEPTH} levels"),
    "deep block lists": ("- " * 100_000, f"nested deeper than {DEPTH} levels"),
    "deep mappings": ("{a: " * 100_000, f"nested deeper than {DEPTH} levels"),
    "deep keys": ("? " * 100_000, f"nested deeper than {DEPTH} levels"),
    "many values": ("[" + "1," * 1_000_000 + "]", f"more than {NODES} values"),
    "a key twice": ("a: 1\nb: 2\na: 3", "line 3, column 1: the key 'a' is given twice"),
    "merges twice": ("a: &a {}\nb: {<<: *a, <<: *a}", "the key << is given twice"),
    "a merge of no mapping": ("a: {<<: 3}", "the key << takes settings by name"),
    "a number as a key": ("{7: 1}", "the key 7 is not text; put it in quotes"),
    "null as a key": ("{~: 1}", "the key null is not text"),
    "a list as a key": ("? [1, 2]\n: 3", "the key [1, 2] is not text"),
    "a mapping as a key": ("? {a: 1}\n: 3", "is not text"),
    "a python object": ("!!python/object/apply:os.system [ls]", "python/object/apply:os.system is"),
    "a python name": ("a: !!python/name:os.system", "the tag tag:yaml.org,2002:python/name:os"),
    "a python module": ("a: !!python/module:tabnanny", "is refused; remove it"),
    "a tag of yaml's own": ("a: !!binary aGk=", "the tag tag:yaml.org,2002:binary is refused"),
    "a set": ("!!set {a, b}", "the tag tag:yaml.org,2002:set is refused"),
    "a local tag": ("a: !include other.yaml", "the tag !include is refused; remove it"),
    "a tag on an anchor": ("a: &x !foo {b: 1}", "the tag !foo is refused"),
    "a tag by a directive": ("%TAG ! tag:x,1:\n---\na: !y 1", "the tag tag:x,1:y is refused"),
    "two documents": ("a: 1\n---\nb: 2", "a second document; write one"),
    "NUL": ('a: "x\\0y"', r"the character '\x00' is no text"),
    "half a character": ('a: "\\ud800"', "not valid YAML|is no text"),
    "a raw sign": ("a\x1b[31m: 1", "not valid YAML"),
    "signs in a key": (
        '"\\x1b[31m\\n": 1\n"\\x1b[31m\\n": 2',
        r"'\x1b[31m\n' is given",
    ),
    "signs in a tag": ("a: !<tag:%1B%0A> 1", "the tag"),
    "a long key": ("{a: 1, " + f"? {'k' * 9000}\n: 1, ? {'k' * 9000}\n: 2}}", "is given twice"),
    "a long number": ("a: " + "9" * 100_000, "a number of 100000 digits"),
    "an open list": ("a: [1, 2", "line 1, column 9: not valid YAML (expected ',' or ']'"),
    "a tabulator": ("a:\n\t- 1", "line 2, column 1: not valid YAML (found character '\\t'"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_hostile_is_one_line(case):
    text, said = HOSTILE[case]
    line = refused(text)
    assert any(part in line for part in said.split("|"))


@pytest.mark.parametrize("case", ["billion laughs", "many values", "deep lists", "deep keys"])
def test_no_more_is_built_than_the_bounds_allow(case, monkeypatch):
    """What decides is the number of events that are taken, not a clock."""
    taken = 0
    parse = yaml.parse

    def counted(*arguments, **options):
        nonlocal taken
        for event in parse(*arguments, **options):
            taken += 1
            yield event

    monkeypatch.setattr(plain.yaml, "parse", counted)
    refused(HOSTILE[case][0])
    assert taken <= NODES + 3


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False),
    TEXT,
    st.from_regex(r"[-+]?[0-9._eExo:]{1,8}", fullmatch=True),
    st.sampled_from(["no", "yes", "on", "null", "~", "<<", "=", "1e-3", "0o7", "08", ".inf", "&a"]),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(TEXT | st.sampled_from(["<<", "class_path"]), inner, max_size=4),
    ),
    max_leaves=12,
)


@given(TREES)
def test_what_is_written_reads_back_to_the_same(tree):
    found = read_plain_yaml(write_plain_yaml(tree), "x")
    assert found == tree
    assert repr(found) == repr(tree), "1 is not 1.0 and not true"


@given(st.text(max_size=60) | st.text("[]{}:,-&*!<>|'\"?#%@` \nab1~", max_size=40))
def test_any_text_is_plain_data_or_one_line(text):
    said, found = "x.yaml", None
    try:
        found = read_plain_yaml(text, "x.yaml")
    except InputError as error:
        said = str(error)
    assert said.startswith("x.yaml")
    assert "\n" not in said
    assert height(found) <= DEPTH


@given(st.text(), st.integers(8, 60))
def test_what_a_message_shows_is_printable_and_bounded(text, most):
    shown = visible(text, most)
    assert not set(shown) & set(map(chr, [*range(32), *range(127, 160), 0x2028, 0x202E, 0xFEFF]))
    assert len(visible("a" * 1000 + text, most)) <= 10 * most


# files


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_yaml_file(tmp_path / "x.yaml") == {"a": 1}


def test_a_file_that_is_none_is_refused_without_hanging(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "large.yaml").write_bytes(b"#" * (plain.BYTES + 1))
    cases = {
        tmp_path: "a folder, not a file; give the YAML file",
        tmp_path / "pipe": "a pipe or a device, not a plain file",
        tmp_path / "link": "a pipe or a device, not a plain file",
        tmp_path / "round": "cannot be read (",
        tmp_path / "large.yaml": "larger than 10 MB",
        tmp_path / "nothing.yaml": "no such file; give the YAML file",
        tmp_path / "nul\0.yaml": r"nul\x00.yaml: cannot be read (",
        tmp_path / ("long" * 100): "cannot be read (",
    }
    for file, said in cases.items():
        lines = []

        def read(file=file, lines=lines):
            try:
                read_yaml_file(file)
            except InputError as error:
                lines.append(str(error))

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        thread.join(30)
        assert not thread.is_alive(), f"{file} hangs"
        assert said in lines[0]
        assert "\0" not in lines[0]
