"""What a client asks of a server, and what it hears back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from anytimenet.core import checks
from anytimenet.core.answers.prediction import Prediction
from anytimenet.core.errors import AnytimeNetError

Reason = Literal["overload", "expired", "closing", "cancelled"]
"""Why a request is not answered: no time for even its first stage, then or by now; the server or its client
went."""

REASONS: tuple[Reason, ...] = get_args(Reason)


@dataclass(frozen=True)
class Request:
    """What one client asks; times in seconds of the server's clock.

    Attributes:
        arrived: when it came.
        deadline: by when the answer is wanted; None for no deadline: the best stage answers.
        min_stage: no earlier stage answers.
        min_accuracy: nor one whose validated accuracy is lower; None for any.
        priority: among requests that cannot all have their depth, or their answer, higher ones come first.
        stream: whether every finished stage is told.

    Raises:
        TypeError, ValueError: for values out of range.

    >>> Request(arrived=2.0, deadline=2.05).deadline
    2.05
    """

    arrived: float
    deadline: float | None = None
    min_stage: int = 1
    min_accuracy: float | None = None
    priority: int = 0
    stream: bool = False

    def __post_init__(self) -> None:
        checks.settle(self, "arrived", checks.number)
        checks.settle(self, "deadline", checks.optional, checks.number)
        checks.settle(self, "min_stage", checks.whole_number, 1)
        checks.settle(self, "min_accuracy", checks.optional, checks.fraction)
        checks.settle(self, "priority", checks.whole_number, -1000, 1000)
        checks.settle(self, "stream", checks.flag)


@dataclass(frozen=True)
class Timing:
    """Where the time of an answer went, in milliseconds.

    Attributes:
        queued_ms: from arrival until its first segment began.
        run_ms: its segments.
        total_ms: from arrival until the answer was made.
        late: whether that was after the deadline.
    """

    queued_ms: float
    run_ms: float
    total_ms: float
    late: bool = False


@dataclass(frozen=True, eq=False)
class StageDone:
    """A stage of a streamed request is finished; more may follow."""

    stage: int
    prediction: Prediction


@dataclass(frozen=True, eq=False)
class Done:
    """The answer: of the best validated stage that finished."""

    prediction: Prediction
    timing: Timing


@dataclass(frozen=True)
class Refused:
    """No answer, and no work was spent unless the client left; `retry_after_s` says when to come again."""

    reason: Reason
    retry_after_s: float = 0.0


@dataclass(frozen=True, eq=False)
class Failed:
    """Its segment failed, or no stage gave numbers."""

    error: Exception


Update = StageDone | Done | Refused | Failed
"""What is told of a request, in order; exactly one of the last three ends it."""


class InvalidInputError(AnytimeNetError, ValueError):
    """The input of a request could not be made when its turn had come; the cause says why."""


class Overloaded(AnytimeNetError, RuntimeError):  # noqa: N818 - as clients call it
    """A request is refused at admission: not even its first stage would be in time, or the server closes.

    Attributes:
        retry_after_s: seconds after which a request is likely to be taken.
        reason: "overload", "expired" or "closing".
    """

    def __init__(self, retry_after_s: float, reason: Reason = "overload") -> None:
        self.retry_after_s = retry_after_s if 0 <= retry_after_s < math.inf else 1.0
        self.reason: Reason = checks.choice(reason, "reason", REASONS)  # type: ignore[assignment]
        super().__init__(
            f"{_SAID[reason]}: come again in {self.retry_after_s:.3g} s"
            if reason != "expired"
            else f"{_SAID[reason]}: allow more time"
        )

    def __reduce__(self) -> tuple[type[Overloaded], tuple[float, str]]:
        """Errors of replicas come to who asked from another process."""
        return Overloaded, (self.retry_after_s, self.reason)


_SAID = {
    "overload": "the server is full, and not even the first stage would be in time",
    "expired": "even the first stage takes longer than the deadline leaves",
    "closing": "the server is closing",
    "cancelled": "the request was cancelled",
}
