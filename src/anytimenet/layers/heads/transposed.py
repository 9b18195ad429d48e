"""A head of your own on features with channels last."""

from __future__ import annotations

from torch import Tensor, nn

from anytimenet.layers.reducing import predict, reduce


class ChannelsLast(nn.Module):
    """A head for maps `(N, H, W, C)`, made of one for `(N, C, H, W)`.

    >>> import torch
    >>> head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    >>> ChannelsLast(head)(torch.zeros(2, 4, 4, 8)).shape
    torch.Size([2, 3])
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def reduce(self, features: Tensor) -> Tensor:
        """See `layers.reducing.Reducing`."""
        return reduce(self.head, features.permute(0, 3, 1, 2))

    def predict(self, reduced: Tensor) -> tuple[Tensor, ...]:
        """See `layers.reducing.Reducing`."""
        return predict(self.head, reduced)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        result: Tensor | tuple[Tensor, ...] = self.head(x.permute(0, 3, 1, 2))
        return result
