"""A program of the native engine while it is written; see docs/reference/native_program.md."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from enum import IntEnum
from itertools import product
from math import inf, prod

from anytimenet.export.stored import Box, Cut, Piece, Stored, Together

MAGIC = 0x504E5441
VERSION = 1
NONE = -1
_HEADER_WORDS = 16


class Kind(IntEnum):
    """What a tensor is to the engine: only what is kept lives on when the operators of a part are over."""

    INPUT = 0
    KEPT = 1
    SCRATCH = 2
    OUTPUT = 3


class Code(IntEnum):
    """The operators."""

    CONV = 1
    AFFINE = 2
    ADD = 3
    AVERAGE_POOL = 4
    LARGEST_POOL = 5
    ZERO = 6
    MEAN = 7
    LINEAR = 8


BLOCK_END, COUNT_BORDER = 1, 2


@dataclass
class TensorRow:
    """A tensor of one example; `flat`: a vector, whose height and width are 1."""

    kind: Kind
    channels: int
    height: int
    width: int
    flat: bool


@dataclass(frozen=True)
class View:
    """Some channels of a tensor."""

    tensor: int
    channel: int
    channels: int
    height: int
    width: int
    flat: bool = False

    def part(self, start: int, stop: int) -> View:
        """Channels `start` to `stop` of these."""
        return View(self.tensor, self.channel + start, stop - start, self.height, self.width, self.flat)

    def follows(self, other: View) -> bool:
        """Whether it lies directly behind `other`."""
        return self.tensor == other.tensor and self.channel == other.channel + other.channels


@dataclass(frozen=True)
class Norm:
    """The tensors of a BatchNorm, as weights; channel `channel` of them is the first that is meant."""

    gamma: int
    beta: int
    mean: int
    variance: int
    epsilon: float
    channel: int = 0


@dataclass(frozen=True)
class Window:
    """What a convolution or pooling looks at: sizes, strides, and the padding on each side."""

    height: int
    width: int
    stride_y: int
    stride_x: int
    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0


@dataclass
class Op:
    """One operator; what it has not is left as it is."""

    code: Code
    out: View
    read: View | None = None
    other: View | None = None
    window: Window | None = None
    groups: int = 0
    weight: int = NONE
    bias: int = NONE
    norm: Norm | None = None
    low: float = -inf
    high: float = inf
    flags: int = BLOCK_END
    macs: int = 0

    def row(self) -> bytes:
        """The 32 words of it."""
        read, other, norm = self.read, self.other, self.norm
        window = astuple(self.window) if self.window else (0,) * 8
        weights = (
            (norm.gamma, norm.beta, norm.mean, norm.variance, norm.channel) if norm else (*(NONE,) * 4, 0)
        )
        words = (
            self.code,
            self.flags,
            *((read.tensor, read.channel, read.channels) if read else (NONE, 0, 0)),
            *((other.tensor, other.channel) if other else (NONE, 0)),
            *(self.out.tensor, self.out.channel, self.out.channels),
            *window,
            self.groups,
            *(self.weight, self.bias),
            *weights,
        )
        return struct.pack(
            f"<{len(words)}i3f3i", *words, norm.epsilon if norm else 0, self.low, self.high, 0, 0, 0
        )


@dataclass
class StageRows:
    """The operators of one stage, and what it leaves."""

    body: list[Op] = field(default_factory=list)
    head: list[Op] = field(default_factory=list)
    state: list[tuple[int, int]] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    answers: bool = False


class ProgramWriter:
    """The tables of a program; equal weights are one.

    Args:
        shards: names of the weight files, in the order of the stages.

    >>> program = ProgramWriter(["a.safetensors"])
    >>> program.weight(Stored("a.safetensors", 64, (4, 3)))
    0
    >>> program.weight(Stored("a.safetensors", 64, (4, 3)))
    0
    """

    def __init__(self, shards: Sequence[str]) -> None:
        self._shards = {name: place for place, name in enumerate(shards)}
        self.tensors: list[TensorRow] = []
        self.stages: list[StageRows] = [StageRows()]
        self._chunks: list[bytes] = []
        self._weights: list[tuple[int, int, int]] = []
        self._places: dict[Piece, int] = {}

    def tensor(
        self, kind: Kind, channels: int, height: int = 1, width: int = 1, *, flat: bool = False
    ) -> int:
        """A new tensor; returns its number."""
        self.tensors.append(TensorRow(kind, channels, height, width, flat))
        return len(self.tensors) - 1

    def view(self, tensor: int, channel: int = 0, channels: int | None = None) -> View:
        """Channels of a tensor, by default those from `channel` on."""
        row = self.tensors[tensor]
        count = row.channels - channel if channels is None else channels
        return View(tensor, channel, count, row.height, row.width, row.flat)

    def weight(self, piece: Piece) -> int:
        """The number of the weight that is made of what is stored."""
        if piece not in self._places:
            shape, first = shape_of(piece), len(self._chunks)
            for stored, box, corner in _rectangles(piece, (0,) * len(shape)):
                self._chunks += _rows(self._shards[stored.file], stored, box, corner, shape)
            self._places[piece] = len(self._weights)
            self._weights.append((first, len(self._chunks) - first, prod(shape)))
        return self._places[piece]

    def to_bytes(self) -> bytes:
        """The file."""
        ops: list[Op] = []
        table: list[int] = []
        states: list[int] = []
        outputs: list[int] = []
        for stage in self.stages:
            row = [len(ops), len(stage.body), len(ops) + len(stage.body), len(stage.head)]
            ops += [*stage.body, *stage.head]
            row += [
                len(states) // 2,
                len(stage.state),
                len(outputs),
                len(stage.outputs),
                int(stage.answers),
                0,
            ]
            states += [number for pair in stage.state for number in pair]
            outputs += stage.outputs
            table += row
        tensors = [
            number
            for row in self.tensors
            for number in (row.kind, row.channels, row.height, row.width, row.flat, 0)
        ]
        weights = [number for row in self._weights for number in (*row, 0)]
        counts = (
            len(self._shards),
            len(self.stages) - 1,
            len(self.tensors),
            len(self._chunks),
            len(self._weights),
        )
        header = [MAGIC, VERSION, *counts, len(ops), len(self.stages), len(states) // 2, len(outputs)]
        header += [0] * (_HEADER_WORDS - len(header))
        words = b"".join(map(_words, (header, tensors)))
        rows = b"".join(op.row() for op in ops)
        return (
            words
            + b"".join(self._chunks)
            + _words(weights)
            + rows
            + b"".join(map(_words, (table, states, outputs)))
        )


def shape_of(piece: Piece) -> tuple[int, ...]:
    """The shape of the tensor that is made of a piece."""
    if isinstance(piece, Stored):
        return piece.shape
    if isinstance(piece, Cut):
        return tuple(stop - start for start, stop in piece.box)
    shapes = [shape_of(each) for each in piece.pieces]
    whole = list(shapes[0])
    whole[piece.axis] = sum(shape[piece.axis] for shape in shapes)
    return tuple(whole)


def _rectangles(piece: Piece, corner: tuple[int, ...]) -> list[tuple[Stored, Box, tuple[int, ...]]]:
    """Each rectangle of a stored tensor that a piece is made of, and where its corner belongs."""
    if isinstance(piece, Stored):
        return [(piece, tuple((0, size) for size in piece.shape), corner)]
    if isinstance(piece, Cut):
        return [(piece.of, piece.box, corner)]
    assert isinstance(piece, Together)
    found, place = [], list(corner)
    for each in piece.pieces:
        found += _rectangles(each, tuple(place))
        place[piece.axis] += shape_of(each)[piece.axis]
    return found


def _rows(shard: int, stored: Stored, box: Box, corner: Sequence[int], shape: Sequence[int]) -> list[bytes]:
    """Chunks of a rectangle: rows of numbers that follow each other in the shard and in the weight."""
    sizes = [stop - start for start, stop in box]
    axis = len(sizes) - 1
    while axis > 0 and sizes[axis] == stored.shape[axis] == shape[axis]:
        axis -= 1
    length = prod(sizes[axis:])
    from_steps, to_steps = _steps(stored.shape), _steps(shape)
    rows = sizes[axis - 1] if axis else 1
    strides = (from_steps[axis - 1], to_steps[axis - 1]) if axis else (length, length)
    outer = axis - 1 if axis else 0
    found = []
    for place in product(*(range(size) for size in sizes[:outer])):
        inside = (*place, *(0,) * (len(sizes) - outer))
        start = sum((at + begin) * step for at, (begin, _), step in zip(inside, box, from_steps, strict=True))
        to = sum((at + begin) * step for at, begin, step in zip(inside, corner, to_steps, strict=True))
        offset = stored.offset + 4 * start
        low, high = offset & 0xFFFFFFFF, offset >> 32
        found.append(struct.pack("<iIi5i", shard, low, high, rows, length, strides[0], to, strides[1]))
    return found


def _steps(shape: Sequence[int]) -> list[int]:
    return [prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _words(numbers: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}i", *numbers)
