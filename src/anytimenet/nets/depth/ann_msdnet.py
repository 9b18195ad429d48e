"""The multi-scale dense nets of Hu et al., whose layers, transitions and exits are not those of `msdnet`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from anytimenet.core.segments import InputSpec
from anytimenet.layers.init import init_weights
from anytimenet.nets.arguments import as_numbers, check_positive, check_word
from anytimenet.nets.chain.blocks import Node
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.depth.multiscale_layers import ConvNormReLU, DenseNode, MultiScaleHead, first_layer
from anytimenet.nets.registry import forms_of

PAPER = "Learning Anytime Predictions in Neural Networks via Adaptive Loss Balancing"
FORMS = ("cifar", "imagenet")


def ann_msdnet(
    num_classes: Sequence[int] = (1000,),
    *,
    form: str = "imagenet",
    units: Sequence[int] = (6, 6, 5, 6),
    stack: int = 4,
    first_exit: int = 4,
    channels: int = 32,
    growth: int = 16,
    growth_factors: Sequence[int] = (1, 2, 4, 4),
    bottleneck_factors: Sequence[int] = (1, 2, 4, 4),
    classifier_width: int | None = None,
    in_channels: int = 3,
    init: str = "msra",
) -> ChainNet:
    """The nets that Hu et al. call MSDNet26, 36 and 41: one block a scale, a predictor every few units.

    Method card:
        Paper: Hu, Dey, Hebert and Bagnell, "Learning Anytime Predictions in Neural Networks via Adaptive
            Loss Balancing" (arXiv 1708.06832); the shapes are those of the authors' code, which are not
            those of the first MSDNet code (`msdnet`). Multiply-adds up to the exits in millions: 26: 456.3
            741.3 1012.4 1213.6 1325.8; 36: 721.8 1301.0 1881.5 2374.1 2600.9; 41: 840.7 1588.8 2345.0
            3042.8 3346.9.
        Nodes: `unit0_scale{s}` are the first layer's, from fine to coarse. Block b, from 0, has the scales b
            and coarser: `units[b] - 1` dense layers `unit{u}_scale{s}` and, but for the last block, one unit
            of 1x1 convolutions that halve the width of every scale. A layer adds features of its own scale
            and then as many of the finer one; at the block's finest scale all are its own, except in the
            block's first layer, which reads the finer scale of the block before. Bottlenecks have the factor
            of the scale that they read and may be wider than it.
        Shared: every node by all stages that it leads to; ordinary BatchNorms.
        Per stage: the classifier of `msdnet` on the coarsest scale, after every `stack` units counted from
            the last one; for several label levels one whole classifier for each.
        State: at each scale the last features that later exits read. The fine scales of the last units before
            an exit serve later exits only and are left to their segments; `blocks` runs them where they were
            published, and the `msd` costs are counted there.
        Training: see the recipes `ann_msdnet_26`, `_36` and `_41`.
        Deviations: those of `msdnet`: classifiers pool over all that is left of the image, and the 7x7
            convolution has no bias. He initialisation over the fan-out, as in all nets here.

    Args:
        num_classes: classes of each label level, fine level first.
        form: "imagenet", with a first layer that divides the image's side by 4, or "cifar".
        units: of each block, one block a scale: its dense layers and one more, which halves the width. (The
            first layer stands in for that of the last block.) On CIFAR the authors have three equal blocks,
            of 15 to 45 units in all, with growth 6.
        stack: units from one predictor to the next.
        first_exit: no predictor comes before this unit.
        channels, growth: of the finest scale; at scale s times `growth_factors[s]`.
        growth_factors, bottleneck_factors: of each scale, finest first.
        classifier_width: channels of the classifiers' convolutions; None for as many as the features have.
        in_channels: channels of the images.
        init: "msra" (He, fan-out) or "pytorch"; see `layers.init`.

    Raises:
        ValueError: for a number, list or word that makes no net.

    >>> net = ann_msdnet((4,), form="cifar", units=(3, 3), stack=2, first_exit=1, channels=4, growth=2,
    ...                  growth_factors=(1, 2), bottleneck_factors=(1, 2))
    >>> net.graph.exits
    ('unit1_scale1', 'unit3_scale1', 'unit5_scale1')
    """
    width = 1 if classifier_width is None else classifier_width
    check_positive(stack=stack, first_exit=first_exit, channels=channels, growth=growth)
    check_positive(in_channels=in_channels, classifier_width=width)
    check_word("form", form, FORMS)
    trunk = _Trunk(
        _checked_units(units, growth_factors, bottleneck_factors),
        as_numbers("growth_factors", growth_factors),
        as_numbers("bottleneck_factors", bottleneck_factors),
        channels,
        growth,
    )
    trunk.add_first_layer(form, in_channels)
    trunk.add_blocks()
    exits = range(trunk.unit, max(first_exit, 1) - 1, -stack)[::-1]
    if not exits:
        raise ValueError(f"first_exit {first_exit} leaves no exit among {trunk.unit} units: take a lower one")
    smallest = 2 ** (len(trunk.factors) - 1) * (4 if form == "imagenet" else 1)
    net = ChainNet(
        _by_exit(trunk.nodes, exits),
        [trunk.coarsest[unit][0] for unit in exits],
        [MultiScaleHead(trunk.coarsest[unit][1], num_classes, "conv", classifier_width) for unit in exits],
        num_classes=num_classes,
        input_spec=InputSpec("images", in_channels, smallest),
    )
    init_weights(net, init)
    return net


class _Trunk:
    """The nodes, unit by unit, and of each unit the node at the coarsest scale with its channels."""

    def __init__(
        self,
        units: Sequence[int],
        factors: Sequence[int],
        bottlenecks: Sequence[int],
        channels: int,
        growth: int,
    ) -> None:
        self.units, self.factors, self.bottlenecks = units, factors, bottlenecks
        self.width, self.growth, self.unit = channels, growth, 0
        self.nodes: list[tuple[int, Node]] = []
        self.names = [f"unit0_scale{scale}" for scale in range(len(factors))]
        self.coarsest: dict[int, tuple[str, int]] = {}

    def add_first_layer(self, form: str, in_channels: int) -> None:
        widths = [self.width * factor for factor in self.factors]
        self.nodes += [(0, node) for node in first_layer("unit0", widths, form, in_channels)]

    def add_blocks(self) -> None:
        for block, units in enumerate(self.units):
            for layer in range(1, units):
                finest = max(0, block - (layer == 1))
                self._add_unit(block, [self._dense(scale, scale > finest) for scale in self._scales(block)])
                self.width += self.growth
                self._end_unit()
            if block < len(self.units) - 1:
                self._add_unit(block, [self._narrower(scale) for scale in self._scales(block)])
                self.width //= 2
                self._end_unit()

    def _scales(self, block: int) -> range:
        return range(block, len(self.factors))

    def _dense(self, scale: int, reads_finer: bool) -> tuple[nn.Module, tuple[str, ...]]:
        module = DenseNode(
            self.width * self.factors[scale],
            self.growth * self.factors[scale],
            own_bottleneck=self.bottlenecks[scale],
            finer=self.width * self.factors[scale - 1] if reads_finer else None,
            finer_bottleneck=self.bottlenecks[scale - 1] if reads_finer else None,
            own_first=True,
            capped=False,
        )
        return module, (*((self.names[scale - 1],) if reads_finer else ()), self.names[scale])

    def _narrower(self, scale: int) -> tuple[nn.Module, tuple[str, ...]]:
        factor = self.factors[scale]
        module = ConvNormReLU(self.width * factor, self.width // 2 * factor, 1)
        return module, (self.names[scale],)

    def _add_unit(self, block: int, made: Sequence[tuple[nn.Module, tuple[str, ...]]]) -> None:
        self.unit += 1
        for scale, (module, inputs) in zip(self._scales(block), made, strict=True):
            self.names[scale] = f"unit{self.unit}_scale{scale}"
            self.nodes.append((self.unit, Node(self.names[scale], module, inputs)))

    def _end_unit(self) -> None:
        self.coarsest[self.unit] = self.names[-1], self.width * self.factors[-1]


def _by_exit(nodes: Sequence[tuple[int, Node]], exits: Sequence[int]) -> list[list[Node]]:
    """The nodes of each stage: all units after the exit before, up to its own."""
    stages: list[list[Node]] = [[] for _ in exits]
    for unit, node in nodes:
        stages[sum(exit_unit < unit for exit_unit in exits)].append(node)
    return stages


def _checked_units(
    units: Sequence[int], growth_factors: Sequence[int], bottleneck_factors: Sequence[int]
) -> tuple[int, ...]:
    lists = {"units": units, "growth_factors": growth_factors, "bottleneck_factors": bottleneck_factors}
    counts = {name: as_numbers(name, values) for name, values in lists.items()}
    found = counts["units"]
    if (
        len({len(values) for values in counts.values()}) > 1
        or not found
        or min(map(min, counts.values())) < 1
    ):
        raise ValueError(
            "units, growth_factors and bottleneck_factors: one of each for every scale, 1 or more, is "
            f"needed, not {counts}"
        )
    if min(found) < 2:
        raise ValueError(f"units {found}: a block has 2 or more, a dense layer and one more")
    return found


_41: dict[str, Any] = {"units": (10, 9, 10, 9), "stack": 7}
_TINY: dict[str, Any] = {
    "form": "cifar",
    "units": (2, 3),
    "stack": 2,
    "first_exit": 2,
    "channels": 3,
    "growth": 2,
    "growth_factors": (1, 2),
    "bottleneck_factors": (1, 2),
    "classifier_width": 4,
}

_form = forms_of(ann_msdnet, paper=PAPER, family="ann_msdnet")
_form("ann_msdnet_26", (3, 224, 224), "5 exits, 4 units apart")()
_form("ann_msdnet_36", (3, 224, 224), "5 exits, 6 units apart")(units=(9, 8, 8, 8), stack=6)
_form("ann_msdnet_41", (3, 224, 224), "5 exits, 7 units apart")(**_41)
_form("ann_msdnet_tiny", (3, 8, 8), "for tests: 2 exits")(**_TINY)
