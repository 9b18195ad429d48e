"""IS-ResNeXt: sliced, interruptible; one propagation trains all stages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from torch import Tensor, nn

from anytimenet.core.segments import InputSpec
from anytimenet.layers.heads import Head
from anytimenet.layers.init import init_weights
from anytimenet.layers.transitions import append_zeros_in_slices
from anytimenet.nets.arguments import (
    as_numbers,
    check_blocks,
    check_exits,
    check_flag,
    check_positive,
    check_whole,
    even_slices,
    split_like,
)
from anytimenet.nets.contract import (
    AnytimeNet,
    Output,
    Part,
    Segment,
    TensorSpec,
    claim,
    claim_slices,
)
from anytimenet.nets.registry import forms_of
from anytimenet.nets.remembered import remembered, twin
from anytimenet.nets.slices.blocks import SlicedBlock, SlicedStem, StemForm, leading
from anytimenet.nets.slices.plan import SlicePlan, check_block_slices
from anytimenet.nets.slices.segment import SlicedSegment

PAPER = "Anytime Neural Prediction via Slicing Networks Vertically, section 3"


class ISResNeXt(AnytimeNet):
    """A ResNeXt whose slices of channels depend on earlier slices only.

    Method card:
        Paper: "Anytime Neural Prediction via Slicing Networks Vertically", section 3 and appendix B.
        Shared: stem, convolutions and their BatchNorms; slice k reads slices 1..k and nothing later, so
            stage k's features are the same whether later slices run or not.
        Per stage: the head (own BN and FC, one for each label level).
        State: the normalised input of every block and the last features; more slices append channels.
        Training: dense, one graph; the triangular weights are assembled from real row blocks.
        Deviations: zero channels of a transition are appended inside each slice, because after the last
            slice they would move the borders; `stem_bn` and `block_slices` are options that the paper does
            not have.

    Args:
        num_classes: classes of each label level, fine level first.
        slices: branches of each slice; the trunk's channels are divided in the same proportion.
        exits_after: slices after which a stage predicts, 1-based; all by default.
        width: trunk channels W at the first scale.
        branch_width: bottleneck channels B of one branch at the first scale.
        blocks: residual blocks of each scale.
        block_slices: for each block the first and the last slice that it writes; a run of fewer slices
            leaves it out. None: every block writes all slices, the paper's net. A range may be None, too: a
            place without a block, which `keep` leaves where nothing kept runs.
        stem: "cifar" (3x3) or "imagenet" (7x7 stride 2, then 2x2 max-pool).
        stem_bn: BatchNorm and ReLU after the stem.
        in_channels: channels of the images.
        init: "msra", "msra_ungrouped" or "pytorch"; see `layers.init`.

    Raises:
        ValueError: if the trunk cannot be divided like the branches, a list is empty or not positive, or
            `block_slices` is not one range a block or leaves a slice unwritten.

    >>> import torch
    >>> net = ISResNeXt(num_classes=(10,), slices=(1, 1), width=8, branch_width=2, blocks=(1, 1))
    >>> [logits.shape for (logits,) in net(torch.zeros(4, 3, 8, 8))]
    [torch.Size([4, 10]), torch.Size([4, 10])]
    """

    @remembered
    def __init__(
        self,
        num_classes: Sequence[int] = (10,),
        *,
        slices: Sequence[int] = (3,) * 6,
        exits_after: Sequence[int] | None = None,
        width: int = 96,
        branch_width: int = 4,
        blocks: Sequence[int] = (5, 5, 5),
        block_slices: Sequence[Sequence[int] | None] | None = None,
        stem: StemForm = "cifar",
        stem_bn: bool = False,
        in_channels: int = 3,
        init: str = "msra",
    ) -> None:
        super().__init__()
        check_whole(width=width)  # whether it can be divided follows
        check_positive(branch_width=branch_width, in_channels=in_channels)
        check_flag(stem_bn=stem_bn)
        self.num_classes = tuple(num_classes)
        self.slices = as_numbers("slices", slices)
        self.slice_widths = split_like(width, self.slices)
        every = range(1, len(self.slices) + 1)
        self.exits_after = check_exits(every if exits_after is None else exits_after, len(self.slices))
        self.num_stages = len(self.exits_after)
        self.blocks_per_scale = check_blocks(blocks)
        ranges = check_block_slices(block_slices, self.blocks_per_scale, len(self.slices))
        self.plan = SlicePlan(ranges, self.blocks_per_scale)
        self.in_channels = in_channels
        self.stem = SlicedStem(in_channels, width, stem, stem_bn)
        self.input_spec = InputSpec(
            "images", in_channels, self.stem.reduction << (len(self.blocks_per_scale) - 1)
        )
        # A place without a block keeps its number, so that no other block changes its name.
        self.blocks = nn.ModuleList(
            nn.Identity()
            if run is None
            else SlicedBlock(self.slices, self.slice_widths, branch_width, 2**scale, *run)
            for run, scale in zip(ranges, self.plan.scales, strict=False)
        )
        self.heads = nn.ModuleList(
            Head(self.feature_widths[stop - 1], self.num_classes) for stop in self.exits_after
        )
        init_weights(self, init)

    @property
    def feature_widths(self) -> tuple[int, ...]:
        """Channels of slices 1..j at the last scale, for each j."""
        factor = 2 ** (len(self.blocks_per_scale) - 1)
        return tuple(accumulate(width * factor for width in self.slice_widths))

    def forward(self, x: Tensor, stages: Sequence[int] | None = None) -> list[Output]:
        stages = self.check_stages(stages)
        self.check_batch(x.shape)
        slices = self.exits_after[max(stages) - 1]
        widths, starts = self.slice_widths[:slices], self.plan.starts
        x = self.stem(x, sum(widths))
        for place, block in enumerate(self.blocks):
            if place in starts:
                x = append_zeros_in_slices(x, widths)
                widths = tuple(2 * width for width in widths)
            if isinstance(block, SlicedBlock):
                x = block(x, slices)
        return [self._head(stage, x) for stage in stages]

    def parts(self) -> list[Part]:
        users = [
            tuple(k for k, stop in enumerate(self.exits_after, 1) if stop >= j)
            for j in range(1, len(self.slices) + 1)
        ]
        found = claim_slices(self, "stem.", tuple(accumulate(self.slice_widths)), users)
        for place, block in enumerate(self.blocks):
            if isinstance(block, SlicedBlock):
                found += self._parts_of(f"blocks.{place}.", block, users[block.first - 1 : block.last])
        for k in range(1, self.num_stages + 1):
            found += claim(self, f"heads.{k - 1}.", (k,))
        return found

    def _parts_of(self, prefix: str, block: SlicedBlock, users: Sequence[tuple[int, ...]]) -> list[Part]:
        """`users`: of each slice that the block writes; the first one's read all earlier slices, too."""
        found = claim_slices(self, f"{prefix}norm1.", block.conv1.fan_ins, users)
        branches = tuple(accumulate(block.branches))
        for name in ("norm2.", "conv2.", "norm3."):
            found += claim_slices(self, prefix + name, branches, users)
        for row, user in enumerate(users):
            found += claim(self, f"{prefix}conv1.rows.{row}", user)
            found += claim(self, f"{prefix}conv3.blocks.{row}", user)
        return found

    def state_spec(self, stage: int, input_shape: Sequence[int]) -> list[TensorSpec]:
        self.check_reached(stage, input_shape)
        channels, height, width = input_shape
        specs = [self.spec("x", (channels, height, width))]
        if stage == 0:
            return specs
        if stage == self.num_stages:
            return []
        before, slices = (0, *self.exits_after)[stage - 1], self.exits_after[stage - 1]
        continued = self.plan.continued(before, slices)
        height, width = self.stem.reduced(height), self.stem.reduced(width)
        for name, place in self.plan.state(slices).items():
            factor = 2 ** self.plan.scales[place]
            shape = (sum(self.slice_widths[:slices]) * factor, height // factor, width // factor)
            old = continued[name]
            specs.append(self.spec(name, shape, continues=old, grows=None if old is None else 0))
        return specs

    def _segment(self, start: int, stop: int, *, last: bool) -> Segment:
        return SlicedSegment(self, start, stop, last=last)

    def _keep(self, stages: tuple[int, ...]) -> ISResNeXt:
        exits = [self.exits_after[stage - 1] for stage in stages]
        end = exits[-1]

        def rename(name: str) -> str:
            part, _, rest = name.partition(".")
            index, _, rest = rest.partition(".")
            return f"heads.{stages[int(index)] - 1}.{rest}" if part == "heads" else name

        return twin(
            self,
            ISResNeXt,
            rename,
            slices=self.slices[:end],
            exits_after=exits,
            width=sum(self.slice_widths[:end]),
            block_slices=self.plan.cut(end),
        )

    def _head(self, stage: int, features: Tensor) -> Output:
        width = self.feature_widths[self.exits_after[stage - 1] - 1]
        output: Output = self.heads[stage - 1](leading(features, width))
        return output


_CIFAR, _IMAGENET = (3, 32, 32), (3, 224, 224)
_form = forms_of(ISResNeXt, paper=PAPER, family="isresnext")
_form("isresnext_47", _CIFAR, "CIFAR form: L=15 W=96 K=6 C=18")(
    slices=even_slices(18, 6), width=96, blocks=(5, 5, 5)
)
_form("isresnext_62_imagenet", _IMAGENET, "ImageNet form: L=20 W=160 K=5 C=30")(
    slices=even_slices(30, 5), width=160, blocks=(5, 5, 5, 5), stem="imagenet"
)
_form("isresnext_50_cub", _IMAGENET, "CUB form: L=16 W=192 K=6 C=36")(
    slices=even_slices(36, 6), width=192, blocks=(4, 4, 4, 4), stem="imagenet"
)
_form("isresnext_small", (3, 16, 16), "minutes on two cores: L=3 W=32 K=4 C=8")(
    slices=even_slices(8, 4), width=32, blocks=(1, 1, 1)
)
_form("isresnext_tiny", (3, 8, 8), "for tests: L=3 W=12 K=3 C=3")(
    slices=(1, 1, 1), width=12, blocks=(1, 1, 1), branch_width=2
)
