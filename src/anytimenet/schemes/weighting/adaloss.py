"""AdaLoss: each stage counts in inverse proportion to the running mean of its loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from anytimenet.core.checks import flag, settle
from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.checks import check_whole
from anytimenet.schemes.hooks import ADDED_LATER, RunFacts, Weighting
from anytimenet.schemes.weighting.stage_weights import check_total, rescale

# Below it a running mean counts as this, so that the weights stay numbers when a loss reaches 0.
_LEAST_MEAN = 1e-12


@dataclass(frozen=True)
class AdaLossWeights:
    """AdaLoss: weights in proportion to 1 / (running mean of the loss), so that no stage dominates.

    With `uniform` 0 this descends the geometric mean of the losses: the gradient of sum log l_i is that of
    sum l_i / l_i(now). From "Learning Anytime Predictions in Neural Networks via Adaptive Loss Balancing" (Hu
    et al., AAAI 2019), with the update that the authors released: a_i <- m a_i + (1 - m) l_i, begun with the
    first loss; after every U steps w_i = (1/a_i) / max_j (1/a_j), w_L <- w_L + extra, w <- (1 - g) w + g.
    Until then w = 1. That is a later branch of theirs; the commit that they released divides by the largest
    weight once more after the extra is added, w <- w / max_j w_j, which `renormalise` does. Without an extra
    both are the same.

    The defaults are settings seen in the released ResNet runs; others there are a momentum of 0.99, a
    `uniform` of 0.3, an `every` of 1 for MSDNet, and a `final_extra` of 1.

    A stage's mean moves only in steps that it runs in; one that has not run yet keeps the weight 1.

    Args:
        momentum: m, in [0, 1).
        every: U, steps between two updates of the weights.
        uniform: g, the share of equal weights that is mixed in, in [0, 1].
        final_extra: what is added to the last stage's weight.
        total: the sum that all weights are rescaled to at each update; None to leave them.
        renormalise: divide by the largest weight once more behind the extra, as the released commit does.

    Raises:
        ValueError: for a value out of its range, with the range.

    >>> from anytimenet.nets import create_net
    >>> from anytimenet.schemes import RunFacts
    >>> built = AdaLossWeights(every=1, uniform=0).build(create_net("msdnet_tiny"), RunFacts())
    >>> built.observe({1: torch.tensor(2.0), 2: torch.tensor(1.0)})
    >>> built.weights([1, 2])
    {1: 0.5, 2: 1.0}
    """

    momentum: float = 0.9
    every: int = 100
    uniform: float = 0.07
    final_extra: float = 0.0
    total: float | None = None
    renormalise: bool = field(default=False, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        settle(self, "renormalise", flag)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"the momentum of AdaLoss must be in [0, 1), not {self.momentum}")
        check_whole("every", self.every, 1)
        if not 0 <= self.uniform <= 1:
            raise ValueError(f"the uniform share of AdaLoss must be in [0, 1], not {self.uniform}")
        if not (self.final_extra >= 0 and math.isfinite(self.final_extra)):
            raise ValueError(f"final_extra must be a finite number, 0 or more, not {self.final_extra}")
        check_total(self.total)

    def build(self, net: AnytimeNet, facts: RunFacts) -> Weighting:
        """The weighting of `net`."""
        return _AdaLossWeights(self, net.num_stages)


class _AdaLossWeights(Weighting):
    """The running means stay on the device; the weights leave it only when they are renewed."""

    means: Tensor

    def __init__(self, config: AdaLossWeights, num_stages: int) -> None:
        super().__init__()
        self._config, self._steps = config, 0
        self._values = rescale([1.0] * num_stages, config.total)
        # NaN: has not run yet.
        self.register_buffer("means", torch.full((num_stages,), math.nan))

    def weights(self, stages: Sequence[int]) -> Mapping[int, float]:
        return {stage: self._values[stage - 1] for stage in stages}

    @torch.no_grad()
    def observe(self, losses: Mapping[int, Tensor]) -> None:
        rows = torch.tensor([stage - 1 for stage in losses], device=self.means.device)
        latest = torch.stack(list(losses.values())).to(self.means)
        before, momentum = self.means[rows], self._config.momentum
        self.means[rows] = torch.where(before.isnan(), latest, momentum * before + (1 - momentum) * latest)
        self._steps += 1
        if self._steps % self._config.every == 0:
            self._values = self._renewed(self.means.tolist())

    def get_extra_state(self) -> Tensor:
        return torch.tensor([self._steps, *self._values], dtype=torch.float64)

    def set_extra_state(self, state: Any) -> None:
        steps, *values = state.tolist()
        self._steps, self._values = int(steps), tuple(values)

    def _renewed(self, means: Sequence[float]) -> tuple[float, ...]:
        least = min((mean for mean in means if not math.isnan(mean)), default=math.nan)
        if least < 0:
            raise ValueError(
                f"AdaLoss needs losses of 0 or more, and one has the running mean {least:.4g}: choose a loss "
                "that is never negative, or other weights"
            )
        least, share = max(least, _LEAST_MEAN), self._config.uniform
        # 1/a over the largest 1/a is the smallest a over a.
        values = [1.0 if math.isnan(mean) else least / max(mean, _LEAST_MEAN) for mean in means]
        values[-1] += self._config.final_extra
        if self._config.renormalise:
            largest = max(values)
            values = [value / largest for value in values]
        return rescale([(1 - share) * value + share for value in values], self._config.total)
