"""PyTorch compiled ahead of time: each segment a library of its own, made once and kept on disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anytimenet.bundle.backends.eager import EagerBackend
from anytimenet.bundle.backends.packages import Packages, key_of
from anytimenet.bundle.backends.states import Layout
from anytimenet.bundle.backends.torch_backend import Runner, TorchBackend
from anytimenet.core.errors import BackendError
from anytimenet.nets.contract import AnytimeNet, Segment
from anytimenet.nets.segment import check_segment, concatenate
from anytimenet.runtime.backends.backend import Placement


class CompiledBackend(TorchBackend):
    """The segments of a net, compiled by PyTorch's inductor ahead of time.

    For any batch size, or for one image alone, which is faster: 0.70 and 0.57 of eager PyTorch's time for the
    full `isresnext_47` (Zen 4, one thread). A segment takes from ten seconds to a minute to compile, with the
    processor's own instructions and the weights, folded, inside. It is kept in the cache folder
    (`$ANYTIMENET_CACHE`), under a name that follows from the segment, its weights, shapes, number format and
    threads, and from the versions and instruction sets that it was made with; the next process loads it in a
    moment. Before it is used it is compared with eager PyTorch, and made again if it differs. Prepare the
    segments that plans use, and no more.

    Args:
        net: the net.
        placement: device, threads and dtype.
        input_shape: (C, H, W) of the images; it is compiled in.
        single: for one image at a time alone; the backend's name is "compiled-single" then.
        segments: those that may be compiled; every one by default.
        cache_dir: instead of `$ANYTIMENET_CACHE` or the user's cache.

    Raises:
        BackendError: for a device or dtype that PyTorch cannot use here; when a segment is prepared that is
            not on disk, without a C++ compiler.
        ValueError: for a segment that does not exist.
    """

    one_size = True

    def __init__(
        self,
        net: AnytimeNet,
        placement: Placement | None = None,
        *,
        input_shape: Sequence[int],
        single: bool = False,
        segments: Iterable[tuple[int, int]] | None = None,
        cache_dir: Path | str | None = None,
    ) -> None:
        name = "compiled-single" if single else "compiled"
        super().__init__(net, placement, input_shape, channels_last=True, name=name)
        self.one_image = single
        if segments is not None:
            pairs = [check_segment(start, stop, False, net.num_stages)[:2] for start, stop in segments]
            self.segments = frozenset(pairs)
        self._packages = Packages(cache_dir)
        self._eager = EagerBackend(net, self.placement, input_shape=input_shape)

    def prepare(self, start: int, stop: int) -> None:
        """Makes a segment ready: loads it, or compiles it where it is not on disk.

        Raises:
            ValueError: for a segment that is not in `segments`.
            BackendError: if it cannot be compiled here.
        """
        self._check_segment(start, stop)
        super().prepare(start, stop)

    def _total(self, runners: Iterable[Runner]) -> int:
        return sum(runner.nbytes for runner in runners if isinstance(runner, CompiledRunner))

    def _build(self, start: int, stop: int) -> Runner:
        self._check_segment(start, stop)
        eager = self._eager.segment(start, stop)
        state = self._random(start)
        module = ChangesOf(eager, state)
        key = key_of(
            *(eager, start, stop, self.input_shape, self.one_image, str(self.dtype), str(self.device)),
            self.placement.threads,
        )
        with self._place(), torch.no_grad(), self._exact:
            expected = module(*state)
            compiled = self._packages.load(key)
            if compiled is None or not self._agrees(compiled(*state), expected):
                compiled = self._packages.compile(
                    key, module, state, self._options, any_batch=not self.one_image
                )
                if not self._agrees(compiled(*state), expected):
                    raise BackendError(
                        f"segment ({start}, {stop}) gives other numbers once PyTorch {torch.__version__} has "
                        "compiled it: use the backend 'eager'"
                    )
        return CompiledRunner(compiled, module, self._layout, self._packages.nbytes(key))

    @property
    def _options(self) -> dict[str, Any]:
        """Of the compiler: weights become constants of the library, and its loops run on so many threads."""
        return {"freezing": True, "cpp.threads": self.placement.threads}

    def _random(self, stage: int) -> list[Tensor]:
        """A state of random numbers; of two images where a batch of one must not be compiled in."""
        assert self.input_shape is not None
        draw = torch.Generator().manual_seed(0)
        shapes = [spec.shape for spec in self.net.state_spec(stage, self.input_shape)]
        drawn = [torch.randn(1 if self.one_image else 2, *shape, generator=draw) for shape in shapes]
        return [self._layout.copy(tensor, self.dtype, self.device) for tensor in drawn]

    def _agrees(self, got: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
        """Within a margin for numbers that no image gives; other code or weights are off by far more."""
        for one, other in zip(got, expected, strict=True):
            gap = (one.double() - other.double()).abs().max()
            if one.shape != other.shape or not gap <= 10 * self.tolerance * other.double().abs().max():
                return False
        return True

    def _check_segment(self, start: int, stop: int) -> None:
        check_segment(start, stop, False, self.num_stages)
        if (start, stop) not in self.segments:
            raise ValueError(
                f"segment ({start}, {stop}) is not one that may be compiled: "
                f"{sorted(self.segments)} were given"
            )


class ChangesOf(nn.Module):
    """A segment as a function from the tensors of a state to those that it changes, then its output."""

    def __init__(self, segment: Segment, state: Sequence[Tensor]) -> None:
        super().__init__()
        self.segment = segment
        with torch.no_grad():
            changes, _ = segment.advance(tuple(state), concatenate)
        self.names = tuple(changes)

    def forward(self, *state: Tensor) -> tuple[Tensor, ...]:
        changes, output = self.segment.advance(state, concatenate)
        return (*(changes[name] for name in self.names), *output)


class CompiledRunner:
    """One compiled segment; what it does not change is carried outside of it."""

    spans = ()

    def __init__(self, compiled: Any, module: ChangesOf, layout: Layout, nbytes: int) -> None:
        segment = module.segment
        self.compiled = compiled
        self.reads, self.writes, self.changed = segment.reads, segment.writes, module.names
        self.layout = layout
        self.nbytes = nbytes

    def __call__(self, tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        given = self.compiled(*(tensors[name] for name in self.reads))
        count = len(self.changed)
        changes = dict(zip(self.changed, given[:count], strict=True))
        now = {
            name: self.layout.of(changes[name]) if name in changes else tensors[name] for name in self.writes
        }
        return now, tuple(given[count:])
