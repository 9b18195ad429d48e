"""The backend that is checked, what eager PyTorch says of the same net, and the paths that are walked."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from anytimenet.layers.snapshots import copied
from anytimenet.nets.contract import AnytimeNet
from anytimenet.runtime.backends.backend import Backend, Output, State
from anytimenet.testing.net_under_test import count_as_estimated, redraw
from anytimenet.testing.promise import BreachError

BATCH = 3
MOST_PATHS = 32
Path = tuple[tuple[int, int], ...]
MakeBackend = Callable[[AnytimeNet], Backend]
"""Builds the backend that is checked, of the net that it is given."""
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Truth:
    """What eager PyTorch gives in float32 for some images: of each stage from 0 on.

    Attributes:
        x: the images.
        states: the tensors of the state, by name.
        outputs: of stages 1..K.
    """

    x: np.ndarray
    states: tuple[Arrays, ...]
    outputs: tuple[Output, ...]


@dataclass(frozen=True)
class Run:
    """What a backend gave along a path.

    Attributes:
        path: its segments.
        outputs: of each, as copies.
        states: after each, as `save` gives it.
    """

    path: Path
    outputs: tuple[Output, ...]
    states: tuple[Arrays, ...]


class BackendUnderTest:
    """A backend of a float32 copy of a net with random weights, as `NetUnderTest` draws them.

    Args:
        make: builds the backend from the net that it is given.
        net: the net; it is not changed.
        input_shape: (C, H, W) of one image.
        seed: of weights, images and paths.

    Attributes:
        net: the copy.
        backend: of that copy.
        paths: from the input as far as they go: all of them, if at most 32, otherwise seeded ones that run
            every segment.
    """

    def __init__(self, make: MakeBackend, net: AnytimeNet, input_shape: Sequence[int], seed: int = 0) -> None:
        if not isinstance(net, AnytimeNet):
            raise TypeError(f"a net to run is a subclass of AnytimeNet, not a {type(net).__name__}")
        self.input_shape = net.input_spec.shape_of(input_shape)
        self.seed = seed
        self.net = copied(net).to("cpu", torch.float32).eval()
        redraw(self.net, torch.Generator().manual_seed(seed))
        count_as_estimated(self.net)
        self.backend = make(self.net)
        self.paths = paths_through(self.backend.segments, random.Random(seed))

    @cached_property
    def truth(self) -> Truth:
        """Of three images."""
        return self.truth_of(self.images(BATCH))

    def images(self, count: int, seed: int = 1) -> np.ndarray:
        """Random images `(count, C, H, W)`."""
        draw = np.random.default_rng(self.seed + seed)
        return draw.standard_normal((count, *self.input_shape)).astype(np.float32)

    def truth_of(self, x: np.ndarray) -> Truth:
        """What eager PyTorch gives, step by step."""
        snapshot, state = self.net.snapshot(), (torch.from_numpy(x.copy()),)
        states, outputs = [{"x": x.copy()}], []
        with torch.no_grad():
            for stage in range(1, self.net.num_stages + 1):
                state, output = snapshot.segment(stage - 1, stage)(state)
                named = zip(self.net.state_names(stage), state, strict=True)
                states.append({name: np.array(tensor.numpy()) for name, tensor in named})
                outputs.append(tuple(np.array(level.numpy()) for level in output))
        return Truth(x, tuple(states), tuple(outputs))

    def run(self, path: Path, x: np.ndarray) -> Run:
        """Runs a path and remembers all that came of it."""
        state, outputs, states = self.backend.begin(x), [], []
        for start, stop in path:
            state, output = self.backend.run(start, stop, state)
            outputs.append(tuple(np.array(level) for level in output))
            states.append(copies(self.backend.save(state)))
        self.backend.release(state)
        return Run(path, tuple(outputs), tuple(states))

    def state_at(self, path: Path, x: np.ndarray) -> State:
        """The state after a path, which may be empty."""
        state = self.backend.begin(x)
        for start, stop in path:
            state, _ = self.backend.run(start, stop, state)
        return state

    def every_segment(self) -> list[tuple[Path, tuple[int, int]]]:
        """Each segment of the paths, with a way to where it starts."""
        ways = {pair: path[:place] for path in self.paths for place, pair in enumerate(path)}
        return [(before, pair) for pair, before in ways.items()]

    def agree(self, got: np.ndarray, truth: np.ndarray, where: str, cause: str) -> None:
        """Raises `BreachError` unless an array is that of eager PyTorch within the backend's tolerance."""
        if got.shape != truth.shape:
            raise BreachError(f"{where} has shape {got.shape}, not {truth.shape}", cause)
        if not truth.size:
            return
        largest = np.abs(truth.astype(np.float64)).max()
        gap = np.abs(as_floats(got) - truth.astype(np.float64)).max() / (largest or 1.0)
        if not gap <= self.backend.tolerance:
            raise BreachError(
                f"{where} is off by {gap:.1e} of the largest number; its tolerance is "
                f"{self.backend.tolerance:.0e}",
                cause,
            )


def paths_through(segments: Collection[tuple[int, int]], draw: random.Random) -> list[Path]:
    """Paths from 0 as far as segments reach: all, if at most `MOST_PATHS`, else some that take every segment.

    >>> paths_through([(0, 1), (1, 2), (0, 2)], random.Random(0))
    [((0, 1), (1, 2)), ((0, 2),)]
    """
    after: dict[int, list[int]] = {}
    for start, stop in sorted(segments):
        after.setdefault(start, []).append(stop)
    reached = [0]
    for stage in reached:
        reached += [stop for stop in after.get(stage, []) if stop not in reached]
    usable = [pair for pair in sorted(segments) if pair[0] in reached]
    counts: dict[int, int] = {}
    for stage in sorted(reached, reverse=True):
        counts[stage] = sum(counts[stop] for stop in after.get(stage, [])) or 1
    if counts[0] <= MOST_PATHS:
        return [tuple(path) for path in _all_paths(0, after) if path]
    return list(dict.fromkeys(_path_over(pair, usable, draw) for pair in usable))


def copies(arrays: Arrays) -> Arrays:
    """The same arrays in other memory."""
    return {name: np.array(array) for name, array in arrays.items()}


def same(one: Arrays | Output, other: Arrays | Output) -> bool:
    """Whether two states or outputs are equal bit for bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return False
        pairs = [(array, other[name]) for name, array in one.items()]
    else:
        pairs = list(zip(tuple(one), tuple(other), strict=True))  # type: ignore[arg-type]
    return all(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)


def as_floats(array: np.ndarray) -> np.ndarray:
    """A saved tensor as float64; numpy has no bfloat16, whose bits are kept as uint16."""
    if array.dtype == np.uint16:
        return (array.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return array.astype(np.float64)


def _all_paths(start: int, after: dict[int, list[int]]) -> list[list[tuple[int, int]]]:
    found = [[(start, stop), *rest] for stop in after.get(start, []) for rest in _all_paths(stop, after)]
    return found or [[]]


def _path_over(pair: tuple[int, int], usable: Sequence[tuple[int, int]], draw: random.Random) -> Path:
    """A path that takes this segment."""
    path = [pair]
    while path[0][0]:
        path.insert(0, draw.choice([before for before in usable if before[1] == path[0][0]]))
    while onward := [after for after in usable if after[0] == path[-1][1]]:
        path.append(draw.choice(onward))
    return tuple(path)
