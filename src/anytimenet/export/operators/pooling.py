"""Several pixels as one, and one as several: means, sums, windows, and maps made larger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anytimenet.export.adaptive_pooling import write_adaptive
from anytimenet.export.graph import Graph
from anytimenet.export.operators.attributes import pair, unless
from anytimenet.export.operators.table import Value, lowers
from anytimenet.export.unknown import UnknownOperatorError


@lowers("mean.dim")
def _mean(graph: Graph, shape: Any, x: Value, dim: Sequence[int], keepdim: bool = False) -> str:
    axes = sorted(each % len(x.shape) for each in dim)
    if len(x.shape) == 4 and axes == [2, 3]:
        pooled = graph.add("GlobalAveragePool", [x.name])
        return pooled if keepdim else graph.add("Flatten", [pooled])
    return graph.add("ReduceMean", [x.name, graph.whole_numbers(*axes)], keepdims=int(keepdim))


@lowers("sum.dim_IntList")
def _sum(graph: Graph, shape: Any, x: Value, dim: Sequence[int], keepdim: bool = False) -> str:
    axes = sorted(each % len(x.shape) for each in dim)
    return graph.add("ReduceSum", [x.name, graph.whole_numbers(*axes)], keepdims=int(keepdim))


@lowers("adaptive_avg_pool2d.default")
def _adaptive_mean(graph: Graph, shape: Any, x: Value, size: Sequence[int]) -> str:
    if tuple(shape[2:]) == (1, 1):
        return graph.add("GlobalAveragePool", [x.name])
    return write_adaptive(graph, x.name, _sides(x), shape[2:], operator="AveragePool", reduction="ReduceMean")


@lowers("adaptive_max_pool2d.default")
def _adaptive_max(graph: Graph, shape: Any, x: Value, size: Sequence[int]) -> list[str]:
    """Maxima, and no name for where they lie."""
    sides = _sides(x)
    return [write_adaptive(graph, x.name, sides, pair(size), operator="MaxPool", reduction="ReduceMax"), ""]


@lowers("avg_pool2d.default")
def _avg_pool(
    graph: Graph,
    shape: Any,
    x: Value,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> str:
    if divisor is not None or (ceil_mode and not _fits(x, kernel, stride or kernel)):
        raise UnknownOperatorError("average pooling with a divisor, or over a border")
    return graph.add(
        "AveragePool",
        [x.name],
        kernel_shape=pair(kernel),
        strides=pair(stride or kernel),
        pads=unless(pair(padding) * 2, (0, 0, 0, 0)),
        count_include_pad=1 if count_include_pad and any(pair(padding)) else None,
    )


@lowers("max_pool2d.default")
def _max_pool(
    graph: Graph,
    shape: Any,
    x: Value,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil_mode: bool = False,
) -> str:
    if tuple(pair(dilation)) != (1, 1):
        raise UnknownOperatorError("dilated pooling")
    return graph.add(
        "MaxPool",
        [x.name],
        kernel_shape=pair(kernel),
        strides=pair(stride or kernel),
        pads=unless(pair(padding) * 2, (0, 0, 0, 0)),
        ceil_mode=1 if ceil_mode else None,
    )


@lowers("upsample_bilinear2d.vec")
def _upsample(graph: Graph, shape: Any, x: Value, size: Any, align_corners: bool, factors: Any = None) -> str:
    factor = [1.0, 1.0, *(new / old for new, old in zip(shape[2:], x.shape[2:], strict=True))]
    if any(float(new) != old * by for new, old, by in zip(shape[2:], x.shape[2:], factor[2:], strict=True)):
        raise UnknownOperatorError("a size that no factor gives")
    return graph.add(
        "Resize",
        [x.name, "", graph.constant(np.array(factor, np.float32))],
        mode="linear",
        coordinate_transformation_mode="align_corners" if align_corners else "half_pixel",
    )


def _sides(x: Value) -> list[int]:
    if None in x.shape[2:]:
        raise UnknownOperatorError("adaptive pooling of maps of any size")
    return [side or 0 for side in x.shape[2:]]


def _fits(x: Value, kernel: Sequence[int], stride: Sequence[int]) -> bool:
    """Whether windows end where the image does, so that rounding up and down are the same."""
    sizes = zip(x.shape[2:], pair(kernel), pair(stride), strict=True)
    return all(size is not None and (size - window) % step == 0 for size, window, step in sizes)
