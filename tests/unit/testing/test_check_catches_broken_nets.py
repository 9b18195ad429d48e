"""`check_anytime_net` accepts a user's well-behaved net and names the promise that each broken one breaks."""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from anytimenet.costs import OperationCount
from anytimenet.layers.heads import Head
from anytimenet.layers.snapshots import copied, copy_leading, like
from anytimenet.nets import AnytimeNet, Part, Segment, TensorSpec, create_net
from anytimenet.nets.contract import claim
from anytimenet.nets.segment import concatenate
from anytimenet.nets.slices.isresnext import ISResNeXt
from anytimenet.nets.snapshot import Snapshot
from anytimenet.nets.width.iresnext import IResNeXt
from anytimenet.testing import (
    CHECKS,
    ContractError,
    NetUnderTest,
    check_advance,
    check_anytime_net,
    check_costs,
    check_paths,
    check_shards,
    check_threads,
)

SHAPE = (3, 4, 4)


# --- a net of one's own: exits on a chain of convolutions ---------------------------------------------------


class ExitChain(AnytimeNet):
    """Convolution i has `widths[i-1]` filters; stage k predicts after convolution `exits_after[k-1]`."""

    def __init__(self, widths=(4, 5, 6), exits_after=(1, 3), num_classes=(5,), in_channels=3):
        super().__init__()
        self.widths, self.exits_after = tuple(widths), tuple(exits_after)
        self.num_classes, self.in_channels = tuple(num_classes), in_channels
        self.num_stages = len(self.exits_after)
        fan_ins = (in_channels, *widths[:-1])
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, 3, padding=1) for i, o in zip(fan_ins, widths, strict=True)
        )
        self.heads = nn.ModuleList(Head(widths[stop - 1], num_classes) for stop in exits_after)

    def forward(self, x, stages=None):
        stages = self.check_stages(stages)
        outputs, done = {}, 0
        for stage, stop in enumerate(self.exits_after[: max(stages)], 1):
            for conv in self.convs[done:stop]:
                x = F.relu(conv(x))
            done = stop
            if stage in stages:
                outputs[stage] = self.heads[stage - 1](x)
        return [outputs[stage] for stage in stages]

    def parts(self):
        every = range(1, self.num_stages + 1)
        found = [part for k in every for part in claim(self, f"heads.{k - 1}.", (k,))]
        for i in range(1, len(self.convs) + 1):
            found += claim(self, f"convs.{i - 1}.", [k for k in every if self.exits_after[k - 1] >= i])
        return found

    def state_spec(self, stage, input_shape):
        if stage == 0:
            return [self.spec("x", input_shape)]
        width = self.widths[self.exits_after[stage - 1] - 1]
        features = self.spec("features", (width, *input_shape[1:]))
        return [features] if stage < self.num_stages else []

    def _segment(self, start, stop, *, last):
        return ChainSegment(self, start, stop, last=last)

    def _keep(self, stages):
        exits = [self.exits_after[stage - 1] for stage in stages]
        arguments = (self.widths[: exits[-1]], exits, self.num_classes, self.in_channels)
        kept = like(self, lambda: type(self)(*arguments))
        old = {f"heads.{new}.": f"heads.{stage - 1}." for new, stage in enumerate(stages)}
        copy_leading(self, kept, lambda name: old.get(name[:8], name[:8]) + name[8:])
        return kept


class ChainSegment(Segment):
    """The convolutions after `start`'s up to `stop`'s, and the head of `stop`."""

    def __init__(self, net, start, stop, *, last):
        super().__init__(net, start, stop, last=last)
        first = net.exits_after[start - 1] if start else 0
        self.convs = copy.deepcopy(net.convs[first : net.exits_after[stop - 1]])
        self.head = copy.deepcopy(net.heads[stop - 1])

    def work(self, state):
        x = state[0]
        for conv in self.convs:
            x = F.relu(conv(x))
        return (x,), self.head(x)


@pytest.mark.parametrize("exits_after", [(3,), (1, 3), (1, 2, 3)])
def test_a_users_net_keeps_the_contract(exits_after):
    check_anytime_net(ExitChain(exits_after=exits_after, num_classes=(5, 2)), SHAPE)


# --- the same net with three stages, broken in one way each -------------------------------------------------


class Chain(ExitChain):
    """Three stages, so that there are jumps; `segment_type` can be replaced by a broken one."""

    segment_type: type[Segment] = ChainSegment

    def __init__(self, widths=(4, 5, 6), exits_after=(1, 2, 3), num_classes=(5,), in_channels=3):
        super().__init__(widths, exits_after, num_classes, in_channels)

    def _segment(self, start, stop, *, last):
        return self.segment_type(self, start, stop, last=last)

    def parts(self):
        return [self.claimed(part) for part in super().parts()]

    def claimed(self, part: Part) -> Part:
        return part


BROKEN: list[Any] = []


