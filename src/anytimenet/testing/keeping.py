"""Promises about smaller nets: `keep`, also on the meta device, and loading the first shards into one."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from anytimenet.nets.contract import AnytimeNet, Part, State
from anytimenet.testing.net_under_test import NetUnderTest
from anytimenet.testing.parts import check_cover
from anytimenet.testing.promise import BreachError, agree, promise

OTHER_SUBSETS = 4


@promise("keep")
@torch.no_grad()
def check_keep(subject: NetUnderTest) -> None:
    """`keep`, for every prefix and up to four other seeded subsets of the stages: the kept net's `forward`
    and steps give the outputs of those stages (1e-9), its parts cover it, its tensors are its own, and
    its training mode is the net's. keep(1..k) keeps the names and parts that have a stage up to k.
    """
    net = subject.copy_of_net().train()
    for stages in some_subsets(subject.num_stages):
        kept = net.keep(stages)
        where = f"keep({stages})"
        if not kept.training:
            raise BreachError(f"{where} of a net in training mode is in eval mode", "keep must copy the mode")
        kept.eval()
        if kept.num_stages != len(stages):
            raise BreachError(f"{where} has {kept.num_stages} stages", f"{len(stages)} were asked for")
        check_cover(kept)
        _check_outputs(kept, stages, subject, where)
        _check_own(kept, net, where)
        if stages == subject.every_stage[: len(stages)]:
            _check_prefix(kept, net, where)


@promise("keep on meta")
def check_keep_on_meta(subject: NetUnderTest) -> None:
    """`keep` works on the meta device and gives a net there with the names, shapes, dtypes and parts of the
    one that it gives with values.
    """
    meta = subject.net_on_meta()
    for stages in some_subsets(subject.num_stages):
        real, empty = subject.net.keep(stages), meta.keep(stages)
        tensors = empty.state_dict()
        where = f"keep({stages}) on the meta device"
        for name, tensor in tensors.items():
            if not tensor.is_meta:
                raise BreachError(f"{where}: {name} is on {tensor.device}", "keep builds on a fixed device")
        expected = {name: (t.shape, t.dtype) for name, t in real.state_dict().items()}
        if {name: (t.shape, t.dtype) for name, t in tensors.items()} != expected:
            raise BreachError(
                f"{where} has other names, shapes or dtypes", "keep does not copy the net's dtype"
            )
        if set(empty.parts()) != set(real.parts()):
            raise BreachError(f"{where} has other parts", "parts depend on values")


@promise("shards")
@torch.no_grad()
def check_shards(subject: NetUnderTest) -> None:
    """The parts with a stage up to k (the first k shards of a bundle) fill a keep(1..k)-ed net that was built
    on the meta device and emptied, and its outputs are the net's (1e-9).
    """
    meta = subject.net_on_meta()
    for stop in subject.every_stage:
        kept = meta.keep(range(1, stop + 1)).to_empty(device="cpu")
        for tensor in [*kept.parameters(), *kept.buffers()]:
            tensor.fill_(float("nan") if tensor.is_floating_point() else -1)
        goals = kept.state_dict()
        for part in subject.net.parts():
            if min(part.stages) <= stop:
                _load(part, subject.tensors, goals, stop)
        kept.eval()
        for stage, output in enumerate(kept(subject.x), 1):
            where = f"output {stage} of keep(1..{stop}) filled from the first {stop} shards"
            cause = (
                "it reads a tensor that no part with an earlier stage fills, or one outside the state_dict"
            )
            agree(output, subject.truth[stage - 1], where, cause)


def some_subsets(num_stages: int, others: int = OTHER_SUBSETS, seed: int = 0) -> list[tuple[int, ...]]:
    """Every prefix of the stages and up to `others` more increasing subsets, seeded.

    >>> some_subsets(2)
    [(1,), (1, 2), (2,)]
    """
    every = range(1, num_stages + 1)
    prefixes = [tuple(range(1, stop + 1)) for stop in every]
    draw = random.Random(seed)
    found: dict[tuple[int, ...], None] = dict.fromkeys(prefixes)
    wanted = min(len(prefixes) + others, 2**num_stages - 1)
    while len(found) < wanted:
        subset = tuple(stage for stage in every if draw.random() < 0.5)
        if subset:
            found[subset] = None
    return list(found)


def _check_outputs(kept: AnytimeNet, stages: Sequence[int], subject: NetUnderTest, where: str) -> None:
    cause = "keep copies the wrong slices, heads or statistics"
    state: State = (subject.x,)
    for place, (stage, output) in enumerate(zip(stages, kept(subject.x), strict=True), 1):
        agree(output, subject.truth[stage - 1], f"output {place} of {where}", cause)
        state, output = kept.segment(place - 1, place)(state)
        agree(output, subject.truth[stage - 1], f"step {place} of {where}", cause)


def _check_own(kept: AnytimeNet, net: AnytimeNet, where: str) -> None:
    memory = {tensor.untyped_storage().data_ptr() for tensor in net.state_dict().values()}
    for name, tensor in kept.state_dict().items():
        if tensor.untyped_storage().data_ptr() in memory:
            raise BreachError(f"{name} of {where} shares memory with the net", "keep must copy")


def _check_prefix(kept: AnytimeNet, net: AnytimeNet, where: str) -> None:
    stop = kept.num_stages
    expected = {
        Part(part.name, part.box, tuple(stage for stage in part.stages if stage <= stop))
        for part in net.parts()
        if min(part.stages) <= stop
    }
    wrong = sorted(expected ^ set(kept.parts()), key=lambda part: part.name)
    if wrong:
        found = "has an extra" if wrong[0] not in expected else "lacks the"
        raise BreachError(
            f"{where} {found} part {wrong[0].name} {wrong[0].box} of stages {wrong[0].stages}",
            "a prefix keeps the names and the parts of its stages; nothing is renamed or cut differently",
        )


def _load(part: Part, tensors: dict[str, Tensor], goals: dict[str, Tensor], stop: int) -> None:
    goal = part.of(goals[part.name]) if part.name in goals else None
    if goal is None or goal.numel() != part.numel:
        raise BreachError(
            f"part {part.name} {part.box} has no place in keep(1..{stop})",
            f"it has a stage up to {stop}, so that net must hold it under the same name and indices",
        )
    goal.copy_(part.of(tensors[part.name]))
