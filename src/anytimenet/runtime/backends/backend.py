"""What runs segments: the one interface of PyTorch, ONNX Runtime, OpenVINO, and of engines to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from anytimenet.core import checks

Output = tuple[np.ndarray, ...]
"""The logits of one stage, float32: one array `(N, classes, ...)` a label level, fine level first."""


@dataclass(frozen=True)
class Placement:
    """Where and how segments run.

    Attributes:
        device: "cpu", "cuda", "cuda:1", or what else the backend knows.
        threads: that one segment uses. One is the right number for one image: more of them wait for each
            other as soon as the machine is busy.
        dtype: number format of weights and states.

    Raises:
        TypeError, ValueError: for values that no backend can have.

    >>> Placement(threads=2)
    Placement(device='cpu', threads=2, dtype='float32')
    """

    device: str = "cpu"
    threads: int = 1
    dtype: str = "float32"

    def __post_init__(self) -> None:
        checks.settle(self, "device", checks.words)
        checks.settle(self, "threads", checks.whole_number, 1, 1024)
        checks.settle(self, "dtype", checks.words)


class State(Protocol):
    """What later segments need, in the backend's own memory; after the last stage it holds nothing.

    A state belongs to one run. `Backend.run` may write into the memory of the state it is given, behind what
    is finished there: that state is used up then, whatever its object still says.
    """

    @property
    def stage(self) -> int:
        """The stage that is finished, 0 for none."""

    @property
    def batch(self) -> int:
        """Examples in it."""

    @property
    def nbytes(self) -> int:
        """Bytes that dropping it frees."""


class Backend(Protocol):
    """The segments of one net, in one place.

    Methods may be called from several threads, each with states of its own. Two runs of one path on equal
    inputs in batches of one size are equal bit for bit; outputs and states are those of eager PyTorch in
    float32 within `tolerance`.
    """

    @property
    def name(self) -> str:
        """By which users choose it: "eager", "compiled", "onnxruntime", "openvino"."""

    @property
    def placement(self) -> Placement:
        """Where and how it runs."""

    @property
    def num_stages(self) -> int:
        """K."""

    @property
    def tolerance(self) -> float:
        """How far numbers may be from eager PyTorch's in float32, relative to the largest of a tensor."""

    @property
    def segments(self) -> frozenset[tuple[int, int]]:
        """Every (start, stop) that can be run; a folder holds only those that were exported."""

    @property
    def prepared(self) -> Mapping[tuple[int, int], int]:
        """The segments that are ready, and the bytes that each holds beside what it shares with others."""

    @property
    def nbytes(self) -> int:
        """Bytes of the weights of all prepared segments, what they share counted once."""

    def prepare(self, start: int, stop: int) -> None:
        """Makes a segment ready, so that its first run is as fast as the next; again costs nothing.

        Raises:
            ValueError: for a segment that is not in `segments`.
            BackendError: if it cannot be built here.
        """

    def begin(self, x: np.ndarray) -> State:
        """The state before stage 1.

        Args:
            x: standardised inputs, float32 `(N, C, H, W)`.
        """

    def run(self, start: int, stop: int, state: State) -> tuple[State, Output]:
        """The state and the output at `stop`; `state`, which must be at `start`, is used up."""

    def save(self, state: State) -> dict[str, np.ndarray]:
        """Copies of the tensors of a state by name, the batch first: for another process, or for later."""

    def restore(self, stage: int, tensors: Mapping[str, np.ndarray]) -> State:
        """The state that `save` wrote, bit for bit.

        Raises:
            ValueError: if these are not the tensors of that stage.
        """

    def rows(self, state: State, index: Sequence[int]) -> State:
        """The state of these examples of the batch, in that order; `state` is used up."""

    def release(self, state: State) -> None:
        """The run is over, and the memory of the state may be given to another."""
