"""ATen operators as ONNX operators, those that nets here are made of; long, for it is one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from onnx import TensorProto

from anytimenet.export.adaptive_pooling import write_adaptive
from anytimenet.export.graph import Graph
from anytimenet.export.unknown import UnknownOperatorError


@dataclass(frozen=True)
class Value:
    """A tensor in the graph: its name, its shape with None for the batch, and whether it is true or false."""

    name: str
    shape: tuple[int | None, ...]
    boolean: bool = False


@dataclass(frozen=True)
class Zeros:
    """A tensor of nothing but zeros, which is padding where it is joined to others."""

    shape: tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class Known:
    """A tensor that no input changes: it is computed while the graph is written."""

    tensor: torch.Tensor


@dataclass(frozen=True)
class Size:
    """A size that follows from the batch: the name of a tensor of one whole number."""

    name: str


Write = Callable[..., Any]
"""`write(graph, shape, *arguments)` gives the name of the result, or of each result, whose shape is given."""

OPERATORS: dict[str, Write] = {}

_DTYPES = {torch.float32: TensorProto.FLOAT, torch.float16: TensorProto.FLOAT16}


def lowers(*names: str) -> Callable[[Write], Write]:
    """Decorator of the function that writes the operators `names`, as PyTorch calls them behind "aten."."""

    def known(write: Write) -> Write:
        OPERATORS.update(dict.fromkeys(names, write))
        return write

    return known


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
    read, pads = _own_padding(graph, x, _pair(padding) * 2)
    inputs = [read, weight.name, *([] if bias is None else [bias.name])]
    return graph.add(
        "Conv",
        inputs,
        strides=_unless(_pair(stride), (1, 1)),
        pads=_unless(pads, (0, 0, 0, 0)),
        dilations=_unless(_pair(dilation), (1, 1)),
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
        "BatchNormalization", [x.name, scale, shift, mean.name, var.name], epsilon=_unless(eps, 1e-5)
    )


@lowers("linear.default")
def _linear(graph: Graph, shape: Any, x: Value, weight: Value, bias: Value | None = None) -> str:
    if len(x.shape) == 2:
        return graph.add("Gemm", [x.name, weight.name, *([bias.name] if bias else [])], transB=1)
    turned = graph.add("Transpose", [weight.name], perm=[1, 0])
    y = graph.add("MatMul", [x.name, turned])
    return graph.add("Add", [y, bias.name]) if bias else y


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


@lowers("sym_size.int")
def _size(graph: Graph, shape: Any, x: Value, dim: int) -> Size:
    axis = dim % len(x.shape)
    return Size(graph.add("Shape", [x.name], start=axis, end=axis + 1))


@lowers("<built-in function mul>")
def _size_times(graph: Graph, shape: Any, *factors: Any) -> Size:
    names = [each.name if isinstance(each, Size) else graph.whole_numbers(each) for each in factors]
    return Size(graph.add("Mul", names))


@lowers("split_with_sizes.default", "split.sizes")
def _split(graph: Graph, shape: Any, x: Value, sizes: Sequence[int], dim: int = 0) -> list[str]:
    if len(sizes) == 1:
        return [x.name]
    inputs = [x.name, graph.whole_numbers(*sizes)]
    return graph.add_many("Split", inputs, len(sizes), axis=dim % len(x.shape))


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
    return [write_adaptive(graph, x.name, sides, _pair(size), operator="MaxPool", reduction="ReduceMax"), ""]


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
        kernel_shape=_pair(kernel),
        strides=_pair(stride or kernel),
        pads=_unless(_pair(padding) * 2, (0, 0, 0, 0)),
        count_include_pad=1 if count_include_pad and any(_pair(padding)) else None,
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
    if tuple(_pair(dilation)) != (1, 1):
        raise UnknownOperatorError("dilated pooling")
    return graph.add(
        "MaxPool",
        [x.name],
        kernel_shape=_pair(kernel),
        strides=_pair(stride or kernel),
        pads=_unless(_pair(padding) * 2, (0, 0, 0, 0)),
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


@lowers("zeros_like.default")
def _zeros(graph: Graph, shape: Any, x: Any, *arguments: Any) -> Zeros:
    return Zeros(tuple(shape))


def _padded(graph: Graph, x: str, sides: dict[int, tuple[int, int]], dims: int) -> str:
    pads = [sides.get(axis, (0, 0))[side] for side in (0, 1) for axis in range(dims)]
    name = graph.add("Pad", [x, graph.whole_numbers(*pads)])
    graph.padded[name] = (x, tuple(pads))
    return name


def _tensor(graph: Graph, value: Any) -> str:
    if isinstance(value, Value):
        return value.name
    if isinstance(value, int | float):
        return graph.constant(np.array(value, np.float32))
    raise UnknownOperatorError(f"arithmetic with {type(value).__name__}")


def _sides(x: Value) -> list[int]:
    if None in x.shape[2:]:
        raise UnknownOperatorError("adaptive pooling of maps of any size")
    return [side or 0 for side in x.shape[2:]]


def _fits(x: Value, kernel: Sequence[int], stride: Sequence[int]) -> bool:
    """Whether windows end where the image does, so that rounding up and down are the same."""
    sizes = zip(x.shape[2:], _pair(kernel), _pair(stride), strict=True)
    return all(size is not None and (size - window) % step == 0 for size, window, step in sizes)


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    found = tuple(value)
    if not all(isinstance(each, int) for each in found):
        raise UnknownOperatorError(f"{value!r} in place of two numbers")
    return (found[0], found[0]) if len(found) == 1 else (found[0], found[1])


def _unless(value: Any, default: Any) -> Any:
    """What need not be said is left out: a net has hundreds of such nodes."""
    return None if value == default else value
