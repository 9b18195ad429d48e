"""Linear layers that learn from standardised features, and afterwards read the features as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_SMALLEST_SHARE = 0.01
"""Of the mean deviation: what a channel's is at least. One that hardly varies gains no huge weights so."""


@dataclass(frozen=True)
class Standardised:
    """One head that reads `(x - mean) / deviation` while it learns.

    A linear layer on x is a linear layer on that, with other weights: `enter` gives it those, `leave` gives
    back the ones for x. What the head answers is the same before and after each. In between all channels
    weigh alike, whatever their scale, and dropout replaces a channel by its mean.

    Attributes:
        layers: the linear layers that read the features.
        mean, deviation: of each feature.
    """

    layers: tuple[nn.Linear, ...]
    mean: Tensor
    deviation: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """The features as the layers read them in between."""
        return (x - self.mean) / self.deviation

    @torch.no_grad()
    def enter(self) -> None:
        """From weights for x to weights for standardised features."""
        for layer in self.layers:
            if layer.bias is not None:
                layer.bias.add_(layer.weight @ self.mean)
            layer.weight *= self.deviation

    @torch.no_grad()
    def leave(self) -> None:
        """And back."""
        for layer in self.layers:
            layer.weight /= self.deviation
            if layer.bias is not None:
                layer.bias.sub_(layer.weight @ self.mean)


@torch.no_grad()
def standardised(
    head: nn.Module, predict: Callable[[Tensor], Sequence[Tensor]], features: Tensor
) -> Standardised | None:
    """How a head reads standardised features; None for one that does not begin with linear layers alone.

    Args:
        head: in eval mode, where dropout passes on what it gets.
        predict: its output for what it reads.
        features: many of those, `(N, C)`; their moments are taken.
    """
    layers = _first_layers(head, predict, features[:2]) if features.ndim == 2 else ()
    if not layers or not all(p.requires_grad for layer in layers for p in layer.parameters()):
        return None
    deviation = features.std(0)
    smallest = (_SMALLEST_SHARE * deviation.mean()).clamp_min(1e-6)
    # Without a bias nothing can make up for another mean.
    shifted = all(layer.bias is not None for layer in layers)
    mean = features.mean(0) if shifted else torch.zeros_like(deviation)
    found = Standardised(layers, mean, deviation.maximum(smallest))
    return found if _changes_nothing(found, predict, features[:2]) else None


def _first_layers(
    head: nn.Module, predict: Callable[[Tensor], Sequence[Tensor]], example: Tensor
) -> tuple[nn.Linear, ...]:
    """The linear layers that read `example` itself."""
    reading: list[nn.Linear] = []

    def seen(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        same = inputs[0].data_ptr() == example.data_ptr() and inputs[0].shape == example.shape
        if isinstance(layer, nn.Linear) and same:
            reading.append(layer)

    hooks = [part.register_forward_pre_hook(seen) for part in head.modules() if type(part) is nn.Linear]
    try:
        predict(example)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(dict.fromkeys(reading))


def _changes_nothing(
    form: Standardised, predict: Callable[[Tensor], Sequence[Tensor]], example: Tensor
) -> bool:
    """Whether the head answers alike in both forms: not if anything but the layers reads the features."""
    parameters = [parameter for layer in form.layers for parameter in layer.parameters()]
    before = [parameter.clone() for parameter in parameters]
    expected = predict(example)
    form.enter()
    found = predict(form(example))
    for parameter, value in zip(parameters, before, strict=True):
        parameter.copy_(value)
    return all(
        torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(one.abs().max() + 1e-6))
        for one, other in zip(expected, found, strict=True)
    )
