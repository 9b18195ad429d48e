"""EANNs by name: of which nets they are made."""

from __future__ import annotations

from collections.abc import Sequence

from anytimenet.nets.arguments import check_positive
from anytimenet.nets.depth import resnet_ann  # noqa: F401  (registers the members)
from anytimenet.nets.members.eann import EANN, FAMILY, PAPER
from anytimenet.nets.members.specs import MemberSpec, build_members, spell_out
from anytimenet.nets.registry import forms_of

_RESNETS_ANN = spell_out(
    {"name": "resnet_ann_45", "arguments": {"units": [7, 7, 7], "width": 32}},
    {"name": "resnet_ann_81", "arguments": {"units": [13, 13, 13], "width": 32}},
    {"name": "resnet_ann_153", "arguments": {"units": [25, 25, 25], "width": 32}},
)
_SMALL = spell_out(
    {"name": "resnet_ann_small", "arguments": {"units": [1, 1, 1], "width": 6, "exits_after": [3]}},
    {"name": "resnet_ann_small", "arguments": {"units": [2, 2, 2], "width": 6, "exits_after": [3, 6]}},
    {"name": "resnet_ann_small", "arguments": {"units": [4, 4, 4], "width": 6, "exits_after": [6, 9, 12]}},
)
_TINY = (
    {"name": "resnet_ann_tiny", "keep": [3]},
    {"name": "iresnext_tiny", "keep": [1, 3]},
    {"name": "isresnext_tiny", "keep": [1, 3]},
)


def eann(
    num_classes: Sequence[int] = (10,),
    *,
    members: Sequence[MemberSpec] = _SMALL,
    in_channels: int = 3,
    init: str = "msra",
) -> EANN:
    """An EANN of registered nets with fresh weights.

    Args:
        num_classes: classes of each label level, fine level first.
        members: for each member `{"name": NET, "arguments": {...}, "keep": [stages]}`, the cheapest first;
            the name alone is enough.
        in_channels: channels of the images; an argument of a member goes first.
        init: "msra", "msra_ungrouped" or "pytorch", see `layers.init`; an argument of a member goes first.

    Raises:
        ValueError: if a member cannot be built, or the members do not belong together.

    >>> eann(members=[{"name": "resnet_ann_tiny"}, {"name": "isresnext_tiny", "keep": [2, 3]}]).num_stages
    5
    """
    check_positive(in_channels=in_channels)
    return EANN(build_members(members, num_classes, in_channels, init))


_form = forms_of(eann, paper=PAPER, family="eann")
_form(FAMILY, (3, 16, 16), "any nets one after the other: members=[...]")()
_form("eann_45_81_153", (3, 32, 32), "ResANN of n=7, 13, 25 one after the other: c=32")(members=_RESNETS_ANN)
_form("eann_small", (3, 16, 16), "minutes on 2 cores: ResANN of n=1, 2, 4 one after the other: c=6")(
    members=_SMALL
)
_form("eann_tiny", (3, 8, 8), "for tests: ResANN, I-ResNeXt and IS-ResNeXt one after the other")(
    members=_TINY
)