def broken(promise: str, where: str) -> Callable[[type], type]:
    """Lists a net, or `Chain` with these segments, with the promise it breaks and a pattern of the place."""

    def add(broken_class: type) -> type:
        is_net = issubclass(broken_class, AnytimeNet)
        net = broken_class if is_net else type("Broken", (Chain,), {"segment_type": broken_class})
        BROKEN.append(pytest.param(net, promise, where, id=broken_class.__name__))
        return broken_class

    return add


@broken("forward", r"output 3 of forward\(x, \(3, 2, 1\)\)")
class AnswersInItsOwnOrder(Chain):
    def forward(self, x, stages=None):
        return super().forward(x, sorted(self.check_stages(stages)))


@broken("forward", "output 1 of a second call")
class DropsInEvalMode(Chain):
    def forward(self, x, stages=None):
        return [tuple(F.dropout(t) for t in output) for output in super().forward(x, stages)]


@broken("forward", "output 1 is not a tuple of 1 tensors")
class GivesBareTensors(Chain):
    def forward(self, x, stages=None):
        return [output[0] for output in super().forward(x, stages)]


@broken("forward", "output 1, level 0 is not finite")
class DividesByZero(Chain):
    def forward(self, x, stages=None):
        return [tuple(t / 0 for t in output) for output in super().forward(x, stages)]


@broken("forward", "forward changed its input")
class NormalisesInPlace(Chain):
    def forward(self, x, stages=None):
        return super().forward(x.div_(x.abs().amax((1, 2, 3), keepdim=True)), stages)


@broken("bad stages", r"forward\(x, \(0,\)\) is accepted")
class CountsFromTheEnd(Chain):
    def forward(self, x, stages=None):
        outputs = super().forward(x)
        return [outputs[stage - 1] for stage in ((1, 2, 3) if stages is None else stages)]


@broken("bad stages", r"keep\(\(0,\)\) raises KeyError, not ValueError")
class KeepsWithoutChecking(Chain):
    def keep(self, stages):
        return self._keep(tuple(stages)).train(self.training)


@broken("buffers", "buffer scale of the net is not persistent")
class HidesABuffer(Chain):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.register_buffer("scale", torch.ones(()), persistent=False)


@broken("buffers", r"buffer scale of segment \(0, 1\) is not persistent")
class SegmentHidesABuffer(ChainSegment):
    def __init__(self, *arguments, last):
        super().__init__(*arguments, last=last)
        self.register_buffer("scale", torch.ones(()), persistent=False)


@broken("snapshots", r"segment \(0, 1\) is in training mode: head")
class LeavesSegmentsInTrainingMode(Chain):
    def segment(self, start, stop, *, last=False):
        segment = super().segment(start, stop, last=last)
        segment.head.train()
        return segment


@broken("snapshots", r"segment \(0, 1\) changes with the net's weights")
class ReadsTheLiveNet(ChainSegment):
    def __init__(self, net, start, stop, *, last):
        super().__init__(net, start, stop, last=last)
        self.bias = lambda: net.heads[stop - 1].levels[0].fc.bias

    def work(self, state):
        new_state, output = super().work(state)
        return new_state, tuple(t + self.bias() - self.head.levels[0].fc.bias for t in output)


@broken("snapshots", r"taking segment \(0, 1\) changed the net's training mode")
class SwitchesTheNetsLayers(ChainSegment):
    def __init__(self, net, start, stop, *, last):
        super().__init__(net, start, stop, last=last)
        self.head = net.heads[stop - 1].eval()


@broken("snapshots", r"convs\.0\.weight is not contiguous")
class KeepsATransposedView(Chain):
    def segment(self, start, stop, *, last=False):
        segment = super().segment(start, stop, last=last)
        weight = segment.convs[0].weight.transpose(0, 1).contiguous().transpose(0, 1)
        segment.convs[0].weight = nn.Parameter(weight)
        return segment


@broken("snapshots", r"convs\.0\.weight is a view of larger memory")
class KeepsAViewOfACopy(Chain):
    def segment(self, start, stop, *, last=False):
        segment = super().segment(start, stop, last=last)
        weight = segment.convs[0].weight
        segment.convs[0].weight = nn.Parameter(torch.cat([weight, weight])[: len(weight)])
        return segment


@broken("snapshots", r"segment \(0, 1\) shares memory with the net")
class SegmentSharesWithTheNet(Chain):
    def segment(self, start, stop, *, last=False):
        segment = super().segment(start, stop, last=last)
        segment.head.levels[0].fc.bias = self.heads[stop - 1].levels[0].fc.bias
        return segment


class ViewsOfTheNet(ChainSegment):
    """As a family writes it that leaves copying to `segment` and `snapshot`."""

    def __init__(self, net, start, stop, *, last):
        Segment.__init__(self, net, start, stop, last=last)
        first = net.exits_after[start - 1] if start else 0
        self.convs, self.head = net.convs[first : net.exits_after[stop - 1]], net.heads[stop - 1]


