"""ATen operators that transformers are made of as ONNX operators: attention, norms over channels, windows."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt
from typing import Any

import numpy as np
import torch

from anytimenet.export.graph import Graph
from anytimenet.export.operators.table import Size, Value, lowers
from anytimenet.export.unknown import UnknownOperatorError


@lowers("layer_norm.default")
def _layer_norm(
    graph: Graph,
    shape: Any,
    x: Value,
    over: Sequence[int],
    weight: Value | None = None,
    bias: Value | None = None,
    eps: float = 1e-5,
    cudnn: bool = True,
) -> str:
    scale = weight.name if weight else graph.constant(np.ones(tuple(over), np.float32))
    inputs = [x.name, scale, *([bias.name] if bias else [])]
    return graph.add("LayerNormalization", inputs, axis=-len(over), epsilon=eps)


@lowers("group_norm.default")
def _group_norm(
    graph: Graph,
    shape: Any,
    x: Value,
    groups: int,
    weight: Value | None = None,
    bias: Value | None = None,
    eps: float = 1e-5,
    cudnn: bool = True,
) -> str:
    _, channels, *sides = x.shape
    if channels is None or None in sides:
        raise UnknownOperatorError("a group norm of sizes that are not known")
    one, zero = (graph.constant(np.full(groups, value, np.float32)) for value in (1, 0))
    flat = graph.add("Reshape", [x.name, graph.whole_numbers(-1, groups, prod(x.shape[1:]) // groups)])  # type: ignore[arg-type]
    normed = graph.add("InstanceNormalization", [flat, one, zero], epsilon=eps)
    y = graph.add("Reshape", [normed, graph.whole_numbers(-1, channels, *sides)])  # type: ignore[arg-type]
    per_channel = graph.whole_numbers(channels, *(1 for _ in sides))
    for operator, vector in (("Mul", weight), ("Add", bias)):
        if vector is not None:
            y = graph.add(operator, [y, graph.add("Reshape", [vector.name, per_channel])])
    return y


@lowers("gelu.default", "gelu_.default")
def _gelu(graph: Graph, shape: Any, x: Value, approximate: str = "none") -> str:
    if approximate == "tanh":
        cube = graph.add("Mul", [x.name, graph.add("Mul", [x.name, x.name])])
        sum_ = graph.add("Add", [x.name, graph.add("Mul", [cube, _number(graph, 0.044715)])])
        inner = graph.add("Tanh", [graph.add("Mul", [sum_, _number(graph, sqrt(2 / np.pi))])])
    else:
        inner = graph.add("Erf", [graph.add("Div", [x.name, _number(graph, sqrt(2))])])
    # In this order: engines know the pattern, and run it as one operator.
    shifted = graph.add("Add", [inner, _number(graph, 1.0)])
    return graph.add("Mul", [graph.add("Mul", [x.name, shifted]), _number(graph, 0.5)])


@lowers("softmax.int")
def _softmax(graph: Graph, shape: Any, x: Value, dim: int, dtype: torch.dtype | None = None) -> str:
    if dtype not in (None, torch.float32):
        raise UnknownOperatorError(f"a softmax in {dtype}")
    return graph.add("Softmax", [x.name], axis=dim % len(x.shape))


@lowers("matmul.default", "bmm.default")
def _matmul(graph: Graph, shape: Any, one: Value, other: Value) -> str:
    return graph.add("MatMul", [one.name, other.name])


@lowers("scaled_dot_product_attention.default")
def _attention(
    graph: Graph,
    shape: Any,
    query: Value,
    key: Value,
    value: Value,
    mask: Value | None = None,
    dropout: float = 0.0,
    causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> str:
    dims, depth = len(query.shape), query.shape[-1]
    if dropout or causal or enable_gqa or depth is None or (mask is not None and mask.boolean):
        raise UnknownOperatorError("attention with dropout, grouped queries, or a mask that is yes or no")
    factor = 1 / sqrt(depth) if scale is None else scale
    turned = graph.add("Transpose", [key.name], perm=[*range(dims - 2), dims - 1, dims - 2])
    scaled = graph.add("Mul", [query.name, _number(graph, factor)])
    scores = graph.add("MatMul", [scaled, turned])
    if mask is not None:
        scores = graph.add("Add", [scores, mask.name])
    return graph.add("MatMul", [graph.add("Softmax", [scores], axis=dims - 1), value.name])


@lowers("expand.default")
def _expand(graph: Graph, shape: Any, x: Value, sizes: Sequence[Any], *, implicit: bool = False) -> str:
    """To sizes of which one may be that of the batch; -1 leaves a dimension as it is."""
    if any(size is not None and not isinstance(size, int | Size) for size in sizes):
        raise UnknownOperatorError("expanding to a size that is computed")
    # ONNX leaves a dimension as it is where the size is 1.
    names = [size.name if isinstance(size, Size) else graph.whole_numbers(max(size, 1)) for size in sizes]
    whole = names[0] if len(names) == 1 else graph.add("Concat", names, axis=0)
    return graph.add("Expand", [x.name, whole])


@lowers("unbind.int")
def _unbind(graph: Graph, shape: Any, x: Value, dim: int = 0) -> list[str]:
    axis = dim % len(x.shape)
    size = x.shape[axis]
    if size is None:
        raise UnknownOperatorError("a tensor for each example")
    return [
        graph.add("Gather", [x.name, graph.constant(np.array(i, np.int64))], axis=axis) for i in range(size)
    ]


@lowers("chunk.default")
def _chunk(graph: Graph, shape: Any, x: Value, chunks: int, dim: int = 0) -> list[str]:
    axis = dim % len(x.shape)
    size = x.shape[axis]
    if size is None:
        raise UnknownOperatorError("parts of the batch")
    step = -(-size // chunks)
    sizes = [min(step, size - start) for start in range(0, size, step)]
    if len(sizes) == 1:
        return [x.name]
    return graph.add_many("Split", [x.name, graph.whole_numbers(*sizes)], len(sizes), axis=axis)


@lowers("stack.default")
def _stack(graph: Graph, shape: Any, tensors: Sequence[Value], dim: int = 0) -> str:
    axis = dim % len(shape)
    apart = [graph.add("Unsqueeze", [each.name, graph.whole_numbers(axis)]) for each in tensors]
    return graph.add("Concat", apart, axis=axis)


@lowers("index.Tensor")
def _index(graph: Graph, shape: Any, x: Value, places: Sequence[Value | None]) -> str:
    """By one tensor of places; several at once pick single numbers, which nets here do not do."""
    given = [(axis, each) for axis, each in enumerate(places) if each is not None]
    if len(given) != 1:
        raise UnknownOperatorError("an index by several tensors")
    axis, index = given[0]
    return graph.add("Gather", [x.name, index.name], axis=axis)


@lowers("roll.default")
def _roll(graph: Graph, shape: Any, x: Value, shifts: Sequence[int], dims: Sequence[int] = ()) -> str:
    if len(dims) != len(shifts):
        raise UnknownOperatorError("rolling a tensor as if it were flat")
    y = x.name
    for shift, dim in zip(shifts, dims, strict=True):
        axis = dim % len(x.shape)
        size = x.shape[axis]
        if size is None:
            raise UnknownOperatorError("rolling the batch")
        if place := -shift % size:
            inputs = [y, graph.whole_numbers(place, size - place)]
            first, second = graph.add_many("Split", inputs, 2, axis=axis)
            y = graph.add("Concat", [second, first], axis=axis)
    return y


@lowers("masked_fill.Scalar")
def _masked_fill(graph: Graph, shape: Any, x: Value, mask: Value, value: float) -> str:
    return graph.add("Where", [mask.name, _number(graph, value), x.name])


@lowers("upsample_nearest2d.vec")
def _nearest(graph: Graph, shape: Any, x: Value, size: Any, factors: Any = None) -> str:
    sides = zip(shape[2:], x.shape[2:], strict=True)
    whole = [new // old if old and new and new % old == 0 else 0 for new, old in sides]
    if not all(whole):
        raise UnknownOperatorError("the nearest pixel of a size that is no multiple")
    scales = graph.constant(np.array([1, 1, *whole], np.float32))
    return graph.add(
        *("Resize", [x.name, "", scales]),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def _number(graph: Graph, value: float) -> str:
    return graph.constant(np.array(value, np.float32))
