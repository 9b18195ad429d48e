"""When two outputs or states count as equal."""

from __future__ import annotations

import torch
from torch import Tensor

from anytimenet.nets.contract import Output

AGREES = 1e-9
"""Two float64 results agree if they differ by no more than this part of the largest magnitude."""

UNCHANGED = 1e-11
"""A float64 result is unchanged if it moves by no more than this part of the largest magnitude."""


def largest_distance(got: Output, truth: Output) -> float:
    """The largest `distance` between the tensors of two outputs; infinite if their number differs."""
    if len(got) != len(truth):
        return float("inf")
    return max((distance(a, b) for a, b in zip(got, truth, strict=True)), default=0.0)


def distance(got: Tensor, truth: Tensor) -> float:
    """Largest difference over the largest magnitude of `truth`; infinite for NaN or another shape.

    >>> distance(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    0.5
    """
    if got.shape != truth.shape:
        return float("inf")
    if truth.numel() == 0:
        return 0.0
    got, truth = got.detach().to(torch.float64), truth.detach().to(torch.float64)
    gap = (got - truth).abs().max()
    if gap == 0:
        return 0.0
    relative = gap / truth.abs().max()
    return float(relative) if relative.isfinite() else float("inf")


def unchanged(got: Output, truth: Output) -> bool:
    """Whether a result did not move when something else was changed."""
    return largest_distance(got, truth) <= UNCHANGED