def test_a_segment_may_hold_the_nets_own_layers():
    net = type("Thin", (Chain,), {"segment_type": ViewsOfTheNet})()
    check_anytime_net(net, SHAPE, export=False)
    assert net.snapshot().segment(0, 3).head is not net.heads[2]


@broken("snapshots", r"segment \(0, 1\) of a snapshot shares memory with the net")
class SnapshotSharesWithTheNet(Chain):
    def snapshot(self, device="cpu", dtype=None):
        def take(start, stop, last):
            return copied(ViewsOfTheNet(self, start, stop, last=last), lambda tensor: tensor).eval()

        return Snapshot(self.num_stages, take)


@broken("snapshots", r"segment \(0, 1\) of a snapshot shares memory with another snapshot")
class SnapshotsShareWithEachOther(Chain):
    frozen = None

    def snapshot(self, device="cpu", dtype=None):
        self.frozen = self.frozen or super().snapshot(device, dtype)
        return self.frozen


@broken("snapshots", r"segment \(0, 1\): nbytes of its snapshot is wrong")
class CountsNoBytes(Chain):
    def snapshot(self, device="cpu", dtype=None):
        whole = super().snapshot(device, dtype)
        return type("Weightless", (Snapshot,), {"nbytes": 0})(self.num_stages, whole._take)


@broken("snapshots", r"segment \(0, 1\) can be converted")
class ConvertsSegments(ChainSegment):
    def _apply(self, *arguments):
        return nn.Module._apply(self, *arguments)


@broken("snapshots", r"taking segment \(0, 1\) changed the net's tensors")
class RunsTheNetToTakeASegment(Chain):
    def _segment(self, start, stop, *, last):
        self(torch.randn(2, *SHAPE, dtype=self.convs[0].weight.dtype))
        return super()._segment(start, stop, last=last)


@broken("snapshots", r"the output of segment \(0, 1\) taken in training mode")
class KeepsDropout(ChainSegment):
    def __init__(self, net, start, stop, *, last):
        super().__init__(net, start, stop, last=last)
        self.drop = net.training

    def work(self, state):
        return super().work((F.dropout(state[0], 0.5, training=self.drop),))


X = TensorSpec("x", SHAPE, "float64")


class StatesWith(Chain):
    """Lists another tensor in each state but the first and the last."""

    extra: TensorSpec
    place = 0

    def state_spec(self, stage, input_shape):
        specs = super().state_spec(stage, input_shape)
        if 0 < stage < self.num_stages:
            specs.insert(self.place, self.extra)
        return specs


class CarryX(ChainSegment):
    def work(self, state):
        new_state, output = super().work(state[-1:])
        return (state[0], *new_state), output


@broken("state spec", r"state 0 is \['image'\]")
class NamesTheInputOtherwise(Chain):
    def state_spec(self, stage, input_shape):
        specs = super().state_spec(stage, input_shape)
        return specs if stage else [replace(specs[0], name="image")]


@broken("forward", r"output 2 of forward\(x, \(2,\)\)")
class AsksAGateInside(Chain):
    """Where stage 1 was asked for and is sure, a later stage repeats its answer."""

    def forward(self, x, stages=None):
        asked = self.check_stages(stages)
        outputs = super().forward(x, stages)
        if 1 not in asked:
            return outputs
        (first,) = outputs[asked.index(1)]
        sure = first.softmax(1).amax(1, keepdim=True) > 0
        return [(torch.where(sure, first, logits),) for (logits,) in outputs]


@broken("state spec", r"state_names\(1\) is \('images',\)")
class NamesAStateInTwoWays(Chain):
    def state_names(self, stage):
        return ("images",) if stage == 1 else super().state_names(stage)


@broken("state spec", r"has shape \(4, 4, 4\) per example, state_spec says \(9, 4, 4\)")
class SpecifiesAnotherWidth(Chain):
    def state_spec(self, stage, input_shape):
        specs = super().state_spec(stage, input_shape)
        return [replace(spec, shape=(9, *spec.shape[1:])) for spec in specs] if stage else specs


class ClaimsGrowth(Chain):
    """Says of the features of stage 2 that they continue `old`."""

    old = "features"

    def state_spec(self, stage, input_shape):
        specs = super().state_spec(stage, input_shape)
        return [replace(spec, continues=self.old, grows=0) if stage == 2 else spec for spec in specs]


@broken("state spec", "'features' of state 2 does not begin with 'features' of the state before it")
class ClaimsThatFeaturesContinue(ClaimsGrowth):
    pass


@broken("state spec", "'features' of state 2 continues 'trunk', which the state before it does not hold")
class ContinuesWhatIsNotThere(ClaimsGrowth):
    old = "trunk"


@broken("state spec", "'u1' of state 2 does not begin with 'u1' of the state before it")
class SaysThatRowsGrow(ISResNeXt):
    """Its channels grow."""

    def __init__(self):
        super().__init__((5,), slices=(1, 1, 1), width=3, branch_width=1, blocks=(1, 1))

    def state_spec(self, stage, input_shape):
        specs = super().state_spec(stage, input_shape)
        return [spec if spec.grows is None else replace(spec, grows=1) for spec in specs]


