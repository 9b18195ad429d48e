"""Sub-network k as a plain module: what is left when a net is cut down to one of its predictions."""

from __future__ import annotations

from torch import Tensor, nn

from anytimenet.core.checks import whole_number
from anytimenet.nets.contract import AnytimeNet, Output


class SubNetwork(nn.Module):
    """One stage of a net, as the module that people would write who need nothing but that prediction.

    Its weights are copies, those of sub-network k and no others. They learn: call `train()` and go on with
    any loop; a bundle of it is `Bundle.keep([k])`. Where nothing is to be learned any more
    `net.segment(0, k, last=True)` is the same with plain layers, and `net.snapshot().prepare()` faster.

    Args:
        net: the net; it stays as it is.
        stage: k. The copy is in the mode of `net`.

    Attributes:
        net: the same as a net of the contract, with one stage; its parts have the names of the net's.

    Raises:
        ValueError: if there is no such stage.

    >>> import torch
    >>> from anytimenet.nets import create_net
    >>> net = create_net("isresnext_tiny", num_classes=4).eval()
    >>> small = SubNetwork(net, 2)
    >>> x = torch.rand(5, 3, 8, 8)
    >>> torch.allclose(small(x), net(x)[1][0], atol=1e-6)
    True
    """

    def __init__(self, net: AnytimeNet, stage: int) -> None:
        super().__init__()
        stage = whole_number(stage, "stage", 1, net.num_stages)
        self.net = net.keep([stage])

    def forward(self, x: Tensor) -> Tensor | Output:
        """The logits `(N, classes, ...)`; of several label levels a tuple of them, fine level first."""
        (output,) = self.net(x)
        return output[0] if len(output) == 1 else tuple(output)

    def extra_repr(self) -> str:
        return f"classes={self.net.num_classes}"
