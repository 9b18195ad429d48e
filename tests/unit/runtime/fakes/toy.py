"""A backend of a few lines of numpy whose state grows, and that notices every misuse of a state."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.manifest.records import StageRecord
from anytimenet.runtime.backends.backend import Output, Placement, State
from anytimenet.runtime.model import PreparedModel

WIDTH = 3
SHAPE = (1, 4, 4)
VALIDATED = (0.6, 0.7, 0.9, 0.8)


@dataclass(eq=False)
class ToyState:
    """The input, and the features of the finished stages at the beginning of `buffer` (N, K * WIDTH)."""

    stage: int
    x: np.ndarray
    buffer: np.ndarray
    used_up: bool = False

    @property
    def batch(self) -> int:
        return len(self.x)

    @property
    def nbytes(self) -> int:
        return self.x.nbytes + (self.batch * self.stage * WIDTH * 4 if self.x.size else 0)


class ToyBackend:
    """Stage k reads `x` and the features of stages 1..k-1; every state but the newest of a run is used up.

    Args:
        stages: K.
        classes: of each label level.
        segments: that can be run; every one by default.
        work: called with (start, stop, batch) inside each `run`, before anything is written: a fake clock
            advances here, a test holds a segment up here, and what it raises comes out of `run`.

    Attributes:
        ran: the (start, stop) of every `run`, in order.
        live: states that were begun or restored, and neither released nor emptied by the last stage.
    """

    name = "toy"
    tolerance = 1e-5

    def __init__(
        self,
        stages: int = 4,
        classes: Sequence[int] = (5,),
        *,
        segments: Sequence[tuple[int, int]] | None = None,
        work: Callable[[int, int, int], object] | None = None,
        placement: Placement | None = None,
    ) -> None:
        every = [(a, b) for a in range(stages) for b in range(a + 1, stages + 1)]
        self.num_stages = stages
        self.placement = placement or Placement()
        self.segments = frozenset(every if segments is None else segments)
        self.prepared: dict[tuple[int, int], int] = {}
        self.nbytes = 0
        self.ran: list[tuple[int, int]] = []
        self.live = 0
        self.work = work
        rng = np.random.default_rng(0)
        pixels = int(np.prod(SHAPE))

        def weights(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape, dtype=np.float32)

        self._of_x = [weights(pixels, WIDTH) for _ in range(stages)]
        self._of_features = [weights(k * WIDTH, WIDTH) for k in range(stages)]
        self._heads = [[weights((k + 1) * WIDTH, n) for n in classes] for k in range(stages)]
        self._lock = threading.Lock()

    def prepare(self, start: int, stop: int) -> None:
        if (start, stop) not in self.segments:
            raise ValueError(f"segment ({start}, {stop}) was not exported")
        self.prepared[start, stop] = 4 * WIDTH * (stop - start)
        self.nbytes = sum(self.prepared.values())

    def begin(self, x: np.ndarray) -> ToyState:
        assert x.dtype == np.float32
        assert x.shape[1:] == SHAPE
        self._count(1)
        return ToyState(0, x.copy(), np.empty((len(x), self.num_stages * WIDTH), np.float32))

    def run(self, start: int, stop: int, state: State) -> tuple[ToyState, Output]:
        self.prepare(start, stop)
        self.ran.append((start, stop))
        assert isinstance(state, ToyState)
        assert state.stage == start, "the state is of another stage"
        if self.work is not None:
            self.work(start, stop, state.batch)
        self._use_up(state)
        pixels = state.x.reshape(state.batch, -1)
        for k in range(start, stop):
            before, behind = state.buffer[:, : k * WIDTH], state.buffer[:, k * WIDTH : (k + 1) * WIDTH]
            behind[...] = np.tanh(pixels @ self._of_x[k] + before @ self._of_features[k])
        features = state.buffer[:, : stop * WIDTH]
        output = tuple(features @ head for head in self._heads[stop - 1])
        if stop == self.num_stages:
            self._count(-1)
            return ToyState(stop, state.x[:, :0], state.buffer[:, :0], used_up=True), output
        return ToyState(stop, state.x, state.buffer), output

    def save(self, state: State) -> dict[str, np.ndarray]:
        assert isinstance(state, ToyState)
        assert not state.used_up, "the state is used up"
        return {"x": state.x.copy(), "features": state.buffer[:, : state.stage * WIDTH].copy()}

    def restore(self, stage: int, tensors: Mapping[str, np.ndarray]) -> ToyState:
        if sorted(tensors) != ["features", "x"] or tensors["features"].shape[1:] != (stage * WIDTH,):
            raise ValueError(f"these are not the tensors of stage {stage}")
        state = self.begin(tensors["x"])
        state.buffer[:, : stage * WIDTH] = tensors["features"]
        state.stage = stage
        return state

    def rows(self, state: State, index: Sequence[int]) -> ToyState:
        assert isinstance(state, ToyState)
        self._use_up(state)
        return ToyState(state.stage, state.x[list(index)], state.buffer[list(index)])

    def release(self, state: State) -> None:
        assert isinstance(state, ToyState)
        if state.stage < self.num_stages:
            self._use_up(state)
            self._count(-1)

    def outputs(self, x: np.ndarray, path: Sequence[tuple[int, int]]) -> list[Output]:
        """What an uninterrupted run of `path` on `x` answers with: what everything else is compared with."""
        backend, state, found = self._twin(), None, []
        for start, stop in path:
            state = backend.begin(x) if state is None or start == 0 else state
            state, output = backend.run(start, stop, state)
            found.append(output)
        return found

    def _twin(self) -> ToyBackend:
        return ToyBackend(self.num_stages, [head.shape[1] for head in self._heads[0]])

    def _use_up(self, state: ToyState) -> None:
        assert not state.used_up, "the state is used up"
        state.used_up = True

    def _count(self, change: int) -> None:
        with self._lock:
            self.live += change


def toy_model(
    stages: int = 4,
    *,
    validated: Sequence[float | None] = VALIDATED,
    segments: Sequence[tuple[int, int]] | None = None,
    work: Callable[[int, int, int], object] | None = None,
) -> PreparedModel:
    """A model of grey images of 4 x 4 pixels and 5 classes that a `ToyBackend` runs."""
    return PreparedModel(toy_manifest(stages, validated), ToyBackend(stages, segments=segments, work=work))


def toy_manifest(stages: int = 4, validated: Sequence[float | None] = VALIDATED) -> Manifest:
    """What `toy_model` knows of its net."""
    records = tuple(
        StageRecord(k, macs=100 * k, full=120 * k, params=10 * k, val_accuracy=validated[k - 1])
        for k in range(1, stages + 1)
    )
    return Manifest(
        net=None,
        class_names=(("ant", "bee", "cat", "dog", "elk"),),
        preprocessing=Preprocessing(*SHAPE[1:], SHAPE[0], mean=(0.5,), std=(0.25,)),
        input_shape=SHAPE,
        stages=records,
    )


def toy_images(batch: int = 1, seed: int = 0) -> np.ndarray:
    """Standardised images, float32 `(batch, 1, 4, 4)`."""
    return np.random.default_rng(seed).standard_normal((batch, *SHAPE), dtype=np.float32)
