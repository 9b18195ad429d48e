"""What members of several hooks share: checks of their fields, and draws that a checkpoint remembers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# Keep the draws of different hooks apart.
STAGES, WEIGHTS, ORDERS = 1, 2, 3


def check_whole(what: str, value: object, least: int) -> None:
    """Raises ValueError unless `value` is a whole number, `least` or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{what} {value!r}: a whole number is needed, {least} or more")


def check_choice(what: str, value: object, allowed: Sequence[str]) -> None:
    """Raises ValueError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{what} {value!r} does not exist: take one of {', '.join(allowed)}")


class Draws(nn.Module):
    """A random generator for each step, a function of seed, purpose and step alone.

    The number of the step is in the state_dict, so a resumed run draws what the uninterrupted one would have.

    >>> first, again = Draws(7, STAGES), Draws(7, STAGES)
    >>> int(first.next().integers(1000)) == int(again.next().integers(1000))
    True
    """

    def __init__(self, seed: int, purpose: int) -> None:
        super().__init__()
        self._seed, self._purpose, self._step = seed, purpose, 0

    def next(self) -> np.random.Generator:
        """The generator of the next step."""
        self._step += 1
        return np.random.default_rng((self._purpose, self._seed, self._step))

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self._step)

    def set_extra_state(self, state: Any) -> None:
        self._step = int(state)
