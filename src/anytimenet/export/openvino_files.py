"""OpenVINO's own format: a graph for each segment, compressed, and weight files by stage that all share.

OpenVINO would write the weights of each segment beside its graph. Here all graphs read one row of bytes, the
weight files of stages 1..K one after the other: equal weights are stored once, and a segment to stage k reads
no byte behind the files of stages 1..k.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

from anytimenet.core.errors import BackendError
from anytimenet.core.files.writing import sha256, write_bytes
from anytimenet.core.segments import SegmentSpec
from anytimenet.export import onnx_files
from anytimenet.export.job import Job, Written
from anytimenet.runtime.backends.openvino import shared_core

ALIGNED = 16
"""Constants begin at multiples of so many bytes."""


def write(job: Job) -> Written:
    """Writes the segments as OpenVINO reads them, by way of ONNX.

    Raises:
        BackendError: if a segment cannot be written.
        MissingExtraError: if openvino or onnx is not installed.
    """
    core = shared_core()
    weights = SharedWeights()
    segments = {}
    with TemporaryDirectory() as folder:
        onnx = onnx_files.write(replace(job, folder=Path(folder)))
        for spec in sorted(job.specs, key=lambda spec: (spec.stop, spec.start)):
            source = Path(folder) / onnx.segments[spec.start, spec.stop][0]
            graph = _graph(core, source, weights, spec)
            name = f"segment-{spec.start}-{spec.stop}.xml.gz"
            write_bytes(job.folder / name, gzip.compress(graph, mtime=0))
            segments[spec.start, spec.stop] = (name,)
    stages = job.net.num_stages
    names = [f"weights-{stage:05d}-of-{stages:05d}.bin" for stage in range(1, stages + 1)]
    for stage, name in enumerate(names, 1):
        write_bytes(job.folder / name, weights.of(stage))
    return Written(tuple((name,) for name in names), segments)


class SharedWeights:
    """Constants in the order of the stages that need them first; equal ones are one.

    >>> weights = SharedWeights()
    >>> weights.place(b"one", 1), weights.place(b"two", 2), weights.place(b"one", 2)
    (0, 16, 0)
    >>> len(weights.of(1)), len(weights.of(2))
    (16, 16)
    """

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._stages: dict[int, bytearray] = {}
        self._length = 0

    def place(self, data: bytes, stage: int) -> int:
        """The byte where `data` begins; what is new is added to the file of `stage`, which never falls."""
        key = sha256(data)
        if key not in self._places:
            self._places[key] = self._length
            padded = data + bytes(-len(data) % ALIGNED)
            self._stages.setdefault(stage, bytearray()).extend(padded)
            self._length += len(padded)
        return self._places[key]

    def of(self, stage: int) -> bytes:
        """The file of a stage."""
        return bytes(self._stages.get(stage, b""))


def _graph(core: Any, source: Path, weights: SharedWeights, spec: SegmentSpec) -> bytes:
    """The graph of a segment, its constants in the shared weights."""
    from openvino import serialize

    graph, data = source.with_suffix(".xml"), source.with_suffix(".bin")
    try:
        serialize(core.read_model(str(source)), str(graph), str(data))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise BackendError(
            f"segment ({spec.start}, {spec.stop}) cannot be written for OpenVINO ({reason}): export it with "
            "format='onnx', which OpenVINO reads, too"
        ) from error
    constants, tree = data.read_bytes(), ElementTree.parse(graph)
    for layer in tree.iter("layer"):
        told = layer.find("data")
        if layer.get("type") == "Const" and told is not None:
            _move(told.attrib, constants, weights, spec.stop)
    for parent in tree.iter():
        for child in [child for child in parent if child.tag == "rt_info"]:
            parent.remove(child)  # says where it came from: names of temporary files
        parent.tail = None
        if parent.text is not None and not parent.text.strip():
            parent.text = None
    text: bytes = ElementTree.tostring(tree.getroot(), encoding="utf-8")
    return text


def _move(told: Mapping[str, str], constants: bytes, weights: SharedWeights, stage: int) -> None:
    begin, size = int(told["offset"]), int(told["size"])
    told["offset"] = str(weights.place(constants[begin : begin + size], stage))  # type: ignore[index]
