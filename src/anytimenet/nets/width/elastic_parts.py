"""Who uses what of tensors whose channels grow with the stage."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from anytimenet.nets.contract import Part, claim
from anytimenet.nets.width.elastic_layers import ConvNorm, SharedAffineNorm, name_of


def claim_nested(net: nn.Module, name: str, *channels: Mapping[int, int]) -> list[Part]:
    """Parts of the tensor `name` whose first dimensions grow with the stage, one mapping for each of them.

    What a stage adds in two dimensions has the shape of an L: its new rows over all its columns, and its new
    columns over the old rows.

    >>> net = nn.Sequential(nn.Conv2d(2, 4, 1, bias=False))
    >>> [(p.box[:2], p.stages) for p in claim_nested(net, "0.weight", {1: 2, 2: 4}, {1: 1, 2: 2})]
    [(((0, 2), (0, 1)), (1, 2)), (((2, 4), (0, 2)), (2,)), (((0, 2), (1, 2)), (2,))]
    """
    users = tuple(channels[0])
    (whole,) = claim(net, name, users)
    rest = whole.box[len(channels) :]
    found, old = [], (0,) * len(channels)
    for i, stage in enumerate(users):
        new = tuple(sizes[stage] for sizes in channels)
        for dim in range(len(channels)):
            # Old in the dimensions before this one, new in those behind it: no rectangle comes twice.
            before, behind = ((0, size) for size in old[:dim]), ((0, size) for size in new[dim + 1 :])
            ends = (*before, (old[dim], new[dim]), *behind)
            if all(start < stop for start, stop in ends):
                found.append(Part(name, (*ends, *rest), users[i:]))
        old = new
    return found


def claim_conv_norm(net: nn.Module, name: str, layer: ConvNorm) -> list[Part]:
    """Parts of the layer `name`: what its stages share, and what each has alone."""
    found = claim_nested(net, f"{name}.conv.weight", layer.channels, layer.inputs)
    per_stage = f"{name}.norm."
    if isinstance(layer.norm, SharedAffineNorm):
        found += claim_nested(net, f"{name}.norm.weight", layer.channels)
        found += claim_nested(net, f"{name}.norm.bias", layer.channels)
        per_stage += "statistics."
    for stage in layer.channels:
        found += claim(net, f"{per_stage}{name_of(stage)}.", (stage,))
    return found
