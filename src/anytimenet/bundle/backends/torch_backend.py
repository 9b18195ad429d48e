"""What the PyTorch backends share: states, segments, what they hold; long, for it is one interface."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from anytimenet.bundle.backends.memory import Span, covered
from anytimenet.bundle.backends.settings import exact_float32, threads_of_operators
from anytimenet.bundle.backends.states import (
    Layout,
    TensorState,
    as_arrays,
    as_tensors,
    row_numbers,
)
from anytimenet.core.checks import instance, optional
from anytimenet.core.errors import BackendError
from anytimenet.core.segments import INPUT
from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.segment import check_segment
from anytimenet.nets.snapshot import device_named, floating
from anytimenet.runtime.backends.backend import Output, Placement, State
from anytimenet.runtime.backends.usable import usable

TOLERANCES = {
    torch.float64: 1e-5,
    torch.float32: 1e-5,
    torch.float16: 1e-2,
    torch.bfloat16: 5e-2,
}
"""How far each number format may be from float32, relative to the largest of a tensor."""


class Runner(Protocol):
    """A segment that is ready to run."""

    @property
    def spans(self) -> Sequence[Span]:
        """The memory that its weights lie in."""

    def __call__(self, tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        """From the state at its start to the whole state and the output at its stop."""


class TorchBackend(ABC):
    """The segments of one net on PyTorch; see `Backend`. What differs is how a segment is made ready.

    Args:
        net: the net; it is not changed.
        placement: where and how segments run.
        input_shape: (C, H, W) of the images, if it is known: then a segment runs once when it is prepared, so
            that its first run for a user is as fast as the next.
        channels_last: whether states lie as (N, H, W, C) in memory.
        name: by which users choose it.
        state_dtype: number format of states, all but the input; None for that of the weights.

    Attributes:
        one_size: whether images of `input_shape` alone can be run.
        one_image: whether batches of one image alone can be run.
    """

    one_size = False
    one_image = False

    def __init__(
        self,
        net: AnytimeNet,
        placement: Placement | None,
        input_shape: Sequence[int] | None,
        channels_last: bool,
        name: str,
        state_dtype: str | None = None,
    ) -> None:
        self.net = instance(net, AnytimeNet, "net", "create_net(NAME)")
        self.name = name
        self.placement = placement or Placement()
        self.device = usable_device(self.placement.device)
        self.dtype = floating(self.placement.dtype)
        self.input_shape = optional(input_shape, "input_shape", net.input_spec.shape_of)
        self.num_stages = net.num_stages
        if self.dtype not in TOLERANCES:
            raise BackendError(
                f"{name} runs no net in {self.placement.dtype}: "
                "float32, float64, float16 or bfloat16 is needed"
            )
        self.state_dtype = self.dtype if state_dtype is None else floating(state_dtype)
        if self.state_dtype not in TOLERANCES:
            raise BackendError(f"{name} keeps no states in {state_dtype}: float16 or bfloat16 is needed")
        self.tolerance = max(TOLERANCES[self.dtype], TOLERANCES[self.state_dtype])
        self.segments = frozenset(
            (start, stop) for stop in range(1, self.num_stages + 1) for start in range(stop)
        )
        self._layout = Layout(channels_last)
        self._exact = exact_float32(self.device.type)
        self._held: dict[tuple[int, int], Runner] = {}
        self._lock = threading.Lock()

    @property
    def prepared(self) -> Mapping[tuple[int, int], int]:
        """The segments that are ready, and the bytes that each holds beside what it shares with others."""
        held = dict(sorted(self._held.items()))
        total = self._total(held.values())
        return {
            pair: total - self._total(runner for other, runner in held.items() if other != pair)
            for pair in held
        }

    @property
    def nbytes(self) -> int:
        """Bytes of the weights of all prepared segments, what they share counted once."""
        return self._total(self._held.values())

    def prepare(self, start: int, stop: int) -> None:
        """Makes a segment ready; again costs nothing. `Backend` says what is raised."""
        self._runner(start, stop)

    def keep_only(self, segments: Iterable[tuple[int, int]]) -> None:
        """Drops all prepared segments but these, with their memory; one that is run again is made again."""
        kept = set(segments)
        with self._lock:
            self._held = {pair: runner for pair, runner in self._held.items() if pair in kept}

    def begin(self, x: np.ndarray) -> State:
        """The state before stage 1, in memory of its own.

        Raises:
            TypeError, ValueError: for input that the net cannot read.
        """
        instance(x, np.ndarray, "x", "a float32 array (N, C, H, W)")
        if not np.issubdtype(x.dtype, np.floating):
            raise ValueError(f"x must be standardised floats, not {x.dtype}")
        self.net.input_spec.check_batch(x.shape)
        if self.one_size and x.shape[1:] != self.input_shape:
            raise ValueError(f"x was compiled as {self.input_shape} an image, not {x.shape[1:]}")
        self._check_batch(len(x))
        with torch.inference_mode():
            given = torch.from_numpy(np.require(x, requirements=["W"]))
            return TensorState(0, len(x), {INPUT: self._layout.copy(given, self.dtype, self.device)})

    def run(self, start: int, stop: int, state: State) -> tuple[State, Output]:
        """The state and the output at `stop`; `state`, which must be at `start`, is used up.

        Raises:
            ValueError: for a segment that does not exist, or a state that is used up or elsewhere.
        """
        given = usable(state, TensorState, start)
        runner = self._held.get((start, stop)) or self._runner(start, stop)
        with torch.inference_mode(), self._place():
            tensors, output = self._narrowly(runner, given.tensors)
            found = self._on_host(output)
        given.use_up()
        return TensorState(stop, given.batch, tensors), found

    def save(self, state: State) -> dict[str, np.ndarray]:
        """Copies of the tensors of a state by name, the batch first; those in bfloat16 as uint16."""
        with torch.inference_mode():
            return as_arrays(usable(state, TensorState).tensors)

    def restore(self, stage: int, tensors: Mapping[str, np.ndarray]) -> State:
        """The state that `save` wrote, bit for bit.

        Raises:
            ValueError: if these are not the tensors of that stage.
        """
        shape, known = self.input_shape or self.net.input_spec.smallest_shape, self.input_shape is not None
        if INPUT in tensors and not self.one_size:  # any size, and it is told
            shape, known = tuple(np.shape(tensors[INPUT])[1:]), True
        specs = self.net.state_spec(stage, shape)
        found = as_tensors(tensors, stage, specs, self._kept_in, sizes_too=known)
        batch = next((tensor.shape[0] for tensor in found.values()), 0)
        self._check_batch(batch)
        with torch.inference_mode():
            own = {
                name: self._layout.copy(tensor, tensor.dtype, self.device) for name, tensor in found.items()
            }
        return TensorState(stage, batch, own)

    def rows(self, state: State, index: Sequence[int]) -> State:
        """The state of these examples of the batch, in that order; `state` is used up.

        Raises:
            ValueError: for an example that is not there.
        """
        given = usable(state, TensorState)
        numbers = row_numbers(index, given.batch).to(self.device)
        self._check_batch(len(numbers))
        with torch.inference_mode():
            left = {
                name: self._layout.of(tensor.index_select(0, numbers))
                for name, tensor in given.tensors.items()
            }
        given.use_up()
        return TensorState(given.stage, len(numbers), left)

    def release(self, state: State) -> None:
        """The run is over: the state holds nothing any more."""
        if isinstance(state, TensorState):
            state.use_up()

    @abstractmethod
    def _build(self, start: int, stop: int) -> Runner:
        """The segment, ready to run."""

    def _total(self, runners: Iterable[Runner]) -> int:
        """Bytes of the weights of these segments together."""
        return covered(chain(*(runner.spans for runner in runners)))

    def _runner(self, start: int, stop: int) -> Runner:
        start, stop, _ = check_segment(start, stop, False, self.num_stages)
        with self._lock:
            runner = self._held.get((start, stop))
            if runner is None:
                runner = self._build(start, stop)
                if self.input_shape is not None:
                    with torch.inference_mode(), self._place():
                        self._exactly(runner, self._zeros(start, self.input_shape))
                self._held = {**self._held, (start, stop): runner}
        return runner

    def _narrowly(
        self, runner: Runner, tensors: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        """Runs a segment between states that may have fewer bits than its weights."""
        if self.state_dtype == self.dtype:
            return self._exactly(runner, tensors)
        wide = {name: self._cast(tensor, self.dtype) for name, tensor in tensors.items()}
        after, output = self._exactly(runner, wide)
        # What is carried is kept as it was: its bits are there.
        kept = {
            name: tensors[name] if tensor is wide.get(name) else self._cast(tensor, self._kept_in(name))
            for name, tensor in after.items()
        }
        return kept, output

    def _kept_in(self, name: str) -> torch.dtype:
        return self.dtype if name == INPUT else self.state_dtype

    def _cast(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        return self._layout.of(tensor.to(dtype)) if tensor.is_floating_point() else tensor

    def _exactly(
        self, runner: Runner, tensors: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        if self.dtype != torch.float32:
            return runner(tensors)
        with self._exact:
            return runner(tensors)

    def _place(self) -> AbstractContextManager[object]:
        """Inside, the calling thread uses this backend's threads, or its GPU."""
        if self.device.type == "cuda":
            return torch.cuda.device(self.device)
        return threads_of_operators(self.placement.threads)

    def _check_batch(self, batch: int) -> None:
        if self.one_image and batch != 1:
            raise ValueError(
                f"{self.name!r} runs one image at a time, not {batch}: use 'compiled' for batches"
            )

    def _zeros(self, stage: int, input_shape: Sequence[int]) -> dict[str, Tensor]:
        """The state of one image at `stage`, all zeros."""
        return {
            spec.name: self._layout.copy(torch.zeros(1, *spec.shape), self.dtype, self.device)
            for spec in self.net.state_spec(stage, input_shape)
        }

    def _on_host(self, output: Iterable[Tensor]) -> Output:
        """The output as arrays of the CPU's memory."""
        if self.device.type == "cuda":
            return waited_for(output)
        return tuple(level.to("cpu", torch.float32).contiguous().numpy() for level in output)


def usable_device(name: str) -> torch.device:
    """The device of that name, if segments can run there.

    Raises:
        BackendError: if PyTorch sees no such device.
    """
    try:
        device = device_named(name)
        torch.zeros(1, device=device).item()  # which the meta device lacks
    except (ValueError, RuntimeError, AssertionError) as error:
        seen = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        raise BackendError(
            f"PyTorch cannot run on device {name!r} here: there are {['cpu', *seen]}"
        ) from error
    return device


def waited_for(output: Iterable[Tensor]) -> Output:
    """The output of the current GPU, copied to memory that it can write to, once all work before is done.

    An event waits for this stream alone, where a plain copy to the CPU would hold the processor spinning.
    """
    copies = []
    for level in output:
        host = torch.empty(level.shape, dtype=torch.float32, pin_memory=True)
        copies.append(host.copy_(level, non_blocking=True))
    done = torch.cuda.Event(blocking=True)
    done.record()
    done.synchronize()
    return tuple(host.numpy() for host in copies)
