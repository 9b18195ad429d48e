"""Plain ResNeXt, a fixed-budget baseline: the I-ResNeXt with one stage that uses every branch."""

from __future__ import annotations

from collections.abc import Sequence

from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.registry import Builder, register_net
from anytimenet.nets.width.iresnext import IResNeXt

PAPER = "Aggregated Residual Transformations for Deep Neural Networks; form of the sliced-networks paper"


def _builder(branches: int, width: int, blocks: Sequence[int], branch_width: int = 4) -> Builder:
    def build(
        num_classes: Sequence[int],
        branches: int = branches,
        width: int = width,
        branch_width: int = branch_width,
        blocks: Sequence[int] = blocks,
        in_channels: int = 3,
        init: str = "msra",
    ) -> AnytimeNet:
        return IResNeXt(
            num_classes,
            branches=(branches,),
            width=width,
            branch_width=branch_width,
            blocks=blocks,
            in_channels=in_channels,
            init=init,
        )

    return build


for _name, _input_shape, _summary, _build in (
    ("resnext_29", (3, 32, 32), "L=9 W=64 C=8", _builder(8, 64, (3, 3, 3))),
    ("resnext_65", (3, 32, 32), "L=21 W=64 C=8", _builder(8, 64, (7, 7, 7))),
    ("resnext_small", (3, 16, 16), "minutes on 2 cores: L=3 W=32 C=4", _builder(4, 32, (1, 1, 1))),
    ("resnext_tiny", (3, 8, 8), "for tests: L=3 W=8 C=2", _builder(2, 8, (1, 1, 1), branch_width=2)),
):
    register_net(_name, input_shape=_input_shape, summary=_summary, paper=PAPER)(_build)
