"""What a training step of the anytime nets costs, in units of plain steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from timing import Times, Work, fresh, interleave
from training.saved_tensors import peak_saved_bytes
from training.steppers import (
    BATCH,
    CLASSES,
    Stepper,
    cpu_has_bf16,
    isresnext_47,
    macs,
    plain_of_equal_macs,
    plain_of_equal_shape,
)

from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data import Augmentation, ImageSet, Loader
from anytimenet.nets import create_net

NAME = "training-steps"
LOADER_BATCHES = 20

# What is compared: a row's name, its two works, and the ratio to reach (None: for information).
COMPARISONS: list[tuple[str, str, str, float | None]] = [
    ("IS-ResNeXt-47: all heads / one head", "IS joint", "IS one head", 1.05),
    ("IS-ResNeXt-47: all heads / K separate passes", "IS joint", "IS separate", 0.36),
    ("IS-ResNeXt-47 / plain, same width and cardinality", "IS joint", "plain, same shape", 0.90),
    ("IS-ResNeXt-47 / plain, equal multiply-adds, C = 0.5 W/B", "IS joint", "plain, 0.5", 1.6),
    ("IS-ResNeXt-47 / plain, equal multiply-adds, C = 0.75 W/B", "IS joint", "plain, 0.75", 1.6),
    ("I-ResNeXt-29: joint / K naive passes, fp32", "I joint", "I separate", 1.03),
    ("I-ResNeXt-29: joint bf16 / K naive passes fp32", "I joint, bf16", "I separate", 0.75),
    ("I-ResNeXt-29: joint bf16 / K naive passes bf16", "I joint, bf16", "I separate, bf16", None),
]


def measure(rounds: int) -> dict[str, Any]:
    """The table of ratios; every row is one run of its own."""
    rows = []
    for what, one, other, reach in COMPARISONS:
        if "bf16" in one and not cpu_has_bf16():
            rows.append({"what": f"{what}: this processor has no bf16", "reach": reach})
            continue
        print(f"  {what} ..", flush=True)
        times: Times = fresh(_compare, one, other, rounds)
        milliseconds = {"ms": times.median_ms(one), "other_ms": times.median_ms(other)}
        rows.append({"what": what, **times.ratio(one, other), "reach": reach, **milliseconds})
    return {
        "batch": BATCH,
        "macs": {
            "isresnext_47": macs(isresnext_47()),
            "plain, 0.5": macs(plain_of_equal_macs(0.5)),
            "plain, 0.75": macs(plain_of_equal_macs(0.75)),
        },
        "rows": [*rows, fresh(_loader_row, rounds), fresh(_memory_row)],
    }


def _works() -> dict[str, Callable[[], Work]]:
    def one_head() -> Work:
        stepper = Stepper(isresnext_47())
        return lambda: stepper.joint((stepper.net.num_stages,))

    return {
        "IS joint": lambda: Stepper(isresnext_47()).joint,
        "IS one head": one_head,
        "IS separate": lambda: Stepper(isresnext_47()).separate,
        "plain, same shape": lambda: Stepper(plain_of_equal_shape()).joint,
        "plain, 0.5": lambda: Stepper(plain_of_equal_macs(0.5)).joint,
        "plain, 0.75": lambda: Stepper(plain_of_equal_macs(0.75)).joint,
        "I joint": lambda: Stepper(_iresnext_29()).joint,
        "I joint, bf16": lambda: Stepper(_iresnext_29(), bf16=True).joint,
        "I separate": lambda: Stepper(_iresnext_29()).separate,
        "I separate, bf16": lambda: Stepper(_iresnext_29(), bf16=True).separate,
        "loader": _loader,
    }


def _compare(one: str, other: str, rounds: int) -> Times:
    works = _works()
    return interleave({name: works[name]() for name in (one, other)}, rounds)


def _loader_row(rounds: int) -> dict[str, Any]:
    """Time to draw, augment and standardise a batch, as a share of that and the step it feeds."""
    times = _compare("loader", "IS joint", rounds)
    batch_ms = times.median_ms("loader") / LOADER_BATCHES
    step_ms = times.median_ms("IS joint")
    return {
        "what": "loader's share of an IS-ResNeXt-47 step",
        "ratio": round(batch_ms / (batch_ms + step_ms), 4),
        "reach": 0.05,
        "ms": round(batch_ms, 2),
        "other_ms": step_ms,
    }


def _memory_row() -> dict[str, Any]:
    """Activations kept by the joint step of I-ResNeXt, over those of its largest stage alone."""
    stepper = Stepper(_iresnext_29())
    parameters = list(stepper.net.parameters())
    joint = peak_saved_bytes(stepper.backward, parameters)
    largest = peak_saved_bytes(lambda: stepper.backward((stepper.net.num_stages,)), parameters)
    return {
        "what": f"I-ResNeXt-29: saved activations ({joint / 1e6:.0f} MB), joint / largest stage alone",
        "ratio": round(joint / largest, 3),
        "reach": 1.0,
    }


def _iresnext_29() -> Any:
    return create_net("iresnext_29", CLASSES)


def _loader() -> Work:
    """Draws, augments and standardises `LOADER_BATCHES` batches of CIFAR-size images."""
    rng = np.random.default_rng(0)
    count = BATCH * LOADER_BATCHES
    images = ImageSet(
        rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8),
        rng.integers(0, CLASSES, (count, 1)),
        tuple(f"image-{i}" for i in range(count)),
    )
    standard = Preprocessing(32, 32, 3, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    loader = Loader(images, standard, batch_size=BATCH, augment=Augmentation(flip=True, pad=4), shuffle=True)
    return lambda: [x.shape for x, _ in loader.epoch(0)]
