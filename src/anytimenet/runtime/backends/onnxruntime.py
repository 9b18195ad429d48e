"""ONNX Runtime: one session a segment, on buffers that are bound once and written in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from anytimenet.core.errors import BackendError, require
from anytimenet.core.segments import SegmentSpec
from anytimenet.runtime.backends.backend import Placement
from anytimenet.runtime.backends.buffered import BufferedBackend, Exported, opening

TOLERANCE = 1e-5
_LEAST_SEVERE = 3  # errors


class OnnxRuntime(BufferedBackend):
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
                "format='onnx'"
            )
        if placement.device != "cpu" or placement.dtype != "float32":
            raise BackendError(
                f"onnxruntime runs here on cpu in float32, not on {placement.device} in {placement.dtype}"
            )
        super().__init__(source, placement)
        _share_arena(self._onnxruntime)
        self._sessions: dict[tuple[int, int], Any] = {}

    @property
    def prepared(self) -> Mapping[tuple[int, int], int]:
        """The segments that are ready, and the bytes of their weights; sessions share none."""
        return {pair: self._weight_bytes(*pair) for pair in sorted(self._sessions)}

    def prepare(self, start: int, stop: int) -> None:
        """Opens the session of a segment; see `Backend.prepare`."""
        self._session(start, stop)

    def _bind(
        self,
        spec: SegmentSpec,
        inputs: Mapping[str, np.ndarray],
        outputs: Mapping[str, np.ndarray],
        batch: int,
    ) -> Callable[[], None]:
        session = self._session(spec.start, spec.stop)
        binding = session.io_binding()
        for name, array in inputs.items():
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

        # The binding knows addresses only: what lies there must live as long as it does.
        def run(kept: object = (inputs, outputs)) -> None:
            session.run_with_iobinding(binding)

        return run

    def _weight_bytes(self, start: int, stop: int) -> int:
        if any(self._source.weight_files(stage) for stage in range(1, self.num_stages + 1)):
            return self._source.spec_of(start, stop).weight_bytes
        # 8-bit weights lie in the file of their segment, which is little else.
        return self._source.files_of(start, stop)[0].stat().st_size

    def _session(self, start: int, stop: int) -> Any:
        found = self._sessions.get((start, stop))
        if found is None:
            with self._lock:
                with opening(self._source, start, stop):
                    found = self._sessions.get((start, stop)) or self._open(start, stop)
                self._sessions[start, stop] = found
        return found

    def _open(self, start: int, stop: int) -> Any:
        file = self._source.files_of(start, stop)[0]
        options = self._onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.placement.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _LEAST_SEVERE
        # A thread that waits for work in a loop takes the processor from whoever else is here.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Of one arena: the memory that one segment has just used is in the processor's cache for the next.
        options.add_session_config_entry("session.use_env_allocators", "1")
        try:
            return self._onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own classes, which have no common base
            reason = str(error).strip().partition("\n")[0]
            raise BackendError(
                f"{file} cannot be opened by onnxruntime {self._onnxruntime.__version__} ({reason}): "
                "export it again, or upgrade onnxruntime"
            ) from error


def _share_arena(onnxruntime: Any) -> None:
    """Lets the sessions of this process that ask for it allocate from one arena."""
    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    memory = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    with suppress(Exception):  # there is one already, of an earlier backend or of others in this process
        onnxruntime.create_and_register_allocator(memory, None)
