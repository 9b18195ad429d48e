"""What a net shows to planners, exporters and engines, without torch: its input, states and segments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

from anytimenet.core.checks import MOST_SIDE, choice, optional, settle, whole_number, whole_numbers
from anytimenet.core.records import JsonForm, Record, stored

INPUT = "x"
"""The name of the input in every state."""

_NUMBER = re.compile(r"(?:bfloat|float|complex|uint|int)(\d+)(?:_\w+)?")
_AXES = {"images": ("C", "H", "W"), "tokens": ("T", "D")}


@dataclass(frozen=True)
class InputSpec:
    """What a net reads, said of one example.

    Attributes:
        kind: "images", `(C, H, W)`, or "tokens", `(T, D)`.
        channels: C of images, D of tokens.
        smallest: least height and width, or number of tokens.
        multiple_of: what height and width, or the number of tokens, must be multiples of.
        fixed: (H, W) or (T,), if no other size can be read.

    Raises:
        ValueError: for another kind, a number under 1, or a fixed size that the other fields forbid.

    >>> InputSpec("images", channels=1, smallest=8).smallest_shape
    (1, 8, 8)
    >>> InputSpec("tokens", channels=16, fixed=(10,)).smallest_shape
    (10, 16)
    """

    kind: str = "images"
    channels: int = 3
    smallest: int = 1
    multiple_of: int = 1
    fixed: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        settle(self, "kind", choice, _AXES)
        for name in ("channels", "smallest", "multiple_of"):
            settle(self, name, whole_number, 1, MOST_SIDE)
        settle(self, "fixed", optional, whole_numbers, 1, MOST_SIDE)
        if self.fixed is not None:
            if len(self.fixed) != len(self._axes) - 1:
                raise ValueError(f"fixed {self.fixed}: one number for each of {self._axes} but the channels")
            self.check(self._with_channels(self.fixed))

    @property
    def smallest_shape(self) -> tuple[int, ...]:
        """The smallest example."""
        side = -(-self.smallest // self.multiple_of) * self.multiple_of
        return self._with_channels(self.fixed or (side,) * (len(self._axes) - 1))

    def shape_of(self, value: object, name: str = "input_shape") -> tuple[int, ...]:
        """`value` as the shape of one example, without the batch; its size is left to `check`.

        Raises:
            ValueError: for another number of dimensions, or one under 1.
        """
        found = whole_numbers(value, name, 1, MOST_SIDE)
        if len(found) != len(self._axes):
            raise ValueError(f"{name} is ({', '.join(self._axes)}) without the batch, not {found}")
        return found

    def check_batch(self, shape: Sequence[int]) -> None:
        """As `check`, for the shape of a batch `(N, ...)` and nothing else."""
        if len(shape) != len(self._axes) + 1:
            raise ValueError(self._wrong_dimensions(shape))
        self.check(shape)

    def check(self, shape: Sequence[int]) -> None:
        """Checks the shape of examples, alone or in a batch, before a deep layer stumbles over it.

        Raises:
            ValueError: for another number of channels, or a size that the net cannot read.
        """
        if len(shape) < len(self._axes):
            raise ValueError(self._wrong_dimensions(shape))
        own = tuple(shape)[-len(self._axes) :]
        channels, size = (own[0], own[1:]) if self.kind == "images" else (own[-1], own[:-1])
        if channels != self.channels:
            raise ValueError(
                f"this net reads {self.channels}-channel {self.kind}, got {channels} channels; "
                f"build it with in_channels={channels} or convert the {self.kind}"
            )
        least = "x".join([str(self.smallest)] * len(size))
        given = f"{self.kind} of {'x'.join(map(str, size))}" if len(size) > 1 else f"{size[0]} {self.kind}"
        if min(size) < self.smallest:
            raise ValueError(f"{given} are too small for this net's scales: at least {least} is needed")
        if any(side % self.multiple_of for side in size):
            raise ValueError(f"{given} do not fit this net: multiples of {self.multiple_of} are needed")
        if self.fixed is not None and size != self.fixed:
            raise ValueError(f"{given} do not fit this net: it reads {'x'.join(map(str, self.fixed))} only")

    @property
    def _axes(self) -> tuple[str, ...]:
        return _AXES[self.kind]

    def _with_channels(self, size: Sequence[int]) -> tuple[int, ...]:
        return (self.channels, *size) if self.kind == "images" else (*size, self.channels)

    def _wrong_dimensions(self, shape: Sequence[int]) -> str:
        return f"{self.kind} have shape ({', '.join(('N', *self._axes))}), not {tuple(shape)}"


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
    continues: str | None = field(default=None, metadata=stored(brief=True))
    grows: int | None = field(default=None, metadata=stored(brief=True))

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


@dataclass(frozen=True)
class SegmentSpec(Record):
    """One segment, as planners, exporters and engines read it; shapes and bytes are those of one example.

    Attributes:
        start: the stage that is finished, 0 for none.
        stop: the stage that it predicts.
        reads: the tensors of the state at `start`, in order.
        changes: those of the state at `stop` that it gives, in the state's order. One that `continues` a
            tensor of `reads` is that one and what the segment appends to it. What the state holds beside them
            is carried from `reads`, by name.
        outputs: the logits of stage `stop`, one a label level, "level1" the finest.
        macs: counted multiply-adds.
        weight_bytes: of the weights and statistics that it reads.
        state_bytes: that the whole state at `stop` takes; 0 after the last stage.

    Raises:
        ValueError: unless 0 <= start < stop, or if a tensor continues one that is not read.

    >>> x, logits = TensorSpec("x", (3, 8, 8)), TensorSpec("level1", (10,))
    >>> spec = SegmentSpec(0, 1, (x,), (), (logits,), macs=1920, weight_bytes=7720, state_bytes=0)
    >>> SegmentSpec.from_dict(spec.to_dict()) == spec
    True
    """

    start: int
    stop: int
    reads: tuple[TensorSpec, ...]
    changes: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    macs: int
    weight_bytes: int
    state_bytes: int
    json_form = JsonForm(what="a segment", strict=True)

    def __post_init__(self) -> None:
        for name in ("start", "macs", "weight_bytes", "state_bytes"):
            settle(self, name, whole_number)
        settle(self, "stop", whole_number, self.start + 1)
        known = {spec.name for spec in self.reads}
        for spec in self.changes:
            if spec.continues is not None and spec.continues not in known:
                raise ValueError(
                    f"segment ({self.start}, {self.stop}): {spec.name!r} continues {spec.continues!r}, which "
                    f"is none of {sorted(known)}"
                )
