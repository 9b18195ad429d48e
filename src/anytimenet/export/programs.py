"""Runs folders of format "torch"; importing this module is what allows it.

A `torch.export` program is read by PyTorch in ways that a file made on purpose can use to run code: unlike
the other formats, a folder of this one is as good as a program. Import this for folders of people whose
programs you would run. PyTorch of at least the version that wrote it is needed, and none of the net's code.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from anytimenet.core.errors import BackendError
from anytimenet.core.files.regular import read_regular
from anytimenet.core.segments import SegmentSpec
from anytimenet.export.torch_files import built
from anytimenet.runtime.backends.backend import Placement
from anytimenet.runtime.backends.buffered import BufferedBackend, Exported
from anytimenet.runtime.backends.known import register_backend
from anytimenet.runtime.backends.openvino import unpacked
from anytimenet.runtime.exported.net import ExportedNet

_LARGEST = 2**40


class TorchPrograms(BufferedBackend):
    """Segments as `torch.export` programs on the processor; all share the weights that lie in the files.

    Args:
        source: an exported folder of kind "torch".
        placement: device "cpu" and "float32". Threads are those that PyTorch has.

    Raises:
        BackendError: for a folder of another kind, or another placement.
    """

    name = "torch"
    tolerance = 1e-5

    def __init__(self, source: Exported, placement: Placement) -> None:
        super().__init__(source, placement)
        if source.kind != "torch":
            raise BackendError(
                f"torch programs are not in a folder of kind {source.kind}: export it with format='torch'"
            )
        if (placement.device, placement.dtype, source.dtype) != ("cpu", "float32", "float32"):
            raise BackendError(
                f"torch programs run on cpu in float32, not on {placement.device} in {placement.dtype}"
            )
        self._programs: dict[tuple[int, int], tuple[Any, tuple[torch.Tensor, ...]]] = {}
        self._files: dict[str, bytearray] = {}

    @property
    def prepared(self) -> Mapping[tuple[int, int], int]:
        """The segments that are ready, and the bytes of the weights that each put together from pieces."""
        return {
            pair: sum(each.nbytes for each in weights if not self._lies_in_a_file(each))
            for pair, (_, weights) in sorted(self._programs.items())
        }

    @property
    def nbytes(self) -> int:
        """Bytes of the weight files that were read, and of what was put together."""
        return sum(map(len, self._files.values())) + sum(self.prepared.values())

    def prepare(self, start: int, stop: int) -> None:
        """Reads a program and its weights; see `Backend.prepare`."""
        self._program(self._source.spec_of(start, stop))

    def _bind(
        self,
        spec: SegmentSpec,
        inputs: Mapping[str, np.ndarray],
        outputs: Mapping[str, np.ndarray],
        batch: int,
    ) -> Callable[[], None]:
        program, weights = self._program(spec)
        state = tuple(torch.from_numpy(array) for array in inputs.values())
        goals = [torch.from_numpy(array) for array in outputs.values()]

        def run() -> None:
            with torch.inference_mode():
                for goal, found in zip(goals, program(weights, state), strict=True):
                    goal.copy_(found)

        return run

    def _lies_in_a_file(self, weight: torch.Tensor) -> bool:
        place = weight.untyped_storage().data_ptr()
        begins = [(np.frombuffer(data, np.uint8).ctypes.data, len(data)) for data in self._files.values()]
        return any(begin <= place < begin + length for begin, length in begins)

    def _program(self, spec: SegmentSpec) -> tuple[Any, tuple[torch.Tensor, ...]]:
        pair = spec.start, spec.stop
        with self._lock:
            if pair not in self._programs:
                for stage in range(1, spec.stop + 1):
                    for file in self._source.weight_files(stage):
                        if file.name not in self._files:
                            self._files[file.name] = bytearray(read_regular(file, _LARGEST))
                graph, pieces = self._source.files_of(*pair)
                try:
                    told = json.loads(unpacked(read_regular(pieces, _LARGEST)))
                    with _quiet():
                        program = torch.export.load(io.BytesIO(unpacked(read_regular(graph, _LARGEST))))
                except Exception as error:  # whatever PyTorch stumbles over in a damaged file
                    reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
                    raise BackendError(
                        f"{graph} cannot be read by PyTorch {torch.__version__} ({reason}): export it again, "
                        "or upgrade PyTorch to the version that wrote it"
                    ) from error
                weights = tuple(built(each, self._files) for each in told)
                self._programs[pair] = program.module(), weights
            return self._programs[pair]


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, PyTorch does not tell of sizes that no operator of a program reads."""
    logger = logging.getLogger("torch._export.serde.serialize")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


register_backend(ExportedNet, "torch", TorchPrograms)
