"""A traced segment as an ONNX model whose weights lie in the files of the folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import onnx
import torch
from torch import Tensor
from torch.fx import Node

from anytimenet.core.segments import SegmentSpec, TensorSpec
from anytimenet.export.graph import Graph
from anytimenet.export.operators import OPERATORS, UnknownOperatorError, Value, Zeros
from anytimenet.export.stored import Piece
from anytimenet.export.tracing import Traced, constants_of, parameters_of, segment_name, user_inputs

_VIEWS = ("slice.", "split", "select.", "view.", "reshape.", "permute.", "transpose.", "alias.", "detach.")


def lower(traced: Traced, spec: SegmentSpec, pieces: Mapping[str, Piece]) -> onnx.ModelProto:
    """The model.

    Args:
        traced: the segment.
        spec: of the segment.
        pieces: what each parameter and buffer of the segment is made of, by name.

    Raises:
        UnknownOperatorError: if it needs an operator that is not written here.
    """
    return _Lowering(traced, pieces).model(spec)


class _Lowering:
    def __init__(self, traced: Traced, pieces: Mapping[str, Piece]) -> None:
        self.traced, self.pieces = traced, pieces
        self.graph = Graph()
        self.values: dict[Node, Any] = {}
        self._parameters = parameters_of(traced.program)
        self._constants = constants_of(traced.program)

    def model(self, spec: SegmentSpec) -> onnx.ModelProto:
        inputs = dict(zip(user_inputs(self.traced.program), self.traced.inputs, strict=True))
        outputs: list[Any] = []
        for node in self.traced.program.graph.nodes:
            if node.op == "placeholder":
                self.values[node] = self._placeholder(node, inputs)
            elif node.op == "output":
                outputs = [self.values[given] for given in cast(Sequence[Node], node.args[0])]
            elif node.op == "call_function":
                self._call(node)
            else:
                raise UnknownOperatorError(f"{node.op} {node.target}")
        if not all(isinstance(value, Value) for value in outputs):
            raise UnknownOperatorError("an output that is no tensor")
        names = dict(zip(self.traced.outputs, (value.name for value in outputs), strict=True))
        return self.graph.model(
            f"segment ({spec.start}, {spec.stop})",
            {tensor.name: tensor for tensor in spec.reads},
            names,
            [*given_shapes(spec), *spec.outputs],
        )

    def _placeholder(self, node: Node, inputs: Mapping[str, str]) -> Any:
        if node.name in inputs:
            return Value(inputs[node.name], _shape(node))
        if node.name in self._parameters:
            return _Weight(self, segment_name(self._parameters[node.name]), _shape(node))
        if node.name in self._constants:
            value = self._constants[node.name].detach()
            return Value(self.graph.constant(value.numpy()), tuple(value.shape))
        raise UnknownOperatorError(f"an input {node.name} of another kind")

    def _call(self, node: Node) -> None:
        name = str(node.target).removeprefix("aten.")
        arguments: Any = torch.fx.node.map_arg(node.args, lambda given: self.values[given])
        if name == "<built-in function getitem>":
            self.values[node] = arguments[0][arguments[1]]
            return
        if name not in OPERATORS or set(node.kwargs) - {"pin_memory", "memory_format", "dtype", "alpha"}:
            raise UnknownOperatorError(name)
        more = {"alpha": node.kwargs["alpha"]} if "alpha" in node.kwargs else {}
        made = OPERATORS[name](self.graph, _shape(node), *_settled(arguments), **more)
        self.values[node] = self._made(made, node)
        if name.partition(".")[0].endswith("_"):
            self._changed_in_place(node)

    def _made(self, made: Any, node: Node) -> Any:
        if isinstance(made, list):
            shapes = [_dims(each) for each in node.meta["val"]]
            return [Value(each, shape) for each, shape in zip(made, shapes, strict=True)]
        return made if isinstance(made, Zeros) else Value(made, _shape(node))

    def _changed_in_place(self, node: Node) -> None:
        """Whoever reads the changed tensor from now on reads what it was changed to."""
        changed = node.args[0]
        assert isinstance(changed, Node)
        views = [user for user in changed.users if _is_view(user)]
        if changed.op == "placeholder" or _is_view(changed) or views:
            raise UnknownOperatorError(f"{node.target} of a view")
        self.values[changed] = self.values[node]


class _Weight:
    """A parameter, which comes into the graph when it is first read."""

    def __init__(self, lowering: _Lowering, name: str, shape: tuple[int | None, ...]) -> None:
        self._lowering, self._name, self.shape = lowering, name, shape

    def value(self) -> Value:
        return Value(self._lowering.graph.weight(self._lowering.pieces[self._name]), self.shape)


def _settled(arguments: Any) -> Any:
    if isinstance(arguments, _Weight):
        return arguments.value()
    if isinstance(arguments, tuple | list):
        return [_settled(each) for each in arguments]
    if isinstance(arguments, torch.SymInt):
        raise UnknownOperatorError("arithmetic with the size of the batch")
    return arguments


def given_shapes(spec: SegmentSpec) -> list[TensorSpec]:
    """The tensors that a segment file gives: of one that continues another, what is appended."""
    before = {tensor.name: tensor.shape for tensor in spec.reads}
    found = []
    for tensor in spec.changes:
        shape = list(tensor.shape)
        if tensor.continues is not None and tensor.grows is not None:
            shape[tensor.grows] -= before[tensor.continues][tensor.grows]
        found.append(TensorSpec(tensor.name, tuple(shape), tensor.dtype))
    return found


def _is_view(node: Node) -> bool:
    name = str(node.target).removeprefix("aten.")
    return node.op == "call_function" and (name.startswith(_VIEWS) or "getitem" in name)


def _shape(node: Node) -> tuple[int | None, ...]:
    value = node.meta["val"]
    return _dims(value) if isinstance(value, Tensor) else ()


def _dims(value: Tensor) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in value.shape)
