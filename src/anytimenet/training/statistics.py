"""BatchNorm statistics estimated anew, with fixed weights: the exact mean over batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from anytimenet.core.errors import NotFiniteError
from anytimenet.layers.frozen import frozen_modules
from anytimenet.nets.contract import AnytimeNet
from anytimenet.training.validation import Batches


@torch.no_grad()
def reestimate_statistics(
    net: AnytimeNet,
    batches: Batches,
    *,
    stages: Sequence[int] | None = None,
    num_batches: int | None = None,
) -> int:
    """Replaces the running statistics of every BatchNorm that `stages` use; parameters stay as they are.

    The new mean and (unbiased) variance are the means over batches of what each batch shows, so the order of
    the batches does not matter and no momentum is left in them. Only BatchNorms run in training mode; what
    else is random in training, such as dropout, is off. BatchNorms of other stages, and of a frozen module
    (`wrap`), keep their statistics.

    Source: the post-statistics of "Universally Slimmable Networks and Improved Training Techniques", with
    all batches weighing the same.

    Args:
        net: any net, on the device of the batches.
        batches: training batches; epoch 0 is read.
        stages: whose statistics; all by default.
        num_batches: how many batches to read; all by default.

    Returns:
        How many batches were read.

    Raises:
        NotFiniteError: if the statistics come out as NaN or infinity; what was there before stays.
        ValueError: for no batches, or if several of the stages share a BatchNorm and see different features
            there, so that one set of statistics cannot be right for each.

    >>> from anytimenet.data import DataOptions, Loader, load_data
    >>> from anytimenet.nets import create_net
    >>> digits = load_data("digits")
    >>> reestimate_statistics(
    ...     create_net("isresnext_tiny", in_channels=1),
    ...     Loader(digits.train, digits.preprocessing, batch_size=100),
    ...     num_batches=3,
    ... )
    3
    """
    wanted = net.check_stages(stages)
    if num_batches is not None and num_batches < 1:
        raise ValueError(f"num_batches {num_batches}: at least one batch is needed")
    norms = followed_norms(net)
    modes = {module: module.training for module in net.modules()}
    estimates = [_Estimate.begin(norm) for norm in norms]
    net.eval()
    done = False
    try:
        for norm in norms:
            norm.train()
        count = 0
        for x, _ in islice(batches.epoch(0), num_batches):
            net(x, wanted)
            count += 1
            for estimate in estimates:
                estimate.add(wanted)
        if count == 0:
            raise ValueError("there are no batches to estimate statistics from")
        if not all(estimate.finite for estimate in estimates):
            raise NotFiniteError(
                "the BatchNorm statistics estimated are not finite (NaN or infinity): the weights are broken"
            )
        done = True
    finally:
        for estimate in estimates:
            estimate.finish(keep=done)
        for module, mode in modes.items():
            module.training = mode
    return count


def followed_norms(net: nn.Module) -> list[_BatchNorm]:
    """The BatchNorms whose running statistics training changes: those of a frozen module stay as they are."""
    frozen = frozen_modules(net)
    return [
        m
        for m in net.modules()
        if isinstance(m, _BatchNorm) and m.running_mean is not None and m not in frozen
    ]


@contextmanager
def other_statistics(net: nn.Module) -> Iterator[None]:
    """Whatever the block does to running statistics, they are bit for bit what they were when it ends."""
    buffers = [buffer for norm in followed_norms(net) for buffer in norm.buffers(recurse=False)]
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)


@dataclass
class _Estimate:
    """The sums of one BatchNorm. With momentum 1 its running statistics are those of the last batch."""

    norm: _BatchNorm
    momentum: float | None
    before: tuple[Tensor, Tensor, Tensor]
    mean: Tensor
    variance: Tensor
    batches: int = 0

    @classmethod
    def begin(cls, norm: _BatchNorm) -> _Estimate:
        mean, variance, counter = _buffers(norm)
        estimate = cls(
            norm,
            norm.momentum,
            (mean.clone(), variance.clone(), counter.clone()),
            torch.zeros_like(mean, dtype=torch.float64),
            torch.zeros_like(variance, dtype=torch.float64),
        )
        norm.momentum = 1.0
        # What is not finite would survive even the factor 0.
        mean.nan_to_num_(0.0)
        variance.nan_to_num_(1.0)
        counter.zero_()
        return estimate

    def add(self, stages: Sequence[int]) -> None:
        """After a batch. A BatchNorm that did not run has counted nothing."""
        mean, variance, counter = _buffers(self.norm)
        if counter > 1:
            raise ValueError(
                f"stages {', '.join(map(str, stages))} share BatchNorms, whose one set of statistics cannot "
                "be right for each: give the stages norms of their own first (net.with_own_norms())"
            )
        if counter == 1:
            self.mean += mean
            self.variance += variance
            self.batches += 1
            counter.zero_()

    @property
    def finite(self) -> bool:
        """Whether the sums are numbers."""
        return bool(torch.isfinite(self.mean).all() and torch.isfinite(self.variance).all())

    def finish(self, *, keep: bool) -> None:
        """Writes the estimate, or what was there before."""
        new = (self.mean / self.batches, self.variance / self.batches) if keep and self.batches else None
        values = self.before if new is None else (*new, self.batches)
        for buffer, value in zip(_buffers(self.norm), values, strict=True):
            buffer.copy_(torch.as_tensor(value))
        self.norm.momentum = self.momentum


def _buffers(norm: _BatchNorm) -> tuple[Tensor, Tensor, Tensor]:
    mean, variance, counter = norm.running_mean, norm.running_var, norm.num_batches_tracked
    assert mean is not None
    assert variance is not None
    assert counter is not None
    return mean, variance, counter
