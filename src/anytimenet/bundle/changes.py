"""Whether the weights of a net are still those that something was made of."""

from __future__ import annotations

from collections.abc import Iterator
from operator import is_not

import torch
from torch import Tensor, nn

from anytimenet.layers.snapshots import is_hooked

_LOOKED_AT = 3
"""Numbers of each tensor that are compared: what `.data` changes raises no version."""
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class WeightsSeen:
    """What a net's weights were at one moment, to be asked later whether they still are.

    It holds no copy of them. A change is seen by what PyTorch counts for each tensor, so that every step of
    an optimizer, `load_state_dict`, running statistics, another dtype or device, and layers or tensors that
    were replaced are seen, also if they change one number. What is written around that count, through `.data`
    or a NumPy view of the memory, is seen if it changes the first, the middle or the last number of a tensor.

    Args:
        net: whose weights; of several threads one at a time may change them.

    >>> layer = nn.Linear(2, 2)
    >>> seen = WeightsSeen(layer)
    >>> seen.still()
    True
    >>> with torch.no_grad():
    ...     seen.still(), layer.weight[0, 1].zero_() is None, seen.still()
    (True, False, False)
    """

    def __init__(self, net: nn.Module) -> None:
        self._net = net
        self._layers, self._tensors = _parts_of(net)
        self._hooks = sum(map(is_hooked, self._layers))
        self._counts = _counts(self._tensors)
        self._looks = _looks_of(self._tensors)
        self._numbers = self._look()

    def still(self) -> bool:
        """Whether nothing has changed since."""
        layers, tensors = _parts_of(self._net)
        if len(layers) != len(self._layers) or len(tensors) != len(self._tensors):
            return False
        if any(map(is_not, layers, self._layers)) or any(map(is_not, tensors, self._tensors)):
            return False
        if _counts(tensors) != self._counts or sum(map(is_hooked, layers)) != self._hooks:
            return False
        return all(map(torch.equal, self._look(), self._numbers))

    def _look(self) -> list[Tensor]:
        with torch.no_grad():
            return [torch.cat(group) for group in self._looks]


def _parts_of(net: nn.Module) -> tuple[list[nn.Module], list[Tensor]]:
    """Every layer, and every parameter and buffer, in one order; those that come twice twice."""
    layers, tensors, seen = [net], [], {net}
    for layer in layers:  # which grows meanwhile
        held = vars(layer)
        tensors += [each for each in held["_parameters"].values() if each is not None]
        tensors += [each for each in held["_buffers"].values() if each is not None]
        for part in held["_modules"].values():
            if part is not None and part not in seen:
                seen.add(part)
                layers.append(part)
    return layers, tensors


def _counts(tensors: list[Tensor]) -> list[tuple[int, int]]:
    """How often each was written, and where it lies."""
    try:
        return [(each._version, each.data_ptr()) for each in tensors]
    except RuntimeError:  # tensors of inference mode are not counted, and lazy ones lie nowhere
        return [(-1, each.data_ptr()) if each.is_inference() else (each._version, 0) for each in tensors]


def _looks_of(tensors: list[Tensor]) -> list[list[Tensor]]:
    """Views of some numbers of each tensor in the CPU's memory, as whole numbers, by their size."""
    found: dict[int, list[Tensor]] = {}
    for view in _views(tensors):
        found.setdefault(view.element_size(), []).append(view)
    return [[view.view(_INTEGERS[size]) for view in views] for size, views in found.items()]


def _views(tensors: list[Tensor]) -> Iterator[Tensor]:
    for tensor in tensors:
        count = tensor.numel()
        if count and tensor.device.type == "cpu" and tensor.element_size() in _INTEGERS:
            flat = tensor.detach()
            if flat.is_contiguous():
                step = max(1, (count - 1) // (_LOOKED_AT - 1))
                yield flat.as_strided((min(count, _LOOKED_AT),), (step,), flat.storage_offset())
            else:
                yield flat[(0,) * flat.ndim].reshape(1)
