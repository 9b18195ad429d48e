"""States as tensors by name, in one memory layout, so that a state that was saved goes on bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from anytimenet.core.checks import whole_numbers
from anytimenet.core.segments import TensorSpec


class TensorState:
    """The state of one run: tensors by name, in the order of the net's state, none after its last stage.

    Attributes:
        stage: that is finished, 0 for none.
        batch: examples in it.
        tensors: by name; empty, too, once the state is used up or released.
        used_up: whether a later state has taken its place.
    """

    __slots__ = ("batch", "stage", "tensors", "used_up")

    def __init__(self, stage: int, batch: int, tensors: dict[str, Tensor]) -> None:
        self.stage = stage
        self.batch = batch
        self.tensors = tensors
        self.used_up = False

    @property
    def nbytes(self) -> int:
        """Bytes that dropping it frees."""
        storages = {
            tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes()
            for tensor in self.tensors.values()
        }
        return sum(storages.values())

    def use_up(self) -> None:
        """From now on it cannot be run any more, and holds nothing."""
        self.used_up = True
        self.tensors = {}

    def __repr__(self) -> str:
        held = "used up" if self.used_up else f"{self.nbytes} bytes"
        return f"TensorState(stage {self.stage}, batch {self.batch}, {held})"


class Layout:
    """Where the numbers of a tensor lie: the same for every tensor of a shape, however it came about.

    Operators choose their method by the order of the numbers in memory, and round differently.

    Args:
        channels_last: images as (N, H, W, C) in memory; else as (N, C, H, W).
    """

    def __init__(self, channels_last: bool) -> None:
        self.channels_last = channels_last

    def of(self, tensor: Tensor) -> Tensor:
        """The tensor in this layout: itself, if it is."""
        strides = _strides(tensor.shape, self.channels_last)
        if tensor.stride() == strides:
            return tensor
        last = self.channels_last and tensor.ndim == 4
        if tensor.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format):
            return tensor.as_strided(tensor.shape, strides)  # of dimensions of size 1 the stride is free
        return torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype, device=tensor.device).copy_(
            tensor
        )

    def copy(self, tensor: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
        """The same values in new memory of this layout."""
        strides = _strides(tensor.shape, self.channels_last)
        return torch.empty_strided(tensor.shape, strides, dtype=dtype, device=device).copy_(tensor)


@lru_cache(4096)  # asked for every tensor of every state
def _strides(shape: tuple[int, ...], channels_last: bool) -> tuple[int, ...]:
    # Of one channel both orders are one memory; strides that say channels last mislead the compiler of
    # PyTorch 2.13, whose code then gives other numbers.
    last = channels_last and len(shape) == 4 and shape[1] > 1
    order = [0, 2, 3, 1] if last else [*range(len(shape))]
    strides, step = [0] * len(shape), 1
    for dim in reversed(order):
        strides[dim] = step
        step *= max(shape[dim], 1)
    return tuple(strides)


def as_arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Copies of tensors; numpy has no bfloat16, of which the bits are given as uint16."""
    return {name: _array(tensor.detach()) for name, tensor in tensors.items()}


def as_tensors(
    arrays: Mapping[str, np.ndarray],
    stage: int,
    specs: Sequence[TensorSpec],
    dtypes: Callable[[str], torch.dtype],
    *,
    sizes_too: bool = True,
) -> dict[str, Tensor]:
    """The tensors of what `as_arrays` gave; they may share its memory.

    Args:
        arrays: by name.
        stage: for messages.
        specs: what the state at that stage holds.
        dtypes: of its floating tensors, by name.
        sizes_too: whether the shapes in `specs` are those of this run's images.

    Raises:
        ValueError: if these are not the tensors of that stage.
    """
    names = [spec.name for spec in specs]
    if set(arrays) != set(names):
        raise ValueError(f"the state at stage {stage} has the tensors {names}, not {sorted(arrays)}")
    found = {spec.name: _tensor(np.asarray(arrays[spec.name]), dtypes(spec.name)) for spec in specs}
    batches = {tensor.shape[0] if tensor.ndim else None for tensor in found.values()}
    if len(batches) > 1 or None in batches:
        raise ValueError(f"the state at stage {stage} has one batch first in every tensor, not {batches}")
    for spec in specs:
        tensor = found[spec.name]
        shape, wanted = tuple(tensor.shape[1:]), spec.shape
        if len(shape) != len(wanted) or (sizes_too and shape != wanted):
            raise ValueError(f"{spec.name!r} of stage {stage} has shape {wanted} an example, not {shape}")
        dtype = dtypes(spec.name)
        if tensor.dtype != dtype and spec.dtype.startswith(("float", "bfloat")):
            raise ValueError(f"{spec.name!r} of stage {stage} is {dtype} here, not {tensor.dtype}")
    return found


def row_numbers(index: Sequence[int], batch: int) -> Tensor:
    """The numbers of examples of a batch, as a tensor.

    Raises:
        ValueError: for one that is not there.
    """
    return torch.tensor(whole_numbers(index, "index", 0, batch - 1), dtype=torch.long)


def _array(tensor: Tensor) -> np.ndarray:
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.contiguous().view(torch.uint16)
    return np.array(tensor.cpu().numpy(), order="C")


def _tensor(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    # A copy where it must be: PyTorch warns of arrays that cannot be written to.
    tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
    if tensor.dtype == torch.uint16 and dtype == torch.bfloat16:
        return tensor.view(torch.bfloat16)
    return tensor
