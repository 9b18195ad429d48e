"""Slimmable and universally slimmable residual nets: one net whose width is chosen for each run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from anytimenet.nets.arguments import check_counts, check_positive
from anytimenet.nets.registry import forms_of
from anytimenet.nets.width.elastic_resnet import ElasticResNet, Normalisation

SLIMMABLE = "Slimmable Neural Networks"
UNIVERSALLY = "Universally Slimmable Networks and Improved Training Techniques"


def slimmable(
    num_classes: Sequence[int] = (10,),
    *,
    ratios: Sequence[float] = (0.25, 0.5, 0.75, 1.0),
    width: int = 32,
    units: Sequence[int] = (3, 3, 3),
    unit: str = "basic",
    stem: str = "cifar",
    divisor: int = 8,
    normalisation: Normalisation = "own",
    in_channels: int = 3,
    init: str = "msra",
) -> ElasticResNet:
    """A slimmable residual net: stage k has `ratios[k-1]` of the channels in every layer.

    Method card:
        Paper: Yu, Yang, Xu, Yang and Huang, "Slimmable Neural Networks" (ICLR 2019).
        Shared: convolutions, each width with the first filters and columns; the classifier, each width with
            the first columns, and its bias.
        Per stage: every BatchNorm, statistics, scale and shift (`normalisation="own"`).
        State: the images; nothing of a thinner stage can be used again.
        Training: every width in every step, the sum of their losses on the labels (scheme "anytime"); the
            sandwich rule and in-place distillation of the later paper are scheme "slimmable".
        Deviations: weight decay applies to BatchNorms, too. The CIFAR forms are ours: He et al.'s net with
            projections as shortcuts; the paper has none.

    Args:
        num_classes: classes of each label level, fine level first.
        ratios: share of the channels that each stage has, increasing; the last one is 1.
        width: channels of the first group, a multiple of `divisor`; each later group has twice as many.
        units: residual units of each group.
        unit: "basic" or "bottleneck".
        stem: "cifar" or "imagenet".
        divisor: numbers of channels are multiples of it; see `make_divisible`.
        normalisation: "own" or "recalibrate"; see `ElasticResNet`.
        in_channels: channels of the images.
        init: "msra", "msra_ungrouped" or "pytorch"; see `layers.init`.

    Raises:
        ValueError: if the ratios do not increase to 1, two of them give the same channels, or `width` is not
            a multiple of `divisor`.

    >>> slimmable(ratios=(0.5, 1), width=16, units=(1, 1)).plan.widths
    ((8, 16), (16, 32))
    """
    counts = check_units(units)
    return ElasticResNet(
        num_classes,
        widths=widths_at(ratios, width, len(counts), divisor),
        units=[counts] * len(ratios),
        unit=unit,
        stem=stem,
        normalisation=normalisation,
        in_channels=in_channels,
        init=init,
    )


def universally_slimmable(
    num_classes: Sequence[int] = (10,),
    *,
    lowest: float = 0.25,
    width: int = 32,
    units: Sequence[int] = (3, 3, 3),
    unit: str = "basic",
    stem: str = "cifar",
    divisor: int = 8,
    normalisation: Normalisation = "recalibrate",
    in_channels: int = 3,
    init: str = "msra",
) -> ElasticResNet:
    """A universally slimmable residual net: a stage for every admissible width, of which a few are deployed.

    The first group of stage k has the k-th multiple of `divisor` from `lowest * width` to `width` channels,
    the other groups in proportion. Train with all of them, then `keep` those that you need.

    Method card:
        Paper: Yu and Huang, "Universally Slimmable Networks and Improved Training Techniques" (ICCV 2019).
        Shared: convolutions, scales and shifts of BatchNorms, and the classifier, as in `slimmable`.
        Per stage: the statistics of every BatchNorm, estimated after training.
        State: the images; nothing of a thinner stage can be used again.
        Training: the sandwich rule with in-place distillation (scheme "slimmable"): the widest, the thinnest
            and two random widths a step, all but the widest learning the widest one's answer.
        Deviations: residual nets, where the paper has MobileNets. Statistics are the plain mean over batches.
            Widths are multiples of `divisor` in the first group and in proportion elsewhere.

    Args:
        num_classes: classes of each label level, fine level first.
        lowest: share of the channels that the thinnest stage has at least.
        width: channels of the first group, a multiple of `divisor`; each later group has twice as many.
        units: residual units of each group.
        unit: "basic" or "bottleneck".
        stem: "cifar" or "imagenet".
        divisor: numbers of channels are multiples of it.
        normalisation: "recalibrate", or "own" for as many BatchNorms as stages; see `ElasticResNet`.
        in_channels: channels of the images.
        init: "msra", "msra_ungrouped" or "pytorch"; see `layers.init`.

    Raises:
        ValueError: if `lowest` is no share, or `width` is not a multiple of `divisor`.

    >>> universally_slimmable(lowest=0.5, width=32, units=(1, 1)).plan.widths
    ((16, 32), (24, 48), (32, 64))
    """
    counts = check_units(units)
    check_positive(width=width, divisor=divisor)
    if isinstance(lowest, bool) or not isinstance(lowest, int | float) or not 0 < lowest <= 1:
        raise ValueError(f"lowest {lowest!r}: a share of the width over 0 and up to 1 is needed")
    _check_multiple(width, divisor)
    # A hair of tolerance: 0.7 * 10 is a little more than 7.
    first = math.ceil(lowest * width / divisor - 1e-9)
    rows = [
        [channels * 2**group for group in range(len(counts))]
        for channels in range(first * divisor, width + 1, divisor)
    ]
    return ElasticResNet(
        num_classes,
        widths=rows,
        units=[counts] * len(rows),
        unit=unit,
        stem=stem,
        normalisation=normalisation,
        in_channels=in_channels,
        init=init,
    )


def make_divisible(channels: float, divisor: int) -> int:
    """The nearest multiple of `divisor`, at least `divisor`, and never below 0.9 of the exact value.

    >>> make_divisible(20, 8), make_divisible(3, 8), make_divisible(11, 8)
    (24, 8, 16)
    """
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * channels else nearest


def widths_at(ratios: Sequence[float], width: int, groups: int, divisor: int) -> list[list[int]]:
    """For each ratio the channels of each group; a group has twice the channels of the one before.

    Raises:
        ValueError: if the ratios do not increase to 1, two of them give the same channels, or `width` is not
            a multiple of `divisor`.

    >>> widths_at((0.5, 1.0), 16, 2, 8)
    [[8, 16], [16, 32]]
    """
    check_positive(width=width, divisor=divisor)
    _check_multiple(width, divisor)
    checked = _check_ratios(ratios)
    rows = [[make_divisible(ratio * width * 2**g, divisor) for g in range(groups)] for ratio in checked]
    for (low, thin), (high, wide) in pairwise(zip(checked, rows, strict=True)):
        if thin == wide:
            raise ValueError(
                f"the ratios {low} and {high} both give {wide} channels in multiples of {divisor}: "
                "leave one out, or take a smaller divisor or a larger width"
            )
    return rows


def check_units(units: Sequence[int]) -> tuple[int, ...]:
    """`units` as a tuple. Raises ValueError if it is empty or holds less than one unit."""
    return check_counts("units", units, "for each group the number of units")


def _check_multiple(width: int, divisor: int) -> None:
    if width % divisor:
        nearest = max(divisor, round(width / divisor) * divisor)
        raise ValueError(
            f"width {width} is not a multiple of the divisor {divisor}: the nearest width that is one is "
            f"{nearest}"
        )


def _check_ratios(ratios: Sequence[float]) -> tuple[float, ...]:
    numbers = isinstance(ratios, list | tuple) and all(
        isinstance(ratio, int | float) and not isinstance(ratio, bool) for ratio in ratios
    )
    if not numbers or not ratios or list(ratios) != sorted(set(ratios)) or ratios[0] <= 0 or ratios[-1] != 1:
        raise ValueError(
            f"ratios {ratios!r}: increasing shares over 0, the last of them 1, are needed, "
            "for example (0.25, 0.5, 0.75, 1)"
        )
    return tuple(ratios)


_form = forms_of(slimmable, paper=SLIMMABLE, family="slimmable")
_universal = forms_of(universally_slimmable, paper=UNIVERSALLY, family="universally_slimmable")
_form("slimmable_50_imagenet", (3, 224, 224), "S-ResNet-50: 0.25 0.5 0.75 1 of the channels")(
    width=64, units=(3, 4, 6, 3), unit="bottleneck", stem="imagenet"
)
_form("slimmable_cifar", (3, 32, 32), "ResNet-20 with twice the channels: 8 16 24 32 at first")()
_form("slimmable_small", (3, 16, 16), "minutes on 2 cores: 4 widths, 6 8 10 12 at first")(
    ratios=(0.5, 0.67, 0.83, 1.0), width=12, units=(1, 1, 1), divisor=2
)
_form("slimmable_tiny", (3, 8, 8), "for tests: 3 widths, 4 6 8 at first")(
    ratios=(0.5, 0.75, 1.0), width=8, units=(1, 1), divisor=2
)
_universal("universally_slimmable_50_imagenet", (3, 224, 224), "ResNet-50 of 7 widths, 16 24 .. 64 at first")(
    width=64, units=(3, 4, 6, 3), unit="bottleneck", stem="imagenet"
)
_universal("universally_slimmable_cifar", (3, 32, 32), "ResNet-20 of 13 widths, 8 10 .. 32 at first")(
    divisor=2
)
_universal("universally_slimmable_small", (3, 16, 16), "minutes on 2 cores: 7 widths, 6 7 .. 12 at first")(
    lowest=0.5, width=12, units=(1, 1, 1), divisor=1
)
_universal("universally_slimmable_tiny", (3, 8, 8), "for tests: 3 widths, 2 3 4 at first")(
    lowest=0.5, width=4, units=(1, 1), divisor=1
)
