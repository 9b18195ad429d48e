"""How the cost of a joint training step grows with K, L, W, the image and the batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from timing import Times, fresh, interleave
from training.steppers import CLASSES, Stepper

from anytimenet.costs import count
from anytimenet.nets import AnytimeNet
from anytimenet.nets.slices.isresnext import ISResNeXt
from anytimenet.nets.width.iresnext import IResNeXt

NAME = "training-growth"
ALLOWED = 1.15  # time may grow by no more than this over the multiply-adds: noise, and vectors half filled


@dataclass(frozen=True)
class Shape:
    """One net and one batch. `step`: branches that a stage adds; `width` as the published C = r W / B."""

    family: str
    stages: int = 3
    step: int = 3
    blocks: int = 2
    size: int = 32
    batch: int = 16

    def net(self) -> AnytimeNet:
        branches = self.stages * self.step
        blocks = (self.blocks,) * 3
        if self.family == "IS-ResNeXt":
            width = branches * 4 * 4 // 3
            return ISResNeXt((CLASSES,), slices=(self.step,) * self.stages, width=width, blocks=blocks)
        counts = range(self.step, branches + 1, self.step)
        return IResNeXt((CLASSES,), branches=tuple(counts), width=branches * 8, blocks=blocks)

    @property
    def macs(self) -> int:
        """Multiply-adds that one joint forward of the batch executes, the zeros of dense layers included."""
        with torch.device("meta"):
            return count(self.net(), torch.empty(self.batch, 3, self.size, self.size)).macs


SLICED = Shape("IS-ResNeXt")
THIN = Shape("I-ResNeXt", stages=2, step=2, blocks=1)
PAIRS = [
    (what, base, replace(base, **change))
    for base in (SLICED, THIN)
    for what, change in (
        ("K and W twice", {"stages": 2 * base.stages}),
        ("W twice", {"step": 2 * base.step}),
        ("L twice", {"blocks": 2 * base.blocks}),
        ("image twice as wide and high", {"size": 2 * base.size}),
        ("batch twice", {"batch": 2 * base.batch}),
    )
] + [
    ("K twice", replace(SLICED, step=6), replace(SLICED, stages=6)),
    ("K twice", replace(THIN, step=4), replace(THIN, stages=4)),
]


def measure(rounds: int) -> dict[str, Any]:
    """Growth of time over growth of multiply-adds for each doubling."""
    rows = []
    for what, base, larger in PAIRS:
        print(f"  {base.family}, {what} ..", flush=True)
        times: Times = fresh(_compare, base, larger, rounds)
        macs_growth = larger.macs / base.macs
        growth = times.ratio("larger", "base")
        rows.append(
            {
                "family": base.family,
                "what": what,
                "macs_growth": round(macs_growth, 2),
                "time_growth": growth["ratio"],
                "time_over_macs": round(growth["ratio"] / macs_growth, 3),
                "reach": ALLOWED,
                "base_ms": times.median_ms("base"),
            }
        )
    return {"rows": rows}


def _compare(base: Shape, larger: Shape, rounds: int) -> Times:
    works = {
        name: Stepper(shape.net(), batch=shape.batch, size=shape.size).joint
        for name, shape in (("base", base), ("larger", larger))
    }
    return interleave(works, rounds)
