"""An ONNX graph while it is written: nodes, and weights that lie in files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from anytimenet.core.segments import TensorSpec
from anytimenet.export.stored import Cut, Piece, Stored, Together
from anytimenet.export.tracing import BATCH

OPSET = 18
"""Of the operators that are written here."""

IR_VERSION = 9
_TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "int64": TensorProto.INT64}


class Graph:
    """Nodes in order, each output with a short name of its own; equal constants and weights are one.

    Args:
        prefix: of all names.

    >>> graph = Graph()
    >>> graph.add("Relu", ["x"])
    'v1'
    >>> graph.constant(np.array([2])) == graph.constant(np.array([2]))
    True
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []
        self._made: dict[Any, str] = {}
        self._count = 0

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node with one output; returns the output's name."""
        return self.add_many(operator, inputs, 1, **attributes)[0]

    def add_many(self, operator: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """A node with several outputs; returns their names. Attributes of None are left out."""
        names = [self._name("v") for _ in range(outputs)]
        given = {name: value for name, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(operator, list(inputs), names, **given))
        return names

    def constant(self, value: np.ndarray) -> str:
        """A small tensor that lies in the graph itself."""
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._made:
            self._made[key] = self._name("c")
            self.weights.append(numpy_helper.from_array(value, self._made[key]))
        return self._made[key]

    def whole_numbers(self, *values: int) -> str:
        """Those numbers as a tensor of one dimension."""
        return self.constant(np.array(values, np.int64))

    def weight(self, piece: Piece) -> str:
        """The tensor that is made of what is stored; the loader folds how it is made."""
        if piece not in self._made:
            if isinstance(piece, Stored):
                self._made[piece] = self._stored(piece)
            elif isinstance(piece, Cut):
                starts, stops = zip(*piece.box, strict=True)
                whole = self.weight(piece.of)
                self._made[piece] = self.cut(whole, range(len(starts)), starts, stops, piece.of.shape)
            else:
                assert isinstance(piece, Together)
                inputs = [self.weight(each) for each in piece.pieces]
                self._made[piece] = self.add("Concat", inputs, axis=piece.axis)
        return self._made[piece]

    def cut(
        self,
        whole: str,
        axes: Sequence[int],
        starts: Sequence[int],
        stops: Sequence[int],
        shape: Sequence[int],
    ) -> str:
        """A rectangle of a tensor of `shape`; axes that stay whole are not named."""
        kept = [
            (axis, start, stop)
            for axis, start, stop in zip(axes, starts, stops, strict=True)
            if (start, stop) != (0, shape[axis])
        ]
        if not kept:
            return whole
        numbers = [self.whole_numbers(*each) for each in zip(*kept, strict=True)]
        return self.add("Slice", [whole, numbers[1], numbers[2], numbers[0]])

    def model(
        self, name: str, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, str], shapes: Sequence[Any]
    ) -> onnx.ModelProto:
        """The whole graph.

        Args:
            inputs: by name.
            outputs: the value that each output's name stands for.
            shapes: of one example of each output.
        """
        renamed = self._rename(outputs, set(inputs))
        graph = helper.make_graph(
            renamed,
            name,
            [_described(each, spec.shape, spec.dtype) for each, spec in inputs.items()],
            [_described(each, spec.shape, spec.dtype) for each, spec in zip(outputs, shapes, strict=True)],
            self.weights,
        )
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(
            graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="anytimenet"
        )

    def _rename(self, outputs: Mapping[str, str], inputs: set[str]) -> list[onnx.NodeProto]:
        """The nodes, with the outputs under their own names; a value that is two of them is copied."""
        given: dict[str, str] = {}
        for name, value in outputs.items():
            made_here = any(value in node.output for node in self.nodes)
            if value in given or not made_here:
                self.nodes.append(helper.make_node("Identity", [value], [name]))
            else:
                given[value] = name
        for node in self.nodes:
            for names in (node.input, node.output):
                for place, value in enumerate(names):
                    names[place] = given.get(value, value)
        return self.nodes

    def _stored(self, piece: Stored) -> str:
        tensor = TensorProto(name=self._name("w"), data_type=TensorProto.FLOAT, dims=piece.shape)
        tensor.data_location = TensorProto.EXTERNAL
        length = 4 * int(np.prod(piece.shape))
        for key, value in (("location", piece.file), ("offset", piece.offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        self.weights.append(tensor)
        return tensor.name

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{self._prefix}{kind}{self._count}"


def _described(name: str, shape: Sequence[int], dtype: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, _TYPES[dtype], [BATCH, *shape])
