"""What each tensor operator costs, and the explicit list of those that cost nothing.

Where neither published counter says something (a sigmoid, an attention, an interpolation), the nearest
counted operator decides: any activation counts like ReLU, any normalisation like BatchNorm, any element
of arithmetic like a residual addition, any reduction like pooling over the elements that it reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from anytimenet.costs.conventions import OperationCount, Rule


def _free(args: Sequence[Any], result: Any) -> OperationCount:
    return OperationCount()


def _matrix(macs: int, *, bias: int = 0, activation: int = 0) -> OperationCount:
    extra = bias + activation
    return OperationCount(macs, macs + extra, macs + extra)


def _convolution(args: Sequence[Any], result: Tensor) -> OperationCount:
    """Every position (of the input, when transposed) meets one filter's weights; the bias is free."""
    x, weight, transposed = args[0], args[1], args[6]
    positions = x if transposed else result
    return _matrix(positions.numel() * weight[0].numel())


def _linear(args: Sequence[Any], result: Tensor) -> OperationCount:
    has_bias = len(args) > 2 and args[2] is not None
    return _matrix(result.numel() * args[1].shape[-1], bias=result.numel() if has_bias else 0)


def _product(args: Sequence[Any], result: Tensor) -> OperationCount:
    """`left @ right`: each element of the result sums over the last dimension of `left`."""
    return _matrix(result.numel() * args[0].shape[-1])


def _product_and_sum(args: Sequence[Any], result: Tensor) -> OperationCount:
    """`bias + left @ right`."""
    return _matrix(result.numel() * args[1].shape[-1], bias=result.numel())


def _summed_batches(args: Sequence[Any], result: Tensor) -> OperationCount:
    """`bias + sum over the batch of left @ right`."""
    return _matrix(args[1].numel() * args[2].shape[-1], bias=result.numel())


def _attention(args: Sequence[Any], result: Any) -> OperationCount:
    """softmax(Q K^T) V: both products in full, masked or not, and one activation per score."""
    query, key, value = args[:3]
    scores = query.numel() // query.shape[-1] * key.shape[-2]
    return _matrix(scores * (query.shape[-1] + value.shape[-1]), activation=scores)


def _normalisation(args: Sequence[Any], result: Any) -> OperationCount:
    return OperationCount(full=_floats(args[0]))


def _activation(args: Sequence[Any], result: Tensor) -> OperationCount:
    elements = _floats(result)
    return OperationCount(full=elements, msd=elements)


def _arithmetic(args: Sequence[Any], result: Any) -> OperationCount:
    return OperationCount(full=_floats(result))


def _reduction(args: Sequence[Any], result: Any) -> OperationCount:
    """Pooling whose windows cover the input once, as in global average pooling."""
    elements = _floats(args[0])
    return OperationCount(full=elements, msd=elements)


def _window_pooling(args: Sequence[Any], result: Any) -> OperationCount:
    """The kernel's area per output; `args[1]` is the kernel, one number for a square."""
    output = result[0] if isinstance(result, (tuple, list)) else result
    dimensions = output.dim() - 2
    kernel = list(args[1]) * (dimensions if len(args[1]) == 1 else 1)
    area = 1
    for size in kernel:
        area *= size
    return OperationCount(full=area * output.numel(), msd=area * output.numel())


def _bilinear(args: Sequence[Any], result: Tensor) -> OperationCount:
    """Four neighbours per output; the MSDNet family's counters do not see interpolation."""
    return OperationCount(full=4 * result.numel())


def _floats(value: Any) -> int:
    """Elements of a floating tensor (the first of several); bookkeeping in integers is free."""
    tensor = value[0] if isinstance(value, (tuple, list)) else value
    return tensor.numel() if tensor.is_floating_point() or tensor.is_complex() else 0


def _table(rule: Rule, names: str) -> Iterable[tuple[str, Rule]]:
    return ((f"aten.{name}", rule) for name in names.split())


