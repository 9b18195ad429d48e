"""The training steps that are compared: forward, backward, optimiser, as the training loop does them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from anytimenet.costs import stage_costs
from anytimenet.nets import AnytimeNet, create_net
from anytimenet.nets.width.iresnext import IResNeXt

BATCH = 32
CLASSES = 10
WITHIN = 0.02  # two nets have equal multiply-adds if the counts differ by no more than this


class Stepper:
    """A net with an optimiser and one fixed batch of random images."""

    def __init__(
        self,
        net: AnytimeNet,
        *,
        batch: int = BATCH,
        size: int = 32,
        layout: torch.memory_format = torch.channels_last,
        bf16: bool = False,
    ) -> None:
        self.net = net.to(memory_format=layout).train()  # type: ignore[call-overload]
        self.bf16 = bf16
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(batch, net.in_channels, size, size, generator=generator).to(memory_format=layout)
        self.y = torch.randint(CLASSES, (batch,), generator=generator)
        self.optimiser = torch.optim.SGD(
            self.net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4
        )

    def joint(self, stages: Sequence[int] | None = None) -> None:
        """One step on all stages, or on some, each group of `passes` with its backward."""
        self._step(self.backward, stages)

    def separate(self) -> None:
        """One step with a forward and a backward of their own for every stage, from the image on."""
        self._step(lambda _: [self._single(k) for k in range(1, self.net.num_stages + 1)], None)

    def backward(self, stages: Sequence[int] | None = None) -> None:
        """Gradients of all stages, without the optimiser."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            for group in self.net.passes(self.x, stages):
                self._total([output[0] for _, output in group]).backward()

    def _single(self, stage: int) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            ((logits,),) = self.net(self.x, (stage,))
            self._total([logits]).backward()

    def _step(self, gradients: Callable[..., object], stages: Sequence[int] | None) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        gradients(stages)
        self.optimiser.step()

    def _total(self, logits: list[Tensor]) -> Tensor:
        return torch.stack([F.cross_entropy(one.float(), self.y) for one in logits]).sum()


def isresnext_47() -> AnytimeNet:
    """The CIFAR form of the paper."""
    return create_net("isresnext_47", CLASSES)


def plain_of_equal_shape() -> AnytimeNet:
    """A plain ResNeXt of the width, cardinality and depth of `isresnext_47`, one head."""
    return _plain(96, 18)


def plain_of_equal_macs(proportion: float = 0.5) -> AnytimeNet:
    """A plain ResNeXt that costs what `isresnext_47`'s last sub-network costs.

    The same depth and branch width B; C = proportion * W / B branches: 0.5 as in the paper's plain nets
    (`resnext_29`, `resnext_65`), 0.75 as in its sliced ones. Of the widths in steps of 16 that give whole
    branches, the one whose counted multiply-adds come nearest: W = 80, C = 10 or W = 64, C = 12.
    """
    goal = macs(isresnext_47())
    shapes = [(width, round(proportion * width / 4)) for width in range(16, 112, 16)]
    plain = min((_plain(*shape) for shape in shapes), key=lambda net: abs(macs(net) - goal))
    if abs(macs(plain) - goal) > WITHIN * goal:
        raise RuntimeError("no plain ResNeXt of these proportions has the wanted number of multiply-adds")
    return plain


def macs(net: AnytimeNet, size: int = 32) -> int:
    """Counted multiply-adds of the last sub-network for one image."""
    return stage_costs(net, (net.in_channels, size, size))[-1].macs


def cpu_has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 numbers in hardware."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _plain(width: int, branches: int) -> AnytimeNet:
    return IResNeXt((CLASSES,), branches=(branches,), width=width, blocks=(5, 5, 5))
