"""IS-ResNeXt: sliced, interruptible; one propagation trains all stages."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.layers.heads import Head
from anytimenet.layers.init import init_weights
from anytimenet.layers.norms import PrefixBatchNorm2d
from anytimenet.layers.sliced_convs import SlicewiseConv2d, TriangularConv2d
from anytimenet.layers.snapshots import conv_snapshot, copy_leading, like, norm_snapshot
from anytimenet.layers.transitions import append_zeros_in_slices
from anytimenet.nets.arguments import (
    as_numbers,
    check_blocks,
    check_exits,
    check_positive,
    even_slices,
    split_like,
)
from anytimenet.nets.contract import (
    AnytimeNet,
    Output,
    Part,
    Segment,
    State,
    TensorSpec,
    claim,
    claim_slices,
)
from anytimenet.nets.registry import Builder, register_net

PAPER = "Anytime Neural Prediction via Slicing Networks Vertically, section 3"
StemForm = Literal["cifar", "imagenet"]


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
            slice they would move the borders; `stem_bn` is an option the paper does not have.

    Args:
        num_classes: classes of each label level, fine level first.
        slices: branches of each slice; the trunk's channels are divided in the same proportion.
        exits_after: slices after which a stage predicts, 1-based; all by default.
        width: trunk channels W at the first scale.
        branch_width: bottleneck channels B of one branch at the first scale.
        blocks: residual blocks of each scale.
        stem: "cifar" (3x3) or "imagenet" (7x7 stride 2, then 2x2 max-pool).
        stem_bn: BatchNorm and ReLU after the stem.
        in_channels: channels of the images.
        init: "msra", "msra_ungrouped" or "pytorch"; see `layers.init`.

    Raises:
        ValueError: if the trunk cannot be divided like the branches, or a list is empty or not positive.

    >>> net = ISResNeXt(num_classes=(10,), slices=(1, 1), width=8, branch_width=2, blocks=(1, 1))
    >>> [logits.shape for (logits,) in net(torch.zeros(4, 3, 8, 8))]
    [torch.Size([4, 10]), torch.Size([4, 10])]
    """

    def __init__(
        self,
        num_classes: Sequence[int] = (10,),
        *,
        slices: Sequence[int] = (3,) * 6,
        exits_after: Sequence[int] | None = None,
        width: int = 96,
        branch_width: int = 4,
        blocks: Sequence[int] = (5, 5, 5),
        stem: StemForm = "cifar",
        stem_bn: bool = False,
        in_channels: int = 3,
        init: str = "msra",
    ) -> None:
        super().__init__()
        check_positive(branch_width=branch_width, in_channels=in_channels)
        self.num_classes = tuple(num_classes)
        self.slices = as_numbers("slices", slices)
        self.slice_widths = split_like(width, self.slices)
        every = range(1, len(self.slices) + 1)
        self.exits_after = check_exits(every if exits_after is None else exits_after, len(self.slices))
        self.num_stages = len(self.exits_after)
        self.branch_width = branch_width
        self.blocks_per_scale = check_blocks(blocks)
        self.in_channels = in_channels
        self.stem = SlicedStem(in_channels, width, stem, stem_bn)
        self.blocks = nn.ModuleList(
            SlicedBlock(self.slices, self.slice_widths, branch_width, 2**scale)
            for scale, count in enumerate(self.blocks_per_scale)
            for _ in range(count)
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
        self.check_batch(x.shape, self._smallest_image())
        slices = self.exits_after[max(stages) - 1]
        x = self.stem(x, sum(self.slice_widths[:slices]))
        for block, starts_scale in self._blocks():
            if starts_scale:
                x = append_zeros_in_slices(x, [w // 2 for w in block.widths[:slices]])
            x = block(x, slices)
        return [self._head(stage, x) for stage in stages]

    def parts(self) -> list[Part]:
        users = [
            tuple(k for k, stop in enumerate(self.exits_after, 1) if stop >= j)
            for j in range(1, len(self.slices) + 1)
        ]
        found = claim_slices(self, "stem.", tuple(accumulate(self.slice_widths)), users)
        for i, (block, _) in enumerate(self._blocks()):
            widths = tuple(accumulate(block.widths))
            branches = tuple(accumulate(block.branches))
            found += claim_slices(self, f"blocks.{i}.norm1.", widths, users)
            for name in ("norm2.", "conv2.", "norm3."):
                found += claim_slices(self, f"blocks.{i}.{name}", branches, users)
            for j, user in enumerate(users):
                found += claim(self, f"blocks.{i}.conv1.rows.{j}", user)
                found += claim(self, f"blocks.{i}.conv3.blocks.{j}", user)
        for k in range(1, self.num_stages + 1):
            found += claim(self, f"heads.{k - 1}.", (k,))
        return found

    def state_spec(self, stage: int, input_shape: Sequence[int]) -> list[TensorSpec]:
        self.check_reached(stage)
        channels, height, width = input_shape
        specs = [TensorSpec("x", False, (channels, height, width))]
        if stage == 0:
            return specs
        if stage == self.num_stages:
            return []
        slices = self.exits_after[stage - 1]
        height, width = self.stem.reduced(height), self.stem.reduced(width)
        for i, (block, starts_scale) in enumerate(self._blocks()):
            if starts_scale:
                height, width = height // 2, width // 2
            specs.append(TensorSpec(f"u{i + 1}", True, (sum(block.widths[:slices]), height, width)))
        return [*specs, TensorSpec("features", True, (self.feature_widths[slices - 1], height, width))]

    def _segment(self, start: int, stop: int, *, last: bool) -> Segment:
        return _SlicedSegment(self, start, stop, last=last)

    def _keep(self, stages: tuple[int, ...]) -> ISResNeXt:
        exits = [self.exits_after[stage - 1] for stage in stages]
        kept = like(self, lambda: self._narrower(exits))

        def rename(name: str) -> str:
            part, _, rest = name.partition(".")
            index, _, rest = rest.partition(".")
            return f"heads.{stages[int(index)] - 1}.{rest}" if part == "heads" else name

        copy_leading(self, kept, rename)
        return kept

    def _narrower(self, exits: Sequence[int]) -> ISResNeXt:
        return ISResNeXt(
            self.num_classes,
            slices=self.slices[: exits[-1]],
            exits_after=exits,
            width=sum(self.slice_widths[: exits[-1]]),
            branch_width=self.branch_width,
            blocks=self.blocks_per_scale,
            stem=self.stem.form,
            stem_bn=self.stem.norm is not None,
            in_channels=self.in_channels,
        )

    def _blocks(self) -> Iterator[tuple[SlicedBlock, bool]]:
        """The blocks in order, each with whether a transition stands before it."""
        starts = set(list(accumulate(self.blocks_per_scale))[:-1])
        for i, block in enumerate(self.blocks):
            assert isinstance(block, SlicedBlock)
            yield block, i in starts

    def _head(self, stage: int, features: Tensor) -> Output:
        width = self.feature_widths[self.exits_after[stage - 1] - 1]
        if width < features.shape[1]:
            # Channels of their own: BatchNorm is several times slower on a slice of a wider map.
            features = features[:, :width].clone()
        return self.heads[stage - 1](features)

    def _smallest_image(self) -> int:
        return self.stem.reduction * 2 ** (len(self.blocks_per_scale) - 1)


class SlicedStem(nn.Module):
    """The first convolution; slice j is its filters, each of which reads the image only."""

    def __init__(self, in_channels: int, width: int, form: StemForm, with_norm: bool) -> None:
        super().__init__()
        if form not in ("cifar", "imagenet"):
            raise ValueError(f"stem {form!r} does not exist: 'cifar' or 'imagenet' is needed")
        self.form: StemForm = form
        kernel, self.stride, self.reduction = (3, 1, 1) if form == "cifar" else (7, 2, 4)
        self.conv = nn.Conv2d(in_channels, width, kernel, self.stride, kernel // 2, bias=False)
        self.norm = PrefixBatchNorm2d(width) if with_norm else None

    def reduced(self, size: int) -> int:
        """Pixels a side after the stem: the stride rounds up, the pooling down."""
        return size if self.form == "cifar" else (size + 1) // 2 // 2

    def forward(self, x: Tensor, channels: int) -> Tensor:
        x = F.conv2d(x, self.conv.weight[:channels], stride=self.stride, padding=self.conv.padding)
        return finish_stem(x, self.norm, self.form)


def finish_stem(x: Tensor, norm: nn.Module | None, form: StemForm) -> Tensor:
    """What follows the stem's convolution; it works channel by channel."""
    if norm is not None:
        x = F.relu_(norm(x))
    return F.max_pool2d(x, 2) if form == "imagenet" else x


class SlicedBlock(nn.Module):
    """Pre-activation residual block: triangular 1x1, grouped 3x3, slice-wise 1x1."""

    def __init__(self, slices: Sequence[int], widths: Sequence[int], branch_width: int, factor: int) -> None:
        super().__init__()
        self.slices = tuple(slices)
        self.widths = tuple(width * factor for width in widths)
        self.branches = tuple(count * branch_width * factor for count in slices)
        middle = sum(self.branches)
        self.norm1 = PrefixBatchNorm2d(sum(self.widths))
        self.conv1 = TriangularConv2d(self.widths, self.branches)
        self.norm2 = PrefixBatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=1, groups=sum(slices), bias=False)
        self.norm3 = PrefixBatchNorm2d(middle)
        self.conv3 = SlicewiseConv2d(self.branches, self.widths)

    def forward(self, x: Tensor, slices: int) -> Tensor:
        h = self.conv1(F.relu_(self.norm1(x)), slices)
        weight = self.conv2.weight[: sum(self.branches[:slices])]
        h = F.conv2d(F.relu_(self.norm2(h)), weight, padding=1, groups=sum(self.slices[:slices]))
        return x + self.conv3(F.relu_(self.norm3(h)), slices)


class _SlicedSegment(Segment):
    """Slices after `start`'s up to `stop`'s, block by block, on top of what earlier slices left behind."""

    def __init__(self, net: ISResNeXt, start: int, stop: int, *, last: bool) -> None:
        super().__init__(net, start, stop, last=last)
        self.first = net.exits_after[start - 1] if start else 0
        end = net.exits_after[stop - 1]
        widths = net.slice_widths
        self.new_widths = widths[self.first : end]
        channels = (sum(widths[: self.first]), sum(widths[:end]))
        stem = net.stem
        self.stem = conv_snapshot(
            stem.conv.weight[slice(*channels)], stride=stem.stride, padding=stem.conv.kernel_size[0] // 2
        )
        self.stem_norm = norm_snapshot(stem.norm, *channels) if stem.norm is not None else None
        self.form = stem.form
        self.blocks = nn.ModuleList(_NewSlices(block, self.first, end) for block, _ in net._blocks())
        self.starts_scale = [starts for _, starts in net._blocks()]
        self.head = copy.deepcopy(net.heads[stop - 1])

    def work(self, state: State) -> tuple[State, Output]:
        image, *old = state
        inputs = []
        x = finish_stem(self.stem(image), self.stem_norm, self.form)
        factor = 1
        for i, (block, starts_scale) in enumerate(zip(self.blocks, self.starts_scale, strict=True)):
            if starts_scale:
                x = append_zeros_in_slices(x, [width * factor for width in self.new_widths])
                factor *= 2
            assert isinstance(block, _NewSlices)
            u = block.enter(x)
            if self.first:
                u = torch.cat([old[i], u], dim=1)
            if self.carries:
                inputs.append(u)
            x = block(x, u)
        features = torch.cat([old[-1], x], dim=1) if self.first else x
        return (image, *inputs, features), self.head(features)


class _NewSlices(nn.Module):
    """Slices first+1 .. end of one block, as plain layers."""

    def __init__(self, block: SlicedBlock, first: int, end: int) -> None:
        super().__init__()
        counts = block.slices[first:end]
        trunk = (sum(block.widths[:first]), sum(block.widths[:end]))
        middle = (sum(block.branches[:first]), sum(block.branches[:end]))
        self.fan_ins = block.conv1.fan_ins[first:end]
        self.norm1 = norm_snapshot(block.norm1, *trunk)
        self.conv1 = nn.ModuleList(conv_snapshot(row) for row in list(block.conv1.rows)[first:end])
        self.norm2 = norm_snapshot(block.norm2, *middle)
        self.conv2 = conv_snapshot(block.conv2.weight[slice(*middle)], padding=1, groups=sum(counts))
        self.norm3 = norm_snapshot(block.norm3, *middle)
        conv3 = list(block.conv3.blocks)[first:end]
        self.together = len({piece.shape for piece in conv3}) == 1
        if self.together:
            conv3 = [torch.cat(conv3)]
        self.conv3 = nn.ModuleList(
            conv_snapshot(piece, groups=len(counts) if self.together else 1) for piece in conv3
        )
        self.new_branches = block.branches[first:end]

    def enter(self, x: Tensor) -> Tensor:
        """The new slices' share of the block's normalised input."""
        return F.relu_(self.norm1(x))

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        """`x`: the new slices of the trunk; `u`: the normalised input of all slices so far."""
        rows = [conv(u[:, :fan_in]) for conv, fan_in in zip(self.conv1, self.fan_ins, strict=True)]
        h = rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)
        h = F.relu_(self.norm3(self.conv2(F.relu_(self.norm2(h)))))
        if self.together:
            return x + self.conv3[0](h)
        pieces = h.split(self.new_branches, dim=1)
        return x + torch.cat([conv(p) for conv, p in zip(self.conv3, pieces, strict=True)], dim=1)


def _builder(
    slices: Sequence[int], width: int, blocks: Sequence[int], branch_width: int = 4, stem: StemForm = "cifar"
) -> Builder:
    def build(
        num_classes: Sequence[int],
        slices: Sequence[int] = slices,
        exits_after: Sequence[int] | None = None,
        width: int = width,
        branch_width: int = branch_width,
        blocks: Sequence[int] = blocks,
        stem: StemForm = stem,
        stem_bn: bool = False,
        in_channels: int = 3,
        init: str = "msra",
    ) -> AnytimeNet:
        return ISResNeXt(
            num_classes,
            slices=slices,
            exits_after=exits_after,
            width=width,
            branch_width=branch_width,
            blocks=blocks,
            stem=stem,
            stem_bn=stem_bn,
            in_channels=in_channels,
            init=init,
        )

    return build


_CIFAR, _IMAGENET = (3, 32, 32), (3, 224, 224)
for _name, _input_shape, _summary, _build in (
    ("isresnext_47", _CIFAR, "CIFAR form: L=15 W=96 K=6 C=18", _builder(even_slices(18, 6), 96, (5, 5, 5))),
    (
        "isresnext_62_imagenet",
        _IMAGENET,
        "ImageNet form: L=20 W=160 K=5 C=30",
        _builder(even_slices(30, 5), 160, (5, 5, 5, 5), stem="imagenet"),
    ),
    (
        "isresnext_50_cub",
        _IMAGENET,
        "CUB form: L=16 W=192 K=6 C=36",
        _builder(even_slices(36, 6), 192, (4, 4, 4, 4), stem="imagenet"),
    ),
    (
        "isresnext_small",
        (3, 16, 16),
        "minutes on two cores: L=3 W=32 K=4 C=8",
        _builder(even_slices(8, 4), 32, (1, 1, 1)),
    ),
    (
        "isresnext_tiny",
        (3, 8, 8),
        "for tests: L=3 W=12 K=3 C=3",
        _builder((1, 1, 1), 12, (1, 1, 1), branch_width=2),
    ),
):
    register_net(_name, input_shape=_input_shape, summary=_summary, paper=PAPER)(_build)
