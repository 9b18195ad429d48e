"""Which sub-modules of a module run, in which order, and what lies between them: seen on one example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Call:
    """A sub-module that ran, with what it read and what it returned."""

    name: str
    module: nn.Module
    read: Tensor
    gave: Tensor


def calls_in_order(module: nn.Module, taps: list[str], example: Tensor) -> tuple[list[Call], Tensor]:
    """Runs the module and notes which sub-modules ran; those around a nested tap are taken apart."""
    watched = _watched(module, taps)
    calls: list[Call] = []

    def note(name: str) -> Callable[..., None]:
        def hook(part: nn.Module, inputs: tuple[Any, ...], result: Any) -> None:
            if len(inputs) != 1 or not isinstance(inputs[0], Tensor) or not isinstance(result, Tensor):
                raise ValueError(
                    f"{name} must read one tensor and return one: write an ExitNet or a ChainNet instead"
                )
            calls.append(Call(name, part, inputs[0], result))

        return hook

    handles = [part.register_forward_hook(note(name)) for name, part in watched.items()]
    try:
        answer = module(example)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"the module cannot read images of shape {tuple(example.shape)}: {reason}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(answer, Tensor) or answer.ndim != 2:
        raise ValueError("the module must return logits of shape (N, classes): wrap the part of it that does")
    ran = [call.name for call in calls]
    for name in watched:
        if ran.count(name) != 1:
            if name not in ran:
                raise ValueError(
                    f"{name} did not run in the module's forward: delete it from the module first"
                )
            raise ValueError(
                f"{name} ran {ran.count(name)} times in the module's forward: each sub-module must run once; "
                "give every call a module of its own"
            )
    _check_sequence(calls, example, answer)
    return calls, answer


def _watched(module: nn.Module, taps: list[str]) -> dict[str, nn.Module]:
    """The children of the module; a child with a tap inside it is replaced by its own children."""

    def expand(part: nn.Module, prefix: str) -> dict[str, nn.Module]:
        found: dict[str, nn.Module] = {}
        for name, child in part.named_children():
            inside = any(tap.startswith(f"{prefix}{name}.") for tap in taps)
            found |= expand(child, f"{prefix}{name}.") if inside else {f"{prefix}{name}": child}
        return found

    watched = expand(module, "")
    hidden = [tap for tap in taps if tap not in watched]
    if hidden:
        raise ValueError(
            f"{hidden[0]!r} holds another tap: give either the part or what is inside it, not both"
        )
    return watched


def _check_sequence(calls: list[Call], example: Tensor, answer: Tensor) -> None:
    before, gave = "the images", example
    for call in calls:
        if between(call.read, gave) is None:
            raise ValueError(
                f"the sub-modules do not run in sequence: between {before} and {call.name} the module does "
                f"more than pass the tensor on, {_shape(gave)} to {_shape(call.read)} (an addition, an "
                "activation, a concatenation ..). Move that into a sub-module, or write an ExitNet of the "
                "blocks or a ChainNet"
            )
        before, gave = call.name, call.gave
    if not _same(answer, gave):
        raise ValueError(
            f"the module does more after {before}: move that into a sub-module, or write an ExitNet"
        )


def between(read: Tensor, gave: Tensor) -> list[nn.Module] | None:
    """Layers that lead from what one sub-module gave to what the next read; None if that is not known."""
    if _same(read, gave):
        return []
    if gave.ndim > 2 and read.shape == gave.flatten(1).shape and torch.equal(read, gave.flatten(1)):
        return [nn.Flatten()]
    if gave.ndim == 4 and read.flatten(1).shape == gave.shape[:2]:
        mean = gave.mean((2, 3))
        if torch.allclose(read.flatten(1), mean, rtol=1e-4, atol=1e-6):
            return [nn.AdaptiveAvgPool2d(1), *([nn.Flatten()] if read.ndim == 2 else [])]
    return None


def _same(one: Tensor, other: Tensor) -> bool:
    return one.data_ptr() == other.data_ptr() and one.shape == other.shape


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(['N', *map(str, tensor.shape[1:])])})"
