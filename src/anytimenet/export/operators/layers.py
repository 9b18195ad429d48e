"""Layers with weights: convolutions, BatchNorm, and linear ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anytimenet.export.graph import Graph
from anytimenet.export.operators.attributes import pair, unless
from anytimenet.export.operators.table import Value, lowers
from anytimenet.export.unknown import UnknownOperatorError


@lowers("conv2d.default")
def _conv(
    graph: Graph,
    shape: Any,
    x: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> str:
    read, pads = _own_padding(graph, x, pair(padding) * 2)
    inputs = [read, weight.name, *([] if bias is None else [bias.name])]
    return graph.add(
        "Conv",
        inputs,
        strides=unless(pair(stride), (1, 1)),
        pads=unless(pads, (0, 0, 0, 0)),
        dilations=unless(pair(dilation), (1, 1)),
        group=None if groups == 1 else groups,
    )


def _own_padding(graph: Graph, x: Value, pads: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """What a convolution reads, and the zeros around it: more below and right than above and left, too.

    Zeros that were put around an image beforehand ("same" padding of TensorFlow) would be a copy of it.
    """
    inside, around = graph.padded.get(x.name, (x.name, ()))
    if len(around) != 8 or min(around) < 0 or any((*around[:2], *around[4:6])):
        return x.name, pads
    return inside, tuple(own + more for own, more in zip(pads, (*around[2:4], *around[6:]), strict=True))


@lowers("batch_norm.default")
def _batch_norm(
    graph: Graph,
    shape: Any,
    x: Value,
    weight: Value | None,
    bias: Value | None,
    mean: Value,
    var: Value,
    training: bool,
    momentum: float,
    eps: float,
    cudnn: bool = False,
) -> str:
    if training or mean is None or var is None:
        raise UnknownOperatorError("a BatchNorm that takes its statistics from the batch")
    channels = mean.shape[0]
    scale = weight.name if weight else graph.constant(np.ones(channels or 0, np.float32))
    shift = bias.name if bias else graph.constant(np.zeros(channels or 0, np.float32))
    return graph.add(
        "BatchNormalization", [x.name, scale, shift, mean.name, var.name], epsilon=unless(eps, 1e-5)
    )


@lowers("linear.default")
def _linear(graph: Graph, shape: Any, x: Value, weight: Value, bias: Value | None = None) -> str:
    if len(x.shape) == 2:
        return graph.add("Gemm", [x.name, weight.name, *([bias.name] if bias else [])], transB=1)
    turned = graph.add("Transpose", [weight.name], perm=[1, 0])
    y = graph.add("MatMul", [x.name, turned])
    return graph.add("Add", [y, bias.name]) if bias else y
