"""What a net shows to planners, exporters and engines, without torch: the tensors of its states."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod

_NUMBER = re.compile(r"(?:bfloat|float|complex|uint|int)(\d+)(?:_\w+)?")


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a state.

    Attributes:
        name: of the tensor; the input is named "x".
        shape: per example, without the batch dimension.
        dtype: number format by torch's and numpy's name, for example "float32".
        continues: the tensor of the earlier state that is the unchanged beginning of this one; None for a
            tensor that is new, or carried as it is.
        grows: the axis of `shape` along which it continues, 0 for the channels of `(C, H, W)`.

    Raises:
        ValueError: if only one of `continues` and `grows` is given, the axis does not exist, or `dtype` is
            no number format.

    >>> TensorSpec("u1", (48, 8, 8), continues="t1", grows=0).nbytes
    12288
    >>> TensorSpec("u1", (48, 8, 8), dtype="bfloat16").nbytes
    6144
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    continues: str | None = None
    grows: int | None = None

    def __post_init__(self) -> None:
        if (self.continues is None) != (self.grows is None):
            raise ValueError(f"tensor {self.name!r}: continues and grows belong together")
        if self.grows is not None and not 0 <= self.grows < len(self.shape):
            raise ValueError(f"tensor {self.name!r} of shape {self.shape} has no axis {self.grows}")
        if not isinstance(self.dtype, str) or not (self.dtype == "bool" or _NUMBER.fullmatch(self.dtype)):
            raise ValueError(
                f"tensor {self.name!r}: dtype {self.dtype!r} is no number format, 'float32' for example"
            )

    @property
    def nbytes(self) -> int:
        """Bytes of one example; a number of less than 8 bits takes a whole byte."""
        number = _NUMBER.fullmatch(self.dtype)
        bits = 8 if number is None else int(number[1])
        return prod(self.shape) * max(bits // 8, 1)
