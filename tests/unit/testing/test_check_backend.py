"""The proof of backends passes for good ones and names the promise that a broken one breaks."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from anytimenet.bundle.backends.eager import EagerBackend
from anytimenet.nets import AnytimeNet, create_net
from anytimenet.nets.registry import list_nets, net_entry
from anytimenet.runtime import Placement
from anytimenet.runtime.backends.backend import Output, State
from anytimenet.testing import ContractError, check_backend
from anytimenet.testing.backend_under_test import paths_through
from anytimenet.testing.segments import some_paths

SHAPE = (3, 8, 8)
NET = create_net("isresnext_tiny")


@pytest.mark.parametrize("name", list_nets("*_tiny"))
def test_eager_keeps_what_backends_promise_on_every_family(name: str):
    check_backend(EagerBackend, create_net(name), net_entry(name).input_shape)


@pytest.mark.parametrize(
    "make",
    [
        lambda net: EagerBackend(net, fold=False, contiguous=False, merge=False, channels_last=False),
        lambda net: EagerBackend(net, input_shape=SHAPE),
        lambda net: EagerBackend(net, Placement(dtype="float64")),
        lambda net: EagerBackend(net, Placement(dtype="bfloat16")),
        lambda net: EagerBackend(net, state_dtype="float16"),
        lambda net: EagerBackend(net, state_dtype="bfloat16"),
    ],
    ids=["views", "run when prepared", "float64", "bfloat16", "float16 states", "bfloat16 states"],
)
def test_eager_keeps_them_in_other_forms(make: Callable[[AnytimeNet], EagerBackend]):
    check_backend(make, NET, SHAPE)


class Fixed(EagerBackend):
    """Writes every output into the same memory."""

    def run(self, start: int, stop: int, state: State) -> tuple[State, Output]:
        state, output = super().run(start, stop, state)
        self._buffers: dict[Any, np.ndarray] = getattr(self, "_buffers", {})
        key = stop, output[0].shape
        self._buffers.setdefault(key, output[0])[...] = output[0]
        return state, (self._buffers[key],)


class Rounding(EagerBackend):
    """Computes with fewer bits than it says."""

    def __init__(self, net: AnytimeNet) -> None:
        super().__init__(net, Placement(dtype="float16"))
        self.tolerance = 1e-5


class Sharing(EagerBackend):
    """Does not copy its input."""

    def begin(self, x: np.ndarray) -> Any:
        state: Any = super().begin(x)
        state.tensors["x"] = torch.from_numpy(x)
        return state


class OtherLayout(EagerBackend):
    """Restores into another order of the numbers in memory, for which convolutions round differently."""

    def restore(self, stage: int, tensors: Mapping[str, np.ndarray]) -> Any:
        state: Any = super().restore(stage, tensors)
        state.tensors = {name: tensor * (1 + 1e-6) for name, tensor in state.tensors.items()}
        return state


class WrongRows(EagerBackend):
    """Takes rows in the order of the batch."""

    def rows(self, state: State, index: Sequence[int]) -> State:
        return super().rows(state, sorted(index))


class Late(EagerBackend):
    """Prepares again and again."""

    def prepare(self, start: int, stop: int) -> None:
        self._held = {}
        super().prepare(start, stop)


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (Fixed, "again"),
        (Rounding, "paths"),
        (Sharing, "paths"),
        (OtherLayout, "save and restore"),
        (WrongRows, "rows"),
        (Late, "prepared"),
    ],
)
def test_a_broken_backend_is_caught(broken: type[EagerBackend], promise: str):
    with pytest.raises(ContractError) as caught:
        check_backend(broken, NET, SHAPE)
    assert caught.value.promise == promise


class OneBuffer(EagerBackend):
    """Keeps the features of the newest run, whichever run asks."""

    def run(self, start: int, stop: int, state: State) -> tuple[State, Output]:
        given: Any = state
        newest = getattr(self, "_newest", {}).get((start, given.batch))
        if newest is not None:
            given.tensors = {name: tensor.clone() for name, tensor in newest.items()}
        after: Any = None
        after, output = super().run(start, stop, given)
        self._newest = {(stop, after.batch): after.tensors} if after.tensors else {}
        return after, output


def test_runs_that_share_a_buffer_are_caught():
    with pytest.raises(ContractError, match="runs beside each other"):
        check_backend(OneBuffer, NET, SHAPE)


class FewSegments(EagerBackend):
    def __init__(self, net: AnytimeNet) -> None:
        super().__init__(net)
        self.segments = frozenset({(0, 1), (1, 3), (2, 3)})

    def prepare(self, start: int, stop: int) -> None:
        if (start, stop) not in self.segments:
            raise ValueError(f"({start}, {stop}) was not exported")
        super().prepare(start, stop)


def test_a_backend_of_few_segments_is_walked_as_far_as_they_reach():
    check_backend(FewSegments, NET, SHAPE)


def test_all_paths_are_walked_or_every_segment_is_taken():
    few = {(a, b) for b in range(1, 5) for a in range(b)}
    expected = {tuple(path) for path in some_paths(4) if path[-1][1] == 4}
    assert set(paths_through(few, random.Random(0))) == expected
    many = {(a, b) for b in range(1, 10) for a in range(b)}
    walked = paths_through(many, random.Random(0))
    assert {pair for path in walked for pair in path} == many
    assert all(path[0][0] == 0 and path[-1][1] == 9 for path in walked)
