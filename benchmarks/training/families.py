"""What a training step of each small net costs, in units of the plain ResNeXt's."""

from __future__ import annotations

from typing import Any

from timing import Times, fresh, interleave
from training.steppers import CLASSES, Stepper

from anytimenet.costs import stage_costs
from anytimenet.nets import create_net

NAME = "training-families"
BATCH, SIZE = 64, 16
PLAIN = "resnext_small"
NETS = ("iresnext_small", "isresnext_small", "resnext_exits_small", "msdnet_small", "resnet_small")


def measure(rounds: int) -> dict[str, Any]:
    """A row a net; then IS- over I-ResNeXt, the ratio that the sliced-networks paper is after."""
    rows = [_row(name, PLAIN, rounds) for name in NETS]
    return {"batch": BATCH, "image": SIZE, "rows": [*rows, _row("isresnext_small", "iresnext_small", rounds)]}


def _row(one: str, other: str, rounds: int) -> dict[str, Any]:
    times: Times = fresh(_compare, one, other, rounds)
    macs = [stage_costs(create_net(name, CLASSES), (3, SIZE, SIZE))[-1].macs for name in (one, other)]
    return {
        "what": f"{one} / {other}",
        **times.ratio(one, other),
        "macs_ratio": round(macs[0] / macs[1], 3),
        "ms": times.median_ms(one),
        "other_ms": times.median_ms(other),
    }


def _compare(one: str, other: str, rounds: int) -> Times:
    steppers = {name: Stepper(create_net(name, CLASSES), batch=BATCH, size=SIZE) for name in (one, other)}
    return interleave({name: stepper.joint for name, stepper in steppers.items()}, rounds, warmup=5)
