"""Names that settings and commands may use, and what they stand for.

What is ours is named as ``module:attribute`` and imported when it is first asked for, so that a
list of names costs nothing. Third parties add to a registry by an entry point of its group, under
the name that settings then use, or in their own process by ``add``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar, cast, final

from ifguide.errors import InputError, one_line

Thing = TypeVar("Thing")


@final
class Registry(Generic[Thing]):
    """Things of one kind by name.

    Args:
        kind: what messages call one of them, such as ``score engine``.
        group: the group of entry points, such as ``ifguide.engines``.
        ours: where each of ours is, as ``module:attribute``.
        made_of: the class that a third party's must be of, as ``module:attribute``; any, if empty.
    """

    def __init__(self, kind: str, group: str, ours: Mapping[str, str], made_of: str = "") -> None:
        self.kind, self.group = kind, group
        self._ours, self._made_of = dict(ours), made_of
        self._added: dict[str, Thing] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._ours or name in self._added or name in self._foreign

    def names(self) -> tuple[str, ...]:
        """Return every name, ours first; nothing is imported."""
        return tuple(dict.fromkeys([*self._ours, *self._added, *self._foreign]))

    def get(self, name: str, setting: str) -> Thing:
        """Return what a name stands for.

        Raises:
            InputError: nothing has this name, or what a third party named cannot be imported or
                is of another class; ``setting`` is where the name was given.
        """
        self.check(name, setting)
        if name in self._added:
            return self._added[name]
        if name in self._ours:
            return cast(Thing, _attribute(self._ours[name]))
        point = self._foreign[name]
        try:
            thing = point.load()
        except Exception as error:
            raise InputError(
                f"{setting}: the {self.kind} '{name}' is {point.value}, which cannot be imported "
                f"({one_line(error)}); mend or remove the package that names it"
            ) from error
        if self._made_of and not isinstance(thing, _attribute(self._made_of)):
            raise InputError(
                f"{setting}: the {self.kind} '{name}' is {point.value}, which is no "
                f"{self._made_of.partition(':')[2]}; mend or remove the package that names it"
            )
        return cast(Thing, thing)

    def check(self, name: str, setting: str) -> None:
        """Refuse a name that is not known, without importing anything."""
        if name not in self:
            known = ", ".join(self.names())
            raise InputError(f"{setting}: '{name}' is not known; give one of {known}")

    def add(self, name: str, thing: Thing) -> None:
        """Register a thing for this process.

        Raises:
            ValueError: the name is taken.
        """
        if name in self:
            raise ValueError(f"{self.kind} '{name}': the name is taken")
        self._added[name] = thing

    @cached_property
    def _foreign(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}


def _attribute(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
