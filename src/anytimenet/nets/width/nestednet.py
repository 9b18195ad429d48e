"""NestedNet: levels that are nested in channels or in residual units, each with a classifier of its own."""

from __future__ import annotations

from collections.abc import Sequence

from anytimenet.nets.arguments import check_positive, check_word
from anytimenet.nets.registry import forms_of
from anytimenet.nets.width.elastic_plan import UnitRow, check_rows
from anytimenet.nets.width.elastic_resnet import ElasticResNet, Normalisation
from anytimenet.nets.width.slimmable import check_units, widths_at

PAPER = "NestedNet: Learning Nested Sparse Structures in Deep Neural Networks"


def nestednet(
    num_classes: Sequence[int] = (10,),
    *,
    scheduling: str = "channel",
    ratios: Sequence[float] | None = None,
    level_units: Sequence[UnitRow] | None = None,
    width: int = 64,
    units: Sequence[int] = (5, 5, 5),
    unit: str = "basic",
    stem: str = "cifar",
    divisor: int = 1,
    normalisation: Normalisation = "own",
    in_channels: int = 3,
    init: str = "msra",
) -> ElasticResNet:
    """An n-in-1 residual net: stage k has the first channels (or a nested subset of the units) of the last.

    Method card:
        Paper: Kim, Ahn and Oh, "NestedNet: Learning Nested Sparse Structures in Deep Neural Networks" (CVPR
            2018), channel scheduling and layer scheduling.
        Shared: convolutions; with channel scheduling the first filters and columns, with layer scheduling
            whole ones.
        Per stage: a classifier, and every BatchNorm.
        State: the images; nothing of an earlier level can be used again.
        Training: the sum of the losses of all levels (scheme "anytime"); coarse labels for the earlier ones
            are scheme "coarse_to_fine", distillation from the last one is "distilled".
        Deviations: the abstract does not say what becomes of BatchNorms; each level has its own here, since
            shared statistics fail (the ablation of the sliced-networks paper). No configuration could be
            verified: the CIFAR forms are a ResNet-32 with 4 times the channels, cut as in the paper's idea,
            with projections as shortcuts. Weight connection learning (unstructured masks) is not built.

    Args:
        num_classes: classes of each label level, fine level first.
        scheduling: "channel", levels of growing width, or "layer", levels of growing depth.
        ratios: with "channel", the share of the channels that each level has, increasing to 1;
            (0.25, 0.5, 1) by default.
        level_units: with "layer", for each level and group how many first units run, or a list of their
            numbers, counted from 1 and beginning with 1; by default the levels have 2, 3, .. first units in
            every group, up to `units` (1, 2, .. where no group has more than 2).
        width: channels of the first group; each later group has twice as many.
        units: residual units of each group of the last level.
        unit: "basic" or "bottleneck".
        stem: "cifar" or "imagenet".
        divisor: with "channel", numbers of channels are multiples of it.
        normalisation: "own" or "recalibrate"; see `ElasticResNet`.
        in_channels: channels of the images.
        init: "msra", "msra_ungrouped" or "pytorch"; see `layers.init`.

    Raises:
        ValueError: if levels are not nested or equal, or an argument of the other scheduling is given.

    >>> net = nestednet(scheduling="layer", width=4, units=(2, 2), level_units=((1, 1), (2, 1), (2, 2)))
    >>> net.num_stages, list(net.units)
    (3, ['group1_unit1', 'group1_unit2', 'group2_unit1', 'group2_unit2'])
    """
    check_word("scheduling", scheduling, ("channel", "layer"))
    check_positive(width=width, divisor=divisor)
    counts = check_units(units)
    if scheduling == "channel":
        _check_other("channel", level_units=level_units)
        rows = widths_at((0.25, 0.5, 1) if ratios is None else ratios, width, len(counts), divisor)
        numbers: Sequence[UnitRow] = [counts] * len(rows)
    else:
        _check_other("layer", ratios=ratios)
        numbers = _first_units(counts) if level_units is None else _check_levels(level_units, counts)
        rows = [[width * 2**group for group in range(len(counts))]] * len(numbers)
    return ElasticResNet(
        num_classes,
        widths=rows,
        units=numbers,
        unit=unit,
        stem=stem,
        normalisation=normalisation,
        heads="own",
        in_channels=in_channels,
        init=init,
    )


def _check_other(scheduling: str, **unused: object) -> None:
    """Raises ValueError if what only the other scheduling reads is given."""
    for name, value in unused.items():
        if value is not None:
            other = "layer" if scheduling == "channel" else "channel"
            raise ValueError(
                f"{name} {value!r} says nothing in {scheduling} scheduling: leave it out, or take "
                f"scheduling={other!r}"
            )


def _first_units(counts: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Levels with 2, 3, .. units in every group, as far as a group has them; from 1 on if none has over 2.

    >>> _first_units((5, 5, 5)), _first_units((2, 1))
    ([(2, 2, 2), (3, 3, 3), (4, 4, 4), (5, 5, 5)], [(1, 1), (2, 1)])
    """
    least = 2 if max(counts) > 2 else 1
    return [tuple(min(n, count) for count in counts) for n in range(least, max(counts) + 1)]


def _check_levels(levels: Sequence[UnitRow], counts: tuple[int, ...]) -> Sequence[UnitRow]:
    """`levels`, whose last one must run all units."""
    check_rows("level_units", levels)
    every = [list(range(1, count + 1)) for count in counts]
    last = levels[-1]
    whole = len(last) == len(counts) and all(
        list(given) == numbers if isinstance(given, Sequence) else given == len(numbers)
        for given, numbers in zip(last, every, strict=True)
    )
    if not whole:
        raise ValueError(
            f"level_units {levels!r}: the last level must run all units {counts}, so that none is there for "
            "nothing; change units, or the last row"
        )
    return levels


_form = forms_of(nestednet, paper=PAPER, family="nestednet")
_form("nestednet_channel_cifar", (3, 32, 32), "WRN-32-4 of 3 widths, 16 32 64 at first")()
_form("nestednet_layer_cifar", (3, 32, 32), "WRN-32-4 of 4 depths, 14 20 26 32")(scheduling="layer")
_form("nestednet_channel_small", (3, 16, 16), "minutes on 2 cores: 3 widths, 6 9 12 at first")(
    ratios=(0.5, 0.75, 1.0), width=12, units=(1, 1, 1)
)
_form("nestednet_layer_small", (3, 16, 16), "minutes on 2 cores: 3 depths, 8 14 20")(
    scheduling="layer", width=6, units=(3, 3, 3), level_units=((1, 1, 1), (2, 2, 2), (3, 3, 3))
)
_form("nestednet_channel_tiny", (3, 8, 8), "for tests: 3 widths, 2 4 6 at first")(
    ratios=(0.34, 0.67, 1.0), width=6, units=(1, 1), divisor=2
)
_form("nestednet_layer_tiny", (3, 8, 8), "for tests: 3 depths")(
    scheduling="layer", width=4, units=(2, 2), level_units=((1, 1), (2, 1), (2, 2))
)
