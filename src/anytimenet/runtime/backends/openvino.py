"""OpenVINO: the segments of an exported folder, from ONNX files or from its own."""

from __future__ import annotations

import gzip
import io
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from anytimenet.core import checks
from anytimenet.core.errors import BackendError, require
from anytimenet.core.files.regular import read_regular
from anytimenet.core.segments import SegmentSpec
from anytimenet.runtime.backends.backend import Placement
from anytimenet.runtime.backends.buffered import BufferedBackend, Exported, opening

KINDS = ("onnx", "openvino")
"""Of exported folders, which this backend reads."""

LARGEST_GRAPH = 2**28
"""Bytes of a segment's graph, once unpacked; its weights are not in it."""

_LARGEST = 2**40
_AGAIN = "export it again, or upgrade openvino"


class OpenVino(BufferedBackend):
    """Segments in OpenVINO, in float32 also where the processor has bfloat16, on one stream.

    Each segment is compiled for a batch of one, which is fastest so, and once more for all other sizes when
    the first batch of them comes; a size in `static_batches` gets a version of its own, too.

    Args:
        source: an exported folder of kind "onnx" or "openvino".
        placement: device "cpu", or another one that OpenVINO finds here, such as "gpu"; threads; "float32".
        static_batches: sizes of batches for which segments are compiled by themselves.

    Raises:
        BackendError: for a folder of another kind, or a device or dtype that OpenVINO cannot use here.
        MissingExtraError: if OpenVINO is not installed.
    """

    name = "openvino"
    tolerance = 1e-5

    def __init__(
        self,
        source: Exported,
        placement: Placement | None = None,
        *,
        static_batches: Sequence[int] = (1,),
    ) -> None:
        super().__init__(source, placement or Placement())
        self._check()
        self._openvino = require("openvino", "openvino")
        self._core = shared_core()
        self._device = self._device_named(self.placement.device)
        self._static = frozenset(checks.whole_numbers(static_batches, "static_batches", 1))
        self._weights = _Weights(source)
        self._compiling = threading.Lock()
        self._compiled: dict[tuple[int, int, int], tuple[Any, int]] = {}
        """By segment and batch size, 0 for any size: what runs, and the bytes of its weights."""

    @property
    def prepared(self) -> Mapping[tuple[int, int], int]:
        """The segments that are ready, and the bytes of the weights of each; OpenVINO shares none."""
        found: dict[tuple[int, int], int] = {}
        for (start, stop, _), (_, size) in sorted(self._compiled.items(), key=lambda item: item[0]):
            found[start, stop] = found.get((start, stop), 0) + size
        return found

    def prepare(self, start: int, stop: int) -> None:
        """Compiles a segment for a batch of one and runs it once; again costs nothing.

        Raises:
            ValueError: for a segment that was not exported.
            BackendError: if OpenVINO cannot compile it.
        """
        self._source.spec_of(start, stop)
        if (start, stop, 1 if 1 in self._static else 0) not in self._compiled:
            self._rehearse(start, stop)

    def _bind(
        self,
        spec: SegmentSpec,
        inputs: Mapping[str, np.ndarray],
        outputs: Mapping[str, np.ndarray],
        batch: int,
    ) -> Callable[[], None]:
        compiled = self._compile(spec, batch if batch in self._static else 0)
        request = compiled.create_infer_request()
        # What a segment does not read of the state need not be an input of its graph.
        there = {name for port in (*compiled.inputs, *compiled.outputs) for name in port.get_names()}
        arrays = {name: array for name, array in {**inputs, **outputs}.items() if name in there}
        tensors = {name: self._openvino.Tensor(array, shared_memory=True) for name, array in arrays.items()}
        for name, tensor in tensors.items():
            request.set_tensor(name, tensor)

        def run(kept: object = (arrays, tensors)) -> None:
            try:
                request.infer()
            except RuntimeError as error:
                raise BackendError(f"OpenVINO failed: {_reason(error)}; {_AGAIN}") from error

        return run

    def _compile(self, spec: SegmentSpec, batch: int) -> Any:
        """The segment for batches of that size; 0 for any."""
        key = (spec.start, spec.stop, batch)
        with self._compiling:
            if key not in self._compiled:
                with opening(self._source, spec.start, spec.stop):
                    self._compiled[key] = self._open(spec, batch)
            return self._compiled[key][0]

    def _open(self, spec: SegmentSpec, batch: int) -> tuple[Any, int]:
        """The compiled segment, and the bytes of its constants."""
        file = self._source.files_of(spec.start, spec.stop)[0]
        try:
            model = self._read(spec)
            there = {name for port in model.inputs for name in port.get_names()}
            reads = [each for each in spec.reads if each.name in there]
            model.reshape({each.name: [batch or -1, *each.shape] for each in reads})
            compiled = self._core.compile_model(model, self._device, self._settings())
            return compiled, constant_bytes(model)
        except RuntimeError as error:
            raise BackendError(f"OpenVINO cannot run {file}: {_reason(error)}; {_AGAIN}") from error

    def _read(self, spec: SegmentSpec) -> Any:
        file = self._source.files_of(spec.start, spec.stop)[0]
        if self._source.kind == "onnx":
            return self._core.read_model(str(file))
        text = unpacked(read_regular(file, LARGEST_GRAPH)).decode()
        weights = self._openvino.Tensor(self._weights.up_to(spec.stop), shared_memory=True)
        return self._core.read_model(text, weights)

    def _settings(self) -> dict[str, Any]:
        common = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if self._device != "CPU":
            return common
        return {
            **common,
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.placement.threads,
            "ENABLE_CPU_PINNING": False,  # several processes would be pinned to the same core
        }

    def _check(self) -> None:
        kind, dtypes = self._source.kind, {self.placement.dtype, self._source.dtype}
        if kind not in KINDS:
            raise BackendError(
                f"OpenVINO reads exports of kind {' or '.join(KINDS)}, and this one is of kind {kind}: "
                "export it with format='onnx'"
            )
        if dtypes != {"float32"}:
            raise BackendError(
                f"the OpenVINO backend computes in float32, not in {', '.join(sorted(dtypes - {'float32'}))}"
            )

    def _device_named(self, name: str) -> str:
        known = list(self._core.available_devices)
        if name.upper() not in known:
            raise BackendError(
                f"OpenVINO finds no device {name!r} here: give one of {[each.lower() for each in known]}"
            )
        return name.upper()


