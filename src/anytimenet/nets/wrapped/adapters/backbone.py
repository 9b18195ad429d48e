"""What an adapter knows of a net of another package, and how exits are put on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from anytimenet.core import checks
from anytimenet.core.errors import NeedsValuesError
from anytimenet.core.segments import InputSpec
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.wrapped.taps import wrap

EXITS = 4
"""Predictions of a net that is asked for without a number, its own answer included."""


@dataclass(frozen=True, eq=False)
class Backbone:
    """A net of another package, and where its exits may be.

    Attributes:
        module: from a batch of examples to logits.
        taps: names of sub-modules after which an exit may be, in the order in which they run.
        input_spec: what it reads.
        input_shape: of one example, of a size that it can read.
    """

    module: nn.Module
    taps: tuple[str, ...]
    input_spec: InputSpec
    input_shape: tuple[int, ...]


def check_places(exits: int | None, taps: Sequence[str] | None) -> None:
    """Raises ValueError unless exits are said by their number or by taps, before anything is built."""
    if exits is not None:
        checks.whole_number(exits, "exits", 2)
    if taps is not None and not checks.all_words(taps, "taps"):
        raise ValueError("taps names no sub-module: leave it out, and exits says how many predictions")
    if exits is not None and taps is not None and exits != len(taps) + 1:
        raise ValueError(
            f"exits {exits} and {len(taps)} taps: taps make {len(taps) + 1} exits with the net's own answer; "
            "give one of the two"
        )


def needs_values() -> None:
    """Raises NeedsValuesError where nets are built without values: exits are found by running the net."""
    if torch.get_default_device().type == "meta":
        raise NeedsValuesError("exits are found by running the net: it cannot be built on the meta device")


def with_exits(
    backbone: Backbone, exits: int | None, taps: Sequence[str] | None, coarser: Sequence[int]
) -> tuple[ChainNet, tuple[str, ...]]:
    """The net with exits at `taps`, or at `exits` - 1 places of its own choice; and those places."""
    found = tuple(taps) if taps is not None else equal_cost_taps(backbone, exits or EXITS)
    net = wrap(
        backbone.module,
        found,
        input_shape=backbone.input_shape,
        input_spec=backbone.input_spec,
        coarser=coarser,
    )
    return net, found


def equal_cost_taps(backbone: Backbone, exits: int) -> tuple[str, ...]:
    """`exits` - 1 of the backbone's taps, at which its work is divided as equally as they allow.

    Raises:
        ValueError: if it has fewer taps.
    """
    wanted, costs = exits - 1, tap_costs(backbone)
    if wanted > len(costs):
        raise ValueError(
            f"exits {exits}: this net has {len(costs)} places for exits beside its own answer: "
            f"exits={len(costs) + 1} is the most"
        )
    left, chosen = list(costs), []
    for number in range(wanted):
        share = (number + 1) / exits
        open_to = left[: len(left) - (wanted - number - 1)]  # so many must stay for those that follow
        best = min(open_to, key=lambda tap: abs(costs[tap] - share))
        chosen.append(best)
        left = left[left.index(best) + 1 :]
    return tuple(chosen)


def tap_costs(backbone: Backbone) -> dict[str, float]:
    """The share of the multiply-adds of convolutions and linear layers up to each tap, in order."""
    module = backbone.module
    modes = {part: part.training for part in module.modules()}
    module.eval()
    counter, done = FlopCounterMode(display=False), {}
    handles = [
        module.get_submodule(tap).register_forward_hook(
            lambda *_, tap=tap: done.update({tap: counter.get_total_flops()})
        )
        for tap in backbone.taps
    ]
    try:
        with torch.no_grad(), counter:
            module(torch.zeros(1, *backbone.input_shape).to(next(module.parameters())))
    finally:
        for handle in handles:
            handle.remove()
        for part, mode in modes.items():
            part.training = mode
    whole = counter.get_total_flops()
    return {tap: count / whole for tap, count in done.items()}
