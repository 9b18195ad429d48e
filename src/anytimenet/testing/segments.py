"""Promises about segments and the states between them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

import torch
from torch import nn

from anytimenet.core.segments import TensorSpec
from anytimenet.nets.contract import Output, State
from anytimenet.nets.snapshot import storages_of
from anytimenet.testing.net_under_test import NetUnderTest, copy_of_state, redraw
from anytimenet.testing.promise import BreachError, agree, promise

MOST_PATHS = 32


@promise("state spec")
@torch.no_grad()
def check_state_spec(subject: NetUnderTest) -> None:
    """`state_spec` is true: names (also by `state_names`), shapes, dtypes are those of the stepwise states; a
    tensor that continues one of the state a stage earlier begins with that one, bit for bit and along its
    axis; state 0 is `(x,)`, named `x`, which stays first and unchanged where it is carried on; the last state
    is empty.
    """
    before: dict[str, torch.Tensor] = {}
    for stage, state in enumerate(subject.states):
        specs = subject.net.state_spec(stage, subject.input_shape)
        where = f"state {stage}"
        if not isinstance(state, tuple) or len(state) != len(specs):
            found = f"holds {len(state)}" if isinstance(state, tuple) else f"is a {type(state).__name__}"
            raise BreachError(
                f"{where} {found}, state_spec lists the tensors {[spec.name for spec in specs]}",
                f"segment ({stage - 1}, {stage}) returns a state that state_spec does not describe",
            )
        if tuple(subject.net.state_names(stage)) != tuple(spec.name for spec in specs):
            told = tuple(subject.net.state_names(stage))
            raise BreachError(f"state_names({stage}) is {told}", "state_spec lists other names, or an order")
        if len({spec.name for spec in specs}) != len(specs):
            raise BreachError(f"{where} has two tensors of one name", "tensors are matched by name")
        now = {spec.name: tensor for spec, tensor in zip(specs, state, strict=True)}
        for spec in specs:
            _check_spec(where, spec, now[spec.name])
            if spec.continues is not None:
                check_continues(f"tensor {spec.name!r} of {where}", spec, now[spec.name], before)
        _check_x(stage, where, list(now), now.get("x"), subject)
        before = now
    if subject.states[-1]:
        raise BreachError("the state after the last stage is not empty", "nothing reads it: return () there")


@promise("segments")
@torch.no_grad()
def check_segments(subject: NetUnderTest) -> None:
    """For every a < b, `segment(a, b)` on the stepwise state at a gives forward's output b and the stepwise
    state at b (1e-9), and leaves the state it was given as it was.
    """
    for start, stop in subject.every_segment():
        kept = subject.states[start]
        given = copy_of_state(kept)
        new_state, output = subject.segment(start, stop)(given)
        where = f"segment ({start}, {stop})"
        cause = "the segment computes something else than forward: a wrong slice, width or stage"
        agree(output, subject.truth[stop - 1], f"the output of {where}", cause)
        cause = "the state depends on the path taken, or state tensors are in another order"
        agree(new_state, subject.states[stop], f"the state after {where} and the stepwise state", cause)
        if any(not torch.equal(a, b) for a, b in zip(given, kept, strict=True)):
            raise BreachError(f"{where} changed the state it was given", "an in-place operation on the state")


@promise("last")
@torch.no_grad()
def check_last(subject: NetUnderTest) -> None:
    """`segment(a, b, last=True)` gives the output alone, forward's output b (1e-9)."""
    for start, stop in subject.every_segment():
        output = subject.segment(start, stop, last=True)(subject.states[start])
        cause = "last=True must do the same work and return the output only; the base class does it"
        agree(output, subject.truth[stop - 1], f"segment ({start}, {stop}, last=True)", cause)


@promise("paths")
@torch.no_grad()
def check_paths(subject: NetUnderTest) -> None:
    """Every path of segments gives forward's output at each of its stops (1e-9): all paths if there are at
    most 32, otherwise 32 seeded ones.
    """
    for path in some_paths(subject.num_stages):
        state: State = (subject.x,)
        for start, stop in path:
            state, output = subject.segment(start, stop)(state)
            where = f"output {stop} on the path {path}"
            agree(output, subject.truth[stop - 1], where, "a state carries on an error of an earlier segment")


