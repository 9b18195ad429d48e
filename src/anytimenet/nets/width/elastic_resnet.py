"""An elastic residual net: each stage is a number of first channels and of units of one set of weights."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from anytimenet.core.errors import StatisticsMissingError
from anytimenet.core.segments import InputSpec
from anytimenet.layers.heads import PooledHead
from anytimenet.layers.init import init_weights
from anytimenet.nets.arguments import check_positive, check_word
from anytimenet.nets.contract import AnytimeNet, Join, Output, Part, Segment, State, TensorSpec, claim
from anytimenet.nets.remembered import remembered, twin
from anytimenet.nets.width.elastic_blocks import PlainUnit, ResidualUnit, Stem
from anytimenet.nets.width.elastic_layers import (
    NORMALISATIONS,
    ConvNorm,
    PrefixHead,
    SharedAffineNorm,
    StageStatistics,
    name_of,
)
from anytimenet.nets.width.elastic_parts import claim_conv_norm, claim_nested
from anytimenet.nets.width.elastic_plan import ElasticPlan, UnitRow

Normalisation = Literal["own", "recalibrate"]
Heads = Literal["shared", "own"]


class ElasticResNet(AnytimeNet):
    """A post-activation residual net of which stage k runs the first channels and some units of each group.

    Method card:
        Paper: what slimmable and nested nets have in common; see `slimmable` and `nestednet` for theirs. The
            units are those of He et al., "Deep Residual Learning for Image Recognition" (2016): convolution,
            BatchNorm, ReLU; the stride of a bottleneck unit is in its 3x3 convolution.
        Shared: all convolutions, each stage with the first filters and the first columns of them. With
            `normalisation="recalibrate"` the scales and shifts of the BatchNorms, with `heads="shared"` the
            classifiers (their first columns, and the bias).
        Per stage: every BatchNorm (`"own"`) or the statistics of every BatchNorm (`"recalibrate"`), and with
            `heads="own"` a classifier.
        State: the images. Two stages differ from the first convolution or the first BatchNorm on, so that
            nothing of an earlier stage can be used again and the budget should be known before the run.
        Training: one graph per stage (`passes`). With "recalibrate" training normalises with the statistics
            of the batch and tracks none. Every call in training mode, after which weights move, makes older
            statistics count as missing (a change of weights in eval mode does not), and a stage without
            them refuses to predict in eval mode (`StatisticsMissingError`) until
            `training.statistics.reestimate_statistics` has run.
        Deviations: He initialisation over the fan-out of the widest stage. Decay applies to BatchNorms, too.

    Args:
        num_classes: classes of each label level, fine level first.
        widths: for each stage the channels of each group (of a bottleneck unit those of its middle); they do
            not fall from one stage to the next.
        units: for each stage and group how many first units run, or a list of their numbers, counted from 1
            and beginning with 1; a stage runs all units of earlier ones.
        unit: "basic" (two 3x3 convolutions) or "bottleneck" (1x1, 3x3, 1x1, four times as wide at the end).
        stem: "cifar" (3x3) or "imagenet" (7x7 with stride 2, then max-pooling with stride 2).
        normalisation: "own" or "recalibrate".
        heads: "shared" or "own".
        in_channels: channels of the images.
        init: "msra", "msra_ungrouped" or "pytorch"; see `layers.init`.

    Raises:
        ValueError: if a stage is not contained in the next one, or equals it, or a word is unknown.

    >>> net = ElasticResNet(widths=[(4, 8), (8, 16)], units=[(1, 1), (1, 2)])
    >>> [logits.shape for (logits,) in net(torch.zeros(4, 3, 8, 8))]
    [torch.Size([4, 10]), torch.Size([4, 10])]
    """

    @remembered
    def __init__(
        self,
        num_classes: Sequence[int] = (10,),
        *,
        widths: Sequence[Sequence[int]] = ((8, 16, 32), (16, 32, 64)),
        units: Sequence[UnitRow] = ((3, 3, 3), (3, 3, 3)),
        unit: str = "basic",
        stem: str = "cifar",
        normalisation: Normalisation = "own",
        heads: Heads = "shared",
        in_channels: int = 3,
        init: str = "msra",
    ) -> None:
        super().__init__()
        check_positive(in_channels=in_channels)
        check_word("normalisation", normalisation, NORMALISATIONS)
        check_word("heads", heads, ("shared", "own"))
        self.plan = ElasticPlan.of(widths, units, unit, stem)
        self.num_stages = self.plan.num_stages
        self.num_classes = tuple(num_classes)
        self.in_channels = in_channels
        self.input_spec = InputSpec("images", in_channels, self.plan.smallest_image)
        self.normalisation: Normalisation = normalisation
        self.tracks_statistics = normalisation == "own"
        self.heads: Heads = heads
        self.stem = Stem(in_channels, self.plan, normalisation)
        self.units = nn.ModuleDict(
            {place.name: ResidualUnit(place, unit, normalisation) for place in self.plan.places()}
        )
        features = self.plan.features
        self.head: nn.Module = (
            PrefixHead(features[self.num_stages], self.num_classes)
            if heads == "shared"
            else nn.ModuleDict(
                {name_of(k): PooledHead(c, self.num_classes, relu=False) for k, c in features.items()}
            )
        )
        init_weights(self, init)

    def forward(self, x: Tensor, stages: Sequence[int] | None = None) -> list[Output]:
        """As in `AnytimeNet`.

        Raises:
            StatisticsMissingError: in eval mode, for a stage whose statistics have not been estimated.
        """
        stages = self.check_stages(stages)
        self._begin(x, stages)
        return [self._run(x, stage) for stage in stages]

    def passes(self, x: Tensor, stages: Sequence[int] | None = None) -> Iterator[list[tuple[int, Output]]]:
        """One group per stage, in the order asked for; each is a graph of its own."""
        stages = self.check_stages(stages)
        self._begin(x, stages)
        for stage in stages:
            yield [(stage, self._run(x, stage))]

    def parts(self) -> list[Part]:
        found = []
        for name, layer in self.named_modules():
            if isinstance(layer, ConvNorm):
                found += claim_conv_norm(self, name, layer)
        features = self.plan.features
        if self.heads == "own":
            for stage in features:
                found += claim(self, f"head.{name_of(stage)}.", (stage,))
            return found
        for level in range(len(self.num_classes)):
            name = f"head.levels.{level}"
            classes = dict.fromkeys(features, self.num_classes[level])
            found += claim_nested(self, f"{name}.weight", classes, features)
            found += claim(self, f"{name}.bias", features)
        return found

    def stages_without_statistics(self) -> tuple[int, ...]:
        return tuple(stage for stage in range(1, self.num_stages + 1) if _is_missing(self._statistics(stage)))

    def state_spec(self, stage: int, input_shape: Sequence[int]) -> list[TensorSpec]:
        self.check_reached(stage, input_shape)
        if stage == self.num_stages:
            return []
        return [self.spec("x", input_shape)]

    def _segment(self, start: int, stop: int, *, last: bool) -> Segment:
        if _is_missing(self._statistics(stop)):
            raise _missing((stop,))
        return _PlainResNet(self, start, stop, last=last)

    def _keep(self, stages: tuple[int, ...]) -> ElasticResNet:
        def rename(name: str) -> str:
            return re.sub(r"\bstage(\d+)\b", lambda found: name_of(stages[int(found[1]) - 1]), name)

        widths, units = (
            [rows[stage - 1] for stage in stages] for rows in (self.plan.widths, self.plan.units)
        )
        return twin(self, ElasticResNet, rename, widths=widths, units=units)

    def _begin(self, x: Tensor, stages: Sequence[int]) -> None:
        """What comes before every run: the images fit, and the statistics are there, or go stale."""
        self.check_batch(x.shape)
        if self.normalisation == "own":
            return
        if self.training:
            every = range(1, self.num_stages + 1)
            # The weights are about to move.
            torch._foreach_zero_([one.counter for stage in every for one in self._statistics(stage)])
            return
        missing = tuple(
            stage
            for stage in stages
            # Those in training mode are being estimated.
            if _is_missing(one for one in self._statistics(stage) if not one.training)
        )
        if missing:
            raise _missing(missing)

    def _run(self, x: Tensor, stage: int) -> Output:
        x = self.stem(x, stage)
        for unit in self._units_of(stage):
            x = unit(x, stage)
        head = self.head if isinstance(self.head, PrefixHead) else self.head.get_submodule(name_of(stage))
        output: Output = head(x)
        return output

    def _units_of(self, stage: int) -> Iterator[ResidualUnit]:
        for unit in self.units.values():
            assert isinstance(unit, ResidualUnit)
            if stage in unit.stages:
                yield unit

    def _statistics(self, stage: int) -> Iterator[StageStatistics]:
        """Those of `stage`; none where every stage has BatchNorms of its own."""
        layers = [self.stem.layer, *(layer for unit in self._units_of(stage) for layer in unit.layers())]
        for layer in layers:
            if isinstance(layer.norm, SharedAffineNorm):
                yield layer.norm.of_stage(stage)


class _PlainResNet(Segment):
    """Stage `stop` as a plain residual net; it always begins with the images."""

    def __init__(self, net: ElasticResNet, start: int, stop: int, *, last: bool) -> None:
        super().__init__(net, start, stop, last=last)
        self.trunk = nn.Sequential(net.stem.plain(stop), *(PlainUnit(u, stop) for u in net._units_of(stop)))
        self.head = (
            net.head.plain(net.plan.features[stop])
            if isinstance(net.head, PrefixHead)
            else net.head.get_submodule(name_of(stop))
        )

    def advance(self, state: State, join: Join) -> tuple[dict[str, Tensor], Output]:
        return {}, self.head(self.trunk(state[0]))


def _is_missing(statistics: Iterable[StageStatistics]) -> bool:
    """Whether one of them has seen no batch; on the meta device and in a graph nothing is known."""
    counters = [one.counter for one in statistics]
    if not counters or counters[0].is_meta or torch.compiler.is_compiling():
        return False
    # One transfer for all of them: on an accelerator each one would wait for the device.
    return not bool(torch.stack(counters).min() > 0)


def _missing(stages: Sequence[int]) -> StatisticsMissingError:
    which = f"stage{'s' * (len(stages) > 1)} {', '.join(map(str, stages))}"
    return StatisticsMissingError(
        f"{which} cannot predict: the BatchNorm statistics have not been estimated since the weights were "
        "trained. Estimate them on training images: an.reestimate(bundle), or of a net alone "
        "training.statistics.reestimate_statistics(net, batches)"
    )
