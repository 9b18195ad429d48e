"""The weights of an exported folder: the shards of a bundle, and where in them a segment's tensors lie."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from anytimenet.bundle.shards import layout_of, pack_shards, shard_name
from anytimenet.core.errors import BackendError
from anytimenet.layers.snapshots import copied, own_copy
from anytimenet.nets.contract import AnytimeNet, Segment, Snapshot

Box = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Stored:
    """Numbers that lie one after the other in a weight file: `shape` of them from byte `offset` on."""

    file: str
    offset: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Cut:
    """A rectangle, one (start, stop) an axis, of a stored tensor."""

    of: Stored
    box: Box


@dataclass(frozen=True)
class Together:
    """Pieces joined along an axis."""

    axis: int
    pieces: tuple[Piece, ...]


Piece = Stored | Cut | Together


@dataclass(frozen=True)
class _Part:
    """A part of the net in its file; its first number has the id `first`, and the others follow."""

    file: str
    offset: int
    shape: tuple[int, ...]
    first: int
    last: int


class StoredWeights:
    """The weights of a net in files by stage, which are the shards of its bundle, byte for byte.

    Where a tensor of a segment comes from is asked of a twin of the net whose weights are the numbers of
    their places: whichever views, stacks and cuts a family makes, the places come out of it.

    Args:
        net: with weights in float32.

    >>> from anytimenet.nets import create_net
    >>> net = create_net("iresnext_tiny").eval()
    >>> stored = StoredWeights(net)
    >>> stored.files[0][0]
    'model-00001-of-00003.safetensors'
    >>> places = stored.places(0, 1)
    >>> type(stored.find(places["blocks.0.conv1.weight"])).__name__
    'Stored'
    """

    def __init__(self, net: AnytimeNet) -> None:
        self._net, self._layout = net, layout_of(net, net)
        self.files = [
            (shard_name(stage, net.num_stages), data)
            for stage, data in enumerate(pack_shards(net, self._layout), 1)
        ]
        self._parts: list[_Part] = []

    @cached_property
    def _snapshot(self) -> Snapshot:
        """Of the twin; what reads the files alone does not need it."""
        net = self._net
        numbers = {
            name: torch.zeros(tensor.shape, dtype=torch.float64)
            for name, tensor in net.state_dict().items()
            if tensor.is_floating_point()
        }
        first = 1
        for (file, data), parts in zip(self.files, self._layout, strict=True):
            for key, offset in _offsets(data):
                part = parts[key]
                if part.name in numbers:
                    shape = tuple(stop - start for start, stop in part.box)
                    last = first + part.numel - 1
                    part.of(numbers[part.name]).copy_(
                        torch.arange(first, last + 1, dtype=torch.float64).view(shape)
                    )
                    self._parts.append(_Part(file, offset, shape, first, last))
                    first = last + 1
            first += 1  # what lies in two files never follows each other
        return _with_weights(net, numbers).snapshot()

    def places(self, start: int, stop: int) -> dict[str, Tensor]:
        """For each tensor of the segment, by name, the numbers of the places of its numbers."""
        return tensors_by_name(self._snapshot.segment(start, stop))

    def find(self, places: Tensor | None) -> Piece | None:
        """How a tensor is made of what is stored; None if it was computed."""
        if places is None or places.dtype != torch.float64 or not places.numel():
            return None
        whole = places.round()
        if not torch.equal(whole, places) or whole.min() < 1:
            return None
        return self._find(whole.long())

    def _find(self, places: Tensor) -> Piece | None:
        shape, first = tuple(places.shape), int(places.flatten()[0])
        part = self._part_of(first)
        if part is None:
            return None
        if torch.equal(places.flatten(), torch.arange(first, first + places.numel())):
            return Stored(part.file, part.offset + 4 * (first - part.first), shape)
        if len(shape) != len(part.shape):
            return None
        begin = _coordinates(first - part.first, part.shape)
        size = [min(length, whole - at) for length, whole, at in zip(shape, part.shape, begin, strict=True)]
        box = tuple((at, at + length) for at, length in zip(begin, size, strict=True))
        grid = torch.arange(part.first, part.last + 1).view(part.shape)
        here = tuple(slice(*side) for side in box)
        if not torch.equal(places[tuple(slice(length) for length in size)], grid[here]):
            return None
        return self._rest(places, size, Cut(Stored(part.file, part.offset, part.shape), box))

    def _rest(self, places: Tensor, size: Sequence[int], corner: Cut) -> Piece | None:
        """The corner that was found, and what lies behind it along the first axis that goes on."""
        for axis, (length, whole) in enumerate(zip(size, places.shape, strict=True)):
            if length < whole:
                before = self._find(places.narrow(axis, 0, length))
                behind = self._find(places.narrow(axis, length, whole - length))
                if before is None or behind is None:
                    return None
                more = behind.pieces if isinstance(behind, Together) and behind.axis == axis else (behind,)
                return Together(axis, (before, *more))
        return corner

    def _part_of(self, place: int) -> _Part | None:
        return next((part for part in self._parts if part.first <= place <= part.last), None)


def pieces_of(segment: Segment, stored: StoredWeights) -> dict[str, Piece]:
    """What each floating tensor of the segment is made of.

    Raises:
        BackendError: if one is computed from weights, and not a part of them.
    """
    places = stored.places(segment.start, segment.stop)
    found = {}
    for name, tensor in tensors_by_name(segment).items():
        if tensor.is_floating_point():
            piece = stored.find(places[name])
            if piece is None:
                raise BackendError(
                    f"{name} of segment ({segment.start}, {segment.stop}) is computed from weights, and "
                    "exported segments hold parts of them alone: make it a parameter or a buffer of the net"
                )
            found[name] = piece
    return found


def tensors_by_name(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers under every name that they have."""
    return {
        name: tensor.detach()
        for name, tensor in (
            *module.named_parameters(remove_duplicate=False),
            *module.named_buffers(remove_duplicate=False),
        )
    }


def _with_weights(net: AnytimeNet, weights: Mapping[str, Tensor]) -> AnytimeNet:
    """A copy of the net with other weights."""
    twin = copied(net, own_copy)
    goals = twin.state_dict(keep_vars=True)
    for name, values in weights.items():
        goals[name].data = values
    return twin


def _offsets(data: bytes) -> Iterator[tuple[str, int]]:
    """The name of each tensor in a safetensors file and the byte where it begins, in its order."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    for name, told in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        yield name, 8 + length + told["data_offsets"][0]


def _coordinates(index: int, shape: Sequence[int]) -> list[int]:
    found = []
    for size in reversed(shape):
        index, at = divmod(index, size)
        found.append(at)
    return found[::-1]