@broken("state spec", "'features' of state 1 is of float64, state_spec says float32")
class ForgetsTheNumberFormat(Chain):
    def state_spec(self, stage, input_shape):
        specs = super().state_spec(stage, input_shape)
        return [replace(spec, dtype="float32") for spec in specs] if stage else specs


@broken("state spec", r"state 1 holds 1, state_spec lists the tensors \['x', 'features'\]")
class ForgetsToCarryX(StatesWith):
    extra = X


@broken("state spec", "'x' in state 1 is not the input in first place")
class CarriesXInTheMiddle(StatesWith):
    extra, place, segment_type = replace(X, name="first"), 0, CarryX

    def state_spec(self, stage, input_shape):
        specs = super().state_spec(stage, input_shape)
        return [replace(s, name="x") if s.name == "features" else s for s in specs]


@broken("state is read", "state tensor 'x' at stage 1 is read by no later segment")
class CarriesXForNothing(StatesWith):
    extra, segment_type = X, CarryX


class CountRuns(ChainSegment):
    """A second state tensor counts the segments that were run: right on the stepwise path only."""

    def work(self, state):
        new_state, output = super().work(state[:1])
        runs = state[1] if self.start else torch.zeros_like(state[0][:, 0, 0, 0])
        return (*new_state, runs + 1), tuple(t + (runs - self.start)[:, None] for t in output)


@broken("segments", r"the state after segment \(0, 2\) and the stepwise state")
class RemembersThePath(StatesWith):
    extra, place, segment_type = TensorSpec("runs", (), "float64"), 1, CountRuns


def test_a_wrong_path_is_caught():
    with pytest.raises(ContractError, match=r"'paths' .* on the path \[\(0, 2\), \(2, 3\)\]"):
        check_paths(NetUnderTest(RemembersThePath(), SHAPE))


@broken("segments", r"the output of segment \(0, 2\)")
class JumpsWithAWrongHead(ChainSegment):
    def __init__(self, net, start, stop, *, last):
        super().__init__(net, start, stop, last=last)
        if (start, stop) == (0, 2):
            self.head.levels[0].fc.bias += 1


@broken("segments", r"segment \(1, 2\) changed the state it was given")
class WorksInPlace(ChainSegment):
    def work(self, state):
        result = super().work((state[0].clone(),))
        if self.start:
            state[0].mul_(2)
        return result


@broken("last", r"segment \(1, 3, last=True\)")
class LastDisagrees(ChainSegment):
    def __init__(self, net, start, stop, *, last):
        super().__init__(net, start, stop, last=last)
        if last and (start, stop) == (1, 3):
            self.head.levels[0].fc.bias += 1


@broken("last", r"segment \(0, 1, last=True\) is a list, not a tuple of tensors")
class LastGivesAList(ChainSegment):
    def forward(self, state):
        result = super().forward(state)
        return list(result) if self.last else result


class CentreTheBatch(ChainSegment):
    def work(self, state):
        new_state, output = super().work(state)
        return new_state, tuple(t - t.mean(0) for t in output)


@broken("batch", "output 1 of image 0 alone")
class DependsOnTheBatch(Chain):
    segment_type = CentreTheBatch

    def forward(self, x, stages=None):
        return [tuple(t - t.mean(0) for t in output) for output in super().forward(x, stages)]


class ThinNet(IResNeXt):
    """I-ResNeXt at a tiny size, for what only a net with several passes can break."""

    def __init__(self):
        super().__init__((5,), branches=(1, 2), width=4, branch_width=1, blocks=(1, 1))


class CentresItsState(ChainSegment):
    """A state holds features without the mean of the batch, and that mean: the output does not show it."""

    def work(self, state):
        features = state[0] if self.start == 0 else state[0] + state[1]
        (x,), output = super().work((features,))
        mean = x.mean(0, keepdim=True).expand_as(x)
        return (x - mean, mean), output


@broken("rows", r"the state after segment \(0, 1\) on some rows")
class MixesTheBatchInItsState(StatesWith):
    extra, place, segment_type = X, 1, CentresItsState

    def state_spec(self, stage, input_shape):
        specs = super().state_spec(stage, input_shape)
        return [*specs[:1], *(replace(specs[0], name="mean") for _ in specs[1:])]


class GrowsNothing(ChainSegment):
    """Carries the images beside the features, and says what it changes."""

    def advance(self, state, join):
        (x,), output = ChainSegment.work(self, state[-1:])
        return ({"features": x} if self.carries else {}), output

    work = Segment.work


class WithImages(StatesWith):
    """A well-behaved net whose states hold the images, and whose segments write `advance`."""

    extra, segment_type = X, GrowsNothing


def test_a_net_that_writes_advance_keeps_its_promise():
    check_advance(NetUnderTest(WithImages(), SHAPE))


