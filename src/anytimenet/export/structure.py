"""What a net is made of but for the values of its weights, as a name: what programs are kept by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from anytimenet.layers.snapshots import is_hooked, tensors_of
from anytimenet.nets.contract import AnytimeNet

_OWN = frozenset(vars(nn.Module())) - {"training"}
"""Attributes that PyTorch gives every layer."""
_SOMEWHERE = " at 0x"
"""In the name of what cannot be told from another thing of its kind."""


def structure_of(net: AnytimeNet, *facts: object) -> str | None:
    """A name for all that says what a net computes with its weights, whatever these are, and for `facts`.

    Layers, their settings, which tensors they share, shapes and dtypes are told; of whole numbers their
    values are, for they say where something lies, and of a single one, a counter, whether it is above zero.

    Returns:
        None where something cannot be told: a hook, a function, an object without a name of its own.

    >>> from anytimenet.nets import create_net
    >>> one, other = create_net("isresnext_tiny"), create_net("isresnext_tiny")
    >>> structure_of(one) == structure_of(other), structure_of(one) == structure_of(one.keep([1, 2]))
    (True, False)
    """
    if any(map(is_hooked, net.modules())):
        return None
    digest = hashlib.sha256()
    for told in (*facts, net.origin, *_Layers(net).told(), *_tensors(net)):
        text = repr(told)
        if _SOMEWHERE in text:
            return None
        digest.update(f"{len(text)} {text}".encode())
    return digest.hexdigest()[:40]


class _Layers:
    """Each layer of a net: the paths that lead to it, its kind and its settings."""

    def __init__(self, net: nn.Module) -> None:
        self._paths = list(net.named_modules(remove_duplicate=False))
        self._numbers: dict[int, int] = {}
        for _, layer in self._paths:
            self._numbers.setdefault(id(layer), len(self._numbers))

    def told(self) -> Iterator[object]:
        """What says that two nets have the same layers, piece by piece."""
        yield [(path, self._numbers[id(layer)]) for path, layer in self._paths]
        for layer in {id(layer): layer for _, layer in self._paths}.values():
            held = vars(layer)
            yield _name(layer), layer.extra_repr()
            yield [(name, self._value(held[name], ())) for name in sorted(held.keys() - _OWN)]

    def _value(self, value: Any, inside: tuple[int, ...]) -> object:
        """A setting; `inside` has the ids of what it is part of."""
        if id(value) in inside:
            return "itself", len(inside) - inside.index(id(value))
        if isinstance(value, nn.Module):
            return "layer", self._numbers.get(id(value), _SOMEWHERE)
        if isinstance(value, Tensor):
            return "tensor"
        within = (*inside, id(value))
        if isinstance(value, list | tuple):
            return _name(value), [self._value(each, within) for each in value]
        if isinstance(value, set | frozenset):
            return _name(value), sorted(repr(self._value(each, within)) for each in value)
        if isinstance(value, dict):
            pairs = value.items()
            return _name(value), [(self._value(key, within), self._value(at, within)) for key, at in pairs]
        text, held = repr(value), getattr(value, "__dict__", None)
        if _SOMEWHERE in text and held and _name(value).startswith("anytimenet."):
            return _name(value), [(name, self._value(at, within)) for name, at in sorted(held.items())]
        return text


def _name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _tensors(net: nn.Module) -> Iterator[object]:
    numbers: dict[int, int] = {}
    for name, tensor in (
        *net.named_parameters(remove_duplicate=False),
        *net.named_buffers(remove_duplicate=False),
    ):
        number = numbers.setdefault(id(tensor), len(numbers))
        yield name, number, tuple(tensor.shape), str(tensor.dtype), tuple(tensor.stride())
        if not tensor.is_floating_point():
            yield tensor.item() > 0 if tensor.numel() == 1 else tensor.tolist()
    for tensor in tensors_of(net):
        if id(tensor) not in numbers:  # an attribute
            yield tuple(tensor.shape), str(tensor.dtype), _bytes(tensor)


def _bytes(tensor: Tensor) -> str:
    values = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(values).hexdigest()
