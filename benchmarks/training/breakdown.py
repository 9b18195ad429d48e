"""Where the time of a joint IS-ResNeXt-47 step goes, beside a plain ResNeXt of equal multiply-adds."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import Any

from timing import fresh
from torch.profiler import ProfilerActivity, profile
from training.steppers import Stepper, isresnext_47, plain_of_equal_macs, plain_of_equal_shape

NAME = "training-breakdown"
COLUMNS = ("sliced", "plain, equal multiply-adds", "plain, same shape")
CLASSES = (
    ("native_batch_norm", "BatchNorm"),
    ("batch_norm", "BatchNorm"),
    ("threshold_backward", "ReLU"),
    ("clamp_min", "ReLU"),
    ("relu", "ReLU"),
    ("::mm", "1x1 as matrix products"),
    ("::addmm", "1x1 as matrix products"),
    ("Optimizer", "optimiser and gradient sums"),
    ("::add_", "optimiser and gradient sums"),
    ("::mul_", "optimiser and gradient sums"),
    ("::add", "residual and other additions"),
    ("StackRows", "weight assembly, copies, concatenation"),
    ("::cat", "weight assembly, copies, concatenation"),
    ("::copy_", "weight assembly, copies, concatenation"),
    ("pool", "pooling"),
    ("::mean", "pooling"),
    ("::sum", "pooling"),
)


def measure(rounds: int) -> dict[str, Any]:
    """Milliseconds of each class of operators in one step of each net, and the first over the second.

    The profiler reads the wall clock, so each number is the lower quartile over rounds: what a step takes
    when nothing else disturbs it.
    """
    per_net: list[dict[str, float]] = fresh(_profile, rounds)
    names = sorted({name for times in per_net for name in times}, key=lambda name: -per_net[0].get(name, 0))
    rows: list[dict[str, Any]] = [{"class": name, **_row(per_net, name)} for name in names]
    return {"rows": [*rows, {"class": "total", **_row([_with_total(times) for times in per_net], "total")}]}


def _row(per_net: list[dict[str, float]], name: str) -> dict[str, Any]:
    first, second = (times.get(name, 0) for times in per_net[:2])
    values = {
        f"{column}, ms": round(times.get(name, 0), 1) for column, times in zip(COLUMNS, per_net, strict=True)
    }
    return {**values, "sliced / equal multiply-adds": round(first / second, 2) if second > 0.5 else None}


def _with_total(times: dict[str, float]) -> dict[str, float]:
    return {"total": sum(times.values())}


def _profile(rounds: int) -> list[dict[str, float]]:
    nets = (isresnext_47(), plain_of_equal_macs(), plain_of_equal_shape())
    steppers = [Stepper(net) for net in nets]
    samples: list[dict[str, list[float]]] = [defaultdict(list) for _ in steppers]
    for number in range(2 + rounds):
        for stepper, seen in zip(steppers, samples, strict=True):
            with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as run:
                stepper.joint()
            if number < 2:
                continue
            for name, milliseconds in _by_class(run).items():
                seen[name].append(milliseconds)
    return [{name: _lower_quartile(values) for name, values in seen.items()} for seen in samples]


def _by_class(run: Any) -> dict[str, float]:
    """Own time of the operators of one step, added up by class."""
    found: dict[str, float] = defaultdict(float)
    for event in run.key_averages(group_by_input_shape=True):
        found[_class_of(event.key, event.input_shapes)] += event.self_cpu_time_total / 1000
    return found


def _class_of(operator: str, shapes: list[Any]) -> str:
    if "convolution" in operator and any(len(shape) == 4 for shape in shapes):
        return _convolution(operator, [shape for shape in shapes if len(shape) == 4])
    return next((name for part, name in CLASSES if part in operator), "rest")


def _convolution(operator: str, shapes: list[Any]) -> str:
    """By kernel and groups; shapes are (gradient,) image, weight."""
    image, weight = shapes[-2:]
    if image[1] == 3:
        return "stem"
    grouped = "grouped" if image[1] != weight[1] else "dense"
    way = "backward" if "backward" in operator else "forward"
    return f"{weight[-1]}x{weight[-1]} {grouped}, {way}"


def _lower_quartile(values: list[float]) -> float:
    return statistics.quantiles(values, n=4, method="inclusive")[0] if len(values) > 1 else values[0]
