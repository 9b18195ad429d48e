"""Eager PyTorch: segments as the net gives them, with BatchNorms folded into convolutions."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from anytimenet.bundle.backends.cuda_graphs import GraphRunner
from anytimenet.bundle.backends.memory import spans_of
from anytimenet.bundle.backends.states import Layout
from anytimenet.bundle.backends.torch_backend import Runner, TorchBackend
from anytimenet.core.errors import BackendError, StatisticsMissingError
from anytimenet.layers.snapshots import tensors_of
from anytimenet.nets.contract import AnytimeNet, Segment, Snapshot
from anytimenet.nets.segment import concatenate
from anytimenet.runtime.backends.backend import Placement


class EagerBackend(TorchBackend):
    """The segments of a net in eager PyTorch, on the CPU or a GPU, from one snapshot taken when first needed.

    Weights and states lie as (N, H, W, C) in memory. One thread by default; that number is set for the
    calling thread during a run, where it was another. float32 is computed as float32, also where the process
    allows bfloat16 or TF32. Numbers that are not finite are given as they are.

    Args:
        net: the net; what happens to it after the first segment was prepared changes nothing here.
        placement: device, threads, and dtype: "float32", "float64", "float16" or "bfloat16".
        input_shape: (C, H, W) of the images, if it is known: each segment then runs once when it is prepared.
        fold: BatchNorms become part of the convolutions before them; each segment then has weights of its
            own. Without it segments share what they can.
        contiguous: each segment copies the columns of wider weights that it reads.
        merge: several small convolutions become one with zeros between, where the net finds that faster.
        channels_last: whether images lie as (N, H, W, C) in memory.
        state_dtype: "float16" or "bfloat16" halves what a float32 state takes between segments, all but the
            input; it costs two conversions a segment, and accuracy, which the tolerance tells. Of
            `isresnext_62_imagenet` the state at stage 4 takes 7.9 MiB then, and not 15.1; all steps take
            1.19 (float16) or 1.25 (bfloat16) of the time on a Zen 4.
        graphs: on a GPU, the kernels of a segment are recorded for each batch size and launched as one.

    Raises:
        BackendError: for a device or dtype that PyTorch cannot use here, or graphs on a CPU.

    >>> import numpy as np
    >>> from anytimenet.nets import create_net
    >>> backend = EagerBackend(create_net("isresnext_tiny"))
    >>> state, output = backend.run(0, 1, backend.begin(np.zeros((2, 3, 8, 8), np.float32)))
    >>> state, output = backend.run(1, 3, state)
    >>> output[0].shape, sorted(backend.prepared)
    ((2, 10), [(0, 1), (1, 3)])
    """

    def __init__(
        self,
        net: AnytimeNet,
        placement: Placement | None = None,
        *,
        input_shape: Sequence[int] | None = None,
        fold: bool = True,
        contiguous: bool = True,
        merge: bool = True,
        channels_last: bool = True,
        state_dtype: str | None = None,
        graphs: bool = False,
    ) -> None:
        super().__init__(net, placement, input_shape, channels_last, "eager", state_dtype)
        self._fold, self._contiguous, self._merge = fold, contiguous, merge
        self._graphs = graphs
        self._snapshot: Snapshot | None = None
        if graphs and self.device.type != "cuda":
            raise BackendError(f"graphs are of CUDA, and the device is {self.device}: leave them out")

    def _build(self, start: int, stop: int) -> Runner:
        runner = EagerRunner(self.segment(start, stop), self._layout)
        return GraphRunner(runner) if self._graphs else runner

    def segment(self, start: int, stop: int) -> Segment:
        """A segment as this backend runs it, with weights that it may share with others."""
        try:
            segment = self._taken(start, stop)
        except StatisticsMissingError:  # which may have been estimated since
            self._held = {}
            self._snapshot = None
            segment = self._taken(start, stop)
        if self._contiguous and self._layout.channels_last:
            for weight in segment.parameters():
                weight.data = self._layout.of(weight.data)
        return segment

    def _taken(self, start: int, stop: int) -> Segment:
        if self._snapshot is None:
            plain = self.net.snapshot(self.device, self.dtype)
            if self._fold or self._contiguous or self._merge:
                plain = plain.prepare(fold=self._fold, contiguous=self._contiguous, merge=self._merge)
            self._snapshot = plain
        return self._snapshot.segment(start, stop)


class EagerRunner:
    """One segment, which carries what it does not change."""

    def __init__(self, segment: Segment, layout: Layout) -> None:
        self.segment = segment
        self.layout = layout
        self.spans = spans_of(tensors_of(segment))

    def __call__(self, tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        segment = self.segment
        changes, output = segment.advance(tuple(tensors[name] for name in segment.reads), concatenate)
        now = {
            name: self.layout.of(changes[name]) if name in changes else tensors[name]
            for name in segment.writes
        }
        return now, output
