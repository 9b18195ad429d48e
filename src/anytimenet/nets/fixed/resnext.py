"""Plain ResNeXt, a fixed-budget baseline: the I-ResNeXt with one stage that uses every branch."""

from __future__ import annotations

from collections.abc import Sequence

from anytimenet.nets.registry import forms_of
from anytimenet.nets.width.iresnext import IResNeXt

PAPER = "Aggregated Residual Transformations for Deep Neural Networks; form of the sliced-networks paper"


def resnext(
    num_classes: Sequence[int] = (10,),
    *,
    branches: int = 8,
    width: int = 64,
    branch_width: int = 4,
    blocks: Sequence[int] = (7, 7, 7),
    in_channels: int = 3,
    init: str = "msra",
) -> IResNeXt:
    """A plain ResNeXt of `branches` branches; the other arguments are those of `IResNeXt`.

    >>> resnext(branches=2, width=8, branch_width=2, blocks=(1, 1)).num_stages
    1
    """
    return IResNeXt(
        num_classes,
        branches=(branches,),
        width=width,
        branch_width=branch_width,
        blocks=blocks,
        in_channels=in_channels,
        init=init,
    )


_form = forms_of(resnext, paper=PAPER, family="resnext")
_form("resnext_29", (3, 32, 32), "L=9 W=64 C=8")(blocks=(3, 3, 3))
_form("resnext_65", (3, 32, 32), "L=21 W=64 C=8")()
_form("resnext_small", (3, 16, 16), "minutes on 2 cores: L=3 W=32 C=4")(
    branches=4, width=32, blocks=(1, 1, 1)
)
_form("resnext_tiny", (3, 8, 8), "for tests: L=3 W=8 C=2")(
    branches=2, width=8, branch_width=2, blocks=(1, 1, 1)
)
