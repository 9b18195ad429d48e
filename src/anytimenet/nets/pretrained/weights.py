"""Trained weights that a registered net can start from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from anytimenet.core.images.pretraining import Pretraining
from anytimenet.nets.contract import AnytimeNet


@dataclass(frozen=True)
class PretrainedWeights:
    """What `create_net(NAME, pretrained=True)` fills a net with.

    Attributes:
        pretraining: how the images looked, and where the weights come from.
        fill: copies the weights into a net that its builder made, of any classes: new heads stay as they were
            drawn. None where the builder does it itself.
    """

    pretraining: Pretraining
    fill: Callable[[AnytimeNet], None] | None = None


@torch.no_grad()
def copy_weights(net: AnytimeNet, source: Mapping[str, Tensor], new: Callable[[str], bool]) -> None:
    """Copies `source`, by the net's own names, into `net`; a tensor that is `new(name)` stays as it is.

    Nothing is copied unless everything fits.

    Raises:
        ValueError: if a tensor that is not new is missing in `source`, or has another shape there.
    """
    wanted = {name: tensor for name, tensor in net.state_dict().items() if not new(name)}
    for name, tensor in wanted.items():
        other = source.get(name)
        if other is None or other.shape != tensor.shape:
            there = "is not among them" if other is None else f"is {tuple(other.shape)} there"
            raise ValueError(
                f"the pretrained weights do not fit this net ({name} is {tuple(tensor.shape)} and {there}): "
                "leave out the arguments that change its layers"
            )
    for name, tensor in wanted.items():
        tensor.copy_(source[name])