_ATTENTIONS = """
    scaled_dot_product_attention _scaled_dot_product_attention_math
    _scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu
    _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention
    _scaled_dot_product_fused_attention_overrideable"""
_NORMALISATIONS = """
    batch_norm native_batch_norm cudnn_batch_norm miopen_batch_norm
    _native_batch_norm_legit _native_batch_norm_legit_no_training
    _batch_norm_with_update _batch_norm_no_update
    layer_norm native_layer_norm group_norm native_group_norm instance_norm rms_norm _fused_rms_norm"""
_ACTIVATIONS = """
    relu relu6 prelu _prelu_kernel leaky_relu rrelu elu selu celu gelu silu mish hardtanh hardswish
    hardsigmoid sigmoid logsigmoid log_sigmoid tanh softplus softmax _softmax _safe_softmax log_softmax
    _log_softmax glu threshold clamp clamp_min clamp_max"""
_ARITHMETIC = """
    add sub rsub mul div neg abs pow square sqrt rsqrt reciprocal exp exp2 expm1 log log1p log2 erf sin cos
    addcmul addcdiv lerp maximum minimum logaddexp floor ceil round trunc sign cumsum"""
_REDUCTIONS = """
    mean sum amax amin max min var std var_mean logsumexp norm linalg_vector_norm
    _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d"""
_WINDOW_POOLINGS = "avg_pool1d avg_pool2d avg_pool3d max_pool2d_with_indices max_pool3d_with_indices"
_FREE_VIEWS = """
    alias detach view _unsafe_view reshape _reshape_alias as_strided expand slice select narrow split
    split_with_sizes unsafe_split unsafe_chunk unbind unsqueeze squeeze permute transpose t numpy_T flatten
    unflatten diagonal unfold view_as_real view_as_complex movedim"""
_FREE_COPIES = """
    clone copy _to_copy to contiguous lift_fresh lift_fresh_copy cat concat stack repeat tile
    constant_pad_nd reflection_pad2d replication_pad2d roll flip pixel_shuffle pixel_unshuffle
    channel_shuffle native_channel_shuffle im2col col2im upsample_nearest2d _upsample_nearest_exact2d
    index index_select index_put gather scatter embedding one_hot where masked_fill slice_scatter
    select_scatter tril triu dropout native_dropout feature_dropout dropout1d dropout2d"""
_FREE_CREATIONS = """
    empty empty_like empty_strided new_empty new_empty_strided zeros zeros_like new_zeros ones ones_like
    new_ones full full_like new_full zero fill scalar_tensor arange linspace eye
    rand rand_like randn randn_like randint uniform normal bernoulli"""
_FREE_DECISIONS = """
    eq ne lt le gt ge isnan isinf isfinite logical_and logical_or logical_not logical_xor bitwise_and
    bitwise_or bitwise_not any all argmax argmin argsort sort topk bucketize"""

RULES: dict[str, Rule] = {
    "aten.convolution": _convolution,
    "aten.linear": _linear,
    **dict(_table(_product, "mm bmm mv dot")),
    **dict(_table(_product_and_sum, "addmm baddbmm addmv")),
    "aten.addbmm": _summed_batches,
    **dict(_table(_attention, _ATTENTIONS)),
    **dict(_table(_normalisation, _NORMALISATIONS)),
    **dict(_table(_activation, _ACTIVATIONS)),
    **dict(_table(_arithmetic, _ARITHMETIC)),
    **dict(_table(_reduction, _REDUCTIONS)),
    **dict(_table(_window_pooling, _WINDOW_POOLINGS)),
    "aten.upsample_bilinear2d": _bilinear,
    **dict(_table(_free, _FREE_VIEWS + _FREE_COPIES + _FREE_CREATIONS + _FREE_DECISIONS)),
}
"""By operator name, such as "aten.convolution"; in-place forms share the entry of the plain one."""
