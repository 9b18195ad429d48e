"""What is done to each number alone, or to two: activations, sums, products, casts."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from onnx import TensorProto

from anytimenet.export.graph import Graph
from anytimenet.export.operators.table import OPERATORS, Value, Write, lowers
from anytimenet.export.unknown import UnknownOperatorError

_DTYPES = {torch.float32: TensorProto.FLOAT, torch.float16: TensorProto.FLOAT16}


def _one_to_one(operator: str) -> Write:
    return lambda graph, shape, x: graph.add(operator, [x.name])


for _aten, _onnx in {
    **dict.fromkeys(("relu", "relu_"), "Relu"),
    **dict.fromkeys(("sigmoid", "sigmoid_"), "Sigmoid"),
    **dict.fromkeys(("tanh", "tanh_"), "Tanh"),
    **dict.fromkeys(("hardswish", "hardswish_"), "HardSwish"),
    **{name: name.capitalize() for name in ("exp", "sqrt", "neg", "abs", "erf", "log")},
}.items():
    OPERATORS[f"{_aten}.default"] = _one_to_one(_onnx)


@lowers("silu.default", "silu_.default")
def _silu(graph: Graph, shape: Any, x: Value) -> str:
    return graph.add("Mul", [x.name, graph.add("Sigmoid", [x.name])])


@lowers("hardsigmoid.default", "hardsigmoid_.default")
def _hard_sigmoid(graph: Graph, shape: Any, x: Value) -> str:
    return graph.add("HardSigmoid", [x.name], alpha=1 / 6, beta=0.5)


@lowers("relu6.default", "relu6_.default")
def _relu6(graph: Graph, shape: Any, x: Value) -> str:
    return cast(str, _clip(graph, shape, x, 0.0, 6.0))


@lowers("hardtanh.default", "hardtanh_.default", "clamp.default", "clamp_.default")
def _clip(graph: Graph, shape: Any, x: Value, low: float = -1.0, high: float = 1.0) -> str:
    if low is None or high is None:
        raise UnknownOperatorError("a clamp on one side")
    return graph.add("Clip", [x.name, *(graph.constant(np.array(v, np.float32)) for v in (low, high))])


def _two(operator: str) -> Write:
    def write(graph: Graph, shape: Any, one: Any, other: Any, alpha: float = 1) -> str:
        if alpha != 1:
            raise UnknownOperatorError(f"{operator} with alpha")
        return graph.add(operator, [_tensor(graph, each) for each in (one, other)])

    return write


for _aten, _onnx in {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div"}.items():
    OPERATORS |= dict.fromkeys((f"{_aten}.Tensor", f"{_aten}_.Tensor"), _two(_onnx))


@lowers("rsub.Scalar")
def _minus(graph: Graph, shape: Any, one: Any, other: Any, alpha: float = 1) -> str:
    return cast(str, OPERATORS["sub.Tensor"](graph, shape, other, one, alpha))


@lowers("to.dtype")
def _cast(graph: Graph, shape: Any, x: Value, dtype: torch.dtype, *arguments: Any) -> str:
    if dtype not in _DTYPES:
        raise UnknownOperatorError(f"a cast to {dtype}")
    return graph.add("Cast", [x.name], to=_DTYPES[dtype])


@lowers("dropout.default", "dropout_.default", "feature_dropout.default")
def _dropout(graph: Graph, shape: Any, x: Value, share: float, training: bool) -> str:
    if training:
        raise UnknownOperatorError("dropout in training")
    return x.name


def _tensor(graph: Graph, value: Any) -> str:
    if isinstance(value, Value):
        return value.name
    if isinstance(value, int | float):
        return graph.constant(np.array(value, np.float32))
    raise UnknownOperatorError(f"arithmetic with {type(value).__name__}")
