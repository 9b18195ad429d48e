"""ONNX segments whose convolutions compute with 8-bit whole numbers, quantised after training.

Ranges of activations are those that calibration images show; each output channel of a weight has a scale of
its own. States and outputs stay float32, so that every segment begins where any other may have ended.

Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", section 2; the scheme is ONNX Runtime's static quantisation (QDQ).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from anytimenet.core.errors import BackendError, require
from anytimenet.core.files.writing import write_bytes
from anytimenet.core.segments import SegmentSpec
from anytimenet.export import onnx_files
from anytimenet.export.job import Job, Written
from anytimenet.nets.contract import AnytimeNet

CHUNK = 32
"""Calibration images that run together."""


def write(job: Job) -> Written:
    """Writes each segment as one file with weights of its own, whose scales belong to it.

    Raises:
        BackendError: if a segment cannot be written.
        MissingExtraError: if onnx or onnxruntime is not installed.
    """
    assert job.calibration is not None
    segments = {}
    with TemporaryDirectory() as folder:
        exact = onnx_files.write(replace(job, folder=Path(folder)))
        for spec in job.specs:
            pair = spec.start, spec.stop
            reader = CalibrationImages(job.net, spec, job.calibration)
            name = f"segment-{spec.start}-{spec.stop}.int8.onnx"
            try:
                content = quantised(Path(folder) / exact.segments[pair][0], reader)
            except Exception as error:  # its own classes, which have no common base
                reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
                raise BackendError(
                    f"segment {pair} cannot be quantised ({reason}): export it without int8"
                ) from error
            write_bytes(job.folder / name, content)
            segments[pair] = (name,)
    return Written(((),) * job.net.num_stages, segments, opset=exact.opset)


class CalibrationImages:
    """The states that a segment reads for each chunk of images, as ONNX Runtime's calibration asks for them.

    Args:
        net: that gives the states.
        spec: of the segment.
        images: standardised, `(N, C, H, W)`.
    """

    def __init__(self, net: AnytimeNet, spec: SegmentSpec, images: np.ndarray) -> None:
        snapshot = net.snapshot()
        self._steps = [snapshot.segment(stage - 1, stage) for stage in range(1, spec.start + 1)]
        self._dtypes = {tensor.name: np.dtype(tensor.dtype) for tensor in spec.reads}
        self._images = images
        self._place = 0

    @torch.inference_mode()
    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next chunk, None after the last."""
        images = self._images[self._place : self._place + CHUNK]
        self._place += CHUNK
        if not len(images):
            return None
        state: tuple[torch.Tensor, ...] = (torch.from_numpy(images),)
        for step in self._steps:
            state, _ = step(state)
        named = zip(self._dtypes.items(), state, strict=True)
        return {name: np.ascontiguousarray(tensor.numpy().astype(dtype)) for (name, dtype), tensor in named}

    def rewind(self) -> None:
        """Begins again, for a calibration that reads twice."""
        self._place = 0

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        while (chunk := self.get_next()) is not None:
            yield chunk


def quantised(model: Path, reader: CalibrationImages) -> bytes:
    """The model with 8-bit convolutions, its weights inside."""
    quantization: Any = require("onnxruntime.quantization", "export")
    folded, goal = model.with_suffix(".folded.onnx"), model.with_suffix(".int8.onnx")
    _fold(model, folded)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        get_next = staticmethod(reader.get_next)

    with _quiet():
        quantization.quantize_static(
            folded,
            goal,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            # Without VNNI two products are added in 16 bits, and saturate: 7 bits of weights never do.
            reduce_range=True,
            op_types_to_quantize=["Conv"],
        )
    return goal.read_bytes()


def _fold(model: Path, folded: Path) -> None:
    """Writes the model once more, with whole weights in place of cuts, and norms in the convolutions."""
    onnxruntime: Any = require("onnxruntime", "export")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, advice to prepare the model, which was prepared, is not given."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
