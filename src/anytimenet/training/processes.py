"""Several processes that train together: what they exchange, over torch.distributed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from anytimenet.core.errors import SharedTrainingError


@dataclass(frozen=True)
class Processes:
    """This process among those that train one net together; alone by default, and then nothing is exchanged.

    Every method that exchanges something must be called by all processes in the same order.

    Attributes:
        rank: which process this is, from 0.
        count: how many there are.
        device: where tensors must be to be exchanged.

    Raises:
        SharedTrainingError: by every exchange, if another process has stopped.

    >>> Processes().mean(torch.ones(2))
    tensor([1., 1.])
    """

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this process writes files and talks to people."""
        return self.rank == 0

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of `tensor` over all processes; `tensor` itself is left alone."""
        if self.count == 1:
            return tensor
        return _sum(tensor.detach().to(self.device, copy=True)).to(tensor.device)

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean of a floating-point `tensor` over all processes."""
        return tensor if self.count == 1 else self.total(tensor) / self.count

    def wait(self) -> None:
        """Returns when every process has come here."""
        self.total(torch.zeros(1))

    @torch.no_grad()
    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replaces floating-point `tensors` by their means over all processes, in place.

        All tensors of one number format go in one exchange.
        """
        if self.count == 1:
            return
        for group in _by_format(tensors):
            sizes = [tensor.numel() for tensor in group]
            flat = _sum(torch.cat([tensor.flatten() for tensor in group])).div_(self.count)
            for tensor, mean in zip(group, flat.split(sizes), strict=True):
                tensor.copy_(mean.view_as(tensor))

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Puts the mean over all processes into `.grad`, in one exchange for each number format.

        A parameter without a gradient counts as zeros, and is left without one where no process has any.
        """
        if self.count == 1:
            return
        for group in _by_format(parameters):
            marks = torch.tensor([p.grad is not None for p in group]).to(group[0])
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in group]
            self.average([*gradients, marks])
            for parameter, gradient, mark in zip(group, gradients, marks.tolist(), strict=True):
                parameter.grad = gradient if mark else None

    @torch.no_grad()
    def average_buffers(self, *modules: nn.Module) -> None:
        """Averages floating-point buffers over all processes; of others the first process's value counts.

        Running statistics of BatchNorm are linear in the statistics of each batch: their mean over the
        processes is what one process would have that saw the batches of all and averaged their statistics.
        """
        if self.count == 1:
            return
        buffers = [buffer for module in modules for buffer in module.buffers()]
        self.average(buffer for buffer in buffers if buffer.is_floating_point())
        self.spread(buffer for buffer in buffers if not buffer.is_floating_point())

    @torch.no_grad()
    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Overwrites `tensors` with those of the first process."""
        if self.count == 1:
            return
        for tensor in tensors:
            sent = tensor.detach().to(self.device).contiguous()
            with exchanging():
                dist.broadcast(sent, 0)
            if sent.data_ptr() != tensor.data_ptr():
                tensor.copy_(sent)

    def spread_generators(self) -> None:
        """Gives every process the states of the first one's random generators."""
        states = generator_states(self.device)
        self.spread(states.values())
        set_generator_states(states, self.device)


@contextmanager
def exchanging() -> Iterator[None]:
    """Says so if another process has stopped while the block exchanged something with it.

    Raises:
        SharedTrainingError: instead of the error of the connection.
    """
    try:
        yield
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        raise SharedTrainingError(
            "another process of this run has stopped and told why, if it could; the same run with "
            "resume=True goes on from the last checkpoint"
        ) from error


def wait_for_processes(count: int) -> None:
    """Returns when all `count` processes have come here; at once where there is one."""
    if count > 1 and dist.is_available() and dist.is_initialized():
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        _sum(torch.zeros(1, device=device))


def generator_states(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's generators that work on `device` draws from, by name."""
    states = {"torch": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_generator_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Puts back what `generator_states` gave; a state that is missing or not for `device` changes nothing."""
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def _sum(tensor: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    with exchanging():
        dist.all_reduce(tensor)
    return tensor


def _is_lost_connection(error: RuntimeError) -> bool:
    # Gloo raises a plain RuntimeError that names its source file; torch's own backends raise DistError.
    return isinstance(error, dist.DistError) or any(
        sign in str(error) for sign in ("/gloo/", "Connection closed by peer", "Connection reset by peer")
    )


def _by_format(tensors: Iterable[Any]) -> Iterator[Sequence[Any]]:
    """Groups of equal dtype, in the order of their first tensor."""
    groups: dict[torch.dtype, list[Any]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.dtype, []).append(tensor)
    yield from groups.values()
