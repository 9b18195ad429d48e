"""What backends of exported folders share: states in numpy's buffers, to which segments are bound once."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from anytimenet.core import checks
from anytimenet.core.segments import INPUT, SegmentSpec, TensorSpec
from anytimenet.runtime.backends.backend import Output, Placement, State
from anytimenet.runtime.backends.prefix_buffers import BufferPool, Buffers, Growth, Needs, grown, settle
from anytimenet.runtime.backends.usable import usable

NEW = ".new"
"""Behind the name of a tensor that a segment gives, for one of that name may go in."""


STATES_IN_FLOAT16 = 5e-3
"""The tolerance where states are kept in float16, which has eleven bits: they are rounded at each stage."""


class Exported(Protocol):
    """What backends read of an exported folder; `runtime.ExportedNet` is one."""

    @property
    def kind(self) -> str: ...

    @property
    def dtype(self) -> str: ...

    @property
    def segments(self) -> frozenset[tuple[int, int]]: ...

    @property
    def segment_specs(self) -> tuple[SegmentSpec, ...]: ...

    @property
    def num_stages(self) -> int: ...

    def files_of(self, start: int, stop: int) -> tuple[Path, ...]: ...

    def spec_of(self, start: int, stop: int) -> SegmentSpec: ...

    def weight_files(self, stage: int) -> tuple[Path, ...]: ...

    def recheck(self, start: int, stop: int) -> None: ...


@contextmanager
def opening(source: Exported, start: int, stop: int) -> Iterator[None]:
    """Where an engine cannot open a segment, files that changed since they were loaded are named first."""
    try:
        yield
    except Exception:
        source.recheck(start, stop)
        raise


class BufferedBackend(ABC):
    """States in buffers: one image writes behind what is finished, larger batches are joined by copying.

    An engine gives `name`, `tolerance`, `prepare`, `prepared`, and `_bind`.

    Args:
        source: the exported folder.
        placement: where and how it runs.
    """

    name: str
    tolerance: float

    def __init__(self, source: Exported, placement: Placement) -> None:
        self.placement = placement
        self._source = source
        if any(tensor.dtype == "float16" for spec in source.segment_specs for tensor in spec.reads):
            self.tolerance = STATES_IN_FLOAT16
        self._needs = Needs(source.segment_specs)
        self._pool = BufferPool(self._needs)
        self._lock = threading.Lock()

    @property
    @abstractmethod
    def prepared(self) -> Mapping[tuple[int, int], int]:
        """The segments that are ready, and the bytes of their weights; engines share none."""

    @abstractmethod
    def prepare(self, start: int, stop: int) -> None:
        """Makes a segment ready; see `Backend.prepare`."""

    @abstractmethod
    def _bind(
        self,
        spec: SegmentSpec,
        inputs: Mapping[str, np.ndarray],
        outputs: Mapping[str, np.ndarray],
        batch: int,
    ) -> Callable[[], None]:
        """The segment of `spec` as a function that reads and writes these arrays whenever it is called.

        Outputs have the names of the exported files: tensors of the next state with `NEW` behind them, then
        the logits. The arrays live as long as the function.
        """

    @property
    def num_stages(self) -> int:
        """K."""
        return self._source.num_stages

    @property
    def segments(self) -> frozenset[tuple[int, int]]:
        """Every (start, stop) that was exported."""
        return self._source.segments

    @property
    def nbytes(self) -> int:
        """Bytes of the weights of all prepared segments."""
        return sum(self.prepared.values())

    def begin(self, x: np.ndarray) -> State:
        """The state before stage 1; `x` is copied.

        Raises:
            TypeError, ValueError: for inputs of another kind or size than was exported.
        """
        checks.instance(x, np.ndarray, "x", "a float32 array (N, C, H, W)")
        shape = self._needs.state(0)[0].shape
        if x.ndim != len(shape) + 1 or tuple(x.shape[1:]) != shape or not len(x):
            wanted = ", ".join(map(str, ("N", *shape)))
            raise ValueError(
                f"x: inputs ({wanted}) are needed, not {tuple(x.shape)}; an export reads one size"
            )
        if not np.issubdtype(x.dtype, np.floating):
            raise ValueError(f"x must be standardised floats, not {x.dtype}")
        return self._filled(0, {INPUT: x})

    def run(self, start: int, stop: int, state: State) -> tuple[State, Output]:
        """The state and the output at `stop`; `state`, which must be at `start`, is used up.

        Raises:
            ValueError: for a segment that was not exported, or a state that is used up or elsewhere.
            BackendError: if the engine fails.
        """
        given, spec = usable(state, BufferedState, start), self._source.spec_of(start, stop)
        bound = self._bound(spec, given.buffers)
        buffers = given.take_buffers()
        output = bound.run()
        specs = self._needs.state(stop)
        if not specs:  # nothing can follow, so that the memory may serve the next run
            self._pool.give_back(buffers)
            buffers = Buffers(self._needs, given.batch)
        return BufferedState(stop, given.batch, buffers, specs), output

    def save(self, state: State) -> dict[str, np.ndarray]:
        """Copies of the state's tensors by name."""
        given = usable(state, BufferedState)
        return {spec.name: given.buffers.tensor(spec).copy() for spec in given.specs}

    def restore(self, stage: int, tensors: Mapping[str, np.ndarray]) -> State:
        """The state that `save` wrote, bit for bit.

        Raises:
            ValueError: if these are not the tensors of that stage, or hold bits that are no numbers here.
        """
        wanted = {spec.name: spec.shape for spec in self._needs.state(stage)}
        given = {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
        batches = {len(tensor) for tensor in tensors.values()}
        if wanted != given or len(batches) > 1:
            raise ValueError(f"the state at stage {stage} holds {wanted} of each example, not {given}")
        for name, tensor in tensors.items():
            if not np.issubdtype(tensor.dtype, np.floating):  # bfloat16 is saved as its bits
                raise ValueError(
                    f"{name!r} of stage {stage} holds floats here, not {tensor.dtype}: save it from a "
                    "backend that keeps its states in float32"
                )
        return self._filled(stage, tensors)

    def rows(self, state: State, index: Sequence[int]) -> State:
        """The state of these examples of the batch, in that order; `state` is used up.

        Raises:
            ValueError: for an example that is not there.
        """
        given, chosen = usable(state, BufferedState), [int(place) for place in index]
        if not all(0 <= place < given.batch for place in chosen):
            raise ValueError(f"rows {chosen}: examples 0 to {given.batch - 1} are there")
        tensors = {spec.name: given.buffers.tensor(spec)[chosen] for spec in given.specs}
        self.release(given)
        return self._filled(given.stage, tensors)

    def release(self, state: State) -> None:
        """The memory of the state may be given to another run."""
        if isinstance(state, BufferedState) and not state.used_up and state.specs:
            self._pool.give_back(state.take_buffers())

    def _rehearse(self, start: int, stop: int) -> None:
        """Binds a segment to the buffers that the next run of one image gets, and runs it once on zeros."""
        spec = self._source.spec_of(start, stop)
        buffers = self._pool.take(1)
        for tensor in spec.reads:
            buffers.fill(tensor, np.zeros(1, tensor.dtype))
        self._bound(spec, buffers).run()
        self._pool.give_back(buffers)

    def _bound(self, spec: SegmentSpec, buffers: Buffers) -> _Bound:
        """The segment on these buffers, bound when it is first asked for."""
        pair = (spec.start, spec.stop)
        if pair not in buffers.kept:
            growths = [grown(buffers, spec, change) for change in spec.changes]
            logits = [np.empty((buffers.batch, *level.shape), np.float32) for level in spec.outputs]
            inputs = {tensor.name: buffers.tensor(tensor) for tensor in spec.reads}
            names = [*(change.name + NEW for change in spec.changes), *(level.name for level in spec.outputs)]
            arrays = [*(growth.target for growth in growths), *logits]
            call = self._bind(spec, inputs, dict(zip(names, arrays, strict=True)), buffers.batch)
            buffers.kept[pair] = _Bound(call, growths, logits)
        bound: _Bound = buffers.kept[pair]
        return bound

    def _filled(self, stage: int, tensors: Mapping[str, np.ndarray]) -> BufferedState:
        batch = len(next(iter(tensors.values()))) if tensors else 0
        specs = self._needs.state(stage)
        buffers = self._pool.take(batch)
        for spec in specs:
            buffers.fill(spec, tensors[spec.name])
        return BufferedState(stage, batch, buffers, specs)


class BufferedState:
    """A state: a stage, and the buffers that its tensors lie in."""

    def __init__(self, stage: int, batch: int, buffers: Buffers, specs: tuple[TensorSpec, ...]) -> None:
        self.stage, self.batch, self.buffers, self.specs = stage, batch, buffers, specs
        self.used_up = False

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers."""
        return 0 if self.used_up else self.buffers.nbytes

    def take_buffers(self) -> Buffers:
        """Its buffers, which it has no longer."""
        self.used_up = True
        return self.buffers


class _Bound:
    """A segment on its buffers: it runs, and what it wrote elsewhere is brought to its place."""

    def __init__(
        self, call: Callable[[], None], growths: Sequence[Growth], logits: Sequence[np.ndarray]
    ) -> None:
        self._call, self._logits = call, logits
        self._targets = [growth.target for growth in growths]  # they live as long as what was bound to them
        self._moved = [growth for growth in growths if growth.before is not None or growth.place is not None]

    def run(self) -> Output:
        self._call()
        if self._moved:
            settle(self._moved)
        return tuple(level.copy() for level in self._logits)
