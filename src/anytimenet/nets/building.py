"""Bounds of what a builder may be asked for: arguments may come from a file, and a size may be a slip.

Two fences stand between a number and the machine. The arguments themselves are looked at before anything is
built. While a net is built its parameters are counted, and building stops at the first one too many: before
that one's memory is touched, on the meta device as on a real one.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from anytimenet.core.checks import shown

LARGEST_NUMBER = 2**16
"""Of channels, layers, pixels a side: above those of any net that was ever trained."""
MOST_CLASSES = 2**20
MOST_VALUES = 20_000
DEEPEST = 40
LONGEST_TEXT = 1_000
MOST_TENSORS = 5_000
"""Three times those of the largest registered net; so many are registered in about a second."""
MOST_PARAMETERS = 2**37
"""Half a terabyte of float32: no machine trains that in one piece."""

_building = threading.local()


def check_arguments(name: str, arguments: Mapping[str, Any]) -> None:
    """Raises ValueError, naming the argument, for numbers, lists or depths that no net is built from."""
    left = MOST_VALUES
    for argument, given in arguments.items():
        waiting = [(given, 1)]
        while waiting:
            value, depth = waiting.pop()
            left -= 1
            if left < 0:
                raise ValueError(f"{name}: {argument} holds too many values, more than {MOST_VALUES} in all")
            if depth > DEEPEST:
                raise ValueError(f"{name}: {argument} is nested more than {DEEPEST} deep")
            _check_value(name, argument, value)
            inner = value.values() if isinstance(value, Mapping) else value
            if isinstance(inner, list | tuple) or isinstance(value, Mapping):
                if len(inner) > left:
                    raise ValueError(
                        f"{name}: {argument} is a list of {len(inner)}: {MOST_VALUES} is the most"
                    )
                waiting.extend((item, depth + 1) for item in inner)


@contextmanager
def bounded(name: str) -> Iterator[None]:
    """Inside, this thread may build a net of no more parameters than a machine holds.

    Raises:
        ValueError: for more, or if building runs out of memory or depth.
    """
    if getattr(_building, "count", None) is not None:  # a member of a net that is being built
        yield
        return
    _watch_parameters()
    _building.count = _Count(name)
    try:
        yield
    except (OverflowError, MemoryError, RecursionError, RuntimeError) as error:
        raise ValueError(f"{name} cannot be built with these arguments: {error}") from error
    finally:
        _building.count = None


@cache
def _watch_parameters() -> None:
    """From now on each parameter is told to the net that its thread builds, if it builds one.

    Once and for good: PyTorch walks its list of hooks without a lock.
    """
    register_module_parameter_registration_hook(_registered)


def _registered(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
    count = getattr(_building, "count", None)
    if count is not None and parameter is not None:
        count.add(parameter)


class _Count:
    """Adds up the parameters of one net."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tensors = 0
        self.numbers = 0
        self.bytes = 0

    def add(self, parameter: nn.Parameter) -> None:
        """One more. Raises ValueError where that is one too many."""
        self.tensors += 1
        self.numbers += parameter.numel()
        if not parameter.is_meta:
            self.bytes += parameter.numel() * parameter.element_size()
        if self.tensors > MOST_TENSORS or self.numbers > MOST_PARAMETERS:
            raise ValueError(
                f"{self.name} with these arguments has more than {self.numbers:,} parameters in "
                f"{self.tensors:,} tensors, which no machine holds: choose smaller ones"
            )
        if self.bytes > _memory():
            raise ValueError(
                f"{self.name} with these arguments takes more than {self.bytes / 2**30:.0f} GiB, and this "
                f"machine has {_memory() / 2**30:.0f}: choose smaller ones"
            )


def _check_value(name: str, argument: str, value: Any) -> None:
    if isinstance(value, bool):
        return
    most = MOST_CLASSES if argument == "num_classes" else LARGEST_NUMBER
    if isinstance(value, int) and abs(value) > most:
        raise ValueError(f"{name}: {argument} {shown(value)} is too large: {most} is the most")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name}: {argument} {value} must be a finite number")
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise ValueError(f"{name}: {argument} is a text of {len(value)} letters: {LONGEST_TEXT} is the most")


def _memory() -> float:
    """Bytes of memory of this machine; infinite where it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return math.inf