@broken("advance", r"segment \(0, 1\) returns 'x' from advance")
class ReturnsTheImages(WithImages):
    class segment_type(GrowsNothing):  # noqa: N801
        def advance(self, state, join):
            changes, output = super().advance(state, join)
            return ({**changes, "x": state[0]} if self.carries else {}), output


class Stemmed(ThinNet):
    """Three stages, so that the stem's output is carried along."""

    def __init__(self):
        IResNeXt.__init__(self, (5,), branches=(1, 2, 3), width=4, branch_width=1, blocks=(1, 1))


@broken("advance", r"segment \(1, 2\) returns 'stem' from advance, which is carried")
class ReturnsWhatIsCarried(Stemmed):
    def _segment(self, start, stop, *, last):
        segment = super()._segment(start, stop, last=last)
        segment.changes = dict.fromkeys(segment.writes)
        advance = type(segment).advance

        def with_carried(segment, state, join):
            changes, output = advance(segment, state, join)
            return ({"stem": state[0], **changes} if segment.start and segment.carries else changes), output

        segment.__class__ = type("Carried", (type(segment),), {"advance": with_carried})
        return segment


@broken("advance", r"segment \(0, 1\) leaves 'stem' out of advance")
class LeavesOutWhatIsNew(Stemmed):
    def _segment(self, start, stop, *, last):
        segment = super()._segment(start, stop, last=last)
        segment.changes = {}
        segment.__class__ = type("Forgetful", (type(segment),), {"work": _with_stem})
        return segment


def _with_stem(segment, state):
    """The right state all the same."""
    changes, output = segment.advance(state, concatenate)
    stem = changes.get("stem", state[0] if segment.start else segment.stem(state[0]))
    return (stem,) if segment.carries else (), output


class ChangesSegments(SaysThatRowsGrow):
    """A net in slices, right but for what its segments say of their changes."""

    state_spec = ISResNeXt.state_spec

    def growth(self, name, old):
        return old

    def _segment(self, start, stop, *, last):
        segment = super()._segment(start, stop, last=last)
        segment.changes = {
            name: old if old is None else self.growth(name, old) for name, old in segment.changes.items()
        }
        return segment


@broken("advance", r"segment \(1, 2\): 'u1' continues 't1', which it does not read")
class ContinuesAStranger(ChangesSegments):
    def growth(self, name, old):
        return ("t1", old[1])


@broken("advance", r"segment \(1, 2\): 'u1' does not begin with 'u2' along axis 0")
class ContinuesAnother(ChangesSegments):
    def growth(self, name, old):
        return ("u2", old[1]) if name == "u1" else old


@broken("advance", r"segment \(1, 2\): 'u1' does not begin with 'u1' along axis 2")
class GrowsInWidth(ChangesSegments):
    def growth(self, name, old):
        return (old[0], 2)


@broken("advance", r"segment \(1, 2\): 'u1' is not what join\(name, 'u1', \.\.\) gave")
class JoinsByItself(ChangesSegments):
    def _segment(self, start, stop, *, last):
        segment = super()._segment(start, stop, last=last)
        advance = type(segment).advance

        def deaf(segment, state, _):
            return advance(segment, state, concatenate)

        segment.__class__ = type("Deaf", (type(segment),), {"advance": deaf})
        return segment


@broken("advance", r"segment \(0, 1\) reads \('image',\)")
class ReadsByAnotherName(ChainSegment):
    def __init__(self, *arguments, last):
        super().__init__(*arguments, last=last)
        self.reads = ("image",) if self.start == 0 else self.reads


@broken("parts cover", r"all of heads\.1\.levels\.0\.norm\.running_mean is in no part")
class ForgetsABuffer(Chain):
    def parts(self):
        return [part for part in super().parts() if part.name != "heads.1.levels.0.norm.running_mean"]


@broken("parts cover", r"parts of convs\.0\.weight overlap")
class ClaimsTwice(Chain):
    def parts(self):
        return [*super().parts(), Part("convs.0.weight", ((0, 1),) * 4, (1,))]


@broken("parts cover", r"some of convs\.0\.bias is in no part")
class ClaimsAFew(Chain):
    def claimed(self, part):
        return replace(part, box=((0, 2),)) if part.name == "convs.0.bias" else part


@broken("parts cover", r"part convs\.0\.bias \(\(0, 9\),\) is empty or outside \(4,\)")
class ClaimsTooMuch(Chain):
    def claimed(self, part):
        return replace(part, box=((0, 9),)) if part.name == "convs.0.bias" else part


@broken("parts cover", r"part convs\.0\.bias .* names stages \(0, 1, 2\)")
class ClaimsForStageZero(Chain):
    def claimed(self, part):
        return replace(part, stages=(0, 1, 2)) if part.name == "convs.0.bias" else part


@broken("parts cover", r"part convs\.0\.bias .* names stages \[1, 2, 3\]")
class ListsStages(Chain):
    def claimed(self, part):
        return replace(part, stages=list(part.stages)) if part.name == "convs.0.bias" else part