def some_paths(num_stages: int, most: int = MOST_PATHS, seed: int = 0) -> list[list[tuple[int, int]]]:
    """All paths from the input to any stage if there are at most `most`, otherwise that many, seeded.

    >>> some_paths(2)
    [[(0, 1)], [(0, 2)], [(0, 1), (1, 2)]]
    """

    def from_bits(stop: int, bits: int) -> list[tuple[int, int]]:
        stops = [stage for stage in range(1, stop) if bits >> (stage - 1) & 1] + [stop]
        return list(zip([0, *stops], stops, strict=False))

    if 2**num_stages - 1 <= most:
        return [from_bits(stop, bits) for stop in range(1, num_stages + 1) for bits in range(2 ** (stop - 1))]
    draw = random.Random(seed)
    steps = from_bits(num_stages, 2 ** (num_stages - 1) - 1)
    return [steps] + [from_bits(num_stages, draw.randrange(2 ** (num_stages - 1))) for _ in range(most - 1)]


@promise("state is read")
def check_state_is_read(subject: NetUnderTest) -> None:
    """Every state tensor changes the output of some later segment when it is changed (1e-11), for one at
    least of eight draws of the weights.
    """
    every = subject.every_stage
    unread = {(stage, name): None for stage in every[:-1] for name in subject.state_names(stage)}
    for draw in subject.draws():
        for stage, name in list(unread):
            if any(name in draw.reads(stage, stop) for stop in every[stage:]):
                del unread[stage, name]
        if not unread:
            return
    stage, name = next(iter(unread))
    raise BreachError(
        f"state tensor {name!r} at stage {stage} is read by no later segment",
        "it is carried on for nothing: leave it out of the state",
    )


@promise("snapshots")
@torch.no_grad()
def check_snapshots(subject: NetUnderTest) -> None:
    """A segment taken alone, and one taken of `snapshot()`, is in eval mode and gives the same (1e-9) when
    the net is in training mode; it is untouched (bit for bit) when the net's tensors are overwritten, and
    the net when the segment's are; moving or converting it raises. The tensors of one taken alone are
    contiguous and each alone in its memory; those of one snapshot share memory with each other only, and
    `nbytes` counts it. Taking one changes no tensor and no mode of the net.
    """
    for pair in _steps_and_sub_networks(subject):
        net = subject.copy_of_net().train()
        before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        where = f"segment {pair}"
        alone, snapshot = net.segment(*pair), net.snapshot()
        shared, other = snapshot.segment(*pair), net.snapshot().segment(*pair)
        _check_untouched(net, before, where)
        _check_alone(alone, where)
        for segment, name in ((alone, where), (shared, f"{where} of a snapshot")):
            _check_mode(segment, name)
            _check_apart(segment, net, f"{name} shares memory with the net")
            _check_stays(segment, name)
        _check_apart(shared, other, f"{where} of a snapshot shares memory with another snapshot")
        if snapshot.nbytes != sum(storages_of(shared).values()):
            raise BreachError(f"{where}: nbytes of its snapshot is wrong", "it counts other storages")
        _check_independence(net, {where: alone, f"{where} of a snapshot": shared}, subject, pair)


def check_continues(
    where: str, spec: TensorSpec, tensor: torch.Tensor, before: Mapping[str, torch.Tensor]
) -> None:
    """Raises `BreachError` unless `tensor` begins with the tensor of the state `before` that it continues."""
    assert spec.continues is not None
    assert spec.grows is not None
    if spec.continues not in before:
        raise BreachError(
            f"{where} continues {spec.continues!r}, which the state before it does not hold",
            "continues names a tensor of the earlier state; None says that the tensor is new",
        )
    old, axis = before[spec.continues], 1 + spec.grows
    if tensor.shape[axis] < old.shape[axis] or not torch.equal(tensor.narrow(axis, 0, old.shape[axis]), old):
        raise BreachError(
            f"{where} does not begin with {spec.continues!r} of the state before it",
            "continues promises that the earlier values come first along the axis that grows, unchanged",
        )


