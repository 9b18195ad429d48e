"""What a format says of an operator that it cannot write; without ONNX, which not every format needs."""

from __future__ import annotations


class UnknownOperatorError(Exception):
    """An operator, or a use of one, that is not written here; PyTorch's own exporter knows more of them."""
