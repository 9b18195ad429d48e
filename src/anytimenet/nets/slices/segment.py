"""Segments of sliced nets: new slices on top of what finished ones left behind."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.layers.snapshots import conv_view, norm_view, stacked
from anytimenet.layers.transitions import append_zeros_in_slices
from anytimenet.nets.segment import CHANNELS, HasStages, Join, Output, Segment, State
from anytimenet.nets.slices.blocks import SlicedBlock, SlicedStem, add_from, finish_stem, leading
from anytimenet.nets.slices.plan import FEATURES, SlicePlan

_WIDE = 384
"""Channels up to which one convolution with zeros is faster on a CPU than several on prefixes.

Measured on a Zen 4, batch 1, one thread: 0.85 of the time of a full pass of `isresnext_47`, 1.01 of that of
`isresnext_62_imagenet`, whose last blocks have 1,280.
"""


class SlicedNet(HasStages, Protocol):
    """What a segment reads of a net in slices.

    Attributes:
        exits_after: for each stage the slices that it runs.
        slice_widths: trunk channels of each slice at the first scale.
    """

    exits_after: tuple[int, ...]
    slice_widths: tuple[int, ...]
    plan: SlicePlan
    stem: SlicedStem
    blocks: nn.ModuleList
    heads: nn.ModuleList


class SlicedSegment(Segment):
    """Slices after `start`'s up to `stop`'s, block by block, on top of what earlier slices left behind."""

    folds = (("stem", "stem_norm"),)

    def __init__(self, net: SlicedNet, start: int, stop: int, *, last: bool) -> None:
        super().__init__(net, start, stop, last=last)
        finished = net.exits_after[start - 1] if start else 0
        end = net.exits_after[stop - 1]
        self._cut_stem(net, finished, end)
        self.blocks = nn.ModuleDict(
            {
                str(place): NewSlices(block, finished, end)
                for place, block in enumerate(net.blocks)
                if isinstance(block, SlicedBlock) and block.first <= end and block.last > finished
            }
        )
        self._plan_state(net, finished, end)
        self.head = net.heads[stop - 1]

    def _cut_stem(self, net: SlicedNet, finished: int, end: int) -> None:
        self.new_widths = net.slice_widths[finished:end]
        channels = (sum(net.slice_widths[:finished]), sum(net.slice_widths[:end]))
        stem = net.stem
        self.stem = conv_view(
            stem.conv.weight[slice(*channels)], stride=stem.stride, padding=stem.conv.kernel_size[0] // 2
        )
        self.stem_norm = norm_view(stem.norm, *channels) if stem.norm is not None else None
        self.form = stem.form

    def _plan_state(self, net: SlicedNet, finished: int, end: int) -> None:
        plan = net.plan
        self.places, self.starts = len(plan.ranges), plan.starts
        self.changes = {
            name: None if old is None else (old, CHANNELS)
            for name, old in (plan.continued(finished, end) if self.carries else {}).items()
        }
        self.sources = {place: plan.source(finished, int(place)) for place in self.blocks} if finished else {}

    def advance(self, state: State, join: Join) -> tuple[dict[str, Tensor], Output]:
        old = dict(zip(self.reads, state, strict=True))
        new: dict[str, Tensor] = {}
        x = finish_stem(self.stem(old["x"]), self.stem_norm, self.form)
        factor = 1
        for place in range(self.places):
            if place in self.starts:
                x = append_zeros_in_slices(x, [width * factor for width in self.new_widths])
                factor *= 2
            trunk = f"t{place + 1}"
            if trunk in self.changes:
                finished = self.changes[trunk]
                new[trunk] = join(trunk, old[finished[0]] if finished else None, x, CHANNELS)
            if str(place) in self.blocks:
                x = self._block(place, x, old, new, join)
        new[FEATURES] = join(FEATURES, old.get(FEATURES), x, CHANNELS)
        return {name: new[name] for name in self.changes}, self.head(new[FEATURES])

    def _block(
        self, place: int, x: Tensor, old: dict[str, Tensor], new: dict[str, Tensor], join: Join
    ) -> Tensor:
        block = self.blocks[str(place)]
        assert isinstance(block, NewSlices)
        name, finished = f"u{place + 1}", old.get(self.sources.get(str(place), ""))
        entering = leading(x, block.entering)
        if block.takes_normalised:
            u = join(name, finished, block.normalised(entering), CHANNELS)
        else:
            trunk = entering if finished is None else join(f"t{place + 1}", finished, entering, CHANNELS)
            u = block.normalised(trunk)
            if name in self.changes:
                u = join(name, None, u, CHANNELS)
        if name in self.changes:
            new[name] = u
        y: Tensor = block(x, u)
        return y


class NewSlices(nn.Module):
    """Slices finished+1 .. end of one block, as plain layers; the block must write some of them."""

    folds = (("conv1", "norm2"), ("conv2", "norm3"))

    def __init__(self, block: SlicedBlock, finished: int, end: int) -> None:
        super().__init__()
        first, last = max(block.first, finished + 1), min(block.last, end)
        rows = slice(first - block.first, last - block.first + 1)
        counts = block.slices[rows]
        # A block that has run has normalised the finished slices; one that has not takes them raw.
        self.takes_normalised = block.first <= finished
        trunk = (sum(block.widths[: finished if self.takes_normalised else 0]), sum(block.widths[:last]))
        middle = (sum(block.branches[: rows.start]), sum(block.branches[: rows.stop]))
        self.entering = sum(block.widths[finished:last])
        self.skipped = sum(block.widths[finished : first - 1])
        self.fan_ins = block.conv1.fan_ins[rows]
        self.norm1 = norm_view(block.norm1, *trunk)
        self.conv1 = nn.ModuleList(conv_view(row) for row in list(block.conv1.rows)[rows])
        self.norm2 = norm_view(block.norm2, *middle)
        self.conv2 = conv_view(block.conv2.weight[slice(*middle)], padding=1, groups=sum(counts))
        self.norm3 = norm_view(block.norm3, *middle)
        conv3 = list(block.conv3.blocks)[rows]
        self.together = len({piece.shape for piece in conv3}) == 1
        if self.together:
            self.conv3 = nn.ModuleList([conv_view(stacked(conv3), groups=len(counts))])
        else:
            self.conv3 = nn.ModuleList(conv_view(piece) for piece in conv3)
        self.new_branches = block.branches[rows]

    def merge(self) -> None:
        """One convolution, with zeros where a slice reads nothing, in the place of those on growing prefixes.

        On maps with channels last, a prefix must be copied; up to `_WIDE` channels that, and the calls, take
        longer than the zeros.
        """
        rows = [conv for conv in self.conv1 if isinstance(conv, nn.Conv2d)]
        wide = self.fan_ins[-1]
        if len(rows) == 1 or wide > _WIDE:
            return
        together = nn.Conv2d(wide, sum(self.new_branches), 1, bias=rows[0].bias is not None, device="meta")
        weights = [F.pad(row.weight, (0, 0, 0, 0, 0, wide - row.in_channels)) for row in rows]
        together.weight = nn.Parameter(torch.cat(weights), requires_grad=False)
        if together.bias is not None:
            biases = [row.bias for row in rows if row.bias is not None]
            together.bias = nn.Parameter(torch.cat(biases), requires_grad=False)
        self.conv1, self.fan_ins = nn.ModuleList([together]), (wide,)

    def normalised(self, x: Tensor) -> Tensor:
        """What the convolutions read of those slices of the trunk."""
        return F.relu_(self.norm1(x))

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        """`x`: the new slices of the trunk; `u`: the normalised input of all slices so far."""
        rows = [conv(u[:, :fan_in]) for conv, fan_in in zip(self.conv1, self.fan_ins, strict=True)]
        h = rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)
        h = F.relu_(self.norm3(self.conv2(F.relu_(self.norm2(h)))))
        return add_from(x, self._widened(h), self.skipped)

    def _widened(self, h: Tensor) -> Tensor:
        if self.together:
            widened: Tensor = self.conv3[0](h)
            return widened
        pieces = h.split(self.new_branches, dim=1)
        return torch.cat([conv(p) for conv, p in zip(self.conv3, pieces, strict=True)], dim=1)
