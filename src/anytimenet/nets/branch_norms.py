"""How much each branch of a block weighs: l1 norms over the columns of the third convolution."""

from __future__ import annotations

import numpy as np

from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.width.iresnext import BranchBlock, IResNeXt


def branch_l1_norms(net: AnytimeNet, block: int) -> np.ndarray:
    """The l1 norm of every branch of one block of an I-ResNeXt or a plain ResNeXt.

    A branch of width B at that scale owns B columns of the third convolution; its norm is the sum of their
    absolute weights. In an I-ResNeXt it falls from branch to branch, since every stage trains the first
    ones; in a plain ResNeXt it is flat.

    Source: "Anytime Neural Prediction via Slicing Networks Vertically", section 4.1 and figure 3b, which
    shows block 5 of the 29-layer net.

    Args:
        net: an `IResNeXt`; plain ResNeXts are among them.
        block: number of the block, from 1, counted through all scales.

    Returns:
        (branches,), float64.

    Raises:
        ValueError: for a net without branches of that kind, or a block that it does not have.

    >>> from anytimenet.nets import create_net
    >>> branch_l1_norms(create_net("iresnext_tiny"), block=2).shape
    (3,)
    """
    if not isinstance(net, IResNeXt):
        raise ValueError(f"branch norms are those of I-ResNeXt and ResNeXt, not of {type(net).__name__}")
    if not 1 <= block <= len(net.blocks):
        raise ValueError(f"block {block} does not exist: 1 to {len(net.blocks)} are there")
    chosen = net.blocks[block - 1]
    assert isinstance(chosen, BranchBlock)
    weight = chosen.conv3.weight.detach().double().abs().cpu().numpy()[:, :, 0, 0]
    return weight.reshape(len(weight), -1, chosen.branch_width).sum(axis=(0, 2))