@broken("parts effect", r"convs\.1\.weight .* changes stages \(2, 3\), its part claims \(1, 2, 3\)")
class ClaimsForTheWrongStages(Chain):
    def claimed(self, part):
        return replace(part, stages=(1, 2, 3)) if part.name == "convs.1.weight" else part


@broken("gradients", r"output 2 of forward\(x, \(1, 2, 3\)\) in training mode: convs\.0\.weight has none")
class DetachesBetweenStages(Chain):
    def forward(self, x, stages=None):
        stages = self.check_stages(stages)
        outputs = {}
        for stage in range(1, max(stages) + 1):
            x = F.relu(self.convs[stage - 1](x.detach()))
            outputs[stage] = self.heads[stage - 1](x)
        return [outputs[stage] for stage in stages]


@broken("gradients", r"output 1 of forward\(x, \(1,\)\) in training mode: convs\.1\.weight has one")
class RunsMoreThanAskedFor(Chain):
    def forward(self, x, stages=None):
        outputs = super().forward(x)
        nothing = outputs[-1][0].sum() * 0
        return [tuple(t + nothing for t in outputs[stage - 1]) for stage in self.check_stages(stages)]


@broken("gradients", r"output 1 of forward\(x, \(1, 2, 3\)\) in training mode reaches heads\.2\.")
class LeaksInTrainingMode(Chain):
    def forward(self, x, stages=None):
        outputs = super().forward(x, stages)
        if not self.training or len(outputs) == 1:
            return outputs
        return [tuple(t + outputs[-1][0].mean() for t in output) for output in outputs]


@broken("gradients", r"output 1 in eval mode is 0 on convs\.0\.bias")
class RoundsItsBias(Chain):
    """Rounding has an effect on the output and no gradient."""

    def forward(self, x, stages=None):
        first = self.convs[0]
        x = F.conv2d(x, first.weight, (first.bias * 1e6).round() / 1e6, padding=1)
        stages = self.check_stages(stages)
        outputs = {}
        for stage in range(1, max(stages) + 1):
            x = F.relu(self.convs[stage - 1](x) if stage > 1 else x)
            outputs[stage] = self.heads[stage - 1](x)
        return [outputs[stage] for stage in stages]

    class segment_type(ChainSegment):  # noqa: N801
        def __init__(self, net, start, stop, *, last):
            super().__init__(net, start, stop, last=last)
            if start == 0:
                self.convs[0].bias.copy_((self.convs[0].bias * 1e6).round() / 1e6)


@broken("segment size", r"segment \(0, 1, last=True\) has 289 parameters, the parts of its stage 145")
class PadsItsWeights(ChainSegment):
    """The first convolution keeps four more input channels, all zeros."""

    def __init__(self, *arguments, last):
        super().__init__(*arguments, last=last)
        self.convs[0].weight = nn.Parameter(F.pad(self.convs[0].weight, (0, 0, 0, 0, 0, 4)))

    def work(self, state):
        return super().work((F.pad(state[0], (0, 0, 0, 0, 0, 4)),))


@broken("keep", r"output \d of keep\(\(\d")
class KeepsTheFirstHeads(Chain):
    """With equal widths the wrong head fits."""

    def __init__(self, widths=(4, 4, 4), *others):
        super().__init__(widths, *others)

    def _keep(self, stages):
        kept = super()._keep(stages)
        copy_leading(self, kept)
        return kept


@broken("keep", r"convs\.0\.weight of keep\(\(1,\)\) shares memory with the net")
class KeepsWithoutCopying(Chain):
    def _keep(self, stages):
        kept = super()._keep(stages)
        kept.convs[0] = self.convs[0]
        return kept


class HalvesABias(Chain):
    def parts(self):
        parts = [part for part in super().parts() if part.name != "convs.0.bias"]
        stages = tuple(range(1, self.num_stages + 1))
        return [*parts, *(Part("convs.0.bias", (box,), stages) for box in ((0, 2), (2, 4)))]


@broken("keep", r"keep\(\(1,\)\) (has an extra|lacks the) part convs\.0\.bias")
class KeepsOtherParts(Chain):
    def _keep(self, stages):
        kept = super()._keep(stages)
        kept.__class__ = HalvesABias
        return kept


@broken("keep", r"keep\(\(1,\)\) of a net in training mode is in eval mode")
class KeepsInEvalMode(Chain):
    def keep(self, stages):
        return super().keep(stages).eval()


@broken("keep on meta", r"keep\(\(1,\)\) on the meta device: convs\.0\.weight is on cpu")
class KeepsOnTheCPU(Chain):
    def _keep(self, stages):
        return super()._keep(stages).to_empty(device="cpu") if self.is_meta else super()._keep(stages)

    @property
    def is_meta(self):
        return self.convs[0].weight.is_meta


