"""The steps that a module's forward is made of: calls of its sub-modules, and operators between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

BATCH = "batch size"
"""The name of the number of examples among the values."""


class Value(NamedTuple):
    """A value that an earlier step gave, or that came in."""

    name: str


class Own(NamedTuple):
    """A parameter or buffer of the module, by its name there; or a constant of its code."""

    path: str


class Place(NamedTuple):
    """The device of what comes in."""


class Number(NamedTuple):
    """The floating number format of what comes in."""


@dataclass(frozen=True)
class Step:
    """Common to both kinds.

    Attributes:
        args, kwargs: what is called with: plain values, `Value`, `Own`, `Place` and `Number`, in lists,
            tuples and dicts.
        gives: the names of the values that it gives.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    gives: tuple[str, ...]

    @property
    def reads(self) -> frozenset[str]:
        """Names of the values that it reads."""
        return frozenset(leaf.name for leaf in leaves((self.args, self.kwargs)) if type(leaf) is Value)

    @property
    def owns(self) -> frozenset[str]:
        """Names of the parameters, buffers and constants that it reads by itself."""
        return frozenset(leaf.path for leaf in leaves((self.args, self.kwargs)) if type(leaf) is Own)


@dataclass(frozen=True)
class ModuleCall(Step):
    """A sub-module's own forward.

    Attributes:
        path: name of the sub-module.
        picks: for each of `gives` the number of the tensor among all that the call returns; none if it
            returns one tensor alone.
    """

    path: str
    picks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Operator(Step):
    """An operator between sub-modules.

    Attributes:
        function: of ATen, or of Python on numbers.
        mode: the name or place of the argument that says whether the module is in training mode.
    """

    function: Callable[..., Any]
    mode: int | str | None = None

    @property
    def overwrites(self) -> tuple[Value | Own, ...]:
        """The values, weights and constants that it changes in place."""
        schema = getattr(self.function, "_schema", None)
        if schema is None:
            return ()
        found: list[Value | Own] = []
        for number, argument in enumerate(schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                given = self.args[number] if number < len(self.args) else self.kwargs.get(argument.name)
                found += [leaf for leaf in leaves(given) if isinstance(leaf, Value | Own)]
        return tuple(found)


def leaves(value: Any) -> Iterator[Any]:
    """What lists, tuples and dicts hold, however deep.

    >>> list(leaves((1, [Value("a")], {"k": Own("w")})))
    [1, Value(name='a'), Own(path='w')]
    """
    if isinstance(value, Value | Own | Place | Number):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from leaves(item)
    else:
        yield value


def replaced(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same structure with `change(leaf)` for each of its leaves."""
    if isinstance(value, Value | Own | Place | Number):
        return change(value)
    if isinstance(value, slice):
        return slice(*(replaced(item, change) for item in (value.start, value.stop, value.step)))
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        items = [replaced(item, change) for item in value]
        if hasattr(value, "_fields"):
            return type(value)(*items)
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, Mapping):
        return {key: replaced(item, change) for key, item in value.items()}
    return change(value)
