"""The ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.hooks import Group, Lesson, RunFacts, Targets


@dataclass(frozen=True)
class FromLabels:
    """Every stage learns the labels: at every label level, or at one level of its own.

    Source: all levels, the sliced-networks paper, equations 1 and 2; coarse levels for small sub-networks and
    fine ones for large, NestedNet (CVPR 2018).

    Args:
        levels: "all"; "coarse_to_fine", the levels spread over the stages, the last stage learning the finest
            one; or for each stage the level that it learns, 1 the finest and that of the last stage. The
            heads of levels that a stage does not learn stay as they are: choose levels for the answers, too
            (`evaluate --target-accuracy`), and read no accuracy of another level.

    Raises:
        ValueError: for another word, or levels that are no positive numbers.

    >>> from anytimenet.nets import create_net
    >>> targets = FromLabels("coarse_to_fine").build(create_net("isresnext_tiny", (10, 4, 2)), RunFacts())
    >>> targets.levels
    (3, 2, 1)
    """

    levels: Literal["all", "coarse_to_fine"] | tuple[int, ...] = "all"

    def __post_init__(self) -> None:
        if isinstance(self.levels, str):
            if self.levels not in _WORDS:
                raise ValueError(
                    f"levels {self.levels!r}: 'all', 'coarse_to_fine' or a level for each stage is needed"
                )
            return
        given = self.levels if isinstance(self.levels, Sequence) else ()
        if not given or any(type(level) is not int or level < 1 for level in given):
            raise ValueError(
                f"levels {self.levels!r}: for each stage the label level that it learns is needed, 1 the "
                "finest, for example (2, 2, 1)"
            )
        if given[-1] != 1:
            raise ValueError(
                f"levels {self.levels!r}: the last stage must learn the finest level, 1, on which the best "
                "checkpoint is chosen"
            )
        object.__setattr__(self, "levels", tuple(given))

    def build(self, net: AnytimeNet, facts: RunFacts) -> Targets:
        """The targets of `net`.

        Raises:
            ValueError: if the net has other stages, or not the levels.
        """
        if self.levels == "all":
            return _AllLevels()
        available = len(net.num_classes)
        if isinstance(self.levels, str):
            if available == 1:
                raise ValueError(
                    "coarse_to_fine needs coarse labels and this net predicts one level: give data with "
                    "label levels, for example DataOptions(taxonomy=FILE), or learn all levels"
                )
            return _OwnLevel(_spread(available, net.num_stages))
        levels = tuple(self.levels)
        if len(levels) != net.num_stages:
            raise ValueError(
                f"levels {levels} are for {len(levels)} stages and the net has {net.num_stages}: "
                "give one for each"
            )
        if max(levels) > available:
            raise ValueError(
                f"levels {levels}: the net predicts {available} label level(s), learn 1 to {available}"
            )
        return _OwnLevel(levels)


_WORDS = ("all", "coarse_to_fine")


def _spread(levels: int, stages: int) -> tuple[int, ...]:
    """A level for each stage, from the coarsest to the finest.

    >>> _spread(2, 5), _spread(3, 2)
    ((2, 2, 1, 1, 1), (2, 1))
    """
    return tuple(1 + (stages - stage) * levels // stages for stage in range(1, stages + 1))


class _AllLevels(Targets):
    def losses(self, group: Group, lesson: Lesson) -> list[Tensor]:
        return [lesson.criterion(output, lesson.labels) for _, output in group]


class _OwnLevel(Targets):
    """Each stage learns the labels of one level."""

    every_level = False

    def __init__(self, levels: tuple[int, ...]) -> None:
        super().__init__()
        self.levels = levels

    def learns_fine_labels(self, stage: int) -> bool:
        return self.levels[stage - 1] == 1

    def losses(self, group: Group, lesson: Lesson) -> list[Tensor]:
        return [self._loss(output, self.levels[stage - 1], lesson) for stage, output in group]

    @staticmethod
    def _loss(output: tuple[Tensor, ...], level: int, lesson: Lesson) -> Tensor:
        chosen = slice(level - 1, level)
        return lesson.criterion(output[chosen], lesson.labels[chosen])
