"""Plain pre-activation ResNet for small images, a fixed-budget baseline with one stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.core.segments import InputSpec
from anytimenet.layers.heads import Head
from anytimenet.layers.init import init_weights
from anytimenet.layers.transitions import append_zeros
from anytimenet.nets.arguments import check_blocks, check_positive
from anytimenet.nets.contract import AnytimeNet, Join, Output, Part, Segment, State, TensorSpec, claim
from anytimenet.nets.registry import forms_of
from anytimenet.nets.remembered import remembered, twin

PAPER = "Identity Mappings in Deep Residual Networks"


class ResNet(AnytimeNet):
    """Basic blocks BN-ReLU-conv3x3-BN-ReLU-conv3x3, 6n+2 layers for n blocks a scale; one stage.

    Method card:
        Paper: "Identity Mappings in Deep Residual Networks" (CIFAR form).
        Shared, per stage: nothing to share, there is one stage.
        State: none.
        Deviations: the parameter-free shortcut between scales averages instead of dropping pixels, as in
            this project's ResNeXts, so that the baselines share transitions and heads.

    Args:
        num_classes: classes of each label level, fine level first.
        width: channels at the first scale.
        blocks: residual blocks of each scale.
        in_channels: channels of the images.
        init: "msra", "msra_ungrouped" or "pytorch"; see `layers.init`.

    >>> import torch
    >>> net = ResNet((10,), width=8, blocks=(1, 1))
    >>> [logits.shape for (logits,) in net(torch.zeros(4, 3, 8, 8))]
    [torch.Size([4, 10])]
    """

    @remembered
    def __init__(
        self,
        num_classes: Sequence[int] = (10,),
        *,
        width: int = 16,
        blocks: Sequence[int] = (3, 3, 3),
        in_channels: int = 3,
        init: str = "msra",
    ) -> None:
        super().__init__()
        check_positive(width=width, in_channels=in_channels)
        self.num_stages = 1
        self.num_classes = tuple(num_classes)
        self.in_channels = in_channels
        counts = check_blocks(blocks)
        self.input_spec = InputSpec("images", in_channels, 1 << (len(counts) - 1))
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(
            *(
                BasicBlock(width * 2**scale, shrinks=scale > 0 and first == 0)
                for scale, count in enumerate(counts)
                for first in range(count)
            )
        )
        self.head = Head(width * 2 ** (len(counts) - 1), self.num_classes)
        init_weights(self, init)

    def forward(self, x: Tensor, stages: Sequence[int] | None = None) -> list[Output]:
        self.check_stages(stages)
        self.check_batch(x.shape)
        return [self.head(self.blocks(self.stem(x)))]

    def parts(self) -> list[Part]:
        return claim(self, "", (1,))

    def state_spec(self, stage: int, input_shape: Sequence[int]) -> list[TensorSpec]:
        self.check_reached(stage, input_shape)
        return [self.spec("x", input_shape)] if stage == 0 else []

    def _segment(self, start: int, stop: int, *, last: bool) -> Segment:
        return _WholeNet(self, start, stop, last=last)

    def _keep(self, stages: tuple[int, ...]) -> ResNet:
        return twin(self, ResNet)


class BasicBlock(nn.Module):
    """Pre-activation basic block; one that `shrinks` halves the image and doubles the channels."""

    folds = (("conv1", "norm2"),)

    def __init__(self, width: int, *, shrinks: bool) -> None:
        super().__init__()
        narrow = width // 2 if shrinks else width
        self.norm1 = nn.BatchNorm2d(narrow)
        self.conv1 = nn.Conv2d(narrow, width, 3, 2 if shrinks else 1, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shrinks = shrinks

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.conv1(F.relu_(self.norm1(x)))
        h = self.conv2(F.relu_(self.norm2(h)))
        return (append_zeros(x, round_up=True) if self.shrinks else x) + h


class _WholeNet(Segment):
    """The whole net; its one and last stage leaves no state behind."""

    def __init__(self, net: ResNet, start: int, stop: int, *, last: bool) -> None:
        super().__init__(net, start, stop, last=last)
        self.net = nn.Sequential(net.stem, net.blocks, net.head)

    def advance(self, state: State, join: Join) -> tuple[dict[str, Tensor], Output]:
        return {}, self.net(state[0])


_form = forms_of(ResNet, paper=PAPER, family="resnet")
_form("resnet_20", (3, 32, 32), "n=3")()
_form("resnet_56", (3, 32, 32), "n=9")(blocks=(9, 9, 9))
_form("resnet_110", (3, 32, 32), "n=18")(blocks=(18, 18, 18))
_form("resnet_small", (3, 16, 16), "minutes on 2 cores: n=1 W=16")(blocks=(1, 1, 1))
_form("resnet_tiny", (3, 8, 8), "for tests: n=1 W=4")(width=4, blocks=(1, 1, 1))
