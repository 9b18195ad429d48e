"""One batch on its way: to a stage, until every example is sure, or until its deadline."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from anytimenet.core.answers.standing import Validated, standing_stage
from anytimenet.runtime.planning.plan_table import PlanTable
from anytimenet.runtime.policies.policy import NOTHING, ExitPolicy, Memory, asked
from anytimenet.runtime.session import Answer, Session

Ran = tuple[int, int, int]
"""Start and stop of a segment, and images of a batch."""

_LOST = 0.1
"""The share of the time that may be lost to waits before a run is planned that could be stopped."""


class Running:
    """A session of N examples, and which stage answers each of them.

    Args:
        session: that has not run yet.
        validated: scores of the stages, which say what answer stands.
        policy: who may leave early; None for nobody.

    Attributes:
        overran: whether its end came before it ended, so that it tells how long the ending takes.
    """

    def __init__(self, session: Session, validated: Validated, policy: ExitPolicy | None) -> None:
        self.session = session
        self._validated = validated
        self._policy = policy
        self._memory: Memory = NOTHING if policy is None else policy.begin(session.batch)
        self._finite: dict[int, np.ndarray] = {}
        self._left_at = np.zeros(session.batch, np.int64)
        self._stands: int | None = None
        self.overran = False

    def to(self, stage: int) -> None:
        """Runs to `stage`, whose answer counts and no other."""
        self._take(self.session.run(stage)[-1])
        self._left_at[self._finite[stage]] = stage
        self._finite = {stage: self._finite[stage]}

    def until_sure(self) -> None:
        """Runs step by step until the policy has let everybody go, or to the last stage that there is."""
        for answer in self.session.answers():
            self._take(answer)
            if self._left_at.all():
                return
        # Not every policy knows which stage is the last: there whoever is left leaves.
        last = self._finite[self.last]
        self._left_at[last & (self._left_at == 0)] = self.last

    def until(self, planner: PlanTable, remaining_ms: Callable[[], float], ready: set[Ran]) -> None:
        """Runs as long as the planner finds it worth while and somebody has not left.

        Args:
            planner: for batches of this size.
            remaining_ms: until the deadline.
            ready: what has run before. The first run of a segment prepares it, and of how slow the machine is
                it tells nothing.
        """
        if self.session.stops_anywhere:
            self._until_stopped(planner, remaining_ms, ready)
            return
        batch = self.session.batch
        while not self._left_at.all() and not self.session.finished:
            stage = self.session.stage
            if stage and self._stands is None:  # what has run gave no numbers: any further stage is better
                ahead = [segment for segment in planner.segments if segment[0] == stage]
            else:
                ahead = list(planner.plan(remaining_ms(), stage, self._stands).path)
            if not ahead:
                return
            answer = self.session.advance(*ahead[0])
            if (ran := (*answer.segment, batch)) in ready:
                planner.observe(*answer.segment, answer.segment_ms)
            else:
                ready.add(ran)
            self._take(answer)

    def _until_stopped(self, planner: PlanTable, remaining_ms: Callable[[], float], ready: set[Ran]) -> None:
        """Runs until the deadline stops it: all paths are the same work there, and none has to be chosen."""
        session, best = self.session, standing_stage(self.session.reached, self._validated) or 0
        while not self._left_at.all():
            stage, owed = session.stage, self._stands is None
            ahead = [one for one in session.reached if one > stage]
            within_ms = remaining_ms()
            if not ahead or not (owed or (stage < best and within_ms > 0)):
                return
            # A policy is asked after every stage; where the best gave no numbers, any further one is better.
            target = ahead[0] if self._policy is not None or stage >= best else best
            if _others_run(planner, within_ms):  # whoever uses all the time is waiting when it is over
                path = planner.plan(within_ms, stage, self._stands).path
                if not path and not owed:
                    return
                target = min(target, path[-1][1] if path else target)
            answer = session.advance_until(target, within_ms, least=ahead[0] if owed else 0)
            if answer is None:
                return
            whole = session.stage >= target
            if not owed or within_ms > planner.expected_ms(stage, ahead[0]):  # else the answer was due
                self.overran = not whole or answer.segment_ms > within_ms
            if (ran := (stage, answer.stage, 1)) not in ready:
                ready.add(ran)
            elif whole:
                planner.observe(stage, target, answer.segment_ms)
            else:
                planner.observe_stopped(stage, session.stage, answer.segment_ms)
            self._take(answer)
            if not whole and self._stands is not None:
                return

    def answering(self) -> list[int]:
        """For each example the stage that answers: where it left, else the best validated that finished.

        It is 0 for an example for which no stage gave numbers.
        """
        return [int(stage) or self._standing_of(row) for row, stage in enumerate(self._left_at)]

    @property
    def last(self) -> int:
        """The last stage that answered, with numbers or not."""
        return self.session.stage

    def _take(self, answer: Answer) -> None:
        finite = finite_rows(answer.output)
        self._finite[answer.stage] = finite
        if np.count_nonzero(finite):  # for the planner a stage counts that answered anybody
            stands = self._stands
            if stands is None:
                self._stands = answer.stage
            else:
                self._stands = standing_stage((stands, answer.stage), self._validated)
        if self._policy is not None:
            leaves, self._memory = asked(self._policy, answer.stage, answer.output, self._memory)
            self._left_at[leaves & finite & (self._left_at == 0)] = answer.stage

    def _standing_of(self, row: int) -> int:
        finished = [stage for stage, rows in self._finite.items() if rows[row]]
        return standing_stage(finished, self._validated) or 0


def _others_run(planner: PlanTable, within_ms: float) -> bool:
    """Whether runs wait for others so long of late that a tenth of the time may be lost to that."""
    return planner.slowdown.waiting * within_ms > (_LOST * within_ms) ** 2


def finite_rows(output: Sequence[np.ndarray]) -> np.ndarray:
    """Whether all numbers of each example are finite, bool `(N,)`.

    >>> finite_rows((np.array([[0.0, 1.0], [np.nan, 1.0]]),)).tolist()
    [True, False]
    """
    if len(output[0]) == 1:
        return np.array([all(np.logical_and.reduce(np.isfinite(level), axis=None) for level in output)])
    rows = [np.isfinite(level).reshape(len(level), -1).all(axis=1) for level in output]
    found: np.ndarray = rows[0] if len(rows) == 1 else np.logical_and.reduce(rows)
    return found
