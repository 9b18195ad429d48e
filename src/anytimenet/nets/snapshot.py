"""A snapshot: one frozen copy of a net, whose segments share its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from anytimenet.layers.folding import fold_norms
from anytimenet.layers.snapshots import copied, tensors_of
from anytimenet.nets.segment import Segment, check_segment

_Module = TypeVar("_Module", bound=nn.Module)
Take = Callable[[int, int, bool], Segment]
"""`take(start, stop, last)` gives a segment in eval mode."""


class Snapshot:
    """The segments of one frozen copy of a net, which all read its weights: `net.snapshot()` makes one.

    Holding every segment, all sub-networks among them, takes the memory of one net: what a segment needs of
    a larger tensor is a view of it. A net that is trained on afterwards does not change it.

    >>> from anytimenet.nets import create_net
    >>> snapshot = create_net("isresnext_tiny").snapshot()
    >>> segments = [snapshot.segment(start, 3) for start in range(3)]
    >>> state, output = snapshot.segment(0, 1)((torch.zeros(2, 3, 8, 8),))
    >>> segments[1](state)[1][0].shape
    torch.Size([2, 10])
    """

    def __init__(self, num_stages: int, take: Take) -> None:
        self.num_stages = num_stages
        self._take = take
        self._segments: WeakValueDictionary[tuple[int, int, bool], Segment] = WeakValueDictionary()

    def segment(self, start: int, stop: int, *, last: bool = False) -> Segment:
        """The work from stage `start` (0: the input) to stage `stop`; the same object while it is in use.

        Raises:
            ValueError: unless 0 <= start < stop <= K.
        """
        key = check_segment(start, stop, last, self.num_stages)
        segment = self._segments.get(key)
        if segment is None:
            with torch.no_grad():
                segment = self._segments[key] = self._take(*key)
        return segment

    def prepare(self, *, fold: bool = True, contiguous: bool = True, merge: bool = False) -> Snapshot:
        """A snapshot whose segments run faster and take more memory, which its `nbytes` tells.

        Args:
            fold: BatchNorms become part of the convolutions before them, which nothing else may read: the
                same up to rounding. Each segment has folded weights of its own.
            contiguous: each segment copies the columns of wider weights that it reads, bit for bit the same.
            merge: several convolutions become one with zeros between, where a module of the net has a method
                `merge` for that and finds it faster: the same up to rounding, in more memory.

        >>> from anytimenet.nets import create_net
        >>> snapshot = create_net("iresnext_tiny").snapshot()
        >>> fast = snapshot.prepare()
        >>> kept = [(one.segment(0, 2), one.segment(0, 3)) for one in (snapshot, fast)]
        >>> snapshot.nbytes < fast.nbytes
        True
        """

        def take(start: int, stop: int, last: bool) -> Segment:
            segment = copied(
                self._take(start, stop, last), Tensor.contiguous if contiguous else Tensor.detach
            )
            if fold:
                fold_norms(segment)
            if merge:
                for part in list(segment.modules()):
                    if isinstance(part, _Merges):
                        part.merge()
            return segment.eval()

        return Snapshot(self.num_stages, take)

    @property
    def nbytes(self) -> int:
        """Bytes of the weights of all segments in use, what they share counted once."""
        storages: dict[int, int] = {}
        for segment in list(self._segments.values()):
            storages |= storages_of(segment)
        return sum(storages.values())


@runtime_checkable
class _Merges(Protocol):
    """A module that can run in fewer calls."""

    def merge(self) -> None: ...


def storages_of(module: nn.Module) -> dict[int, int]:
    """The bytes of each memory that a tensor of `module` lies in, by a number that tells it from others."""
    # An address would not do: on the meta device all are 0.
    storages = [tensor.untyped_storage() for tensor in tensors_of(module)]
    return {storage._cdata: storage.nbytes() for storage in storages}


def frozen_copy(net: _Module, device: torch.device, dtype: torch.dtype | None) -> _Module:
    """A copy of `net` in eval mode that does not learn; on the meta device it stays there.

    The parameters of a `ParameterList` come to lie one after the other in one memory, so that those that
    follow each other can be read as one tensor.
    """

    def moved(tensor: Tensor) -> Tensor:
        return tensor.to(
            tensor.device if tensor.is_meta else device,
            dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype,
            copy=True,
            memory_format=torch.contiguous_format,
        )

    frozen = copied(net, moved).eval().requires_grad_(False)
    for part in frozen.modules():
        if isinstance(part, nn.ParameterList):
            _lay_together([each for each in part if isinstance(each, nn.Parameter)])
    return frozen


def device_named(device: str | torch.device) -> torch.device:
    """The device of that name.

    Raises:
        ValueError: if there is no such kind of device.

    >>> device_named("cpu")
    device(type='cpu')
    """
    try:
        if isinstance(device, str | torch.device):
            return torch.device(device)
    except RuntimeError:
        pass
    raise ValueError(f"device {device!r}: 'cpu' or 'cuda', for example, is needed")


def floating(dtype: str | torch.dtype) -> torch.dtype:
    """The floating number format of that name.

    Raises:
        ValueError: for anything else.

    >>> floating("bfloat16")
    torch.bfloat16
    """
    named = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(named, torch.dtype) or not named.is_floating_point:
        raise ValueError(f"dtype {dtype!r}: a floating format such as 'float32' or 'bfloat16' is needed")
    return named


def meta_copy(module: _Module) -> _Module:
    """A copy of `module` without values, on the meta device; those of `module` are never read.

    >>> meta_copy(nn.Linear(2, 3)).weight.device
    device(type='meta')
    """
    return copied(module, lambda tensor: torch.empty_like(tensor, device="meta"))


def _lay_together(parameters: list[nn.Parameter]) -> None:
    if len({(parameter.dtype, parameter.device) for parameter in parameters}) != 1:
        return
    together = torch.cat([parameter.flatten() for parameter in parameters])
    pieces = together.split([parameter.numel() for parameter in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.data = piece.view(parameter.shape)
