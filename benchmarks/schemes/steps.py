"""What a training step costs under each scheme, in units of summed cross-entropy on the same net."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timing import Times, fresh, interleave
from torch import Tensor, nn
from training.steppers import Stepper

from anytimenet.nets import ChainNet, create_net
from anytimenet.schemes import BlockDependent, GivenTeacher, RunFacts, Scheme, list_schemes, scheme_preset
from anytimenet.tasks import Classification

NAME = "schemes-steps"
NET, CLASSES, BATCH, SIZE = "msdnet_cifar_7", 10, 32, 32
SUMMED = "anytime"
WINDOW = 3
REACH = {"block_dependent": 1.5, "block_dependent_final": 1.8}


def measure(rounds: int) -> dict[str, Any]:
    """A row a scheme, and two ways to compute block-dependent gradients that other codes take."""
    # A process for each comparison, so that no two schemes share a machine's slow minute with a third.
    names = [name for name in list_schemes() if name != SUMMED]
    rows = [_row(name, rounds) for name in [*names, *_OTHER_WAYS]]
    return {"net": NET, "batch": BATCH, "image": SIZE, "rows": [row for row in rows if row]}


def _row(name: str, rounds: int) -> dict[str, Any] | None:
    times: Times | None = fresh(_compare, name, rounds)
    if times is None:
        return None
    found = {"scheme": name, **times.ratio(name, SUMMED), "ms": times.median_ms(name)}
    if name in REACH:
        found |= {"reach": REACH[name], "reached": found["ratio"] <= REACH[name]}
    return found


def _compare(name: str, rounds: int) -> Times | None:
    works = {SUMMED: _scheme_step(scheme_preset(SUMMED).scheme)}
    if name in _OTHER_WAYS:
        stepper = _stepper()
        works[name] = _with_optimiser(stepper, lambda: _OTHER_WAYS[name](stepper))
    else:
        try:
            works[name] = _scheme_step(scheme_preset(name).scheme)
        except ValueError as error:
            print(f"{name}: left out on {NET}: {error}", flush=True)
            return None
    return interleave(works, rounds, warmup=2)


def _stepper() -> Stepper:
    torch.manual_seed(0)
    return Stepper(create_net(NET, CLASSES), batch=BATCH, size=SIZE)


def _scheme_step(scheme: Scheme) -> Callable[[], object]:
    stepper = _stepper()
    teacher = create_net(NET, CLASSES) if isinstance(scheme.targets, GivenTeacher) else None
    facts = RunFacts(stage_macs=lambda: range(1, stepper.net.num_stages + 1), teacher=teacher)
    built = scheme.build(stepper.net, facts)
    task = Classification((CLASSES,))
    return _with_optimiser(stepper, lambda: built.step(stepper.net, stepper.x, (stepper.y,), task.loss))


def _with_optimiser(stepper: Stepper, gradients: Callable[[], object]) -> Callable[[], object]:
    def work() -> None:
        stepper.optimiser.zero_grad(set_to_none=True)
        gradients()
        stepper.optimiser.step()

    return work


def _detach_and_rerun(stepper: Stepper) -> None:
    """A graph of its own for every truncation, as the published code has it: blocks run up to Q times."""
    net = stepper.net
    assert isinstance(net, ChainNet)
    losses: list[Tensor] = []
    # The state before each block for each way in which it was cut; equal cuts share it.
    states: dict[int, tuple[Tensor, ...]] = {1: (stepper.x,)}
    first = BlockDependent(window=WINDOW).first_blocks(net.num_stages)
    for number, (block, head) in enumerate(zip(net.blocks, net.heads, strict=True), 1):
        wanted = {cut for cut in first[number - 1 :] if cut <= number}
        whole = next(iter(states.values()))
        cut_here = {number: tuple(tensor.detach() for tensor in whole)} if number > 1 else {}
        before = {cut: state for cut, state in {**states, **cut_here}.items() if cut in wanted}
        states = {cut: block(state) for cut, state in before.items()}
        losses.append(F.cross_entropy(head(states[first[number - 1]])[0], stepper.y))
    torch.stack(losses).sum().backward()


def _rerun_for_every_exit(stepper: Stepper) -> None:
    """The plainest way: for every exit all blocks from the image on, cut before the first that it trains."""
    net = stepper.net
    assert isinstance(net, ChainNet)
    losses = []
    for exit_, first in enumerate(BlockDependent(window=WINDOW).first_blocks(net.num_stages), 1):
        state: tuple[Tensor, ...] = (stepper.x,)
        for number in range(1, exit_ + 1):
            state = tuple(t.detach() for t in state) if number == first else state
            state = net.blocks[number - 1](state)
        losses.append(F.cross_entropy(net.heads[exit_ - 1](state)[0], stepper.y))
    torch.stack(losses).sum().backward()


def _backward_per_exit(stepper: Stepper) -> None:
    """One ordinary forward; each loss goes back to the parameters that it may train, and no others."""
    net = stepper.net
    assert isinstance(net, ChainNet)
    first = BlockDependent(window=WINDOW).first_blocks(net.num_stages)
    outputs = net(stepper.x)
    for number, (output, start) in enumerate(zip(outputs, first, strict=True), 1):
        modules: Sequence[nn.Module] = [*net.blocks[start - 1 : number], net.heads[number - 1]]
        inputs = [p for module in modules for p in module.parameters()]
        F.cross_entropy(output[0], stepper.y).backward(inputs=inputs, retain_graph=number < net.num_stages)


_OTHER_WAYS: dict[str, Callable[[Stepper], None]] = {
    f"Q = {WINDOW} by detach and rerun, equal cuts shared": _detach_and_rerun,
    f"Q = {WINDOW} by detach and rerun for every exit": _rerun_for_every_exit,
    f"Q = {WINDOW} by backward(inputs=...) for each exit": _backward_per_exit,
}
