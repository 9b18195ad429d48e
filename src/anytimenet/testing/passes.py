"""The promise that `passes` trains exactly like `forward`."""

from __future__ import annotations

import torch
from torch import Tensor

from anytimenet.nets.contract import AnytimeNet, Output
from anytimenet.testing.compare import AGREES, distance
from anytimenet.testing.net_under_test import NetUnderTest
from anytimenet.testing.parts import weighted_sum
from anytimenet.testing.promise import BreachError, agree, promise


@promise("passes")
def check_passes(subject: NetUnderTest) -> None:
    """In training mode, `passes` with a backward on each group gives the outputs, gradients and buffers of
    `forward` with one backward of the sum (1e-9; None where that has None), each stage once, the first
    asked for in the first group; the same for all stages, backwards and for one stage. Without gradients
    it gives the outputs of eval mode too.
    """
    every = subject.every_stage
    for stages in dict.fromkeys((every, every[::-1], every[-1:], every[:1])):
        reference, net = subject.copy_of_net().train(), subject.copy_of_net().train()
        expected = _forward(reference, subject.x, stages)
        where = f"passes(x, {stages})"
        outputs = _passes(net, subject.x, stages, where)
        for stage, output in zip(stages, expected, strict=True):
            agree(outputs[stage], output, f"output {stage} of {where}", "passes computes another output")
        _compare_gradients(net, reference, where)
        _compare_buffers(net, reference, where)
    with torch.no_grad():
        for group in subject.net.passes(subject.x):
            for stage, output in group:
                where = f"output {stage} of passes in eval mode without gradients"
                agree(output, subject.truth[stage - 1], where, "passes needs a backward also in eval mode")


def _forward(net: AnytimeNet, x: Tensor, stages: tuple[int, ...]) -> list[Output]:
    torch.default_generator.manual_seed(0)
    outputs: list[Output] = net(x, stages)
    pairs = zip(stages, outputs, strict=True)
    torch.stack([weighted_sum(output, stage) for stage, output in pairs]).sum().backward()
    return outputs


def _passes(net: AnytimeNet, x: Tensor, stages: tuple[int, ...], where: str) -> dict[int, Output]:
    torch.default_generator.manual_seed(0)
    found: dict[int, Output] = {}
    for number, group in enumerate(net.passes(x, stages)):
        new = [stage for stage, _ in group]
        if number == 0 and stages[0] not in new:
            raise BreachError(f"the first group of {where} is {new}", f"stage {stages[0]} must be in it")
        if set(new) & set(found) or len(set(new)) != len(new):
            raise BreachError(f"{where} yields {new} after {list(found)}", "a stage may come only once")
        found.update(group)
        torch.stack([weighted_sum(output, stage) for stage, output in group]).sum().backward()
    if set(found) != set(stages):
        raise BreachError(
            f"{where} yields stages {sorted(found)}", "every stage asked for must come, no other"
        )
    return found


def _compare_gradients(net: AnytimeNet, reference: AnytimeNet, where: str) -> None:
    truths = dict(reference.named_parameters())
    largest = max((float(p.grad.abs().max()) for p in truths.values() if p.grad is not None), default=0.0)
    for name, parameter in net.named_parameters():
        truth, grad = truths[name].grad, parameter.grad
        if (grad is None) != (truth is None):
            seen = "none after" if grad is None else "a gradient after"
            raise BreachError(
                f"{name} has {seen} {where}, unlike after forward",
                "a graph is cut and its backward was not run at the end",
            )
        if grad is None or truth is None:
            continue
        # A gradient that is 0 but for rounding, as that of a bias before BatchNorm, is measured against all.
        if not (distance(grad, truth) <= AGREES or float((grad - truth).abs().max()) <= AGREES * largest):
            raise BreachError(
                f"the gradient of {name} after {where} is off by {distance(grad, truth):.1e}",
                "a shared layer gets the gradient of some passes only, or of one twice",
            )


def _compare_buffers(net: AnytimeNet, reference: AnytimeNet, where: str) -> None:
    truths = dict(reference.named_buffers())
    for name, buffer in net.named_buffers():
        if not distance(buffer, truths[name]) <= AGREES:
            raise BreachError(
                f"buffer {name} after {where} is off by {distance(buffer, truths[name]):.1e}",
                "running statistics move another number of times than in forward",
            )
