"""One run: gives the noun of any need, made first where it is missing and that is allowed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar, cast, final

from ifguide.distributed import ranks
from ifguide.errors import InputError, reading
from ifguide.evaluation.figures import Cost
from ifguide.files import fingerprint_of, plain
from ifguide.run.checksums import checksums_of, weights_digest
from ifguide.run.folder import CONFIG, RUN, RunFolder
from ifguide.run.manifest import MANIFEST, NO_COST, Manifest, read_manifest
from ifguide.run.progress import progress_line
from ifguide.run.stage import AnyStage, Need, Outside, Stage, chosen
from ifguide.run.standing import Standing, State, changes, setting_changes
from ifguide.run.store import StageFolder, working
from ifguide.run.work import Work
from ifguide.settings.config import Config
from ifguide.settings.reader import to_kept_yaml
from ifguide.version import VERSION

log = logging.getLogger(__name__)

A = TypeVar("A")


MEND = "mend what these settings name"  # of what lies outside


class UndeclaredError(TypeError):
    """A stage asks for what it has not declared."""


@final
class Run:
    """One run over one folder; ``run(NEED)`` is the noun of a stage, or of what lies outside.

    Args:
        config: the settings.
        folder: claimed, or opened to be looked at.
        quiet: no progress lines.
        makes: which stages may be made; the others must be there, and stand.
        shown: which stages the pages beside the stages rest on.
    """

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        *,
        quiet: bool = False,
        makes: Callable[[AnyStage], bool] = lambda stage: True,
        shown: Callable[[AnyStage], bool] = lambda stage: False,
    ) -> None:
        self.config, self.folder, self.quiet, self._shown = config, folder, quiet, shown
        self._makes = makes if folder.writes else lambda stage: False
        self._nouns: dict[Need[Any], Any] = {}
        self._fingerprints: dict[Need[Any], str] = {}
        self._reads: dict[Need[Any], Mapping[str, Any]] = {}

    def __call__(self, need: Need[A], /) -> A:
        """Return a noun.

        Raises:
            InputError: a stage is missing, damaged or not what the settings and files now say, and
                may not be made here; or it cannot be made.
        """
        need = chosen(need, self.config)
        if need not in self._nouns:
            if isinstance(need, Outside):
                with reading(need.name, MEND, passing=(UndeclaredError,)):
                    self._nouns[need] = need.open(self.config)
            else:
                self._nouns[need] = self._stage_noun(cast(AnyStage, need))
        return cast(A, self._nouns[need])

    @contextmanager
    def forgetting(self) -> Iterator[None]:
        """Let go of every noun that is opened meanwhile, such as a model, once it is over."""
        kept = dict(self._nouns)
        try:
            yield
        finally:
            self._nouns = kept

    def path(self, stage: AnyStage) -> Path:
        """Return the folder of a stage, made first if need be."""
        self(stage)
        return self.folder.root / stage.name

    def ensure(self, stage: AnyStage) -> None:
        """Make a stage, and whatever it rests on that is missing or damaged.

        Raises:
            InputError: as for the noun.
        """
        for earlier in closure([stage], self.config):
            if earlier.kept(self.config):
                place = self._folder(earlier)
                if not ranks.agree(lambda s=earlier, p=place: self._is_there(s, p)):  # type: ignore[misc]
                    self._make(earlier, place)

    def standing(self, stage: AnyStage, *, as_made: bool = False) -> Standing:
        """Return how a stage stands; nothing is made or changed.

        With ``as_made`` the settings are those that made it, for a stage whose settings are given
        on the command line.
        """
        if not stage.kept(self.config):
            return Standing(stage=stage, state="not kept")
        place = self._folder(stage)
        found = place.manifest()
        if found is None:
            why = f"it has files and no {MANIFEST}" if place.has_lost_its_manifest() else ""
            state: State = "begun" if place.has_begun() else "not made"
            return Standing(stage=stage, state=state, why=why)
        now = self._as_made(stage, found) if as_made else self.fingerprint(stage)
        if found.fingerprint != now:
            why = "; ".join(changes(found, self._manifest(stage)))
            return Standing(stage=stage, state="stale", why=why, manifest=found)
        if damaged := place.damaged():
            why = f"{damaged[0]} is missing, short or altered"
            return Standing(stage=stage, state="damaged", why=why, manifest=found)
        return Standing(stage=stage, state="stands", manifest=found)

    def fingerprint(self, need: Need[Any]) -> str:
        """Return what a need is known by: all that decides it."""
        need = chosen(need, self.config)
        if need not in self._fingerprints:
            if isinstance(need, Outside):
                self._fingerprints[need] = fingerprint_of([need.name, self._read(need)])
            else:
                stage = cast(AnyStage, need)
                needs = {earlier.name: self.fingerprint(earlier) for earlier in self._needs(stage)}
                settings = stage.settings(self.config)
                decided = [stage.name, stage.version, settings, needs]
                self._fingerprints[need] = fingerprint_of(decided)
        return self._fingerprints[need]

    def cost(self, stage: AnyStage) -> Cost:
        """Return what a finished stage has cost.

        Raises:
            InputError: its files are there and its manifest is gone.
        """
        found = self._folder(stage).manifest()
        if found is None and self._folder(stage).has_lost_its_manifest():
            raise InputError(self._refusal(self.standing(stage)))
        return found.cost if found else NO_COST

    def refuse_other_settings(self, stages: Iterable[AnyStage]) -> None:
        """Refuse to go on where something has been made, or begun, under other settings.

        Raises:
            InputError: the first setting that differs.
        """
        for stage in stages:
            place = self._folder(stage)
            found, begun = place.manifest(), place.begun_with()
            before = [found.settings] if found else []
            before += [begun["settings"]] if begun and "settings" in begun else []
            now = plain(stage.settings(self.config))
            for change in (c for old in before for c in setting_changes(old, now, stage.section)):
                if found and found.fingerprint == self.fingerprint(stage):
                    continue  # only where a file lies
                raise InputError(
                    f"{self.folder.root / CONFIG}: the folder was made with other settings "
                    f"({change}); give another --out, or --replace to make again what differs"
                )

    # details

    def _needs(self, stage: AnyStage) -> list[Need[Any]]:
        """Return what a stage needs under the run's settings."""
        return [chosen(need, self.config) for need in stage.needs.all]

    def _as_made(self, stage: AnyStage, found: Manifest) -> str:
        """Return what a stage would be known by under the settings that made it."""
        needs = {earlier.name: self.fingerprint(earlier) for earlier in self._needs(stage)}
        return fingerprint_of([stage.name, stage.version, found.settings, needs])

    def _stage_noun(self, stage: AnyStage) -> Any:
        if not stage.kept(self.config):
            stage.check_make()
            nouns = [self(earlier) for earlier in stage.needs.all]
            return stage.make(Work(), stage.settings(self.config), *nouns)
        place = self._folder(stage)
        if not ranks.agree(lambda: self._is_there(stage, place)):
            self._make(stage, place)

        def get(need: Need[A], /) -> A:
            if need not in stage.needs.all:
                raise UndeclaredError(
                    f"stage '{stage.name}' asks for '{need.name}', not one of its needs"
                )
            return self(need)

        ours = (MemoryError, UndeclaredError)
        with reading(str(place.path), "delete it and run again", passing=ours):
            return stage.load(place.path, get)

    def _is_there(self, stage: AnyStage, place: StageFolder) -> bool:
        """Whether a stage need not be made.

        Raises:
            InputError: it must be, and may not be made here.
        """
        fingerprint = self.fingerprint(stage)
        if self.folder.writes and place.find(fingerprint):
            return True
        if not self.folder.writes and place.is_whole(fingerprint):
            return True
        if self._makes(stage):
            return False
        raise InputError(self._refusal(self.standing(stage)))

    def _refusal(self, standing: Standing) -> str:
        root, stage = self.folder.root, standing.stage
        if standing.state == "stale":
            return (
                f"{root}: its stage '{stage.name}' is not what the settings and files now say "
                f"({standing.why}); run `ifguide {stage.command}` first"
            )
        if standing.state == "damaged":
            return (
                f"{root / stage.name}: {standing.why}; run `ifguide {stage.command}` to make it "
                "again"
            )
        # nothing tells whose files these are, so no command writes over them
        away = f" ({standing.why}: move {stage.name} away)" if standing.why else ""
        return (
            f"{root}: it has no finished stage '{stage.name}'{away}; run `ifguide {stage.command}` "
            "first"
        )

    def _make(self, stage: AnyStage, place: StageFolder) -> None:
        stage.check_make()
        nouns = [self(earlier) for earlier in stage.needs.all]
        settings = stage.settings(self.config)
        spent = ranks.agree(lambda: self._begin(stage, place))
        fingerprint = ranks.agree(lambda: self.fingerprint(stage))
        costs, weights = (lambda: self._costs(stage)), (lambda: self._weights(stage))
        work = Work(place.part, spent, costs, fingerprint, weights)
        total = stage.total(settings, *nouns) if stage.total else None
        with working(place, work):
            line = progress_line(stage.name, total, quiet=self.quiet, done=work.tokens)
            with line as work.line:
                noun = stage.make(work, settings, *nouns)
                if stage.save is not None and ranks.is_main():
                    stage.save(work.fresh, noun)
            ranks.barrier()
            if ranks.is_main():
                place.finish(work, self._manifest(stage))
        ranks.barrier()

    def _begin(self, stage: AnyStage, place: StageFolder) -> Cost:
        """Say why a stage that was made is made again, and clear its place.

        Where it will be another one, the pages go that show the old one.
        """
        standing = self.standing(stage)
        if standing.state in ("stale", "damaged"):
            log.warning("%s: made again: %s", stage.name, standing.why)
        if standing.state == "stale" and self._shown(stage):
            self.folder.drop_pages()
        return place.begin(self._manifest(stage))

    def _manifest(self, stage: AnyStage) -> Manifest:
        """Return all that goes into a stage, as it is now."""
        outside = [need for need in self._needs(stage) if isinstance(need, Outside)]
        packages = ("torch", "transformers", "numpy")
        return Manifest(
            stage=stage.name,
            about=stage.about,
            fingerprint=self.fingerprint(stage),
            version=stage.version,
            settings=plain(stage.settings(self.config)),
            section=stage.section,
            needs={need.name: self.fingerprint(need) for need in self._needs(stage)},
            reads={need.name: self._read(need) for need in outside},
            versions={"ifguide": VERSION, **{name: version(name) for name in packages}},
            date=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _read(self, need: Outside[Any]) -> Mapping[str, Any]:
        """Return what decides something outside: its files' checksums and what else it is known by.

        Where the run is only looked at and the files are not here, they are taken to be what they
        were when they were read.
        """
        if need not in self._reads:
            try:
                with reading(need.name, MEND):
                    known_by = plain(need.known_by(self.config))
                    files = sorted((name, file) for file, name in need.files(self.config))
                sums = {name: self._sum(need, file) for name, file in files}
                found = {"files": sums, "known_by": known_by}
            except InputError as error:
                recorded = None if self.folder.writes else self._recorded(need)
                if recorded is None:
                    raise
                log.warning("%s: cannot be compared with what was read (%s)", need.name, error)
                found = dict(recorded)
            self._reads[need] = found
        return self._reads[need]

    def _sum(self, need: Outside[Any], file: Path) -> str:
        with reading(f"{need.name}: {file}", MEND):
            return self.folder.checksums.of(file)

    def _recorded(self, need: Outside[Any]) -> Mapping[str, Any] | None:
        """Return what a finished stage has read of something outside."""
        root = self.folder.root
        for file in sorted([*root.glob(f"*/{MANIFEST}"), *root.glob(f"*/*/{MANIFEST}")]):
            with suppress(InputError):  # it may be somebody else's
                found = read_manifest(file.parent)
                if need.name in found.reads:
                    return found.reads[need.name]
        return None

    def _weights(self, stage: AnyStage) -> dict[str, str]:
        earlier = [s for s in closure([stage], self.config) if s is not stage]
        found = {s.name: self._folder(s).manifest() for s in earlier if s.kept(self.config)}
        sums = {name: checksums_of(m.files) for name, m in found.items() if m is not None}
        outside = {need for s in earlier for need in self._needs(s) if isinstance(need, Outside)}
        sums |= {need.name: self._read(need)["files"] for need in outside if need.name == "model"}
        return {name: digest for name, of in sums.items() if (digest := weights_digest(of))}

    def _costs(self, stage: AnyStage) -> dict[str, Cost]:
        beside = closure([stage], self.config)
        earlier = [s for s in beside if s is not stage and s.kept(self.config)]
        found = {s.name: self._folder(s).manifest() for s in earlier}
        return {name: manifest.cost for name, manifest in found.items() if manifest}

    def _folder(self, stage: AnyStage) -> StageFolder:
        return StageFolder(self.folder.root, stage.name, stage.files, self.folder.checksums)


def closure(stages: Iterable[AnyStage], config: Config) -> list[AnyStage]:
    """Return stages and all that they rest on under some settings, each name once, in order."""
    found: dict[str, AnyStage] = {}
    seen: set[AnyStage] = set()

    def visit(stage: AnyStage) -> None:
        if stage in seen:
            return
        seen.add(stage)
        for need in (chosen(need, config) for need in stage.needs.all):
            if isinstance(need, Stage):
                visit(need)
        found.setdefault(stage.name, stage)

    for stage in stages:
        visit(stage)
    return list(found.values())


@contextmanager
def opened(
    config: Config,
    out: Path,
    known: Iterable[AnyStage] = (),
    *,
    quiet: bool = False,
    replace: bool = False,
    verify: bool = False,
    makes: Callable[[AnyStage], bool] = lambda stage: True,
    shown: Callable[[AnyStage], bool] = lambda stage: False,
    finished: bool = False,
    kind: str = RUN,
) -> Iterator[Run]:
    """Claim a run folder for these settings, on every rank.

    Args:
        config: the settings.
        out: the folder.
        known: the stages that must not have been made under other settings, unless ``replace``.
        quiet, makes, shown: see ``Run``.
        replace: what was made under other settings may be made again.
        verify: read every byte of what is there, instead of trusting sizes and times.
        finished: the folder must be that of a run already.
        kind: what the folder holds, see ``ifguide.run.folder``.

    Raises:
        InputError: the folder cannot be used for them.
    """
    with ranks.joined():
        if finished:
            RunFolder.open(out)
        folder = (
            RunFolder.claim(out, verify=verify, kind=kind)
            if ranks.is_main()
            else RunFolder(out, writes=True, verify=False)
        )
        try:
            run = Run(config, folder, quiet=quiet, makes=makes, shown=shown)
            if ranks.is_main():
                if not replace:
                    run.refuse_other_settings(known)
                if not finished:
                    _write_config(folder, to_kept_yaml(config))
            ranks.barrier()
            yield run
        finally:
            folder.close()


@contextmanager
def looked_at(config: Config, out: Path, *, verify: bool = False) -> Iterator[Run]:
    """Open a finished run folder; nothing in it is made or changed.

    Raises:
        InputError: it is no run folder.
    """
    folder = RunFolder.open(out, verify=verify)
    try:
        yield Run(config, folder, quiet=True)
    finally:
        folder.close()


def _write_config(folder: RunFolder, text: str) -> None:
    """Write the settings beside the stages, where they are not there already."""
    file = folder.root / CONFIG
    folder.check_outputs([CONFIG])
    if not file.exists() or file.read_bytes() != text.encode():
        folder.output(CONFIG, text)
