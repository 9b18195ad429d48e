"""A segment as a graph of the ATen operators that it calls, written down while it runs without values."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from anytimenet.core.errors import BackendError
from anytimenet.core.segments import SegmentSpec, TensorSpec
from anytimenet.export.tracing import EXAMPLES, Work, segment_name
from anytimenet.export.unknown import UnknownOperatorError
from anytimenet.layers.snapshots import is_hooked
from anytimenet.nets.segment import Segment

_TAKEN_APART = ("aten.chunk.default", "aten.unflatten.int", "aten.unsafe_chunk.default")
"""Operators that stand for others, which engines know."""


@dataclass(frozen=True)
class Recorded:
    """What a segment computes.

    Attributes:
        nodes: operators in the order of the calls, after placeholders and before the output; `meta["val"]` of
            each has the shape of its value for `EXAMPLES` examples.
        inputs: names of the state's tensors by the names of their placeholders.
        parameters: names in the segment of its parameters and buffers by the names of theirs.
    """

    nodes: list[Node]
    inputs: Mapping[str, str]
    parameters: Mapping[str, str]


def record(segment: Segment, spec: SegmentSpec) -> Recorded:
    """The operators of a segment, from one run on the meta device: a hundredth of the time of `trace`.

    Weights keep their place in memory and are not read. What Python decides by a value cannot be known then
    and is refused, and so is what a hook may change.

    Raises:
        BackendError: if it cannot be run so.
        UnknownOperatorError: for a tensor that is neither weight nor input.

    >>> from anytimenet.costs.segment_specs import segment_specs
    >>> from anytimenet.nets import create_net
    >>> net = create_net("isresnext_tiny")
    >>> recorded = record(net.snapshot().segment(0, 1), segment_specs(net, (3, 8, 8))[0])
    >>> next(str(node.target) for node in recorded.nodes if node.op == "call_function")
    'aten.conv2d.default'
    """
    if any(map(is_hooked, segment.modules())):
        raise UnknownOperatorError("a hook, which may change what a layer gives")
    work = Work(segment, spec)
    with torch.no_grad(), torch._C._AutoDispatchBelowAutograd():
        recorder = _Recorder()
        inputs = {recorder.place(_without_values(tensor)): tensor.name for tensor in spec.reads}
        state = list(recorder.kept)
        parameters = {}
        for name, tensor in (*work.named_parameters(), *work.named_buffers()):
            parameters[recorder.place(tensor)] = segment_name(name)
        try:
            with recorder:
                given = work(*state)
        except UnknownOperatorError:
            raise
        except Exception as error:  # anything that a net may do
            reason = str(error).strip().partition("\n")[0]
            raise BackendError(
                f"segment ({spec.start}, {spec.stop}) cannot be followed without values "
                f"({type(error).__name__}: {reason}): export it with format='onnx'"
            ) from error
    return Recorded(recorder.finished(given), inputs, parameters)


class _Recorder(TorchDispatchMode):
    """Writes down every operator that is called under it, and runs it on the meta device.

    In inference mode operators arrive whole, so that `conv2d` and `batch_norm` are one call each.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = Graph()
        self.kept: list[Tensor] = []  # so that no other tensor gets the id of one
        self._nodes: dict[int, Node] = {}
        self._shapes: dict[int, Tensor] = {}

    def place(self, tensor: Tensor) -> str:
        """A placeholder for a tensor, and its name; the same if it has one."""
        if id(tensor) not in self._nodes:
            shape = tensor if tensor.is_meta else torch.empty_like(tensor, device="meta")
            self._bind(tensor, self.graph.placeholder(f"given_{len(self.kept)}"), shape)
        return self._nodes[id(tensor)].name

    def finished(self, given: Sequence[Tensor]) -> list[Node]:
        """All nodes, without those whose value nobody reads."""
        self.graph.output(tuple(self._node(tensor) for tensor in given))
        for node in reversed(list(self.graph.nodes)):
            if node.op == "call_function" and not node.users and not _changes_in_place(node.target):
                self.graph.erase_node(node)
        return list(self.graph.nodes)

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if str(func) in _TAKEN_APART:
            with self:
                return func.decompose(*args, **kwargs)
        node = self.graph.call_function(
            func, *tree_map(lambda one: self._node(one) if isinstance(one, Tensor) else one, (args, kwargs))
        )
        known_args, known_kwargs = tree_map(self._shape, (tuple(args), kwargs))
        result = (
            torch.empty_like(known_args[0])
            if str(func) == "aten.batch_norm.default" and _is_plain_norm(known_args)
            else func(*known_args, **known_kwargs)
        )
        if _changes_in_place(func):
            if not args[0].is_meta:
                raise UnknownOperatorError(f"{func} of a weight")
            result = args[0]
        if isinstance(result, Tensor):
            self._bind(result, node, result)
        elif isinstance(result, list | tuple) and all(isinstance(each, Tensor) for each in result):
            node.meta["val"] = list(result)
            for place, each in enumerate(result):
                self._bind(each, self.graph.call_function(operator.getitem, (node, place)), each)
        else:
            raise UnknownOperatorError(f"{func}, which gives no tensor")
        return result

    def _bind(self, tensor: Tensor, node: Node, shape: Tensor) -> None:
        node.meta["val"] = shape
        self._nodes[id(tensor)], self._shapes[id(tensor)] = node, shape
        self.kept.append(tensor)

    def _node(self, tensor: Tensor) -> Node:
        if id(tensor) not in self._nodes:
            raise UnknownOperatorError("a tensor that is neither a weight, a buffer nor the input")
        return self._nodes[id(tensor)]

    def _shape(self, value: Any) -> Any:
        return self._shapes[id(value)] if isinstance(value, Tensor) else value


def _without_values(spec: TensorSpec) -> Tensor:
    return torch.empty(EXAMPLES, *spec.shape, dtype=getattr(torch, spec.dtype), device="meta")


def _changes_in_place(func: Any) -> bool:
    schema = getattr(func, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def _is_plain_norm(args: Sequence[Any]) -> bool:
    """Whether the shapes fit, so that the result has that of the input: PyTorch takes 1 ms to say so."""
    x, *per_channel = args[:5]
    return all(tensor is None or tensor.shape == x.shape[1:2] for tensor in per_channel)
