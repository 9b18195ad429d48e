"""What a run answers with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anytimenet.core import checks
from anytimenet.core.answers.probabilities import softmax


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer of one stage for one image.

    Attributes:
        labels: name of the most probable class of each label level, fine level first.
        level_probabilities: `(classes,)` of each level, summing to 1.
        stage: the stage that gave it, counted from 1.
        elapsed_ms: wall-clock time from call to answer, preprocessing and decoding included.
        macs: counted multiply-adds of that stage's sub-network.
        over_budget: true if even stage 1 costs more than the budget given.
        late: true if it came after its deadline.
        below_target: true if no stage reaches the accuracy that was asked for.
        path: the segments (start, stop) that ran, in order; empty where nobody recorded them.
        level: which level `label` is of; 1 is the fine one. It is coarser only where a bundle holds a
            `LevelSelection`.
        source: what the image is called where many are predicted: the path of its file, or its place, from 0.
        error: None, so that answers and `FailedPrediction` can be told apart.

    >>> found = (np.array([0.5, 0.2, 0.3]), np.array([0.1, 0.9]))
    >>> answer = Prediction(("crow", "bird"), found, stage=1, elapsed_ms=0.3, macs=900, level=2)
    >>> answer.label, answer.probability, answer.fine_label
    ('bird', 0.9, 'crow')
    """

    labels: tuple[str, ...]
    level_probabilities: tuple[np.ndarray, ...]
    stage: int
    elapsed_ms: float
    macs: int
    over_budget: bool = False
    level: int = 1
    source: str | int | None = None
    error: None = None
    late: bool = False
    path: tuple[tuple[int, int], ...] = ()
    below_target: bool = False

    def __post_init__(self) -> None:
        checks.settle(self, "labels", checks.all_words)
        checks.settle(self, "level_probabilities", checks.several)
        for found in self.level_probabilities:
            checks.array(found, "level_probabilities", "probabilities (classes,)", (1,))
        if len(self.level_probabilities) != len(self.labels) or not self.labels:
            raise ValueError(
                f"labels and level_probabilities must be one a label level, not {len(self.labels)} and "
                f"{len(self.level_probabilities)}"
            )
        checks.settle(self, "stage", checks.whole_number, 1)
        checks.settle(self, "elapsed_ms", checks.number)
        checks.settle(self, "macs", checks.whole_number)
        checks.settle(self, "over_budget", checks.flag)
        checks.settle(self, "level", checks.whole_number, 1, len(self.labels))
        checks.settle(self, "source", checks.optional, _source)
        checks.settle(self, "late", checks.flag)
        checks.settle(self, "below_target", checks.flag)
        checks.settle(self, "path", _segments)

    @classmethod
    def of(
        cls,
        logits: Sequence[np.ndarray],
        class_names: Sequence[Sequence[str]],
        *,
        stage: int,
        elapsed_ms: float,
        macs: int,
        over_budget: bool = False,
        levels: Sequence[int] | None = None,
        source: str | int | None = None,
        late: bool = False,
        path: tuple[tuple[int, int], ...] = (),
        below_target: bool = False,
    ) -> Prediction:
        """What a stage says of one image.

        Args:
            logits: of the stage, `(classes,)` a label level, fine level first.
            class_names: of each label level.
            levels: the level that each stage of the net answers with, as in `LevelSelection`; None for the
                fine one.
            stage, elapsed_ms, macs, over_budget, source, late, path, below_target: the
                attributes.

        Raises:
            ValueError: for names that are not one a class.

        >>> logits, names = (np.array([2.0, 1.0, 0.0]),), (("crow", "gull", "tern"),)
        >>> Prediction.of(logits, names, stage=1, elapsed_ms=0.3, macs=900).label
        'crow'
        """
        scores = [
            checks.array(level, "logits", "(classes,)", (1,)) for level in checks.several(logits, "logits")
        ]
        named = [checks.several(names, "class_names") for names in checks.several(class_names, "class_names")]
        if [len(names) for names in named] != [len(level) for level in scores] or not all(named):
            raise ValueError("class_names must name every class of the logits, level by level")
        stage = checks.whole_number(stage, "stage", 1)
        levels = checks.optional(levels, "levels", checks.whole_numbers, 1)
        if levels is not None and stage > len(levels):
            raise ValueError(f"levels must be one a stage, and there are {len(levels)} for stage {stage}")
        found = tuple(softmax(level) for level in scores)
        return cls(
            labels=tuple(names[int(level.argmax())] for names, level in zip(named, found, strict=True)),
            level_probabilities=found,
            stage=stage,
            elapsed_ms=elapsed_ms,
            macs=macs,
            over_budget=over_budget,
            level=1 if levels is None else levels[stage - 1],
            source=source,
            late=late,
            path=path,
            below_target=below_target,
        )

    def timed(self, elapsed_ms: float, *, late: bool = False) -> Prediction:
        """The same answer, when the time that it took is known."""
        elapsed_ms, late = checks.number(elapsed_ms, "elapsed_ms"), checks.flag(late, "late")
        found = object.__new__(type(self))  # the rest was checked, and this is within a deadline
        found.__dict__.update(self.__dict__, elapsed_ms=elapsed_ms, late=late)
        return found

    @property
    def label(self) -> str:
        """The answer: the most probable class of `level`."""
        return self.labels[self.level - 1]

    @property
    def probability(self) -> float:
        """Probability of `label`."""
        return float(self.level_probabilities[self.level - 1].max())

    @property
    def fine_label(self) -> str:
        """The most probable class of the fine level, whatever level the answer is of."""
        return self.labels[0]

    @property
    def probabilities(self) -> np.ndarray:
        """`(classes,)` of the fine level, whatever level the answer is of."""
        return self.level_probabilities[0]

    @property
    def coarser(self) -> tuple[str, ...]:
        """The most probable classes of the coarser levels."""
        return self.labels[1:]

    def __repr__(self) -> str:
        image = "" if self.source is None else f"{self.source!r}: "
        return (
            f"Prediction({image}{self.label!r}, probability {self.probability:.3f}, stage {self.stage}, "
            f"{self.macs} multiply-adds, {self.elapsed_ms:.1f} ms)"
        )


@dataclass(frozen=True)
class FailedPrediction:
    """What takes the place of an answer where one image of many cannot be read or answered.

    Attributes:
        source: what the image is called: the path of its file, or its place, from 0.
        error: what is wrong with it, in words.

    >>> FailedPrediction("photos/cut.jpg", "photos/cut.jpg cannot be read as an image").error
    'photos/cut.jpg cannot be read as an image'
    """

    source: str | int
    error: str

    def __post_init__(self) -> None:
        checks.settle(self, "source", _source)
        checks.texts((self.error,), "error")  # it may name a file whose name is no Unicode


def _segments(value: object, name: str) -> tuple[tuple[int, int], ...]:
    """`value` as segments (start, stop)."""
    found = [checks.whole_numbers(each, name) for each in checks.several(value, name)]
    if any(len(segment) != 2 for segment in found):
        raise ValueError(f"{name} must be segments (start, stop), not {checks.shown(value)}")
    return tuple((start, stop) for start, stop in found)


def _source(value: object, name: str) -> str | int:
    return checks.texts((value,), name)[0] if isinstance(value, str) else checks.whole_number(value, name)
