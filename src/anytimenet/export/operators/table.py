"""The table of operators, which files beside this one fill, and what they read and give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Value:
    """A tensor in the graph: its name, its shape with None for the batch, and whether it is true or false."""

    name: str
    shape: tuple[int | None, ...]
    boolean: bool = False


@dataclass(frozen=True)
class Zeros:
    """A tensor of nothing but zeros, which is padding where it is joined to others."""

    shape: tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class Known:
    """A tensor that no input changes: it is computed while the graph is written."""

    tensor: torch.Tensor


@dataclass(frozen=True)
class Size:
    """A size that follows from the batch: the name of a tensor of one whole number."""

    name: str


Write = Callable[..., Any]
"""`write(graph, shape, *arguments)` gives the name of the result, or of each result, whose shape is given."""

OPERATORS: dict[str, Write] = {}


def lowers(*names: str) -> Callable[[Write], Write]:
    """Decorator of the function that writes the operators `names`, as PyTorch calls them behind "aten."."""

    def known(write: Write) -> Write:
        OPERATORS.update(dict.fromkeys(names, write))
        return write

    return known
