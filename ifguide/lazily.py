"""Functions that are imported when they are first called.

So the table of stages can be read, and a folder's state be told, without the packages that only
the making of a stage needs. A module writes::

    if TYPE_CHECKING:
        from ifguide.run import makers
    else:
        makers = functions_of("ifguide.run.makers")

and names ``makers.fit_curvature`` in its values.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, final


@final
class LazyFunction:
    """A function of a module that is imported when the function is first called."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    @property
    def function(self) -> Callable[..., Any]:
        """The function itself."""
        found: Callable[..., Any] = getattr(import_module(self.module), self.name)
        return found

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the function."""
        return self.function(*arguments, **named)


@final
class functions_of:  # noqa: N801 - it reads as a function
    """Stands for a module whose functions are imported when they are first called."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> LazyFunction:
        return LazyFunction(self._module, name)
