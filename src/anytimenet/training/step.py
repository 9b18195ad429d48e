"""One training step: from a batch to a gradient, and from the gradient to other weights."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from anytimenet.core.errors import NotFiniteError
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.width.memory_layout import contiguous, needs_contiguous
from anytimenet.schemes import BuiltScheme, RunFacts
from anytimenet.tasks import Task
from anytimenet.training.cascades import heads_of
from anytimenet.training.config import TrainConfig, learning_rate
from anytimenet.training.gradient_sync import GradientSync
from anytimenet.training.position import Position
from anytimenet.training.processes import Processes, exchanging
from anytimenet.training.sync_batchnorm import to_synchronised

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class TrainingStep:
    """What changes the weights of a net: its scheme, the exchange of gradients and the optimiser.

    Attributes:
        net: on the device of the run, in the memory layout in which it trains.
        scheme: at work on that net.
        optimiser: SGD over its parameters.
        sync: makes the gradients of several processes one.
        processes: who trains together.
    """

    def __init__(
        self, net: AnytimeNet, task: Task, config: TrainConfig, fabric: Any, facts: RunFacts
    ) -> None:
        device = fabric.device
        self._task, self._config, self._fabric = task, config, fabric
        self._contiguous = needs_contiguous(net, device)
        last = config.channels_last and not self._contiguous
        layout = torch.channels_last if last else torch.contiguous_format
        self.net: AnytimeNet = net.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        self.processes = Processes(fabric.global_rank, fabric.world_size, device)
        self.scheme: BuiltScheme = config.chosen_scheme.build(net, facts).to(device)
        if config.sync_batchnorm:  # nothing below refuses the run, which undoes it in the end
            to_synchronised(net)
        self.sync = GradientSync(net, self.scheme, self.processes, fabric.strategy.setup_module)
        self.optimiser = _sgd(net, config)

    def take(self, x: Tensor, labels: tuple[Tensor, ...], position: Position) -> dict[int, float]:
        """Changes the weights by one batch; returns the loss of each stage that ran.

        Raises:
            NotFiniteError: before the weights change, if a loss is NaN or infinity.
        """
        for group in self.optimiser.param_groups:
            rate = learning_rate(self._config, position.step, position.steps_per_epoch)
            group["lr"] = rate * group.get("lr_factor", 1.0)
        self.optimiser.zero_grad(set_to_none=True)
        x = contiguous(x) if self._contiguous else x
        with exchanging(), self.autocast(), self.sync.step(x) as net:
            losses = self.scheme.step(net, x, labels, self._task.loss, self.processes.mean)
        # One transfer for all stages: on an accelerator each one would wait for the device.
        values = dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))
        for stage, loss in values.items():
            if not math.isfinite(loss):
                raise NotFiniteError(
                    f"the loss of stage {stage} is {loss} in step {position.step + 1} (epoch "
                    f"{position.epoch + 1})"
                )
        if self._config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self._config.clip_norm)
        self.optimiser.step()
        return values

    def autocast(self) -> AbstractContextManager[Any]:
        """The number format in which the net runs."""
        context: AbstractContextManager[Any] = self._fabric.autocast()
        return context


def _sgd(net: AnytimeNet, config: TrainConfig) -> torch.optim.SGD:
    optimiser = torch.optim.SGD(
        _groups(net, config),
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=True,
    )
    if config.momentum:
        # The fused kernel wants a buffer for every parameter or for none, and where stages are drawn some
        # parameters get their first gradient later than others. From zero the first step is the same.
        for parameter in net.parameters():
            if parameter.requires_grad:
                optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimiser


def _groups(net: AnytimeNet, config: TrainConfig) -> list[dict[str, Any]]:
    """The parameters by what they decay and how fast they learn."""
    spared = set() if config.decay_norms_and_biases else _norms_and_biases(net)
    heads = heads_of(net) if isinstance(net, ChainNet) else []
    in_heads = {id(p) for head in heads for p in head.parameters()}
    faster = in_heads if config.head_lr_factor != 1 else set()
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in net.parameters():
        groups.setdefault((id(parameter) in spared, id(parameter) in faster), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": 0.0 if spares else config.weight_decay,
            "lr_factor": config.head_lr_factor if is_faster else 1.0,
        }
        for (spares, is_faster), parameters in groups.items()
    ]


def _norms_and_biases(net: AnytimeNet) -> set[int]:
    return {
        id(parameter)
        for module in net.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim < 2 or name == "bias" or isinstance(module, _NORMS)
    }
