"""What an adapter knows of a net of another package, and how exits are put on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from anytimenet.core import checks
from anytimenet.core.errors import NeedsValuesError
from anytimenet.core.manifest.records import NetOrigin
from anytimenet.core.segments import InputSpec
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.prefixes import split_name
from anytimenet.nets.wrapped.placement import equal_cost_taps, possible_taps
from anytimenet.nets.wrapped.taps import wrap

EXITS = 4
"""Predictions of a net that is asked for without a number, its own answer included."""


@dataclass(frozen=True, eq=False)
class Backbone:
    """A net of another package.

    Attributes:
        module: from a batch of examples to logits.
        input_shape: of one example, of a size that it can read.
        fixed: whether it reads no other size.
    """

    module: nn.Module
    input_shape: tuple[int, ...]
    fixed: bool = False

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width."""
        _, height, width = self.input_shape
        return height, width


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
    backbone: Backbone,
    name: str,
    num_classes: Sequence[int],
    exits: int | None,
    taps: Sequence[str] | None,
    **arguments: object,
) -> ChainNet:
    """The net with exits at `taps`, or at `exits` - 1 places where its work is divided equally.

    Args:
        backbone: answers `num_classes[0]` classes.
        name: that builds it again, from `arguments` and what was settled here.
        num_classes: an entry for each label level.
    """
    if taps is None:
        example = torch.zeros(2, *backbone.input_shape)
        taps = equal_cost_taps(possible_taps(backbone.module, example), (exits or EXITS) - 1)
    channels, *size = backbone.input_shape
    net = wrap(
        backbone.module,
        taps,
        input_shape=backbone.input_shape,
        input_spec=InputSpec("images", channels, fixed=tuple(size)) if backbone.fixed else None,
        coarser=num_classes[1:],
    )
    settled = {
        "num_classes": list(num_classes),
        "taps": list(taps),
        "input_size": size,
        "in_channels": channels,
    }
    net.origin = NetOrigin(name, {**settled, **arguments})
    return net


def taps_of(name: str, input_size: int | Sequence[int] | None = None) -> dict[str, float]:
    """Where exits may be on the net `name` of another package: sub-modules, with their shares of its work.

    Raises:
        ValueError: if the name has no prefix of a package.
    """
    prefix, inner = split_name(name)
    if prefix.backbone is None:
        raise ValueError(f"nets named {prefix.name}:... do not say where their exits may be")
    backbone: Backbone = prefix.backbone(inner, input_size=input_size)
    return possible_taps(backbone.module, torch.zeros(2, *backbone.input_shape))


def sides_of(wanted: int | Sequence[int] | None, default: tuple[int, int]) -> tuple[int, int]:
    """Height and width of images, as a side or as both."""
    if wanted is None:
        return default
    sides = (wanted, wanted) if isinstance(wanted, int) else wanted
    height, width = checks.shape_of_images((1, *checks.several(sides, "input_size")), "input_size")[1:]
    return height, width
