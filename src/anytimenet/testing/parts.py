"""Promises about ownership: which stage uses which rectangle of which tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from anytimenet.nets.contract import AnytimeNet, Output, Part
from anytimenet.testing.compare import unchanged
from anytimenet.testing.net_under_test import NetUnderTest, another_value
from anytimenet.testing.promise import BreachError, promise


@promise("buffers")
def check_buffers(subject: NetUnderTest) -> None:
    """Neither the net nor a segment has non-persistent buffers: `to_empty` would leave garbage in them."""
    _check_persistent(subject.net, "the net")
    for start, stop in subject.every_segment():
        _check_persistent(subject.segment(start, stop), f"segment ({start}, {stop})")


@promise("parts cover")
def check_parts_cover(subject: NetUnderTest) -> None:
    """The parts are disjoint and cover every scalar of the state_dict, buffers too; each has a non-empty box
    and names existing stages, increasing.
    """
    check_cover(subject.net)


@promise("parts effect")
@torch.no_grad()
def check_parts_effect(subject: NetUnderTest) -> None:
    """Overwriting a part changes the outputs of its `stages` and no others (1e-11): never another, and each
    of them for one at least of eight draws of the weights. Integer counters are exempt.
    """
    parts = [part for part in subject.net.parts() if subject.tensors[part.name].is_floating_point()]
    unseen = {part: set(part.stages) for part in parts}
    for draw in subject.draws():
        for part, missing in unseen.items():
            if missing:
                changed = _effect(draw, part)
                missing -= changed
                if changed - set(part.stages):
                    raise _wrong_effect(part, changed, "forward reads it for a stage that parts() leaves out")
        if not any(unseen.values()):
            return
    part, missing = next((part, missing) for part, missing in unseen.items() if missing)
    raise _wrong_effect(part, set(part.stages) - missing, "parts() names a stage that does not read it")


@promise("gradients")
def check_gradients(subject: NetUnderTest) -> None:
    """The gradient of an output is exactly 0 outside the parts of its stage, in training and eval mode, and
    not all 0 inside any of them (eval mode, for one at least of eight draws of the weights); with
    forward(x, (k,)) it is None for exactly those parameters of which no part has k.
    """
    names = dict(subject.net.named_parameters())
    parts = [part for part in subject.net.parts() if part.name in names]
    for stage in subject.every_stage:
        _check_gradients_of(subject, parts, stage, training=True)
    unseen = {(stage, part) for part in parts for stage in part.stages}
    for draw in subject.draws():
        for stage in sorted({stage for stage, _ in unseen}):
            unseen -= _check_gradients_of(draw, parts, stage, training=False)
        if not unseen:
            return
    stage, part = min(unseen, key=lambda pair: (pair[0], pair[1].name, pair[1].box))
    where = f"gradient of output {stage} in eval mode is 0 on {part.name} {part.box}"
    raise BreachError(where, "the graph is cut, for example by detach() or rounding")


@promise("segment size")
def check_segment_size(subject: NetUnderTest) -> None:
    """`segment(0, k, last=True)` has as many parameters as the parts of k: real slices, nothing extra."""
    for stage in subject.every_stage:
        parts = [part for part in subject.net.parts() if part.name in subject.parameter_names]
        owned = sum(part.numel for part in parts if stage in part.stages)
        segment = subject.segment(0, stage, last=True)
        held = sum(p.numel() for _, p in segment.named_parameters(remove_duplicate=False))
        extra = "the segment keeps padding, unused slices or other heads"
        cause = extra if held > owned else "parts() claims more for the stage than it uses"
        if held != owned:
            raise BreachError(
                f"segment (0, {stage}, last=True) has {held} parameters, the parts of its stage {owned}",
                cause,
            )


def check_cover(net: AnytimeNet) -> None:
    """Raises `BreachError` unless the parts of `net` are disjoint and cover its state_dict."""
    tensors = net.state_dict()
    uses = {name: torch.zeros(tensor.shape, dtype=torch.int32) for name, tensor in tensors.items()}
    for part in net.parts():
        _check_part(part, tensors, net.num_stages)
        part.of(uses[part.name]).add_(1)
    for name, count in uses.items():
        if (count > 1).any():
            raise BreachError(
                f"parts of {name} overlap", "a rectangle is claimed twice with different stages"
            )
        if (count < 1).any():
            share = "some" if (count > 0).any() else "all"
            raise BreachError(f"{share} of {name} is in no part", "parts() leaves it out")


def weighted_sum(output: Output, stage: int) -> Tensor:
    """A loss for tests: every logit with a weight of its own, fixed for each stage."""
    generator = torch.Generator().manual_seed(stage)
    total = torch.zeros((), dtype=output[0].dtype)
    for logits in output:
        total = total + (logits * torch.randn(logits.shape, generator=generator, dtype=logits.dtype)).sum()
    return total


def _check_persistent(module: nn.Module, where: str) -> None:
    kept = set(module.state_dict())
    for name, _ in module.named_buffers(remove_duplicate=False):
        if name not in kept:
            raise BreachError(
                f"buffer {name} of {where} is not persistent", "register_buffer(persistent=False)"
            )


def _check_part(part: Part, tensors: dict[str, Tensor], num_stages: int) -> None:
    if part.name not in tensors:
        raise BreachError(
            f"a part names {part.name}, which the state_dict does not have", "a wrong prefix or index"
        )
    shape = tensors[part.name].shape
    inside = len(part.box) == len(shape) and all(
        0 <= start < stop <= size for (start, stop), size in zip(part.box, shape, strict=True)
    )
    if not inside:
        raise BreachError(f"part {part.name} {part.box} is empty or outside {tuple(shape)}", "wrong borders")
    stages = part.stages
    increasing = isinstance(stages, tuple) and stages == tuple(sorted(set(stages)))
    if not increasing or not stages or stages[0] < 1 or stages[-1] > num_stages:
        raise BreachError(
            f"part {part.name} {part.box} names stages {part.stages}",
            f"not a tuple of rising numbers from 1 to {num_stages}",
        )


def _effect(draw: NetUnderTest, part: Part) -> set[int]:
    """The stages whose outputs change when the part is overwritten; it is put back afterwards."""
    truths = draw.truth  # made now, if it was not before: with the part as it is
    piece = part.of(draw.tensors[part.name])
    before = piece.clone()
    piece.copy_(another_value(piece, part.name in draw.parameter_names, draw.generator))
    pairs = zip(draw.net(draw.x), truths, strict=True)
    changed = {stage for stage, (output, truth) in enumerate(pairs, 1) if not unchanged(output, truth)}
    piece.copy_(before)
    return changed


def _wrong_effect(part: Part, changed: set[int], cause: str) -> BreachError:
    seen = f"overwriting {part.name} {part.box} changes stages {tuple(sorted(changed))}"
    return BreachError(f"{seen}, its part claims {part.stages}", cause)


def _check_gradients_of(
    draw: NetUnderTest, parts: Sequence[Part], stage: int, *, training: bool
) -> set[tuple[int, Part]]:
    """Checks that gradients of one output are absent where they must be; returns the parts that have some."""
    net = draw.copy_of_net().train(training)
    parameters = dict(net.named_parameters())
    reached: set[tuple[int, Part]] = set()
    for stages in dict.fromkeys((draw.every_stage, (stage,))):
        loss = weighted_sum(net(draw.x, stages)[stages.index(stage)], stage)
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        grads = dict(zip(parameters, found, strict=True))
        where = (
            f"gradient of output {stage} of forward(x, {stages}) in {'training' if training else 'eval'} mode"
        )
        _check_none(grads, parts, stage, where, alone=stages == (stage,))
        reached = _check_zeros(grads, parts, stage, where)
    return reached


def _check_none(
    grads: Mapping[str, Tensor | None], parts: Sequence[Part], stage: int, where: str, *, alone: bool
) -> None:
    used = {part.name for part in parts if stage in part.stages}
    for name, grad in grads.items():
        if grad is None and name in used:
            raise BreachError(
                f"{where}: {name} has none", "the graph is cut, or parts() claims it for the stage"
            )
        if alone and grad is not None and name not in used:
            raise BreachError(f"{where}: {name} has one", "forward runs more than the stages asked for")


def _check_zeros(
    grads: Mapping[str, Tensor | None], parts: Sequence[Part], stage: int, where: str
) -> set[tuple[int, Part]]:
    """The parts of the stage that have a gradient other than 0; no other part may have one."""
    reached = set()
    for part in parts:
        grad = grads[part.name]
        if grad is None or not part.of(grad).any():
            continue
        if stage not in part.stages:
            raise BreachError(
                f"{where} reaches {part.name} {part.box}", f"its part claims {part.stages} only"
            )
        reached.add((stage, part))
    return reached
