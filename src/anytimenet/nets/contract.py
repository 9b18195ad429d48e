"""The one contract: what every anytime architecture, thin, shallow or chained, shows to the rest.

A net is one set of weights with K predictions of rising cost. Stages are counted 1..K. No layer
remembers a stage: it is always an argument. `anytimenet.testing.check_anytime_net` proves that a net
keeps this contract, your own nets included.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from anytimenet.core.checks import LARGEST, increasing, whole_number, whole_numbers
from anytimenet.core.images.pretraining import Pretraining
from anytimenet.core.manifest.records import NetOrigin
from anytimenet.core.segments import InputSpec
from anytimenet.core.segments import TensorSpec as TensorSpec
from anytimenet.layers.snapshots import copied
from anytimenet.nets.parts import Part as Part
from anytimenet.nets.parts import claim as claim
from anytimenet.nets.parts import claim_slices as claim_slices
from anytimenet.nets.segment import Changes, check_segment
from anytimenet.nets.segment import Join as Join
from anytimenet.nets.segment import Output as Output
from anytimenet.nets.segment import Segment as Segment
from anytimenet.nets.segment import State as State
from anytimenet.nets.segment import rows as rows
from anytimenet.nets.snapshot import Snapshot as Snapshot
from anytimenet.nets.snapshot import device_named, floating, frozen_copy


class Pieces(NamedTuple):
    """A segment that is made of modules of the net: their names, and what changes in the state."""

    modules: tuple[str, ...]
    changes: Changes


class ChainView(NamedTuple):
    """The published blocks of a net that grows in depth: what rules that act between blocks walk.

    Attributes:
        blocks: `blocks[k-1](state) -> state`, from the state `(x,)` on; the last tensor of a state is the one
            that head k reads.
        heads: `heads[k-1](state) -> output`.
    """

    blocks: nn.ModuleList
    heads: nn.ModuleList


class AnytimeNet(nn.Module):
    """Base class of every net. Shapes: `x` is `(N, C, H, W)`, an output `(N, classes, ...)` per level.

    Attributes:
        num_stages: K.
        num_classes: classes of each label level, fine level first.
        in_channels: channels of the input images.
        input_spec: all that is known of the input.
        arguments: all that its constructor was called with, defaults included, where that is `remembered`.
        origin: how `create_net` built it; None for a net built by hand, which is loaded by
            `load(PATH, net=NET)` only.
        pretraining: what its weights were trained on before, and how its images must look therefore; None for
            weights that were drawn.
        tracks_statistics: whether training leaves the BatchNorm statistics that evaluation needs. Where it
            does not they are estimated afterwards, see `stages_without_statistics`.
    """

    num_stages: int
    num_classes: tuple[int, ...]
    in_channels: int
    arguments: Mapping[str, Any] = MappingProxyType({})
    origin: NetOrigin | None = None
    pretraining: Pretraining | None = None
    tracks_statistics: bool = True

    @cached_property
    def input_spec(self) -> InputSpec:
        """What the net reads. A family whose layers need more than one pixel sets it when it is built."""
        return InputSpec("images", self.in_channels)

    # --- training -----------------------------------------------------------------------------------

    def forward(self, x: Tensor, stages: Sequence[int] | None = None) -> list[Output]:
        """The outputs of `stages` (all by default), in the order asked for, in one graph."""
        raise NotImplementedError

    def passes(self, x: Tensor, stages: Sequence[int] | None = None) -> Iterator[list[tuple[int, Output]]]:
        """The same outputs in groups, so that one group's graph can be freed before the next.

        The caller calls backward on each group before it asks for the next, and exhausts the iterator;
        gradients are complete only then.
        """
        stages = self.check_stages(stages)
        yield list(zip(stages, self(x, stages), strict=True))

    def parts(self) -> list[Part]:
        """Who uses what: disjoint rectangles that cover every entry of the state_dict."""
        raise NotImplementedError

    def stages_without_statistics(self) -> tuple[int, ...]:
        """Stages that cannot predict yet, because their BatchNorm statistics have not been estimated.

        A net that has such stages raises `core.errors.StatisticsMissingError` when it is asked for their
        outputs in eval mode or for a segment to them. Empty for a net whose statistics training tracks, and
        on the meta device, where nothing is known.
        """
        return ()

    def stages_to_estimate(self) -> tuple[int, ...]:
        """Stages that may be evaluated with BatchNorm statistics estimated anew while the net learns.

        Those whose statistics training tracks, unless several stages share one set that sees different
        features in each: what that does to them is a finding, and no estimate could be right for all.
        """
        return self.check_stages(None) if self.tracks_statistics else ()

    def with_own_norms(self) -> AnytimeNet:
        """A net of its own whose stages share no BatchNorm statistics that are right for one of them alone.

        A copy; a family with an option of that kind gives every stage copies of the shared ones.
        """
        return copy.deepcopy(self)

    # --- what it is made of -------------------------------------------------------------------------

    def chain(self) -> ChainView | None:
        """Blocks and heads, if the net is a chain of blocks with a prediction after each; else None."""
        return None

    def whole_nets(self) -> tuple[AnytimeNet, ...]:
        """The nets that this one runs one after the other; itself alone, unless it joins several."""
        return (self,)

    def pieces(self, start: int, stop: int) -> Pieces | None:
        """What segment (start, stop) is made of, where segments are whole modules that run once; else None.

        Whichever segment runs a module does the same work in it, so that counting modules counts segments.
        """
        return None

    # --- deployment ---------------------------------------------------------------------------------

    def snapshot(
        self, device: str | torch.device = "cpu", dtype: str | torch.dtype | None = None
    ) -> Snapshot:
        """One frozen copy of the net in eval mode; its segments all read the weights of that copy.

        Args:
            device: where it lives; what has no values stays on the meta device.
            dtype: floating number format of its weights, or its name; None for the net's.

        Raises:
            ValueError: for another dtype, or a device that does not exist.
        """
        place, number = device_named(device), None if dtype is None else floating(dtype)
        with torch.no_grad():
            frozen = frozen_copy(self, place, number)

        def take(start: int, stop: int, last: bool) -> Segment:
            return frozen._segment(start, stop, last=last).eval().requires_grad_(False)

        return Snapshot(self.num_stages, take)

    def segment(self, start: int, stop: int, *, last: bool = False) -> Segment:
        """The work from stage `start` (0: the input) to stage `stop`, with weights of its own; see `Segment`.

        Take many segments from one `snapshot` instead: they share their weights.

        Raises:
            ValueError: unless 0 <= start < stop <= K.
        """
        start, stop, last = check_segment(start, stop, last, self.num_stages)
        with torch.no_grad():
            return copied(self._segment(start, stop, last=last)).eval().requires_grad_(False)

    def state_spec(self, stage: int, input_shape: Sequence[int]) -> list[TensorSpec]:
        """What later stages read of the work so far, for one example of `input_shape` (C, H, W).

        `continues` names a tensor of the state at `stage` - 1.
        """
        raise NotImplementedError

    def state_names(self, stage: int) -> tuple[str, ...]:
        """The names of the state's tensors; they do not depend on the size of the input."""
        return tuple(spec.name for spec in self.state_spec(stage, self.input_spec.smallest_shape))

    def keep(self, stages: Iterable[int]) -> AnytimeNet:
        """A net of its own with only these stages (an increasing subset), renumbered from 1.

        Raises:
            ValueError: if the stages are not an increasing, non-empty subset of 1..K.
        """
        stages = increasing(stages, "stages", self.num_stages)
        with torch.no_grad():
            kept = self._keep(stages)
        kept.pretraining = self.pretraining
        if not self.training or all(part.training for part in self.modules()):
            kept.train(self.training)
        # Else some parts are in eval mode, such as frozen ones, and a copy of a part is as the part is.
        if self.origin is not None:
            before = self.origin.keep or tuple(range(1, self.num_stages + 1))
            kept.origin = replace(self.origin, keep=tuple(before[stage - 1] for stage in stages))
        return kept

    # --- what a family writes -----------------------------------------------------------------------

    def _segment(self, start: int, stop: int, *, last: bool) -> Segment:
        """A segment that may hold this net's own modules and views of its tensors."""
        raise NotImplementedError

    def _keep(self, stages: tuple[int, ...]) -> AnytimeNet:
        raise NotImplementedError

    def spec(
        self, name: str, shape: Sequence[int], *, continues: str | None = None, grows: int | None = None
    ) -> TensorSpec:
        """A `TensorSpec` in the number format of the net's weights."""
        dtype = next((p.dtype for p in self.parameters() if p.is_floating_point()), torch.float32)
        return TensorSpec(name, tuple(shape), str(dtype).removeprefix("torch."), continues, grows)

    # --- checks that families share -----------------------------------------------------------------

    def check_stages(self, stages: Sequence[int] | None) -> tuple[int, ...]:
        """`stages` as a tuple, all of them for None.

        Raises:
            ValueError: if one is outside 1..K, twice there, or none is given.
        """
        if stages is None:
            return tuple(range(1, self.num_stages + 1))
        stages = whole_numbers(stages, "stages", 1, self.num_stages)
        if not stages or len(set(stages)) != len(stages):
            raise ValueError(f"stages {stages}: distinct numbers from 1 to {self.num_stages} are needed")
        return stages

    def check_reached(self, stage: int, *input_shape: Sequence[int]) -> None:
        """Raises ValueError unless `stage` is 0 (the input) or a stage here, and the shape an example's."""
        for shape in input_shape:
            self.input_spec.shape_of(shape)
        if not 0 <= whole_number(stage, "stage", -LARGEST) <= self.num_stages:
            raise ValueError(
                f"no state belongs to stage {stage}: 0, the input, to {self.num_stages} have one"
            )

    def check_batch(self, shape: Sequence[int]) -> None:
        """Raises ValueError unless `shape` is that of a batch which this net can read; see `InputSpec`."""
        self.input_spec.check_batch(shape)
