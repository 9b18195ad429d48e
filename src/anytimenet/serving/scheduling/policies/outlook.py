"""What a second is worth to the requests that are still to come: a small Markov decision process, solved."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_LEAST_CELLS, _MOST_CELLS = 24, 64
_ROUNDS = 30


class Outlook:
    """The relative value of a server by how old the next request is when it begins.

    Requests come at random (Poisson) and allow `allowed` seconds. One that is `age` seconds old when it
    begins may be run to stage k if age + seconds[k] <= allowed, and is worth values[k] then; a server with
    `workers` threads begins the next one seconds[k] / workers later. The decisions with the highest mean
    accuracy per request, lost ones included, are found by policy iteration (Howard 1960). What remains is
    how much less the future is worth when everybody behind begins later: the price of time.

    Args:
        seconds: of stages, rising.
        values: of their answers.
        rate: requests a second.
        allowed: seconds until the deadline.
        workers: threads.
    """

    def __init__(
        self, seconds: Sequence[float], values: Sequence[float], rate: float, allowed: float, workers: int
    ) -> None:
        takes, worth = np.asarray(seconds, float), np.asarray(values, float)
        last = max(allowed - takes[0], takes[0])
        cells = int(np.clip(2 * last * workers / takes[0], _LEAST_CELLS, _MOST_CELLS))
        self.ages = np.linspace(0.0, last, cells)
        step = self.ages[1]
        # Past the last age a request is lost, and the next one is younger.
        beyond = np.arange(1, math.ceil(takes[-1] / workers / step) + 2) * step + last
        ages = np.concatenate([self.ages, beyond])
        moves = np.array([_younger(ages, ages + took / workers, rate) for took in (0.0, *takes)])
        rewards = np.where(ages + takes[:, None] <= allowed * _SAME, worth[:, None], -math.inf)
        rewards = np.concatenate([np.where(ages <= last * _SAME, -math.inf, 0.0)[None], rewards])
        values_of, self.mean = _solved(moves, rewards)
        self._values = values_of[: len(ages)]
        self._ages = ages
        behind = np.linspace(0.0, ages[-1], 2 * len(ages))
        self._behind = behind
        self._after = _younger(ages, behind, rate) @ self._values
        self._value_list: list[float] = self._values.tolist()
        self._after_list: list[float] = self._after.tolist()
        self._step, self._behind_step = float(step), float(behind[1])

    def cost(self, age: float | None, seconds: float) -> float:
        """What it costs those to come that everybody begins `seconds` later.

        Args:
            age: of the next request when it begins otherwise; None if nobody waits.
            seconds: on one worker of all.
        """
        if age is None:
            return self._after_list[0] - _at(self._after_list, seconds / self._behind_step)
        age = max(age, 0.0)
        values, step = self._value_list, self._step
        return _at(values, age / step) - _at(values, (age + seconds) / step)


def _at(values: list[float], place: float) -> float:
    """On the line between two neighbours."""
    if place >= len(values) - 1:
        return values[-1]
    low = int(place)
    found: float = values[low] + (place - low) * (values[low + 1] - values[low])
    return found


def _younger(ages: np.ndarray, before: np.ndarray, rate: float) -> np.ndarray:
    """Chances, [before, ages], that the next one is that old: by the time between arrivals younger, or 0.

    What lies between two ages is shared between them so that the mean is right: with many workers one request
    moves less than the ages lie apart.
    """
    low = np.exp(-rate * before)[:, None]
    until = np.minimum(ages[None], before[:, None])
    # The mean of what an age is above the next one's, for each age: the integral of the distribution.
    above = (np.exp(-rate * (before[:, None] - until)) - low) / rate + (ages[None] - until)
    slopes = np.diff(above, axis=1) / np.diff(ages)
    return np.diff(slopes, axis=1, prepend=0.0, append=1.0)


def _solved(moves: np.ndarray, rewards: np.ndarray) -> tuple[np.ndarray, float]:
    """Relative values and the mean reward of the best decisions: policy iteration."""
    states = np.arange(rewards.shape[1])
    chosen = rewards.argmax(axis=0)
    known = np.zeros(len(states) + 1)
    for _ in range(_ROUNDS):
        system = np.eye(len(states)) - moves[chosen, states]
        system = np.block([[system, np.ones((len(states), 1))], [np.eye(1, len(states)), np.zeros((1, 1))]])
        known = np.linalg.solve(system, np.append(rewards[chosen, states], 0.0))
        better = rewards + moves @ known[:-1]
        found = better.argmax(axis=0)
        keeps = better[chosen, states] >= better[found, states] - 1e-12
        if keeps.all():
            break
        chosen = np.where(keeps, chosen, found)
    return known[:-1], float(known[-1])


_SAME = 1 + 1e-9
