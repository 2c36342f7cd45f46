"""How stages stand, and what follows from it."""

import json
from contextlib import suppress
from dataclasses import replace as replaced

import pytest
from toys import KilledError, Shards, config, killed, scored

from ifguide.errors import InputError
from ifguide.files import write_sealed
from ifguide.run.run import closure, looked_at, opened
from ifguide.run.stage import Outside, needs

OTHER = {"selection__budget": 0.2}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text.txt").write_text("words")
    return tmp_path / "text.txt"


class Chain:
    """A text, a stage that reads it, and one that rests on that; what is made is told."""

    def __init__(self, text, known=1, version=1):
        self.made = []
        self.text = Outside(
            name="texts",
            files=lambda config: [(file, file.name) for file in sorted(text.parent.glob("*.txt"))],
            known_by=lambda config: {"reader": known},
            open=lambda config: text.read_text(),
        )
        self.first = self.stage("first", self.text, version=version)
        self.last = self.stage(
            "last", self.first, settings=lambda config: config.seed, section="seed"
        )

    def stage(self, name, need, **changes):
        def make(work, settings, before):
            self.made.append(name)
            (work.path / "text").write_text(f"{before}+{name}")

        return scored(
            make,
            name=name,
            needs=needs(need),
            files=("text",),
            load=lambda folder, get: (folder / "text").read_text(),
            **changes,
        )


def standing(chain, root, **changes):
    """Return how both stages stand, looked at."""
    with looked_at(config(**changes), root) as run:
        found = [run.standing(chain.first), run.standing(chain.last)]
        assert not chain.made
    return [(one.state, one.why) for one in found]


def made(chain, root, *, replace=False, **changes):
    stages = [chain.first, chain.last]
    with opened(config(**changes), root, stages, quiet=True, replace=replace) as run:
        assert run(chain.last) == "words+first+last"
    found, chain.made = chain.made, []
    return found


def test_what_is_made_stands_and_is_not_made_again(root, text):
    chain = Chain(text)
    assert made(chain, root) == ["first", "last"]
    assert standing(chain, root) == [("stands", ""), ("stands", "")]
    assert made(Chain(text), root) == []


def test_a_setting_that_changed_is_named_with_old_and_new(root, text):
    chain = Chain(text)
    made(chain, root)
    assert standing(chain, root, seed=4) == [("stands", ""), ("stale", "seed: 3, now 4")]
    assert standing(chain, root, **OTHER) == [
        ("stale", "selection.budget: 0.02, now 0.2"),
        ("stale", "it rests on 'first', which is another now"),
    ]
    assert made(Chain(text), root, replace=True, seed=4) == ["last"]


def test_a_file_that_changed_is_named(root, text):
    chain = Chain(text)
    made(chain, root)
    rests = ("stale", "it rests on 'first', which is another now")
    text.write_text("WORDS")
    (text.parent / "more.txt").write_text("more")
    assert standing(chain, root) == [
        ("stale", "texts: the file more.txt is new; texts: the file text.txt changed"),
        rests,
    ]
    text.rename(text.parent / "other.txt")
    assert "texts: the file text.txt is gone" in standing(chain, root)[0][1]


def test_a_file_that_is_written_again_as_it_was_changes_nothing(root, text):
    made(Chain(text), root)
    text.write_text("words")
    assert made(Chain(text), root) == []


def test_what_else_decides_something_outside_is_named(root, text):
    made(Chain(text), root)
    assert standing(Chain(text, known=2), root)[0] == ("stale", "texts.reader: 1, now 2")


def test_a_version_that_was_raised_names_who_made_it(root, text):
    made(Chain(text), root)
    manifest = root / "first" / "manifest.json"
    held = json.loads(manifest.read_text())
    held["versions"]["ifguide"] = "0.0.7"
    held.pop("seal")
    write_sealed(manifest, held)
    raised = Chain(text, version=2)
    said = "it was made by ifguide 0.0.7, since when its meaning has changed"
    assert standing(raised, root)[0] == ("stale", said)
    assert made(raised, root) == ["first", "last"]


def test_what_is_damaged_begun_missing_or_not_kept_is_called_so(root, text):
    chain = Chain(text)
    made(chain, root)
    (root / "first" / "text").write_text("other")
    assert standing(chain, root)[0] == ("damaged", "text is missing, short or altered")
    begun = scored(killed(4), name="begun")
    missing = scored(Shards(), name="missing")
    no_folder = scored(Shards(), name="no_folder", kept=lambda config: False)
    with opened(config(), root, quiet=True) as run, pytest.raises(KilledError):
        run(begun)
    with looked_at(config(), root) as run:
        states = [run.standing(stage).state for stage in (begun, missing, no_folder)]
    assert states == ["begun", "not made", "not kept"]