def test_shards_that_lack_something_are_caught():
    class FillsTooLittle(Chain):
        def claimed(self, part):
            return replace(part, stages=(2, 3)) if part.name == "convs.0.bias" else part

    with pytest.raises(ContractError, match=r"'shards' .* output 1 of keep\(1\.\.1\) filled from"):
        check_shards(NetUnderTest(FillsTooLittle(), SHAPE))


@broken("passes", r"stem\.weight has none after passes")
class LosesTheStemsGradient(ThinNet):
    def passes(self, x, stages=None):
        stages = self.check_stages(stages)
        stem = self.stem(x).detach()
        for stage in stages:
            yield [(stage, self._from_stem(stem, stage))]


@broken("passes", r"the gradient of stem\.weight after passes\(x, \(1, 2\)\) is off")
class KeepsTheLastStemGradientOnly(ThinNet):
    def passes(self, x, stages=None):
        stages = self.check_stages(stages)
        stem = leaf = self.stem(x)
        for stage in stages:
            leaf = stem.detach().requires_grad_(stem.requires_grad)
            yield [(stage, self._from_stem(leaf, stage))]
        if leaf.grad is not None:
            stem.backward(leaf.grad)


@broken("passes", r"the net raised RuntimeError: Trying to backward through the graph a second time")
class SharesAGraphBetweenPasses(Chain):
    def passes(self, x, stages=None):
        stages = self.check_stages(stages)
        yield from ([pair] for pair in zip(stages, self(x, stages), strict=True))


@broken("passes", r"buffer heads\.0\.levels\.0\.norm\.running_mean after passes\(x, \(1, 2, 3\)\) is off")
class MovesStatisticsTwice(Chain):
    def passes(self, x, stages=None):
        self.forward(x)
        yield from super().passes(x, stages)


@broken("passes", r"the first group of passes\(x, \(3, 2, 1\)\) is \[1\]")
class PassesInItsOwnOrder(Chain):
    def passes(self, x, stages=None):
        yield from ([(stage, self(x, (stage,))[0])] for stage in sorted(self.check_stages(stages)))


@broken("passes", r"passes\(x, \(1, 2, 3\)\) yields \[1\] after \[1, 2, 3\]")
class PassesAStageTwice(Chain):
    def passes(self, x, stages=None):
        yield from super().passes(x, stages)
        yield [(1, self(x)[0])]


@broken("re-entrance", r"forward\(x, \(1,\)\), re-entered")
class RemembersTheActiveStage(Chain):
    """The field's common defect: layers ask the net which stage is active."""

    active = 0

    def forward(self, x, stages=None):
        return [self.at_stage(x, stage) for stage in self.check_stages(stages)]

    def at_stage(self, x, stage):
        self.active = stage
        for i, conv in enumerate(self.convs):
            if i < self.exits_after[self.active - 1]:
                x = F.relu(conv(x))
        return self.heads[self.active - 1](x)


@broken("threads", r"in threads")
class RestoresTheActiveStage(RemembersTheActiveStage):
    """Puts the active stage back after each call, so that nested calls do no harm; threads still do."""

    def at_stage(self, x, stage):
        before = self.active
        try:
            return super().at_stage(x, stage)
        finally:
            self.active = before


@broken("re-entrance", r"segment \(0, 1\), re-entered")
class RemembersATensor(ChainSegment):
    def work(self, state):
        self.x = state[0]
        for conv in self.convs:
            self.x = F.relu(conv(self.x))
        output = self.head(self.x)
        return (self.x,), output


class Lock:
    """A lock that a copied net can have."""

    def __init__(self) -> None:
        self.held = threading.RLock()

    def __deepcopy__(self, memo: Any) -> Lock:
        return Lock()


def test_threads_that_take_turns_do_not_hang_on_a_net_with_a_lock(monkeypatch):
    class Locked(RestoresTheActiveStage):
        def __init__(self):
            super().__init__()
            self.lock = Lock()

        def forward(self, x, stages=None):
            with self.lock.held:
                return super().forward(x, stages)

    monkeypatch.setattr("anytimenet.testing.threads.PATIENCE_S", 0.1)
    check_threads(NetUnderTest(Locked(), SHAPE))


@broken("export", r"segment \(0, 1\) cannot be exported: GuardOnDataDependentSymNode")
class DecidesByAValue(ChainSegment):
    def work(self, state):
        return super().work(state if state[0].sum().item() > -1e9 else (state[0] * 0,))


@broken("export", r"segment \(0, 1\) cannot be exported")
class TakesTheBatchAsAConstant(ChainSegment):
    def work(self, state):
        return super().work((state[0].reshape(len(state[0]), *state[0].shape[1:]),))


class StartAgain(CarryX):
    """Does all earlier work again, beside what it has to do."""

    def __init__(self, net, start, stop, *, last):
        super().__init__(net, start, stop, last=last)
        self.all_convs = copy.deepcopy(net.convs[: net.exits_after[stop - 1]]) if start else []

    def work(self, state):
        (image, features), _ = super().work(state)
        again = image
        for conv in self.all_convs:
            again = F.relu(conv(again))
        if self.start:
            features = (features + again) / 2
        return (image, features), self.head(features)


