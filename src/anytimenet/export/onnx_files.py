"""The format "onnx": one ONNX file a segment, and the weights once, in the shards of the bundle."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch

from anytimenet.core.errors import require
from anytimenet.core.files.writing import write_bytes
from anytimenet.export.graph import OPSET, Graph
from anytimenet.export.job import Job, Written
from anytimenet.export.lowering import lower
from anytimenet.export.stored import Piece, StoredWeights, pieces_of
from anytimenet.export.tracing import BATCH, Traced, segment_name, trace
from anytimenet.export.unknown import UnknownOperatorError


def write(job: Job) -> Written:
    """Writes weights and segments."""
    stored = StoredWeights(job.net)
    for name, data in stored.files:
        write_bytes(job.folder / name, data)
    snapshot = job.net.snapshot()
    segments = {}
    for spec in job.specs:
        pair = spec.start, spec.stop
        segment = snapshot.segment(*pair)
        model = model_of(trace(segment, spec), pieces_of(segment, stored))
        name = f"segment-{spec.start}-{spec.stop}.onnx"
        write_bytes(job.folder / name, model)
        segments[pair] = (name,)
    return Written(tuple((name,) for name, _ in stored.files), segments, opset=OPSET)


def model_of(traced: Traced, pieces: Mapping[str, Piece]) -> bytes:
    """The ONNX file of a program, whose parameters and buffers are made of these pieces."""
    try:
        content: bytes = lower(traced, pieces).SerializeToString()
        return content
    except UnknownOperatorError:
        return _by_torch(traced, pieces)


def _by_torch(traced: Traced, pieces: Mapping[str, Piece]) -> bytes:
    """By PyTorch's own exporter, which knows more operators and writes several nodes for each."""
    onnx = require("onnx", "export")
    require("onnxscript", "export")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the exporter's own making
        warnings.simplefilter("ignore", DeprecationWarning)
        program = torch.onnx.export(
            traced.program,
            dynamo=True,
            verbose=False,
            optimize=False,
            input_names=[tensor.name for tensor in traced.inputs],
            output_names=[tensor.name for tensor in traced.outputs],
        )
    assert program is not None
    model = program.model_proto
    graph = Graph("s")
    given = {each.name: segment_name(each.name) for each in model.graph.initializer}
    for each in list(model.graph.initializer):
        if given[each.name] in pieces:
            graph.nodes.append(
                onnx.helper.make_node("Identity", [graph.weight(pieces[given[each.name]])], [each.name])
            )
            model.graph.initializer.remove(each)
    nodes, tensors = graph.pruned([name for name in given if given[name] in pieces])
    model.graph.initializer.extend(tensors)
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    content: bytes = model.SerializeToString()
    return content
