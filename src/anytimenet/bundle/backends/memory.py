"""How much memory tensors take together, where some are parts of others."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

Span = tuple[int, int]
"""First address, and the one behind the last."""


def spans_of(tensors: Iterable[Tensor]) -> tuple[Span, ...]:
    """Where the numbers of tensors lie; that of a view reaches from its first to its last number."""
    found = []
    for tensor in tensors:
        steps = zip(tensor.shape, tensor.stride(), strict=True)
        reach = sum((size - 1) * stride for size, stride in steps) + 1 if tensor.numel() else 0
        found.append((tensor.data_ptr(), tensor.data_ptr() + reach * tensor.element_size()))
    return tuple(found)


def covered(spans: Iterable[Span]) -> int:
    """Bytes that are in at least one of them.

    >>> covered([(0, 8), (4, 12), (20, 24)])
    16
    """
    total = end = 0
    for start, stop in sorted(spans):
        total += max(stop - max(start, end), 0)
        end = max(end, stop)
    return total
