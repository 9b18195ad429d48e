"""The two halves of a head: what needs no weights and makes features small, and what learns."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class Reducing(Protocol):
    """A head that says which part of its work needs no weights: `head(x)` is `predict(reduce(x))`.

    Training regimes that keep the backbone as it is store what `reduce` gives and never compute it again, so
    it must draw nothing at random and have no weights; dropout belongs to `predict`.
    """

    def reduce(self, features: Tensor) -> Tensor:
        """What `predict` reads of features `(N, ...)`, again with one row an example."""

    def predict(self, reduced: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The head's answer from what `reduce` gave."""


def reduce(head: nn.Module, features: Tensor) -> Tensor:
    """The smallest that `head` can answer from: what comes after its pooling, or `features` themselves.

    Known of heads that are `Reducing` and of an `nn.Sequential` that begins with pooling.

    >>> import torch
    >>> head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(8, 10))
    >>> reduce(head, torch.zeros(2, 8, 7, 7)).shape
    torch.Size([2, 8])
    """
    if isinstance(head, Reducing):
        return head.reduce(features)
    for layer in _beginning(head):
        features = layer(features)
    return features


def predict(head: nn.Module, reduced: Tensor) -> tuple[Tensor, ...]:
    """The head's output, a tuple of logits, from what `reduce` gave."""
    output: Any = reduced
    if isinstance(head, Reducing):
        output = head.predict(reduced)
    elif beginning := _beginning(head):
        assert isinstance(head, nn.Sequential)
        for layer in list(head)[len(beginning) :]:
            output = layer(output)
    else:
        output = head(reduced)
    return (output,) if isinstance(output, Tensor) else tuple(output)


_POOLING = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.AvgPool2d, nn.MaxPool2d)
_WITHOUT_WEIGHTS = (*_POOLING, nn.Flatten, nn.Identity, nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish)


def _beginning(head: nn.Module) -> list[nn.Module]:
    """The layers without weights that a sequence begins with, if one of them pools; none overwrites."""
    if type(head) is not nn.Sequential:
        return []
    found: list[nn.Module] = []
    for layer in head:
        if type(layer) not in _WITHOUT_WEIGHTS or getattr(layer, "inplace", False):
            break
        found.append(layer)
    return found if any(isinstance(layer, _POOLING) for layer in found) else []
