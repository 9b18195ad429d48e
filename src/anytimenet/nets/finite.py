"""Numbers that are no numbers: found before they are taken for a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from anytimenet.core.errors import NotFiniteError


def check_finite(stage: int, output: Sequence[Tensor]) -> None:
    """Raises NotFiniteError if what stage `stage` said, one tensor a label level, holds NaN or infinity.

    >>> check_finite(1, (torch.zeros(1, 2),))
    """
    if not all(bool(torch.isfinite(logits).all()) for logits in output):
        raise NotFiniteError.of_stage(stage)


@torch.no_grad()
def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first floating-point tensor that holds NaN or infinity; None if all are finite.

    >>> not_finite({"weight": torch.ones(2), "bias": torch.tensor([float("nan")])})
    'bias'
    """
    named = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
    if not named:
        return None
    # One transfer for all tensors: on an accelerator each one would wait for the device.
    good = torch.stack([torch.isfinite(tensor).all() for tensor in named.values()]).tolist()
    return next((name for name, fine in zip(named, good, strict=True) if not fine), None)
