"""A traced segment as an ONNX model whose weights lie in the files of the folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.fx import Node

from anytimenet.export.graph import Graph
from anytimenet.export.merging import Rows, pieces_of, prefix_of, rows_of, settings_of
from anytimenet.export.operators import OPERATORS, Known, Value
from anytimenet.export.stored import Piece
from anytimenet.export.tracing import Traced, constants_of, parameters_of, segment_name, user_inputs
from anytimenet.export.unknown import UnknownOperatorError

_VIEWS = (
    "slice.",
    "narrow.",
    "split",
    "select.",
    "view.",
    "reshape.",
    "permute.",
    "transpose.",
    "alias.",
    "detach.",
)
_ASSERTION = "_assert_tensor_metadata.default"
_MADE = ("arange.", "zeros.", "ones.", "full.", "linspace.", "scalar_tensor.")
"""What makes a tensor of nothing."""
_SAYS_MORE = ("alpha", "approximate", "scale", "enable_gqa")
"""Arguments by keyword that operators here take; those of `_SAYS_NOTHING` change no numbers."""
_SAYS_NOTHING = ("pin_memory", "memory_format", "dtype", "layout", "device")
_CONV, _NORM = "conv2d.default", "batch_norm.default"


def lower(traced: Traced, pieces: Mapping[str, Piece]) -> onnx.ModelProto:
    """The model.

    Args:
        traced: the segment.
        pieces: what each parameter and buffer of the segment is made of, by name.

    Raises:
        UnknownOperatorError: if it needs an operator that is not written here.
    """
    return _Lowering(traced, pieces).model()


class _Lowering:
    def __init__(self, traced: Traced, pieces: Mapping[str, Piece]) -> None:
        self.traced, self.pieces = traced, pieces
        self.graph = Graph()
        self.values: dict[Node, Any] = {}
        names = [tensor.name for tensor in traced.inputs]
        self._inputs = dict(zip(user_inputs(traced.program), names, strict=True))
        self._parameters = parameters_of(traced.program)
        self._constants = constants_of(traced.program)
        calls = [node for node in traced.program.graph.nodes if node.op == "call_function"]
        self._rows = {node: rows for node in calls if (rows := rows_of(node)) is not None}
        self._merged = {conv for rows in self._rows.values() for conv in rows.convs}
        self._terms: dict[Node, list[str]] = {}

    def model(self) -> onnx.ModelProto:
        outputs: list[Any] = []
        for node in self.traced.program.graph.nodes:
            if node.op == "placeholder":
                self.values[node] = self._placeholder(node)
            elif node.op == "output":
                outputs = [self.values[given] for given in cast(Sequence[Node], node.args[0])]
            elif node.op == "call_function":
                self._call(node)
            else:
                raise UnknownOperatorError(f"{node.op} {node.target}")
        if not all(isinstance(value, Value) for value in outputs):
            raise UnknownOperatorError("an output that is no tensor")
        given = zip(self.traced.outputs, outputs, strict=True)
        names = {spec.name: value.name for spec, value in given}
        return self.graph.model(self.traced.name, self.traced.inputs, names, self.traced.outputs)

    def _placeholder(self, node: Node) -> Any:
        if node.name in self._inputs:
            return Value(self._inputs[node.name], _shape(node))
        if node.name in self._parameters:
            name = self._parameters[node.name]
            if segment_name(name) in self.pieces:
                return _Weight(self, segment_name(name), _shape(node))
            return Known(self.traced.program.state_dict[name].detach().clone())
        if node.name in self._constants:
            return Known(self._constants[node.name].detach().clone())
        raise UnknownOperatorError(f"an input {node.name} of another kind")

    def _call(self, node: Node) -> None:
        name = str(node.target).removeprefix("aten.")
        if node in self._merged or name == _ASSERTION:  # the first are written where they are joined
            return
        if self._compute(node):
            return
        if node in self._rows:
            self._write_rows(node, self._rows[node])
        elif name == _CONV and self._write_apart(node):
            pass
        elif name == _NORM:
            self._write_norm(node)
        else:
            self._write(node, name)
        if name.partition(".")[0].endswith("_"):
            self._changed_in_place(node)

    def _write(self, node: Node, name: str) -> None:
        arguments: Any = torch.fx.node.map_arg(node.args, lambda given: self.values[given])
        if name == "<built-in function getitem>":
            self.values[node] = arguments[0][arguments[1]]
            return
        if name not in OPERATORS or set(node.kwargs) - {*_SAYS_MORE, *_SAYS_NOTHING}:
            raise UnknownOperatorError(name)
        more = {key: value for key, value in node.kwargs.items() if key in _SAYS_MORE}
        made = OPERATORS[name](self.graph, _shape(node), *self._settled(arguments), **more)
        if isinstance(made, list):
            shapes = [_dims(each) for each in node.meta["val"]]
            self.values[node] = [Value(each, shape) for each, shape in zip(made, shapes, strict=True)]
        else:
            self.values[node] = Value(made, _shape(node)) if isinstance(made, str) else made

    def _compute(self, node: Node) -> bool:
        """Whether a node reads nothing but what is known; it is computed then, views and changes as well."""
        name, meta = str(node.target).removeprefix("aten."), node.meta.get("val")
        if name == "new_zeros.default" and isinstance(meta, Tensor) and None not in _dims(meta):
            self.values[node] = Known(torch.zeros(_dims(meta), dtype=meta.dtype))  # type: ignore[arg-type]
            return True
        read = [self.values.get(each) for each in node.all_input_nodes]
        if not all(isinstance(each, Known) for each in read) or not (read or name.startswith(_MADE)):
            return False
        arguments, more = torch.fx.node.map_arg(
            (node.args, node.kwargs), lambda given: self.values[given].tensor
        )
        made = cast(Any, node.target)(*arguments, **more)
        if not isinstance(made, Tensor):
            raise UnknownOperatorError(f"{name} of what is known")
        self.values[node] = Known(made)
        return True

    def _settled(self, arguments: Any) -> Any:
        if isinstance(arguments, _Weight):
            return arguments.value()
        if isinstance(arguments, Known):
            value = arguments.tensor
            name = self.graph.constant(value.contiguous().numpy())
            return Value(name, tuple(value.shape), value.dtype == torch.bool)
        if isinstance(arguments, tuple | list):
            return [self._settled(each) for each in arguments]
        if isinstance(arguments, torch.SymInt):
            raise UnknownOperatorError("arithmetic with the size of the batch")
        return arguments

    def _write_rows(self, joined: Node, rows: Rows) -> None:
        """Rows as one convolution, with zeros in the weight where a row does not read."""
        widest, padded = max(rows.widths), []
        for conv, width in zip(rows.convs, rows.widths, strict=True):
            weight = self._weight(conv)
            if width < widest:
                pads = self.graph.whole_numbers(0, 0, 0, 0, 0, widest - width, 0, 0)
                weight = Value(self.graph.add("Pad", [weight.name, pads]), weight.shape)
            padded.append(weight.name)
        shape = (joined.meta["val"].shape[1], widest, *_shape(rows.convs[0].args[1])[2:])
        whole = Value(self.graph.add("Concat", padded, axis=0), shape)
        self._write_conv(joined, rows.of, widest, whole, settings_of(rows.convs[0]))

    def _write_apart(self, conv: Node) -> bool:
        """A convolution of an input and what is joined to it; False if it is one of something else."""
        settings = settings_of(conv)
        of, width = prefix_of(conv.args[0])
        if settings[0] is not None or settings[4] != 1 or pieces_of(of, width, list(self._inputs)) is None:
            return False
        self._write_conv(conv, of, width, self._weight(conv), settings)
        return True

    def _write_conv(self, node: Node, of: Node, width: int, weight: Value, settings: list[Any]) -> None:
        """The convolution of the first channels of a tensor, as a sum if that is joined of several."""
        terms, start = [], 0
        for part, channels in pieces_of(of, width, list(self._inputs)) or [(of, width)]:
            read = self._first_channels(part, channels)
            columns = self.graph.cut(weight.name, [1], [start], [start + channels], [0, width])
            cut = Value(columns, (weight.shape[0], channels, *weight.shape[2:]))
            terms.append(OPERATORS[_CONV](self.graph, None, read, cut, None, *settings[1:]))
            start += channels
        if len(terms) > 1 and len(node.users) == 1:
            self._terms[node] = terms
        self.values[node] = Value(self._sum(terms), _shape(node))

    def _write_norm(self, node: Node) -> None:
        """A BatchNorm; of a sum it is one of each term, with the shift once, so that each can be folded."""
        arguments: Any = torch.fx.node.map_arg(node.args, lambda given: self.values[given])
        vectors = list(self._settled(arguments[1:5]))
        write, shape = OPERATORS[_NORM], _shape(node)
        if node.args[0] not in self._terms or None in vectors:
            made = write(self.graph, shape, arguments[0], *vectors, *arguments[5:])
            self.values[node] = Value(made, shape)
            return
        scale, shift, mean, variance = vectors
        rest = arguments[5:]
        zeros = Value(self.graph.constant(np.zeros(scale.shape, np.float32)), scale.shape)
        *others, last = self._terms[cast(Node, node.args[0])]
        terms = [
            write(self.graph, shape, Value(term, shape), scale, zeros, zeros, variance, *rest)
            for term in others
        ]
        terms.append(write(self.graph, shape, Value(last, shape), scale, shift, mean, variance, *rest))
        self.values[node] = Value(self._sum(terms), shape)

    def _first_channels(self, part: Node, channels: int) -> Value:
        value, shape = cast(Value, self.values[part]), _shape(part)
        name = self.graph.cut(value.name, [1], [0], [channels], [size or 0 for size in shape])
        return Value(name, (shape[0], channels, *shape[2:]))

    def _sum(self, terms: Sequence[str]) -> str:
        whole = terms[0]
        for term in terms[1:]:
            whole = self.graph.add("Add", [whole, term])
        return whole

    def _weight(self, conv: Node) -> Value:
        found = self.values[cast(Node, conv.args[1])]
        return cast(Value, self._settled(found))

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

    @property
    def piece(self) -> Piece:
        return self._lowering.pieces[self._name]

    def value(self) -> Value:
        return Value(self._lowering.graph.weight(self.piece), self.shape)


def _is_view(node: Node) -> bool:
    name = str(node.target).removeprefix("aten.")
    return node.op == "call_function" and (name.startswith(_VIEWS) or "getitem" in name)


def _shape(node: Any) -> tuple[int | None, ...]:
    value = node.meta["val"]
    return _dims(value) if isinstance(value, Tensor) else ()


def _dims(value: Tensor) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in value.shape)
