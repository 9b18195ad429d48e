"""What a training step of the anytime nets costs, in units of plain steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from timing import Times, interleave
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

from anytimenet.core.preprocessing import Preprocessing
from anytimenet.data import Augmentation, ImageSet, Loader
from anytimenet.nets import create_net

NAME = "training-steps"
LOADER_BATCHES = 20


def measure(rounds: int) -> dict[str, Any]:
    """The table of ratios, with the milliseconds and shapes behind it."""
    sliced, equal_shape, equal_macs = (
        Stepper(net) for net in (isresnext_47(), plain_of_equal_shape(), plain_of_equal_macs())
    )
    thin, thin_nchw = Stepper(_iresnext()), Stepper(_iresnext(), layout=torch.contiguous_format)
    last = sliced.net.num_stages
    works = {
        "IS joint": sliced.joint,
        "IS one head": lambda: sliced.joint((last,)),
        "IS separate": sliced.separate,
        "plain, equal shape": equal_shape.joint,
        "plain, equal multiply-adds": equal_macs.joint,
        "I joint": thin.joint,
        "I separate": thin.separate,
        "I separate, NCHW": thin_nchw.separate,
        "loader": _loader(),
    }
    if cpu_has_bf16():
        works["I joint, bf16"] = Stepper(_iresnext(), bf16=True).joint
        works["I separate, bf16"] = Stepper(_iresnext(), bf16=True).separate
    times = interleave(works, rounds)
    counted = {"isresnext_47": macs(sliced.net), "plain, equal multiply-adds": macs(equal_macs.net)}
    return {
        "batch": BATCH,
        "macs_of_full_network": counted,
        "median_ms": {name: times.median_ms(name) for name in works},
        "rows": _rows(times) + [_memory_row(thin)],
    }


def _rows(times: Times) -> list[dict[str, Any]]:
    comparisons = [
        ("IS-ResNeXt-47: all heads / one head", "IS joint", "IS one head", 1.05),
        ("IS-ResNeXt-47: all heads / K separate passes", "IS joint", "IS separate", 0.36),
        ("IS-ResNeXt-47 / plain, same width and cardinality", "IS joint", "plain, equal shape", 0.90),
        ("IS-ResNeXt-47 / plain, equal multiply-adds", "IS joint", "plain, equal multiply-adds", 1.6),
        ("I-ResNeXt-29: joint / K naive passes, fp32", "I joint", "I separate", 1.03),
        ("I-ResNeXt-29: joint bf16 / K naive passes fp32", "I joint, bf16", "I separate", 0.75),
        ("I-ResNeXt-29: joint bf16 / K naive passes bf16", "I joint, bf16", "I separate, bf16", None),
        ("I-ResNeXt-29: joint fp32 / K naive passes fp32 NCHW", "I joint", "I separate, NCHW", None),
    ]
    rows = [
        {"what": what, **times.ratio(one, other), "reach": reach}
        for what, one, other, reach in comparisons
        if one in times.cpu and other in times.cpu
    ]
    loader_ms = times.median_ms("loader") / LOADER_BATCHES
    share = loader_ms / (loader_ms + times.median_ms("IS joint"))
    return [
        *rows,
        {"what": "loader's share of an IS-ResNeXt-47 step", "ratio": round(share, 4), "reach": 0.05},
    ]


def _memory_row(thin: Stepper) -> dict[str, Any]:
    """Activations kept by the joint step of I-ResNeXt, over those of its largest stage alone."""
    parameters = list(thin.net.parameters())
    joint = peak_saved_bytes(thin.backward, parameters)
    largest = peak_saved_bytes(lambda: thin.backward((thin.net.num_stages,)), parameters)
    return {
        "what": "I-ResNeXt-29: saved activations, joint / largest stage alone",
        "ratio": round(joint / largest, 3),
        "reach": 1.0,
        "megabytes": round(joint / 1e6, 1),
    }


def _iresnext() -> Any:
    return create_net("iresnext_29", CLASSES)


def _loader() -> Any:
    """A work that draws, augments and standardises `LOADER_BATCHES` batches of CIFAR-size images."""
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
