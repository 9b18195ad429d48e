"""An ONNX graph while it is written: nodes, and weights that lie in files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from anytimenet.core.segments import TensorSpec
from anytimenet.export.external import External
from anytimenet.export.stored import Cut, Piece, Stored
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
    >>> graph.whole_numbers(2) == graph.whole_numbers(2)
    True
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []
        self.padded: dict[str, tuple[str, tuple[int, ...]]] = {}
        """Of a value with zeros around it: the value inside, and how many of them as "Pad" counts them."""
        self._external = External(self._name)
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
            if value.dtype == np.int64:  # as numbers of one to ten bytes, where raw ones take eight
                tensor = helper.make_tensor(self._made[key], TensorProto.INT64, value.shape, value.flatten())
            else:
                tensor = numpy_helper.from_array(value, self._made[key])
            self.constants.append(tensor)
        return self._made[key]

    def whole_numbers(self, *values: int) -> str:
        """Those numbers as a tensor of one dimension."""
        return self.constant(np.array(values, np.int64))

    def weight(self, piece: Piece) -> str:
        """The tensor that is made of what is stored; the loader folds how it is made."""
        if piece not in self._made:
            self._made[piece] = self._weight(piece)
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
        self,
        name: str,
        inputs: Sequence[TensorSpec],
        outputs: Mapping[str, str],
        shapes: Sequence[TensorSpec],
    ) -> onnx.ModelProto:
        """The whole graph.

        Args:
            inputs: of one example each.
            outputs: the value that each output's name stands for.
            shapes: of one example of each output.
        """
        self._rename(outputs)
        nodes, tensors = self.pruned(outputs)
        graph = helper.make_graph(
            nodes,
            name,
            [_described(spec.name, spec) for spec in inputs],
            [_described(each, spec) for each, spec in zip(outputs, shapes, strict=True)],
            tensors,
        )
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(
            graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="anytimenet"
        )

    def pruned(self, wanted: Sequence[str] | Mapping[str, str]) -> tuple[list[Any], list[TensorProto]]:
        """The nodes and constants that `wanted` values need, what takes weights out of their files first."""
        read, kept = set(wanted), []
        for node in reversed(self.nodes):
            if read.intersection(node.output):
                kept.append(node)
                read.update(node.input)
        nodes, weights = self._external.written(read, self.constant)
        read.update(name for node in nodes for name in node.input)
        constants = [tensor for tensor in self.constants if tensor.name in read]
        return [*nodes, *reversed(kept)], [*weights, *constants]

    def _weight(self, piece: Piece) -> str:
        if isinstance(piece, Cut):
            starts, stops = zip(*piece.box, strict=True)
            return self.cut(self.weight(piece.of), range(len(starts)), starts, stops, piece.of.shape)
        if isinstance(piece, Stored):
            return self._shaped(self._external.flat(piece), piece.shape)
        stored = [each for each in piece.pieces if isinstance(each, Stored)]
        if piece.axis == 0 and len(stored) == len(piece.pieces):
            flat = self.add("Concat", [self._external.flat(each) for each in stored], axis=0)
            return self._shaped(flat, (sum(each.shape[0] for each in stored), *stored[0].shape[1:]))
        return self.add("Concat", [self.weight(each) for each in piece.pieces], axis=piece.axis)

    def _shaped(self, flat: str, shape: Sequence[int]) -> str:
        return flat if len(shape) == 1 else self.add("Reshape", [flat, self.whole_numbers(*shape)])

    def _rename(self, outputs: Mapping[str, str]) -> None:
        """Gives the outputs their own names; a value that is two of them, or an input, is copied."""
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

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{self._prefix}{kind}{self._count}"


def _described(name: str, spec: TensorSpec) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, _TYPES[spec.dtype], [BATCH, *spec.shape])