def test_a_stage_that_is_begun_but_has_computed_nothing_is_not_made(root):
    def stops(work, settings):
        raise KilledError

    with opened(config(), root, quiet=True) as run, pytest.raises(KilledError):
        run(scored(stops))
    with looked_at(config(), root) as run:
        assert run.standing(scored(stops)).state == "not made"


# looking makes nothing


def seen(root):
    return {
        file: (file.is_dir() or file.read_bytes(), file.stat().st_mtime_ns)
        for file in root.rglob("*")
    }


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root, text: None, None),
        (lambda root, text: text.write_text("other"), "it rests on 'first', which is another now"),
        (lambda root, text: (root / "last/text").unlink(), "text is missing, short or altered"),
        (lambda root, text: (root / "last/manifest.json").unlink(), "no finished stage 'last'"),
    ],
    ids=["stands", "stale", "damaged", "not made"],
)
def test_a_run_that_is_looked_at_refuses_what_does_not_stand_by_name(root, text, spoil, said):
    made(Chain(text), root)
    spoil(root, text)
    chain = Chain(text)
    before = seen(root)
    with looked_at(config(), root) as run:
        if said is None:
            assert run(chain.last) == "words+first+last"
        else:
            with pytest.raises(InputError) as error:
                run(chain.last)
            assert said in str(error.value)
            assert "`ifguide last`" in str(error.value)
            assert "\n" not in str(error.value)
    assert not chain.made
    assert seen(root) == before


def test_a_run_that_may_make_some_stages_refuses_the_others(root, text):
    made(Chain(text), root)
    text.write_text("other")
    chain = Chain(text)
    last = opened(config(), root, quiet=True, makes=lambda stage: stage is chain.last)
    with last as run, pytest.raises(InputError, match=r"stage 'first' is not what .*text\.txt"):
        run(chain.last)
    assert not chain.made


def test_texts_that_have_moved_away_are_taken_to_be_what_was_read(root, text, caplog):
    """Whoever looks at a run that somebody sent has not what it was made of."""
    chain = Chain(text)
    gone = replaced(chain.text, files=lambda config: [(text, "text.txt"), (text.parent / "b", "b")])
    made(chain, root)
    (root / "notes").mkdir()
    (root / "notes" / "manifest.json").write_text("somebody's")
    moved = Chain(text)
    moved.first = moved.stage("first", gone)
    moved.last = moved.stage("last", moved.first, settings=lambda c: c.seed, section="seed")
    with looked_at(config(), root) as run:
        assert run(moved.last) == "words+first+last"
    assert "texts: cannot be compared with what was read" in caplog.text


# what a folder is made for


def test_settings_may_change_until_something_has_been_computed(root):
    def stops(work, settings):
        raise InputError("a wrong path")

    stage = scored(stops)
    with opened(config(), root, [stage], quiet=True) as run, pytest.raises(InputError):
        run(stage)
    work = Shards()
    with opened(config(**OTHER), root, [scored(work)], quiet=True) as run:
        run(scored(work))
    assert work.made == [0, 2, 4, 6]


@pytest.mark.parametrize("work", [Shards(), killed(4)], ids=["made", "begun"])
def test_once_something_is_computed_only_replace_lets_other_settings_in(root, work):
    stage = scored(work)
    with opened(config(), root, [stage], quiet=True) as run, suppress(KilledError):
        run(stage)
    settings, files = (root / "config.yaml").read_bytes(), sorted(root.rglob("*"))
    refused = opened(config(**OTHER), root, [stage], quiet=True)
    with pytest.raises(InputError) as error, refused:
        pass
    assert str(error.value) == (
        f"{root}/config.yaml: the folder was made with other settings (selection.budget: 0.02, now "
        "0.2); give another --out, or --replace to make again what differs"
    )
    assert sorted(root.rglob("*")) == files
    assert (root / "config.yaml").read_bytes() == settings
    again = Shards(value=2.0)
    with opened(config(**OTHER), root, [scored(again)], quiet=True, replace=True) as run:
        assert (run(scored(again)) == 2).all()
    assert "budget: 0.2" in (root / "config.yaml").read_text()
    with opened(config(**OTHER), root, [scored(again)], quiet=True) as run:
        run(scored(again))
    assert again.made == [0, 2, 4, 6]


def test_a_broken_config_beside_the_stages_is_written_anew(root):
    with opened(config(), root, quiet=True) as run:
        run(scored(Shards()))
    (root / "config.yaml").write_bytes(b"a: [1\xff")
    unused = Shards()
    with opened(config(), root, [scored(unused)], quiet=True) as run:
        run(scored(unused))
    assert not unused.made
    assert b"\xff" not in (root / "config.yaml").read_bytes()


def test_a_closure_has_what_a_stage_rests_on_first_and_once(text):
    chain = Chain(text)
    assert closure([chain.last, chain.first], config()) == [chain.first, chain.last]
