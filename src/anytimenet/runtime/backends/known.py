"""Backends by name: those of this package, and those that other rooms and packages register."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from anytimenet.core import checks
from anytimenet.core.errors import BackendError, suggest
from anytimenet.runtime.backends.backend import Backend, Placement

MakeBackend = Callable[[Any, Placement], Backend]
"""`make(source, placement)` gives a backend of a source: a bundle, an exported folder, or what it knows."""

_known: dict[tuple[type, str], MakeBackend] = {}
_elsewhere: dict[tuple[type, str], str] = {}


def register_backend(source: type, name: str, make: MakeBackend) -> None:
    """From now on `make` runs the segments of objects of class `source`, under this name.

    Args:
        source: class of what holds the weights: `Bundle`, `ExportedNet`, or one of your own.
        name: what users choose it by.
        make: called with the object and the placement.

    Raises:
        TypeError: for arguments of another kind.

    >>> register_backend(dict, "nothing", lambda source, placement: None)
    >>> backends_of({})
    ('nothing',)
    """
    checks.instance(source, type, "source", "Bundle")
    checks.function(make, "make", "MyBackend")
    _known[source, checks.words(name, "name")] = make


def register_elsewhere(source: type, name: str, module: str) -> None:
    """A backend that `register()` of a module makes known, which is called when it is first asked for.

    Args:
        source, name: as of `register_backend`.
        module: dotted; what it needs is not loaded before.
    """
    _elsewhere[checks.instance(source, type, "source", "Bundle"), checks.words(name, "name")] = module


def backends_of(source: object) -> tuple[str, ...]:
    """The names of the backends that can run `source`, sorted."""
    return tuple(sorted({name for kind, name in (*_known, *_elsewhere) if isinstance(source, kind)}))


def unknown_backend(source: object, name: str, names: tuple[str, ...]) -> BackendError:
    """The error that no backend of that name runs `source`, for which there are `names`."""
    kind = type(source).__name__
    what = f"{'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}"
    if not names:
        return BackendError(f"no backend runs {what}: give a bundle or an exported folder")
    return BackendError(f"no backend {name!r} runs {what}: {suggest(name, names)}")


def make_backend(source: object, name: str, placement: Placement | None = None) -> Backend:
    """The backend of that name for the segments of `source`.

    Raises:
        BackendError: if no backend of that name can run it, or it cannot be built here.
        MissingExtraError: if what it is built on is not installed.
    """
    names = backends_of(source)
    name = checks.words(name, "backend")
    if name not in names:
        raise unknown_backend(source, name, names)
    for (kind, known), module in _elsewhere.items():
        if known == name and isinstance(source, kind) and (kind, name) not in _known:
            importlib.import_module(module).register()
    makes = [make for (kind, known), make in _known.items() if known == name and isinstance(source, kind)]
    return makes[-1](source, placement or Placement())
