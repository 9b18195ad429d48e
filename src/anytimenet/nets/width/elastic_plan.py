"""The arithmetic of an elastic residual net: which stage runs which units, and how wide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from anytimenet.nets.arguments import as_numbers, check_positive, check_word

UNITS = ("basic", "bottleneck")
STEMS = ("cifar", "imagenet")
BOTTLENECK = 4
"""How many times as wide as its middle a bottleneck unit is at its end."""

UnitRow = Sequence[int | Sequence[int]]
"""For each group how many first units a stage runs, or the numbers of its units, counted from 1."""


@dataclass(frozen=True)
class PlannedUnit:
    """One residual unit.

    Attributes:
        name: "group1_unit2", both counted from 1.
        stride: of its 3x3 convolution that shrinks, 1 or 2.
        projects: whether the shortcut is a convolution and not the identity.
        inputs: channels that it reads, for each stage that runs it.
        middle: channels between its convolutions.
        outputs: channels at its end.
    """

    name: str
    stride: int
    projects: bool
    inputs: dict[int, int]
    middle: dict[int, int]
    outputs: dict[int, int]


@dataclass(frozen=True)
class ElasticPlan:
    """Widths and units of every stage. Make one with `ElasticPlan.of`.

    Attributes:
        widths: for each stage the channels of each group; of a bottleneck unit those of its middle.
        units: for each stage and group the numbers of the units that run, counted from 1.
        unit: "basic" or "bottleneck".
        stem: "cifar" or "imagenet".

    >>> plan = ElasticPlan.of([(2, 4), (4, 8)], [(1, 1), (2, 1)])
    >>> [(unit.name, unit.inputs, unit.outputs) for unit in plan.places()][1:]
    [('group1_unit2', {2: 4}, {2: 4}), ('group2_unit1', {1: 2, 2: 4}, {1: 4, 2: 8})]
    """

    widths: tuple[tuple[int, ...], ...]
    units: tuple[tuple[tuple[int, ...], ...], ...]
    unit: str
    stem: str

    @classmethod
    def of(
        cls,
        widths: Sequence[Sequence[int]],
        units: Sequence[UnitRow],
        unit: str = "basic",
        stem: str = "cifar",
    ) -> ElasticPlan:
        """The plan, checked.

        Raises:
            ValueError: unless the rows are of one shape, nest and differ.
        """
        check_word("unit", unit, UNITS)
        check_word("stem", stem, STEMS)
        check_rows("widths", widths)
        check_rows("units", units)
        plan = cls(
            tuple(as_numbers("widths", row) for row in widths),
            tuple(_numbers_of_units(row) for row in units),
            unit,
            stem,
        )
        plan._check()
        return plan

    @property
    def num_stages(self) -> int:
        """K."""
        return len(self.widths)

    @property
    def smallest_image(self) -> int:
        """The smallest side of an image that has a pixel left at the end."""
        return (4 if self.stem == "imagenet" else 1) << (len(self.widths[0]) - 1)

    @property
    def stem_channels(self) -> dict[int, int]:
        """Channels of the stem for each stage: those of the first group."""
        return {stage: row[0] for stage, row in enumerate(self.widths, 1)}

    @property
    def features(self) -> dict[int, int]:
        """Channels that each stage's head reads."""
        return {stage: row[-1] * self._expansion for stage, row in enumerate(self.widths, 1)}

    def places(self) -> Iterator[PlannedUnit]:
        """Every unit, in the order in which they run."""
        before = self.stem_channels
        for group, (widths, numbers) in enumerate(self._groups(), 1):
            after = {stage: width * self._expansion for stage, width in widths.items()}
            for number in numbers[self.num_stages]:
                first = number == 1
                runs = [stage for stage, row in numbers.items() if number in row]
                yield PlannedUnit(
                    f"group{group}_unit{number}",
                    2 if first and group > 1 else 1,
                    first and (group > 1 or self._expansion > 1),
                    {stage: (before if first else after)[stage] for stage in runs},
                    {stage: widths[stage] for stage in runs},
                    {stage: after[stage] for stage in runs},
                )
            before = after

    @property
    def _expansion(self) -> int:
        return BOTTLENECK if self.unit == "bottleneck" else 1

    def _groups(self) -> Iterator[tuple[dict[int, int], dict[int, tuple[int, ...]]]]:
        """For each group the width and the units of every stage."""
        for widths, units in zip(zip(*self.widths, strict=True), zip(*self.units, strict=True), strict=True):
            yield dict(enumerate(widths, 1)), dict(enumerate(units, 1))

    def _check(self) -> None:
        if len(self.widths) != len(self.units) or len({len(row) for row in self.widths + self.units}) != 1:
            raise ValueError(
                f"widths {self.widths} and units {self.units}: one row of each for every stage, with one "
                "entry for every group, is needed"
            )
        for row in self.widths:
            for width in row:
                check_positive(width=width)
        pairs = pairwise(zip(self.widths, self.units, strict=True))
        for stage, ((thin, few), (wide, many)) in enumerate(pairs, 1):
            falls = any(a > b for a, b in zip(thin, wide, strict=True))
            if falls or any(not set(a) <= set(b) for a, b in zip(few, many, strict=True)):
                raise ValueError(
                    f"stage {stage + 1} (widths {wide}, units {many}) does not contain stage {stage} (widths "
                    f"{thin}, units {few}): channels and units of a stage must be there in all later ones"
                )
            if (thin, few) == (wide, many):
                raise ValueError(
                    f"stages {stage} and {stage + 1} are the same (widths {wide}, units {many}): "
                    "leave one out"
                )


def check_rows(name: str, rows: Sequence[Sequence[object]]) -> None:
    """Raises ValueError unless `rows` is a list of lists, none of them empty."""
    good = isinstance(rows, Sequence) and all(isinstance(row, Sequence) and row for row in rows)
    if isinstance(rows, str) or not good or not rows:
        raise ValueError(f"{name} {rows!r}: a list with one entry a group is needed for every stage")


def _numbers_of_units(row: UnitRow) -> tuple[tuple[int, ...], ...]:
    found = []
    for given in row:
        # A count means the first ones; a list says which.
        numbers = as_numbers("units", given if isinstance(given, Sequence) else (given,))
        if not isinstance(given, Sequence):
            numbers = tuple(range(1, numbers[0] + 1))
        if numbers[:1] != (1,) or list(numbers) != sorted(set(numbers)):
            raise ValueError(
                f"units {given!r}: how many first units run, 1 or more, or an increasing list of their "
                "numbers that begins with 1 (the first unit of a group changes the width) is needed"
            )
        found.append(numbers)
    return tuple(found)
