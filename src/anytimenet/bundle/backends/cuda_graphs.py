"""CUDA graphs: the kernels of a segment recorded once for each batch size, then launched as one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from anytimenet.bundle.backends.memory import Span
from anytimenet.bundle.backends.torch_backend import Runner

Result = tuple[dict[str, Tensor], tuple[Tensor, ...]]
"""A state by name, and an output."""
Capture = Callable[[Callable[[], Result]], tuple[Callable[[], object], Result]]
"""Records some work; gives what repeats it, and its result, which each repetition overwrites."""
_WARM_UPS = 3
_MOST = 8


@dataclass(frozen=True)
class _Recording:
    """Work on tensors that stay where they are."""

    given: dict[str, Tensor]
    repeat: Callable[[], object]
    result: Result


class GraphRunner:
    """A segment whose kernels are launched as one, where it has run with a batch of that shape before.

    For eight shapes at most: each has memory of its own, which stays. Runs of one segment wait for each
    other.

    Args:
        runner: the segment.
        capture: records its work.
    """

    def __init__(self, runner: Runner, capture: Capture | None = None) -> None:
        self._runner = runner
        self._capture = capture or record_on_gpu
        self._recordings: dict[tuple[tuple[int, ...], ...], _Recording] = {}
        self._lock = threading.Lock()

    @property
    def spans(self) -> Sequence[Span]:
        """The memory that its weights lie in."""
        return self._runner.spans

    def __call__(self, tensors: dict[str, Tensor]) -> Result:
        key = tuple(tuple(tensor.shape) for tensor in tensors.values())
        with self._lock:
            recording = self._recordings.get(key)
            if recording is None:
                if len(self._recordings) == _MOST:
                    return self._runner(tensors)
                recording = self._recordings[key] = self._recorded(tensors)
            for name, tensor in tensors.items():
                recording.given[name].copy_(tensor)
            recording.repeat()
            state, output = recording.result
            own = {
                name: tensors[name] if tensor is recording.given.get(name) else tensor.clone()
                for name, tensor in state.items()
            }
            return own, tuple(level.clone() for level in output)

    def _recorded(self, tensors: dict[str, Tensor]) -> _Recording:
        given = {name: tensor.clone() for name, tensor in tensors.items()}
        repeat, result = self._capture(lambda: self._runner(given))
        return _Recording(given, repeat, result)


def record_on_gpu(work: Callable[[], Result]) -> tuple[Callable[[], object], Result]:
    """Records kernels as PyTorch wants it: after a few runs on another stream."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(_WARM_UPS):
            work()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may go on meanwhile
        result = work()
    return graph.replay, result
