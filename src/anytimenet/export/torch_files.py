"""The format "torch": a `torch.export` program a segment, which takes its weights as inputs.

Programs hold no weights: these lie once, in the shards of the bundle. `segment-A-B.json.gz` says what each
weight of a program is made of, in the order in which it takes them.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from anytimenet.core.errors import BackendError
from anytimenet.core.files.writing import write_bytes
from anytimenet.core.segments import SegmentSpec
from anytimenet.export.job import Job, Written
from anytimenet.export.stored import Cut, Piece, Stored, StoredWeights, Together, pieces_of, tensors_by_name
from anytimenet.export.tracing import BATCH, EXAMPLES, Work
from anytimenet.layers.snapshots import tensor_names
from anytimenet.nets.contract import Segment

_ABOUT_SOURCES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")


def write(job: Job) -> Written:
    """Writes weights, programs, and what the weights of each program are made of.

    Raises:
        BackendError: if a segment cannot be written.
    """
    stored = StoredWeights(job.net)
    for name, data in stored.files:
        write_bytes(job.folder / name, data)
    snapshot = job.net.snapshot()
    segments = {}
    for spec in job.specs:
        segment = snapshot.segment(spec.start, spec.stop)
        once = {name for names in tensor_names(segment) for name in names[:1]}
        pieces = {name: piece for name, piece in pieces_of(segment, stored).items() if name in once}
        stem = f"segment-{spec.start}-{spec.stop}"
        write_bytes(job.folder / f"{stem}.pt2.gz", packed(program_of(segment, spec, list(pieces))))
        told = json.dumps([as_json(piece) for piece in pieces.values()], separators=(",", ":"))
        write_bytes(job.folder / f"{stem}.json.gz", gzip.compress(told.encode(), mtime=0))
        segments[spec.start, spec.stop] = (f"{stem}.pt2.gz", f"{stem}.json.gz")
    return Written(tuple((name,) for name, _ in stored.files), segments)


def program_of(segment: Segment, spec: SegmentSpec, names: Sequence[str]) -> ExportedProgram:
    """`(weights, state) -> (what is new of the state..., logits...)` for any batch.

    Args:
        names: of the tensors of the segment that are inputs.
    """
    work = _Functional(Work(segment, spec), names)
    weights = tuple(tensors_by_name(segment)[name] for name in names)
    state = tuple(
        torch.zeros(EXAMPLES, *tensor.shape, dtype=getattr(torch, tensor.dtype)) for tensor in spec.reads
    )
    batch = Dim(BATCH)
    shapes: Any = (tuple({} for _ in weights), tuple({0: batch} for _ in state))
    try:
        with torch.no_grad():
            program = torch.export.export(work, (weights, state), dynamic_shapes=shapes, strict=False)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise BackendError(
            f"segment ({spec.start}, {spec.stop}) cannot be exported ({type(error).__name__}: {reason}): "
            "anytimenet.testing.check_anytime_net(net, input_shape) says what to mend"
        ) from error
    for node in program.graph.nodes:  # names of our sources, which would be most of the file
        for key in _ABOUT_SOURCES:
            node.meta.pop(key, None)
    program.example_inputs = None
    return program


class _Functional(nn.Module):
    """A module whose weights are arguments; it holds none that would be stored."""

    def __init__(self, work: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self._work = (work,)  # a tuple is no child
        same = {every[0]: every for every in tensor_names(work)}
        self._names = [same[f"segment.{name}"] for name in names]

    def forward(self, weights: Sequence[Tensor], state: Sequence[Tensor]) -> Any:
        given = {name: weight for same, weight in zip(self._names, weights, strict=True) for name in same}
        return torch.func.functional_call(self._work[0], given, tuple(state), tie_weights=False)


def packed(program: ExportedProgram) -> bytes:
    """The program as a compressed file."""
    file = io.BytesIO()
    torch.export.save(program, file)
    return gzip.compress(file.getvalue(), mtime=0)


def as_json(piece: Piece) -> dict[str, Any]:
    """What a weight is made of.

    >>> as_json(Cut(Stored("a.safetensors", 64, (4, 3)), ((0, 2), (0, 3))))["box"]
    [[0, 2], [0, 3]]
    """
    if isinstance(piece, Stored):
        return {"file": piece.file, "offset": piece.offset, "shape": list(piece.shape)}
    if isinstance(piece, Cut):
        return {"of": as_json(piece.of), "box": [list(side) for side in piece.box]}
    assert isinstance(piece, Together)
    return {"axis": piece.axis, "pieces": [as_json(each) for each in piece.pieces]}


def built(told: Mapping[str, Any], files: Mapping[str, bytearray]) -> Tensor:
    """The float32 tensor that `as_json` told of, a view of its file where it can be one.

    Raises:
        BackendError: if the files do not hold it.
    """
    try:
        if "file" in told:
            shape, data = [int(size) for size in told["shape"]], files[told["file"]]
            count = int(torch.Size(shape).numel())
            if not 0 <= told["offset"] <= len(data) - 4 * count or min(shape, default=1) < 0:
                raise ValueError("it lies outside of its file")
            return torch.frombuffer(data, dtype=torch.float32, count=count, offset=told["offset"]).view(shape)
        if "box" in told:
            sides = tuple(slice(int(start), int(stop)) for start, stop in told["box"])
            return built(told["of"], files)[sides]
        return torch.cat([built(each, files) for each in told["pieces"]], int(told["axis"]))
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
        raise BackendError(f"a weight of a program cannot be found ({error}): export it again") from error
