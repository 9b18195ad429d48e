"""BatchNorm whose batch statistics are those of all processes, for the time of training."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from anytimenet.core.errors import SharedTrainingError, TrainingError


def check_synchronised(device: str, count: int) -> None:
    """Raises TrainingError unless `count` processes on CUDA devices can share BatchNorm's statistics."""
    if device != "cuda" or count == 1:
        where = f"{count} process{'es' * (count > 1)} on {device}"
        raise TrainingError(
            f"synchronised BatchNorm needs several CUDA devices and this run has {where}: leave "
            "sync_batchnorm=True out (each process then normalises by its part of the batch)"
        )


def to_synchronised(net: nn.Module) -> None:
    """Turns every BatchNorm2d inside `net` into a SyncBatchNorm with the same parameters and buffers.

    Names and tensors of the state_dict stay what they are, so that checkpoints do not tell.

    Raises:
        SharedTrainingError: if a norm is a BatchNorm of its own kind, which cannot be converted; the net is
            left as it was.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    >>> to_synchronised(net)
    >>> type(net[1]).__name__
    'SyncBatchNorm'
    """
    check_norms(net)
    _replace(net, nn.BatchNorm2d, nn.SyncBatchNorm)


def check_norms(net: nn.Module) -> None:
    """Raises SharedTrainingError if a BatchNorm of `net` is of its own kind, which cannot be converted."""
    norms = [(name, module) for name, module in net.named_modules() if isinstance(module, _BatchNorm)]
    for name, norm in norms:
        if type(norm) not in (nn.BatchNorm2d, nn.SyncBatchNorm):
            raise SharedTrainingError(
                f"the BatchNorm {name} is a {type(norm).__name__}, which cannot be synchronised: "
                "leave sync_batchnorm=True out for this net"
            )


def to_plain(net: nn.Module) -> None:
    """Turns every SyncBatchNorm inside `net` back into a BatchNorm2d; undoes `to_synchronised`."""
    _replace(net, nn.SyncBatchNorm, nn.BatchNorm2d)


def _replace(net: nn.Module, old: type[_BatchNorm], new: Callable[..., _BatchNorm]) -> None:
    made: dict[nn.Module, nn.Module] = {}
    for module in list(net.modules()):
        for name, child in list(module._modules.items()):  # named_children leaves out what comes twice
            if type(child) is old:
                made[child] = made.get(child) or _like(child, new)
                setattr(module, name, made[child])


def _like(norm: _BatchNorm, new: Callable[..., _BatchNorm]) -> _BatchNorm:
    """A norm of another class that owns the very tensors of `norm`."""
    twin = new(
        norm.num_features,
        eps=norm.eps,
        momentum=norm.momentum,
        affine=norm.affine,
        track_running_stats=norm.track_running_stats,
        device="meta",
    )
    twin._parameters.update(norm._parameters)
    twin._buffers.update(norm._buffers)
    return twin.train(norm.training)
