"""The same numbers elsewhere: joined, padded, cut, in another shape or order; and what sizes are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from anytimenet.export.graph import Graph
from anytimenet.export.operators.table import Size, Value, Zeros, lowers
from anytimenet.export.unknown import UnknownOperatorError


@lowers("cat.default")
def _cat(graph: Graph, shape: Any, tensors: Sequence[Value | Zeros], dim: int = 0) -> str:
    axis = dim % len(shape)
    if any(isinstance(each, Zeros) for each in tensors):
        return _cat_with_zeros(graph, tensors, axis, len(shape))
    names = [each.name for each in tensors if isinstance(each, Value)]
    return names[0] if len(names) == 1 else graph.add("Concat", names, axis=axis)


def _cat_with_zeros(graph: Graph, tensors: Sequence[Value | Zeros], axis: int, dims: int) -> str:
    """Zeros behind a tensor are padding of it."""
    names: list[str] = []
    place = 0
    while place < len(tensors):
        own, place = tensors[place], place + 1
        if isinstance(own, Zeros):
            raise UnknownOperatorError("zeros before the others")
        behind = 0
        while place < len(tensors) and isinstance(tensors[place], Zeros):
            behind += tensors[place].shape[axis] or 0
            place += 1
        names.append(own.name if not behind else _padded(graph, own.name, {axis: (0, behind)}, dims))
    return names[0] if len(names) == 1 else graph.add("Concat", names, axis=axis)


@lowers("pad.default", "constant_pad_nd.default")
def _pad(
    graph: Graph, shape: Any, x: Value, pads: Sequence[int], mode: Any = "constant", value: Any = None
) -> str:
    mode, value = ("constant", mode) if not isinstance(mode, str) else (mode, value)
    if mode != "constant" or value not in (None, 0, 0.0):
        raise UnknownOperatorError(f"padding {mode} of {value}")
    dims = len(x.shape)
    sides = {dims - 1 - i: (pads[2 * i], pads[2 * i + 1]) for i in range(len(pads) // 2)}
    return _padded(graph, x.name, sides, dims)


def _padded(graph: Graph, x: str, sides: dict[int, tuple[int, int]], dims: int) -> str:
    pads = [sides.get(axis, (0, 0))[side] for side in (0, 1) for axis in range(dims)]
    name = graph.add("Pad", [x, graph.whole_numbers(*pads)])
    graph.padded[name] = (x, tuple(pads))
    return name


@lowers("zeros_like.default")
def _zeros(graph: Graph, shape: Any, x: Any, *arguments: Any) -> Zeros:
    return Zeros(tuple(shape))


@lowers("slice.Tensor")
def _slice(
    graph: Graph, shape: Any, x: Value, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> str:
    axis = dim % len(x.shape)
    size = x.shape[axis]
    if size is None:
        if step == 1 and start in (None, 0) and (end is None or end >= 2**62):
            return x.name
        raise UnknownOperatorError("a slice of the batch")
    begin, stop, _ = slice(start, end).indices(size)
    if step != 1:
        return graph.add("Slice", [x.name, *(graph.whole_numbers(n) for n in (begin, stop, axis, step))])
    return graph.cut(x.name, [axis], [begin], [stop], [s or 0 for s in x.shape])


@lowers("narrow.default")
def _narrow(graph: Graph, shape: Any, x: Value, dim: int, start: int, length: int) -> str:
    return cast(str, _slice(graph, shape, x, dim, start, start + length))


@lowers("select.int")
def _select(graph: Graph, shape: Any, x: Value, dim: int, index: int) -> str:
    return graph.add("Gather", [x.name, graph.constant(np.array(index, np.int64))], axis=dim % len(x.shape))


@lowers("split_with_sizes.default", "split.sizes")
def _split(graph: Graph, shape: Any, x: Value, sizes: Sequence[int], dim: int = 0) -> list[str]:
    if len(sizes) == 1:
        return [x.name]
    inputs = [x.name, graph.whole_numbers(*sizes)]
    return graph.add_many("Split", inputs, len(sizes), axis=dim % len(x.shape))


@lowers(
    *("flatten.using_ints", "unflatten.int", "view.default", "reshape.default", "reshape_as.default"),
    *("squeeze.dim", "squeeze.dims", "squeeze.default", "unsqueeze.default", "_unsafe_view.default"),
)
def _reshape(graph: Graph, shape: Any, x: Value, *arguments: Any) -> str:
    if list(shape).count(None) > 1:
        raise UnknownOperatorError("a new shape in which the batch is in two dimensions")
    return graph.add("Reshape", [x.name, graph.whole_numbers(*(-1 if n is None else n for n in shape))])


@lowers("permute.default")
def _permute(graph: Graph, shape: Any, x: Value, dims: Sequence[int]) -> str:
    return graph.add("Transpose", [x.name], perm=[dim % len(dims) for dim in dims])


@lowers("transpose.int", "swapaxes.default")
def _transpose(graph: Graph, shape: Any, x: Value, one: int, other: int) -> str:
    order = list(range(len(x.shape)))
    order[one], order[other] = order[other], order[one]
    return graph.add("Transpose", [x.name], perm=order)


@lowers("mT.default", "t.default")
def _turned(graph: Graph, shape: Any, x: Value) -> str:
    return cast(str, _transpose(graph, shape, x, len(x.shape) - 2, len(x.shape) - 1))


@lowers("clone.default", "contiguous.default", "detach.default", "alias.default")
def _same(graph: Graph, shape: Any, x: Value, *arguments: Any) -> str:
    return x.name


@lowers("sym_size.int")
def _size(graph: Graph, shape: Any, x: Value, dim: int) -> Size:
    axis = dim % len(x.shape)
    return Size(graph.add("Shape", [x.name], start=axis, end=axis + 1))


@lowers("<built-in function mul>")
def _size_times(graph: Graph, shape: Any, *factors: Any) -> Size:
    names = [each.name if isinstance(each, Size) else graph.whole_numbers(each) for each in factors]
    return Size(graph.add("Mul", names))
