"""A trained net as others learn from it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from anytimenet.nets.contract import AnytimeNet, Output


class Teacher(nn.Module):
    """The last answer of a trained net, which is not changed.

    Args:
        net: the trained net.
        scale, shift: one number a channel, for a net that was taught with images standardised otherwise than
            those at hand: it is asked about `x * scale + shift`.

    >>> from anytimenet.nets import create_net
    >>> teacher = Teacher(create_net("resnet_tiny", 4).eval())
    >>> [logits.shape for logits in teacher(torch.zeros(2, 3, 8, 8))]
    [torch.Size([2, 4])]
    """

    scale: Tensor | None
    shift: Tensor | None

    def __init__(
        self, net: AnytimeNet, scale: Sequence[float] | None = None, shift: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("scale", _by_channel(scale))
        self.register_buffer("shift", _by_channel(shift))

    def forward(self, x: Tensor) -> Output:
        """The output of the last stage for images `(N, C, H, W)`."""
        x = x if self.scale is None else x * self.scale
        x = x if self.shift is None else x + self.shift
        output: Output = self.net(x, [self.net.num_stages])[0]
        return output

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All that its answers depend on, by name: what tells one teacher from another."""
        return self.net.state_dict() if self.scale is None and self.shift is None else self.state_dict()


def _by_channel(values: Sequence[float] | None) -> Tensor | None:
    return None if values is None else torch.tensor(values).view(1, -1, 1, 1)
