"""Temporal-difference targets: stages that learn from what all later ones say."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from anytimenet.nets.contract import AnytimeNet, Output
from anytimenet.schemes.hooks import Group, Lesson, RunFacts, Targets
from anytimenet.schemes.targets.soft import probabilities, resized, soft_cross_entropy


@dataclass(frozen=True)
class TDLambda:
    """Each stage learns a mixture of the later stages' predictions, held fixed, and the labels.

    With the stages that run in a step counted 1..T and logits z_t, stage t learns by cross-entropy

        q_t = (1 - decay) * sum over n = t+1..T of decay^(n-t-1) * softmax(z_n)  +  decay^(T-t) * labels

    so that the largest always learns the labels alone. 1 is the ordinary loss of every stage, exactly; 0
    learns from the next stage alone. Source: Iuzzolino, Mozer and Bengio, NeurIPS 2021 (2102.09808).

    The labels' share is the task's own loss, so that label smoothing, levels and mixed images work; a label
    map is resized from stage to stage where resolutions differ.

    Args:
        decay: the paper's lambda, in [0, 1].

    Raises:
        ValueError: for a decay out of its range.

    >>> TDLambda(decay=1.5)
    Traceback (most recent call last):
    ...
    ValueError: decay 1.5: lambda is a number from 0 to 1
    """

    decay: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay {self.decay}: lambda is a number from 0 to 1")

    def build(self, net: AnytimeNet, facts: RunFacts) -> Targets:
        """The targets of `net`."""
        return _TDLambda(self.decay)


class _TDLambda(Targets):
    def __init__(self, decay: float) -> None:
        super().__init__()
        self.order = "descending" if decay < 1 else "drawn"
        self._decay = decay

    def losses(self, group: Group, lesson: Lesson) -> list[Tensor]:
        if self._decay == 1:
            return [lesson.criterion(output, lesson.labels) for _, output in group]
        losses: dict[int, Tensor] = {}
        learning = dict(group)
        soft: Output | None = None
        share = 1.0
        for stage in sorted(lesson.outputs, reverse=True):
            held = lesson.outputs[stage]
            if soft is not None:
                soft = resized(soft, held)
            if stage in learning:
                losses[stage] = self._loss(learning[stage], soft, share, lesson)
            soft = self._one_earlier(held, soft)
            share *= self._decay
        return [losses[stage] for stage, _ in group]

    def _one_earlier(self, held: Output, soft: Output | None) -> Output:
        """The soft part of the target one stage earlier: of mass 1 - decay^(T-t), as the formula's sum."""
        fresh = [(1 - self._decay) * level for level in probabilities(held)]
        if soft is None:
            return tuple(fresh)
        return tuple(new + self._decay * old for new, old in zip(fresh, soft, strict=True))

    @staticmethod
    def _loss(output: Output, soft: Output | None, share: float, lesson: Lesson) -> Tensor:
        """`share` is the weight of the labels."""
        if soft is None:
            return lesson.criterion(output, lesson.labels)
        learned = soft_cross_entropy(soft, output)
        return share * lesson.criterion(output, lesson.labels) + learned if share else learned
