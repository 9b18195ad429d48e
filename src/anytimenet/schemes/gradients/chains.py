"""What rules that act between the blocks of a chain share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from anytimenet.nets.contract import AnytimeNet, ChainView, State


def chain_of(net: AnytimeNet, rule: str) -> ChainView:
    """The blocks and heads of `net`. Raises ValueError, with the cure, unless it is a chain of blocks."""
    chain = net.chain()
    if chain is None:
        raise ValueError(
            f"{rule} between the blocks of a chain, and {type(net).__name__} is none: take a net with "
            "predictions on the way (msdnet, resnet_ann, any *_exits, or wrap your own), or another scheme"
        )
    return chain


def as_leaves(state: State) -> State:
    """The tensors of a state cut from their graph; those that had one collect gradients of their own."""
    return tuple(tensor.detach().requires_grad_(tensor.requires_grad) for tensor in state)


def take_gradients(leaves: Sequence[Tensor]) -> list[Tensor | None]:
    """What has gathered in `.grad` of each leaf, which is cleared."""
    gradients = [leaf.grad for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    return gradients
