"""States that grow: new channels written behind the finished ones give what concatenation gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from anytimenet.nets import AnytimeNet, Snapshot, create_net
from anytimenet.nets.registry import net_entry
from anytimenet.nets.segment import concatenate, rows
from anytimenet.testing.net_under_test import redraw
from anytimenet.testing.segments import some_paths

GROWING = [
    "isresnext_tiny",
    "isresnext_small",
    *(f"doubling_{growth}_{size}" for growth in ("width", "depth", "both") for size in ("tiny", "small")),
]


class PrefixBuffers:
    """For one image: one buffer for each name, allocated for all channels that it will ever have.

    Attributes:
        moved: names of the tensors whose finished channels had to be copied from another buffer.
    """

    def __init__(self, net: AnytimeNet, snapshot: Snapshot, x: Tensor) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.moved: list[str] = []
        with torch.inference_mode():
            states = states_of(net, snapshot, x)
            for stop in range(1, net.num_stages + 1):
                for start in range(stop):
                    snapshot.segment(start, stop).advance(states[start], self._measure)
        self.buffers = {name: torch.full(shape, torch.nan) for name, shape in self.shapes.items()}

    def _measure(self, name: str, old: Tensor | None, new: Tensor, axis: int) -> Tensor:
        whole = concatenate(name, old, new, axis)
        self.shapes[name] = max(self.shapes.get(name, ()), tuple(whole.shape))
        return whole

    def join(self, name: str, old: Tensor | None, new: Tensor, axis: int) -> Tensor:
        assert axis == 0
        buffer, finished = self.buffers[name], 0
        if old is not None:
            finished = old.shape[1]
            if old.data_ptr() != buffer.data_ptr():
                self.moved.append(name)
                buffer[:, :finished] = old
        whole = buffer[:, : finished + new.shape[1]]
        whole[:, finished:] = new
        return whole


def states_of(net: AnytimeNet, snapshot: Snapshot, x: Tensor) -> list[tuple[Tensor, ...]]:
    states: list[tuple[Tensor, ...]] = [(x,)]
    for stage in range(1, net.num_stages + 1):
        states.append(snapshot.segment(stage - 1, stage)(states[-1])[0])
    return states


def built(name: str) -> AnytimeNet:
    """With four stages at least, so that jumps lie between the first and the last."""
    return create_net(name, stages=4) if name.startswith("doubling") else create_net(name)


def filled(name: str) -> tuple[AnytimeNet, Snapshot, Tensor]:
    net = built(name).eval()
    redraw(net, torch.Generator().manual_seed(0))
    x = torch.randn(1, *net_entry(name).input_shape, generator=torch.Generator().manual_seed(1))
    return net, net.snapshot(), x


@pytest.mark.parametrize("name", [*GROWING, "eann_tiny"])
def test_prefix_buffers_give_bit_for_bit_what_concatenation_gives_on_every_path(name):
    net, snapshot, x = filled(name)
    backend = PrefixBuffers(net, snapshot, x)
    for path in some_paths(net.num_stages):
        state, eager = {"x": x}, (x,)
        with torch.inference_mode():
            for start, stop in path:
                segment = snapshot.segment(start, stop)
                before, backend.moved = state, []
                changes, output = segment.advance(tuple(state[n] for n in segment.reads), backend.join)
                state = {name: changes.get(name, state.get(name)) for name in segment.writes}
                eager, expected = segment(eager)
                assert all(torch.equal(a, b) for a, b in zip(output, expected, strict=True))
                assert all(torch.equal(a, b) for a, b in zip(state.values(), eager, strict=True))
                for new, growth in segment.changes.items():
                    if growth is not None and growth[0] == new:
                        assert state[new].data_ptr() == before[new].data_ptr()
                        assert state[new].is_contiguous()
                    if growth is not None:
                        assert torch.equal(state[new][:, : before[growth[0]].shape[1]], before[growth[0]])
                # A tensor that keeps its name is never copied.
                assert not set(backend.moved) & before.keys()


@pytest.mark.parametrize("name", ["isresnext_tiny", "isresnext_small", "doubling_width_tiny"])
def test_a_net_whose_blocks_write_all_slices_never_copies_what_is_finished(name):
    net, snapshot, x = filled(name)
    backend = PrefixBuffers(net, snapshot, x)
    state = (x,)
    with torch.inference_mode():
        for stage in range(1, net.num_stages + 1):
            segment = snapshot.segment(stage - 1, stage)
            changes, _ = segment.advance(state, backend.join)
            state = (x, *(changes[name] for name in segment.writes[1:]))
    assert backend.moved == []


class Arena:
    """For one image and any names: writes behind a tensor where nothing has been written there yet."""

    def __init__(self) -> None:
        self.filled: dict[int, tuple[Tensor, int]] = {}
        self.joined = self.copied = 0

    def join(self, name: str, old: Tensor | None, new: Tensor, axis: int) -> Tensor:
        assert old is not None
        assert axis == 0
        self.joined += 1
        whole = old.shape[1] + new.shape[1]
        buffer, used = self.filled.get(old.data_ptr(), (new[:, :0], 0))
        if used != old.shape[1] or whole > buffer.shape[1]:
            self.copied += 1
            buffer = torch.full((1, 512, *new.shape[2:]), torch.nan)
            buffer[:, : old.shape[1]] = old
        buffer[:, old.shape[1] : whole] = new
        self.filled[buffer.data_ptr()] = buffer, whole
        return buffer[:, :whole]


@pytest.mark.parametrize(
    "name", ["msdnet_tiny", "msdnet_small", "densenet_tiny", "ranet_small", "ann_msdnet_tiny"]
)
def test_nodes_that_append_write_behind_what_they_read(name):
    net, snapshot, x = filled(name)
    joined = copied = 0
    for path in some_paths(net.num_stages):
        arena, state, eager = Arena(), {"x": x}, (x,)
        with torch.inference_mode():
            for start, stop in path:
                segment = snapshot.segment(start, stop)
                before = {name: tensor.clone() for name, tensor in state.items()}
                changes, output = segment.advance(tuple(state[n] for n in segment.reads), arena.join)
                assert all(torch.equal(state[name], tensor) for name, tensor in before.items())
                state = {name: changes.get(name, state.get(name)) for name in segment.writes}
                eager, expected = segment(eager)
                assert all(torch.equal(a, b) for a, b in zip(output, expected, strict=True))
                assert all(torch.equal(a, b) for a, b in zip(state.values(), eager, strict=True))
        joined, copied = joined + arena.joined, copied + arena.copied
    assert copied < joined


def test_a_chain_says_what_its_nodes_say():
    net = create_net("msdnet_tiny")
    assert net.segment(1, 2).changes == {
        "layer1_scale0": ("layer0_scale0", 0),
        "layer2_scale1": ("layer1_scale1", 0),
        "transition3_scale2": None,
    }
    assert set(create_net("resnet_ann_tiny").segment(1, 2).changes.values()) == {None}


def test_a_tensor_can_change_its_name_and_begin_several_others():
    net = create_net("doubling_depth_tiny")
    segment = net.segment(1, 2)
    assert segment.reads == ("x", "t2", "features")
    assert segment.writes == ("x", "t2", "t4", "t6", "features")
    assert segment.changes == {
        "t2": ("t2", 0),
        "t4": ("t2", 0),
        "t6": ("features", 0),
        "features": ("features", 0),
    }
    assert net.segment(1, 2, last=True).changes == {}


@pytest.mark.parametrize("name", GROWING)
def test_a_jump_continues_what_the_steps_on_the_way_continue(name):
    net = built(name)
    for stop in range(2, net.num_stages):
        step = net.segment(stop - 1, stop).changes
        for spec in net.state_spec(stop, net_entry(name).input_shape):
            if spec.name != "x":
                said = None if spec.continues is None else (spec.continues, spec.grows)
                assert step[spec.name] == said
        for start in range(1, stop - 1):
            first, rest = net.segment(start, stop - 1).changes, net.segment(stop - 1, stop).changes
            for tensor, old in net.segment(start, stop).changes.items():
                assert old == (rest[tensor] and first[rest[tensor][0]])


def test_carried_tensors_are_not_returned():
    _, snapshot, x = filled("iresnext_tiny")
    first, second = snapshot.segment(0, 1), snapshot.segment(1, 2)
    changes, _ = first.advance((x,), concatenate)
    assert list(changes) == list(first.changes) == ["stem"]
    assert second.advance((changes["stem"],), concatenate)[0] == second.changes == {}
    assert create_net("slimmable_tiny").segment(0, 1).changes == {}


@pytest.mark.parametrize("index", [[2, 0], torch.tensor([1]), slice(1, 3), torch.tensor([True, False, True])])
def test_rows_take_examples_of_every_tensor(index):
    state = (torch.arange(12.0).view(3, 4), torch.arange(3))
    assert all(torch.equal(got, tensor[index]) for got, tensor in zip(rows(state, index), state, strict=True))


def test_samples_that_have_their_answer_can_leave_the_batch():
    net, snapshot, _ = filled("isresnext_tiny")
    x = torch.randn(5, 3, 8, 8)
    with torch.no_grad():
        state, _ = snapshot.segment(0, 1)(x.unsqueeze(0).unbind())
        _, output = snapshot.segment(1, 3)(rows(state, [4, 1]))
        truth = net(x[[4, 1]], (3,))[0]
    for got, expected in zip(output, truth, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
