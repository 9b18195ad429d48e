"""Where exits go on a module: at equal shares of its work, or where they gain most.

`possible_taps` tells the places and their costs, `equal_cost_taps` and `best_taps` choose among them, and
`probe_scores` says what linear predictions there are worth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from anytimenet.core import checks
from anytimenet.layers.heads import is_channels_last
from anytimenet.nets.wrapped.borders import border_names
from anytimenet.nets.wrapped.capture import in_eval_mode

_SHORTLY = 0.05
"""A share of the work that makes no exit of its own."""


def possible_taps(module: nn.Module, example: Tensor) -> dict[str, float]:
    """Sub-modules after which an exit can be, in the order in which they run, with their shares of the work.

    They are blocks, after which one tensor of features, a map or tokens, carries all that follows; of those
    that differ by nothing but activations, norms and pooling the last. The work is the multiply-adds of
    convolutions and linear layers up to there, a share of the whole.

    Args:
        module: from images to logits.
        example: a batch of two images or more.

    Raises:
        ValueError: if the module's forward cannot be followed.
    """
    names = border_names(module, example)
    work, done = _Work(), dict[str, int]()
    handles = [
        module.get_submodule(name).register_forward_hook(
            lambda *_, name=name: done.update({name: work.total})
        )
        for name in names
    ]
    try:
        with in_eval_mode(module), torch.no_grad(), work:
            module(example[:1])
    finally:
        for handle in handles:
            handle.remove()
    whole = work.total
    last_of = {done[name]: name for name in names if 0 < done[name] < whole}
    costs = {name: cost / whole for cost, name in last_of.items()}
    return {name: cost for name, cost in costs.items() if not _ends_an_outer_one(name, costs, module)}


def equal_cost_taps(costs: Mapping[str, float], count: int) -> tuple[str, ...]:
    """The `count` places that divide the work into shares as equal as can be.

    Args:
        costs: share of the work up to each place, increasing, as `possible_taps` tells it.
        count: of places, one fewer than predictions.

    Raises:
        ValueError: if there are fewer places.

    >>> equal_cost_taps({"a": 0.2, "b": 0.3, "c": 0.45, "d": 0.7, "e": 0.9}, 3)
    ('b', 'c', 'd')
    """

    def nearness(cost: float, number: int, _: float) -> float:
        return -((cost - (number + 1) / (count + 1)) ** 2)

    return _chosen(costs, count, nearness)


def best_taps(costs: Mapping[str, float], scores: Mapping[str, float], count: int) -> tuple[str, ...]:
    """The `count` places of the largest area under accuracy over cost, the module's own answer behind them.

    A budget between two exits is worth the accuracy of the first of them; one before the first exit nothing.
    Exact, in time proportional to the square of the number of places.

    Args:
        costs: share of the work up to each place, increasing, as `possible_taps` tells it.
        scores: validated accuracy at each place, as `probe_scores` tells it.
        count: of places, one fewer than predictions.

    Raises:
        ValueError: if there are fewer places, or one has no score.

    >>> best_taps({"a": 0.1, "b": 0.2, "c": 0.6}, {"a": 0.3, "b": 0.8, "c": 0.9}, 2)
    ('b', 'c')
    """
    missing = [place for place in costs if place not in scores]
    if missing:
        raise ValueError(f"scores says nothing of {missing[0]!r}: give an accuracy for each place in costs")
    worth = {costs[place]: scores[place] for place in costs}

    def area(cost: float, number: int, following: float) -> float:
        return worth[cost] * (following - cost)

    return _chosen(costs, count, area)


def probe_scores(
    module: nn.Module, taps: Sequence[str], images: Tensor, labels: Tensor, *, batch_size: int = 64
) -> dict[str, float]:
    """The accuracy of a linear prediction from the pooled features at each of `taps`.

    Ridge regression on one half of the images, in closed form, judged on the other half. Pooling is the mean
    over positions or tokens.

    Args:
        module: from images to logits.
        taps: names of sub-modules.
        images: `(N, C, H, W)`, square, four or more, in an order that mixes the classes.
        labels: `(N,)`, the class of each.
        batch_size: images a pass.
    """
    if len(images) < 4 or labels.shape != images.shape[:1]:
        raise ValueError("images and labels: four images or more are needed, and a class for each")
    pooled: dict[str, list[Tensor]] = {tap: [] for tap in taps}
    handles = [
        module.get_submodule(tap).register_forward_hook(
            lambda _, __, result, tap=tap: pooled[tap].append(_pooled(result))
        )
        for tap in taps
    ]
    try:
        with in_eval_mode(module), torch.no_grad():
            for batch in images.split(batch_size):
                module(batch)
    finally:
        for handle in handles:
            handle.remove()
    return {tap: _ridge_accuracy(torch.cat(features), labels) for tap, features in pooled.items()}


class _Work(TorchDispatchMode):
    """Adds up the multiplications and additions of convolutions and of products of matrices.

    As torch's `FlopCounterMode`, which also follows modules, and stumbles where one is given a weight.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        rule = flop_registry.get(func.overloadpacket)
        if rule is not None:
            self.total += rule(*args, **(kwargs or {}), out_val=result)
        return result


def _ends_an_outer_one(name: str, costs: Mapping[str, float], module: nn.Module) -> bool:
    """Whether it is one layer, shortly before the end of a block that is a place, too."""
    outer = name.rpartition(".")[0]
    alone = next(module.get_submodule(name).children(), None) is None
    return alone and outer in costs and costs[outer] - costs[name] < _SHORTLY


def _chosen(
    costs: Mapping[str, float], count: int, worth: Callable[[float, int, float], float]
) -> tuple[str, ...]:
    """The places of the largest sum of `worth(cost, number, next cost)`: from behind."""
    checks.whole_number(count, "count", 1)
    places, at = list(costs), list(costs.values())
    if count > len(places):
        raise ValueError(
            f"{count} places for exits are asked for, and this module has {len(places)}: "
            f"{len(places) + 1} exits are the most"
        )
    if any(later <= earlier for earlier, later in pairwise(at)):
        raise ValueError("costs must increase from place to place")
    # best[i]: the largest sum with exit `number` at place i, and the places from there on.
    best: dict[int, tuple[float, tuple[int, ...]]] = {
        i: (worth(at[i], count - 1, 1.0), (i,)) for i in range(len(at))
    }
    for number in reversed(range(count - 1)):
        best = {
            i: max(
                (worth(at[i], number, at[j]) + total, (i, *rest))
                for j, (total, rest) in best.items()
                if j > i
            )
            for i in range(len(at))
            if any(j > i for j in best)
        }
    return tuple(places[i] for i in max(best.values())[1])


def _pooled(features: Tensor) -> Tensor:
    """One row an example: the mean over positions of maps, over tokens of tokens."""
    if features.ndim == 4:
        return features.mean((1, 2) if is_channels_last(features.shape[1:]) else (2, 3))
    return features.mean(1) if features.ndim == 3 else features.flatten(1)


def _ridge_accuracy(features: Tensor, labels: Tensor) -> float:
    half = len(features) // 2
    features = features.double()
    features = (features - features[:half].mean(0)) / (features[:half].std(0) + 1e-6)
    features = torch.cat([features, torch.ones(len(features), 1).to(features)], 1)
    goal = nn.functional.one_hot(labels).to(features)
    learned, judged = features[:half], features[half:]
    penalty = torch.eye(features.shape[1]).to(features) * half * 0.1
    weight = torch.linalg.solve(learned.T @ learned + penalty, learned.T @ goal[:half])
    return float(((judged @ weight).argmax(1) == labels[half:]).double().mean())