def _check_spec(where: str, spec: TensorSpec, tensor: torch.Tensor) -> None:
    where = f"tensor {spec.name!r} of {where}"
    found = tuple(tensor.shape[1:])
    if found != tuple(spec.shape):
        raise BreachError(
            f"{where} has shape {found} per example, state_spec says {tuple(spec.shape)}",
            "state_spec computes another width or image size than the segment",
        )
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype != spec.dtype:
        raise BreachError(
            f"{where} is of {dtype}, state_spec says {spec.dtype}",
            "build it with self.spec(name, shape), which knows the number format of the weights",
        )


def _check_x(stage: int, where: str, names: list[str], x: torch.Tensor | None, subject: NetUnderTest) -> None:
    if stage == 0 and names != ["x"]:
        raise BreachError(f"state 0 is {names}", "state 0 is (x,), the input, named 'x'")
    if x is not None and (names[0] != "x" or not torch.equal(x, subject.x)):
        raise BreachError(
            f"'x' in {where} is not the input in first place", "the name 'x' is kept for the input"
        )


def _steps_and_sub_networks(subject: NetUnderTest) -> Iterator[tuple[int, int]]:
    for stop in subject.every_stage:
        yield 0, stop
        if stop > 1:
            yield stop - 1, stop


def _check_untouched(net: nn.Module, before: Mapping[str, torch.Tensor], where: str) -> None:
    after = net.state_dict()
    if any(not torch.equal(after[name], tensor) for name, tensor in before.items()):
        raise BreachError(f"taking {where} changed the net's tensors", "it runs layers in training mode")
    if not all(module.training for module in net.modules()):
        raise BreachError(
            f"taking {where} changed the net's training mode", "it calls eval() on the net's layers"
        )


def _check_mode(segment: nn.Module, where: str) -> None:
    training = [name or "itself" for name, module in segment.named_modules() if module.training]
    if training:
        raise BreachError(f"{where} is in training mode: {training[0]}", "a segment is left without .eval()")


def _check_alone(segment: nn.Module, where: str) -> None:
    for name, tensor in [*segment.named_parameters(), *segment.named_buffers()]:
        if not tensor.is_contiguous():
            raise BreachError(f"{where}: {name} is not contiguous", "a slice is used without clone()")
        if tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size():
            raise BreachError(
                f"{where}: {name} is a view of larger memory", "a slice is used without clone()"
            )


def _check_apart(segment: nn.Module, other: nn.Module, where: str) -> None:
    if storages_of(segment).keys() & storages_of(other).keys():
        raise BreachError(where, "segment() and snapshot() copy; a family that overrides them must, too")


def _check_stays(segment: nn.Module, where: str) -> None:
    try:
        segment.to(torch.float16)
    except RuntimeError:
        return
    raise BreachError(
        f"{where} can be converted", "that would stop it from sharing weights; the base class raises"
    )


def _check_independence(
    net: nn.Module, segments: Mapping[str, nn.Module], subject: NetUnderTest, pair: tuple[int, int]
) -> None:
    def output_of(segment: nn.Module) -> Output:
        output: Output = segment(copy_of_state(subject.states[pair[0]]))[1]
        return output

    of_eval = output_of(subject.segment(*pair))
    before = {where: output_of(segment) for where, segment in segments.items()}
    for where, output in before.items():
        taken = f"the output of {where} taken in training mode and of one taken in eval mode"
        agree(output, of_eval, taken, "the segment copies the net's mode")
    redraw(net, subject.generator)
    for where, segment in segments.items():
        if not all(torch.equal(a, b) for a, b in zip(output_of(segment), before[where], strict=True)):
            raise BreachError(
                f"{where} changes with the net's weights", "it holds the net, or reads its tensors"
            )
    weights = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for where, segment in segments.items():
        redraw(segment, subject.generator)
        now = net.state_dict()
        if any(not torch.equal(now[name], tensor) for name, tensor in weights.items()):
            raise BreachError(f"changing {where} changes the net", "it holds the net's tensors or layers")