class _Weights:
    """The weight files of stages 1..k as one row of bytes, read when a segment to k is."""

    def __init__(self, source: Exported) -> None:
        self._source = source
        self._stage = 0
        self._bytes = np.empty(0, np.uint8)

    def up_to(self, stage: int) -> np.ndarray:
        """The bytes of the files of stages 1..stage, and perhaps more behind them."""
        if stage > self._stage:
            new = [
                np.frombuffer(read_regular(file, _LARGEST), np.uint8)
                for number in range(self._stage + 1, stage + 1)
                for file in self._source.weight_files(number)
            ]
            self._bytes = np.concatenate([self._bytes, *new])
            self._stage = stage
        return self._bytes


def unpacked(data: bytes) -> bytes:
    """What was compressed as gzip.

    Raises:
        BackendError: if it was not, or would be larger than `LARGEST_GRAPH`.

    >>> unpacked(gzip.compress(b"a graph"))
    b'a graph'
    """
    try:
        with gzip.open(io.BytesIO(data)) as file:
            found = file.read(LARGEST_GRAPH + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BackendError(f"the graph of a segment cannot be unpacked ({error}); {_AGAIN}") from error
    if len(found) > LARGEST_GRAPH:
        raise BackendError(f"the graph of a segment has more than {LARGEST_GRAPH} bytes; {_AGAIN}")
    return found


def constant_bytes(model: Any) -> int:
    """Bytes of the constants of a model, once what is known in advance has been computed."""
    from openvino.passes import ConstantFolding, Manager

    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)
    return sum(each.get_byte_size() for each in model.get_ops() if each.get_type_name() == "Constant")


def _reason(error: Exception) -> str:
    """The last line of what OpenVINO says, which has the cause; those before name its sources."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@cache
def shared_core() -> Any:
    """The one core of this process.

    With a core OpenVINO gives the thread a stack for signals, and puts back the one before as the core goes.
    Of two cores that go in the order in which they came, the second puts back the freed stack of the first,
    and the next signal with a handler, SIGCHLD of a loader for example, ends the process.
    """
    return require("openvino", "openvino").Core()
