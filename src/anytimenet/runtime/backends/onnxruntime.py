"""ONNX Runtime: one session a segment, on buffers that are bound once and written in place."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from anytimenet.core.errors import BackendError, require
from anytimenet.core.segments import INPUT, SegmentSpec, TensorSpec
from anytimenet.runtime.backends.backend import Output, Placement, State
from anytimenet.runtime.backends.prefix_buffers import BufferPool, Buffers, Needs, grown, settle

TOLERANCE = 1e-5
_LEAST_SEVERE = 3  # errors


class Exported(Protocol):
    """What the backend reads of an exported folder; `runtime.ExportedNet` is one."""

    @property
    def kind(self) -> str: ...

    @property
    def segments(self) -> frozenset[tuple[int, int]]: ...

    @property
    def segment_specs(self) -> tuple[SegmentSpec, ...]: ...

    @property
    def num_stages(self) -> int: ...

    def files_of(self, start: int, stop: int) -> tuple[Path, ...]: ...

    def spec_of(self, start: int, stop: int) -> SegmentSpec: ...


class OnnxRuntime:
    """Runs the segments of a folder of kind "onnx" on the processor.

    One image runs on buffers that hold the largest state: what a segment appends to a tensor is written
    directly behind what is finished, and nothing is copied. Larger batches are joined by copying.

    Args:
        source: the exported folder.
        placement: of device "cpu" and dtype "float32".

    Raises:
        BackendError: for a folder of another kind, or another placement.
        MissingExtraError: if onnxruntime is not installed.
    """

    name = "onnxruntime"
    tolerance = TOLERANCE

    def __init__(self, source: Exported, placement: Placement) -> None:
        self._onnxruntime = require("onnxruntime", "runtime")
        if source.kind != "onnx":
            raise BackendError(
                f"onnxruntime runs ONNX files, and this folder holds {source.kind}: export it with "
                "--format onnx"
            )
        if placement.device != "cpu" or placement.dtype != "float32":
            raise BackendError(
                f"onnxruntime runs here on cpu in float32, not on {placement.device} in {placement.dtype}"
            )
        self.placement = placement
        self._source = source
        self._needs = Needs(source.segment_specs)
        self._sessions: dict[tuple[int, int], _Prepared] = {}
        self._pool = BufferPool(self._needs)
        self._lock = threading.Lock()

    @property
    def num_stages(self) -> int:
        """K."""
        return self._source.num_stages

    @property
    def segments(self) -> frozenset[tuple[int, int]]:
        """Every (start, stop) that was exported."""
        return self._source.segments

    @property
    def prepared(self) -> Mapping[tuple[int, int], int]:
        """The segments that are ready, and the bytes of their weights; sessions share none."""
        return {pair: one.spec.weight_bytes for pair, one in sorted(self._sessions.items())}

    @property
    def nbytes(self) -> int:
        """Bytes of the weights of all prepared segments."""
        return sum(self.prepared.values())

    def prepare(self, start: int, stop: int) -> None:
        """Opens the session of a segment; see `Backend.prepare`."""
        self._prepared(start, stop)

    def begin(self, x: np.ndarray) -> State:
        """The state before stage 1; `x` is copied."""
        spec = self._needs.state(0)[0]
        if x.ndim != len(spec.shape) + 1 or tuple(x.shape[1:]) != spec.shape:
            raise ValueError(
                f"inputs (N, {', '.join(map(str, spec.shape))}) are needed, not {tuple(x.shape)}"
            )
        return self._filled(0, {INPUT: x})

    def run(self, start: int, stop: int, state: State) -> tuple[State, Output]:
        """The state and the output at `stop`; `state`, which must be at `start`, is used up.

        Raises:
            ValueError: for a segment that was not exported, or a state that is used up or elsewhere.
        """
        given = _usable(state, start)
        prepared = self._prepared(start, stop)
        buffers = given.take_buffers()
        output = prepared.run(buffers)
        specs = self._needs.state(stop)
        if not specs:  # nothing can follow, so that the memory may serve the next run
            self._pool.give_back(buffers)
            buffers = Buffers(self._needs, given.batch)
        return _BufferedState(stop, given.batch, buffers, specs), output

    def save(self, state: State) -> dict[str, np.ndarray]:
        """Copies of the state's tensors by name."""
        given = _usable(state)
        return {spec.name: given.buffers.tensor(spec).copy() for spec in given.specs}

    def restore(self, stage: int, tensors: Mapping[str, np.ndarray]) -> State:
        """The state that `save` wrote; see `Backend.restore`."""
        wanted = {spec.name: spec.shape for spec in self._needs.state(stage)}
        given = {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
        batches = {len(tensor) for tensor in tensors.values()}
        if wanted != given or len(batches) > 1:
            raise ValueError(f"the state at stage {stage} holds {wanted} of each example, not {given}")
        return self._filled(stage, tensors)

    def rows(self, state: State, index: Sequence[int]) -> State:
        """The state of these examples of the batch; `state` is used up.

        Raises:
            ValueError: for an example that is not there.
        """
        given, chosen = _usable(state), [int(place) for place in index]
        if not all(0 <= place < given.batch for place in chosen):
            raise ValueError(f"rows {chosen}: examples 0 to {given.batch - 1} are there")
        tensors = {spec.name: given.buffers.tensor(spec)[chosen] for spec in given.specs}
        self.release(given)
        return self._filled(given.stage, tensors)

    def release(self, state: State) -> None:
        """The memory of the state may be given to another run."""
        if isinstance(state, _BufferedState) and not state.used_up and state.specs:
            self._pool.give_back(state.take_buffers())

    def _filled(self, stage: int, tensors: Mapping[str, np.ndarray]) -> State:
        batch = len(next(iter(tensors.values()))) if tensors else 0
        specs = self._needs.state(stage)
        buffers = self._pool.take(batch)
        for spec in specs:
            buffers.fill(spec, tensors[spec.name])
        return _BufferedState(stage, batch, buffers, specs)

    def _prepared(self, start: int, stop: int) -> _Prepared:
        found = self._sessions.get((start, stop))
        if found is None:
            with self._lock:
                found = self._sessions.get((start, stop)) or self._open(start, stop)
                self._sessions[start, stop] = found
        return found

    def _open(self, start: int, stop: int) -> _Prepared:
        spec, file = self._source.spec_of(start, stop), self._source.files_of(start, stop)[0]
        options = self._onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.placement.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _LEAST_SEVERE
        # A thread that waits for work in a loop takes the processor from whoever else is here.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = self._onnxruntime.InferenceSession(
                str(file), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its own classes, which have no common base
            reason = str(error).strip().partition("\n")[0]
            raise BackendError(
                f"{file} cannot be opened by onnxruntime {self._onnxruntime.__version__} ({reason}): "
                "export it again, or upgrade onnxruntime"
            ) from error
        return _Prepared(session, spec)


class _BufferedState:
    """A state of this backend: a stage, and the buffers that its tensors lie in."""

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


def _usable(state: object, stage: int | None = None) -> _BufferedState:
    """`state`, if a run can go on from it.

    Raises:
        TypeError: for a state of another backend.
        ValueError: if it is used up, or at another stage.
    """
    if not isinstance(state, _BufferedState):
        raise TypeError(f"a state that this backend gave is needed, not a {type(state).__name__}")
    if state.used_up:
        raise ValueError(
            f"the state at stage {state.stage} is used up: go on from the one that the last run gave, "
            "or restore one that was saved"
        )
    if stage is not None and state.stage != stage:
        raise ValueError(f"the state is at stage {state.stage}, and the segment starts at {stage}")
    return state


class _Prepared:
    """A session, and how it is bound to buffers."""

    def __init__(self, session: Any, spec: SegmentSpec) -> None:
        self.session, self.spec = session, spec
        self._outputs = [each.name for each in session.get_outputs()]

    def run(self, buffers: Buffers) -> Output:
        """Runs on the state in the buffers, and leaves the new state there."""
        bound = buffers.kept.get(self)
        if bound is None:
            bound = self._bind(buffers)
            buffers.kept[self] = bound
        binding, given, logits = bound
        self.session.run_with_iobinding(binding)
        settle(given)
        return tuple(level.copy() for level in logits)

    def _bind(self, buffers: Buffers) -> Any:
        binding = self.session.io_binding()
        for spec in self.spec.reads:
            tensor = buffers.tensor(spec)
            binding.bind_input(spec.name, "cpu", 0, np.float32, tensor.shape, tensor.ctypes.data)
        given = [grown(buffers, self.spec, change) for change in self.spec.changes]
        logits = [np.empty((buffers.batch, *level.shape), np.float32) for level in self.spec.outputs]
        places = [*(growth.target for growth in given), *logits]
        for name, array in zip(self._outputs, places, strict=True):
            binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        return binding, given, logits