@broken("costs", r"segment \(1, 2\) costs \d+ macs, \(0, 2\)")
class StartsAgainFromX(StatesWith):
    extra, segment_type = X, StartAgain


@pytest.mark.parametrize(("net", "promise", "where"), BROKEN)
def test_a_broken_net_fails_for_the_right_reason(net, promise, where):
    with pytest.raises(ContractError) as caught:
        check_anytime_net(net(), SHAPE)
    assert caught.value.promise == promise, str(caught.value)
    assert re.search(where, caught.value.where), str(caught.value)
    assert caught.value.cause in str(caught.value)
    assert str(caught.value).startswith(f"promise {promise!r} is broken: {caught.value.where}\n")


# --- the cost rules, on made-up costs -----------------------------------------------------------------------

RIGHT = {(0, 1): 10, (0, 2): 20, (0, 3): 30, (1, 2): 12, (2, 3): 12, (1, 3): 22}


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({(1, 2): 0}, r"segment \(1, 2\) costs 0"),
        ({(1, 3): 31}, r"segment \(1, 3\) costs 31 macs, \(0, 3\) 30"),
        ({(1, 3): 25}, r"segment \(1, 3\) costs 25 macs, its steps 24"),
        ({(0, 1): 20}, r"\(0, 1\) costs 20 macs, \(0, 2\) 20"),
    ],
)
def test_each_cost_rule_is_checked(monkeypatch, wrong, where):
    def check(costs):
        def fake(segment, state, rules):
            macs = costs[segment.start, segment.stop]
            return OperationCount(macs=macs, full=macs, msd=macs)

        monkeypatch.setattr("anytimenet.testing.cost_rules.count", fake)
        check_costs(NetUnderTest(Chain(), SHAPE))

    check(RIGHT)
    with pytest.raises(ContractError, match=where):
        check(RIGHT | wrong)


def test_operators_that_the_counter_does_not_know_need_rules():
    class Erf(ChainSegment):
        def work(self, state):
            new_state, output = super().work(state)
            return new_state, tuple(torch.erfinv(torch.tanh(t) / 2) for t in output)

    class UsesErfinv(Chain):
        segment_type = Erf

        def forward(self, x, stages=None):
            return [tuple(torch.erfinv(torch.tanh(t) / 2) for t in o) for o in super().forward(x, stages)]

    with pytest.raises(ContractError, match=r"'costs' .*aten.erfinv"):
        check_costs(NetUnderTest(UsesErfinv(), SHAPE))
    free = {name: lambda arguments, result: OperationCount() for name in ("aten.erfinv", "aten.tanh")}
    check_anytime_net(UsesErfinv(), SHAPE, export=False, rules=free)


# --- the check itself ---------------------------------------------------------------------------------------


def test_every_promise_is_broken_by_some_net_of_these_tests():
    caught_alone = {"paths", "shards"}
    assert {case.values[1] for case in BROKEN} | caught_alone == {check.promise for check in CHECKS}


def test_every_promise_is_documented():
    for check in CHECKS:
        assert f"        {check.promise}: " in check_anytime_net.__doc__
        assert check.text


def test_the_users_net_and_random_state_stay_as_they_are():
    net = Chain().train()
    net.heads[1].eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    random_state = torch.random.get_rng_state()
    check_anytime_net(net, SHAPE, export=False)
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert [module.training for module in net.modules()] == modes
    after = net.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(p.grad is None and p.requires_grad and p.dtype == torch.float32 for p in net.parameters())


def test_it_works_where_gradients_are_off():
    with torch.no_grad():
        check_anytime_net(Chain(), SHAPE, export=False)


def test_export_can_be_left_out():
    net = type("Undecided", (Chain,), {"segment_type": DecidesByAValue})()
    with pytest.raises(ContractError, match="'costs'"):  # nor can its value be asked for on the meta device
        check_anytime_net(net, SHAPE, export=False)


def test_weights_are_drawn_anew_with_positive_biases():
    net = NetUnderTest(create_net("isresnext_tiny"), (3, 8, 8)).net
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            assert tensor.dtype == torch.float64
            assert tensor.abs().min() > 0, name
        if name.endswith((".bias", "running_var")) or (tensor.dim() == 1 and name.endswith(".weight")):
            assert tensor.min() > 0, name


def test_what_cannot_be_checked_is_refused():
    with pytest.raises(TypeError, match="subclass of AnytimeNet, not a Linear"):
        check_anytime_net(nn.Linear(2, 2), SHAPE)
    with pytest.raises(ValueError, match="meta device has no values"):
        check_anytime_net(Chain().to("meta"), SHAPE)
    with pytest.raises(ValueError, match=r"input_shape is \(C, H, W\)"):
        check_anytime_net(Chain(), (2, 3, 4, 4))
