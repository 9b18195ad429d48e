"""EANN: an ensemble of anytime nets of growing cost that run one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from torch import Tensor, nn

from anytimenet.core.checks import several
from anytimenet.core.errors import StatisticsMissingError
from anytimenet.core.segments import INPUT
from anytimenet.nets.contract import (
    AnytimeNet,
    Join,
    Output,
    Part,
    Pieces,
    Segment,
    State,
    TensorSpec,
)
from anytimenet.nets.members.specs import (
    check_members,
    joined_input,
    origin_of_members,
)
from anytimenet.nets.segment import Changes

PAPER = "Learning Anytime Predictions in Neural Networks via Adaptive Loss Balancing"
FAMILY = "eann"


class EANN(AnytimeNet):
    """Anytime nets one after the other: the stages of the first member, then those of the second, and so on.

    Method card:
        Paper: Hu, Dey, Hebert and Bagnell, "Learning Anytime Predictions in Neural Networks via Adaptive
            Loss Balancing" (arXiv 1708.06832): EANN, nets whose costs grow exponentially, run in this order.
            `evaluation.delay_factor` is the theory, `evaluation.path_curve` the accounting of a run.
        Shared: nothing between members; inside a member what that member shares.
        Per stage: what the member has per stage.
        State: inside a member its own state, beside the images while later members need them. After the last
            stage of a member the images alone: the next one starts from them again.
        Training: member by member (`passes`), with the memory of one. Members may also be trained apart and
            joined afterwards. From the same weights and seed that is the same as long as nothing couples
            them: no weights or label levels by a stage's place among all stages, no drawn stages, no learning
            from another stage's answer, no clipping of the whole gradient, no joint choice of the best epoch.
        Deviations: `forward` gives the logits of every stage. Which answer stands in a run, the best
            validated so far, is decided where it runs. Members may be of any family.

    Args:
        members: the nets, the cheapest first; they become part of this one and are not copied. They must
            have the same classes and channels, and weights of their own.

    Attributes:
        members: as given.

    Raises:
        TypeError: if a member is no `AnytimeNet`.
        ValueError: for no members, members of different classes or channels, or shared weights.

    >>> import torch
    >>> from anytimenet.nets import create_net
    >>> net = EANN([create_net("isresnext_tiny", 4), create_net("iresnext_tiny", 4)])
    >>> net.num_stages, net.place(5)
    (6, (2, 2))
    >>> [logits.shape for (logits,) in net(torch.zeros(2, 3, 8, 8), stages=(5, 1))]
    [torch.Size([2, 4]), torch.Size([2, 4])]
    """

    def __init__(self, members: Sequence[AnytimeNet]) -> None:
        super().__init__()
        members = list(several(members, "members"))
        check_members(members)
        self.members = nn.ModuleList(members)
        self.num_classes = tuple(members[0].num_classes)
        self.in_channels = members[0].in_channels
        self.input_spec = joined_input(members)
        self.tracks_statistics = all(member.tracks_statistics for member in members)
        self.ends = tuple(accumulate(member.num_stages for member in members))
        self.num_stages = self.ends[-1]
        self.origin = origin_of_members(FAMILY, members)

    def place(self, stage: int) -> tuple[int, int]:
        """The member that gives `stage`, counted from 1, and the number that the stage has there.

        Raises:
            ValueError: if there is no such stage.
        """
        self.check_stages((stage,))
        member = next(number for number, end in enumerate(self.ends, 1) if stage <= end)
        return member, stage - self._before(member)

    def forward(self, x: Tensor, stages: Sequence[int] | None = None) -> list[Output]:
        """As in `AnytimeNet`.

        Raises:
            StatisticsMissingError: where a member does, with the numbers that its stages have here.
        """
        stages = self.check_stages(stages)
        outputs: dict[int, Output] = {}
        for member, own in self._by_member(stages):
            try:
                found = self._member(member)(x, own)
            except StatisticsMissingError as error:
                raise self._missing(stages) from error
            outputs.update(zip((self._before(member) + stage for stage in own), found, strict=True))
        return [outputs[stage] for stage in stages]

    def passes(self, x: Tensor, stages: Sequence[int] | None = None) -> Iterator[list[tuple[int, Output]]]:
        """The groups of one member after the other, in the order in which `stages` first asks for them."""
        stages = self.check_stages(stages)
        for member, own in self._by_member(stages):
            try:
                for group in self._member(member).passes(x, own):
                    yield [(self._before(member) + stage, output) for stage, output in group]
            except StatisticsMissingError as error:
                raise self._missing(stages) from error

    def parts(self) -> list[Part]:
        found = []
        for member in range(1, len(self.members) + 1):
            before = self._before(member)
            for part in self._member(member).parts():
                stages = tuple(before + stage for stage in part.stages)
                found.append(Part(f"members.{member - 1}.{part.name}", part.box, stages))
        return found

    def stages_to_estimate(self) -> tuple[int, ...]:
        return tuple(
            self._before(member) + stage
            for member in range(1, len(self.members) + 1)
            for stage in self._member(member).stages_to_estimate()
        )

    def stages_without_statistics(self) -> tuple[int, ...]:
        return tuple(
            self._before(member) + stage
            for member in range(1, len(self.members) + 1)
            for stage in self._member(member).stages_without_statistics()
        )

    def with_own_norms(self) -> EANN:
        return EANN([member.with_own_norms() for member in self.whole_nets()])

    def whole_nets(self) -> tuple[AnytimeNet, ...]:
        return tuple(self._member(number) for number in range(1, len(self.members) + 1))

    def pieces(self, start: int, stop: int) -> Pieces | None:
        number, own_stop = self.place(stop)
        found = self._member(number).pieces(max(start - self._before(number), 0), own_stop)
        if found is None:
            return None
        modules = tuple(f"members.{number - 1}.{name}" for name in found.modules)
        return Pieces(modules, _outer_changes(number, found.changes))

    def state_spec(self, stage: int, input_shape: Sequence[int]) -> list[TensorSpec]:
        self.check_reached(stage, input_shape)
        image = [self.spec(INPUT, input_shape)] if INPUT in self.state_names(stage) else []
        if stage in (0, self.num_stages):
            return image
        member, own = self.place(stage)
        specs = self._member(member).state_spec(own, input_shape)
        return [*image, *(_named_by(member, spec) for spec in specs if spec.name != INPUT)]

    def state_names(self, stage: int) -> tuple[str, ...]:
        self.check_reached(stage)
        if stage in (0, self.num_stages):
            return (INPUT,) if stage == 0 else ()
        member, own = self.place(stage)
        inner = self._member(member).state_names(own)
        image = (INPUT,) if member < len(self.members) or INPUT in inner else ()
        return (*image, *(_outer(member, name) for name in inner if name != INPUT))

    def _segment(self, start: int, stop: int, *, last: bool) -> Segment:
        try:
            return _EANNSegment(self, start, stop, last=last)
        except StatisticsMissingError as error:
            raise self._missing((stop,)) from error

    def _keep(self, stages: tuple[int, ...]) -> EANN:
        return EANN([self._member(member).keep(own) for member, own in self._by_member(stages)])

    def _member(self, number: int) -> AnytimeNet:
        member = self.members[number - 1]
        assert isinstance(member, AnytimeNet)
        return member

    def _before(self, number: int) -> int:
        """How many stages come before those of a member."""
        return (0, *self.ends)[number - 1]

    def _missing(self, asked: Sequence[int]) -> StatisticsMissingError:
        """What a member says of its own stages, said of those of this net."""
        unknown = set(self.stages_without_statistics())
        stages = [stage for stage in asked if stage in unknown] or asked
        which = f"stage{'s' * (len(stages) > 1)} {', '.join(map(str, stages))}"
        members = sorted({self.place(stage)[0] for stage in stages})
        return StatisticsMissingError(
            f"{which} cannot predict: the BatchNorm statistics of member{'s' * (len(members) > 1)} "
            f"{', '.join(map(str, members))} have not been estimated since the weights were trained. "
            "Estimate them on training images: an.reestimate(bundle), or of a net alone "
            "training.statistics.reestimate_statistics(net, batches)"
        )

    def _by_member(self, stages: Sequence[int]) -> list[tuple[int, list[int]]]:
        """Each member that is asked for, in the order of its first stage, with its own numbers of them."""
        asked: dict[int, list[int]] = {}
        for stage in stages:
            member, own = self.place(stage)
            asked.setdefault(member, []).append(own)
        return list(asked.items())


class _EANNSegment(Segment):
    """The segment of one member: from its own state, or from the images if `start` lies before it."""

    def __init__(self, net: EANN, start: int, stop: int, *, last: bool) -> None:
        super().__init__(net, start, stop, last=last)
        number, own_stop = net.place(stop)
        member = net._member(number)
        own_start = max(start - net._before(number), 0)
        self.inner = member._segment(own_start, own_stop, last=last)
        self.number = number
        self.changes = _outer_changes(number, self.inner.changes)

    def advance(self, state: State, join: Join) -> tuple[dict[str, Tensor], Output]:
        old = dict(zip(self.reads, state, strict=True))
        given = tuple(old[_outer(self.number, name)] for name in self.inner.reads)

        def join_own(name: str, *others: Any) -> Tensor:
            return join(_outer(self.number, name), *others)

        changes, output = self.inner.advance(given, join_own)
        return {_outer(self.number, name): tensor for name, tensor in changes.items()}, output


def _outer(member: int, own: str) -> str:
    """What a tensor of a member's state is called beside those of the others."""
    return own if own == INPUT else f"member{member}.{own}"


def _outer_changes(member: int, own: Changes) -> Changes:
    return {
        _outer(member, name): None if old is None else (_outer(member, old[0]), old[1])
        for name, old in own.items()
    }


def _named_by(member: int, spec: TensorSpec) -> TensorSpec:
    continues = None if spec.continues is None else _outer(member, spec.continues)
    return replace(spec, name=_outer(member, spec.name), continues=continues)
