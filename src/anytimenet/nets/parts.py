"""Who uses what of a net: rectangles of its tensors, each with the stages whose sub-networks need it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Part:
    """A rectangle of a state_dict tensor with the stages whose sub-networks use it.

    `box` holds (start, stop) for each dimension, `()` for a scalar.

    >>> Part("stem.weight", ((0, 16), (0, 3), (0, 3), (0, 3)), (1, 2)).numel
    432
    """

    name: str
    box: tuple[tuple[int, int], ...]
    stages: tuple[int, ...]

    @property
    def numel(self) -> int:
        """How many scalars the rectangle holds."""
        total = 1
        for start, stop in self.box:
            total *= stop - start
        return total

    def of(self, tensor: Tensor) -> Tensor:
        """The view of `tensor` that this part names."""
        return tensor[tuple(slice(start, stop) for start, stop in self.box)]


def claim(net: nn.Module, prefix: str, stages: Iterable[int]) -> list[Part]:
    """One part, used by `stages`, for each state_dict entry named `prefix`, or under it if it ends in a dot.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False))
    >>> claim(net, "0.", (1, 2)) == claim(net, "0.weight", (1, 2))
    True
    """
    # Only the module that owns the prefix is listed: a whole state_dict for every claim would be quadratic.
    owner, dot, _ = prefix.rpartition(".")
    entries = net.get_submodule(owner).state_dict(prefix=owner + dot)
    return [
        Part(name, tuple((0, size) for size in tensor.shape), tuple(stages))
        for name, tensor in entries.items()
        if name == prefix or not prefix or prefix.endswith(".")
    ]


def claim_slices(
    net: nn.Module, prefix: str, borders: Sequence[int], users: Sequence[Iterable[int]], *, dim: int = 0
) -> list[Part]:
    """Parts of the entries under `prefix`, cut along `dim` at `borders` (which end with its size).

    Piece i is used by `users[i]`. An entry without that dimension, such as a BatchNorm's counter, goes
    with the first piece.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False))
    >>> [(p.box[0], p.stages) for p in claim_slices(net, "0.", (1, 4), ((1, 2), (2,)))]
    [((0, 1), (1, 2)), ((1, 4), (2,))]
    """
    found = []
    for whole in claim(net, prefix, users[0]):
        if len(whole.box) <= dim:
            found.append(whole)
            continue
        for start, stop, user in zip((0, *borders), borders, users, strict=False):
            box = (*whole.box[:dim], (start, stop), *whole.box[dim + 1 :])
            found.append(Part(whole.name, box, tuple(user)))
    return found
