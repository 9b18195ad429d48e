"""How the gradients of several processes become one: while backward runs, or in one exchange after it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from anytimenet.nets.contract import AnytimeNet, Output
from anytimenet.schemes import BuiltScheme
from anytimenet.training.processes import Processes

Wrap = Callable[[nn.Module], nn.Module]
"""Wraps a module so that backward exchanges its gradients (DistributedDataParallel)."""


class GradientSync:
    """Gives `.grad` of every process the mean over all processes; does nothing with one process.

    - A rule that does one forward and one backward over all parameters runs on the wrapped net: gradients
      are exchanged in buckets while backward still runs.
    - Any other rule that is linear in the gradients (the K passes of a thin net, too) runs on the plain net,
      and one flat exchange follows; the wrapper serves no more than one backward.
    - A rule that is not linear exchanges the gradients of each stage by itself (`GradientRule.average`).

    Args:
        net: the net in training, on its device.
        scheme: its scheme; its rule is told how to average.
        processes: who trains together.
        wrap: makes the wrapped net.
    """

    def __init__(self, net: AnytimeNet, scheme: BuiltScheme, processes: Processes, wrap: Wrap) -> None:
        self._net, self._scheme, self._processes, self._wrap = net, scheme, processes, wrap
        self._wrapped: AnytimeNet | None = None
        self._decided = processes.count == 1
        scheme.gradients.average = processes.average

    @property
    def is_wrapped(self) -> bool:
        """Whether gradients are exchanged while backward runs; known from the first batch on."""
        return self._wrapped is not None

    @contextmanager
    def step(self, x: Tensor) -> Iterator[AnytimeNet]:
        """Gives the net that the scheme's rule is to call for the batch `x`; in the end all is exchanged."""
        if not self._decided:
            self._decided = True
            if self._one_backward_reaches_all(x):
                self._wrapped = _WrappedNet(self._net, self._wrap(self._net))
        if self._wrapped is not None:
            with warnings.catch_warnings():
                # The strides of a 1x1 filter mean nothing; the wrapper compares them all the same.
                warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
                yield self._wrapped
            return
        yield self._net
        if self._scheme.gradients.linear:
            self._processes.average_gradients(p for p in self._net.parameters() if p.requires_grad)

    def _one_backward_reaches_all(self, x: Tensor) -> bool:
        scheme = self._scheme
        if not (scheme.gradients.one_backward and scheme.sampling.every_stage and scheme.targets.every_level):
            return False
        if type(self._net).passes is not AnytimeNet.passes:
            return False
        reached = torch.tensor(float(not unreached_parameters(self._net, x)))
        # The wrapper waits for ever for a gradient that one process alone lacks.
        return self._processes.mean(reached).item() == 1


def unreached_parameters(net: AnytimeNet, x: Tensor) -> list[str]:
    """Names of the parameters to which no output of `net` for the batch `x` has a gradient.

    Buffers and random generators are left as they were.
    """
    before = [buffer.clone() for buffer in net.buffers()]
    devices = [x.device] if x.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.enable_grad():
        outputs = [tensor for output in net(x) for tensor in output]
    with torch.no_grad():
        for buffer, value in zip(net.buffers(), before, strict=True):
            buffer.copy_(value)
    leaves = _leaves(tensor.grad_fn for tensor in outputs)
    return [name for name, p in net.named_parameters() if p.requires_grad and id(p) not in leaves]


def _leaves(functions: Iterable[torch.autograd.graph.Node | None]) -> set[int]:
    """The ids of the tensors at the leaves of a graph."""
    waiting = [function for function in functions if function is not None]
    seen, leaves = set(waiting), set()
    while waiting:
        function = waiting.pop()
        if hasattr(function, "variable"):
            leaves.add(id(function.variable))
        for following, _ in function.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)
    return leaves


class _WrappedNet(AnytimeNet):
    """What a rule sees of a net whose forward goes through the wrapper: the default, single pass."""

    def __init__(self, net: AnytimeNet, wrapped: nn.Module) -> None:
        super().__init__()
        self.num_stages, self.num_classes, self.in_channels = net.num_stages, net.num_classes, net.in_channels
        self._wrapped = wrapped

    def forward(self, x: Tensor, stages: Sequence[int] | None = None) -> list[Output]:
        outputs: list[Output] = self._wrapped(x, stages)
        return outputs
