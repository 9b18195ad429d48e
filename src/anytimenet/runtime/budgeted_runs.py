"""Sessions run as far as a budget allows, and what their times teach those that follow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.runtime.budgets import Budget, Choice, StageChoices
from anytimenet.runtime.ending import Ending
from anytimenet.runtime.model import Model
from anytimenet.runtime.paths import stages_reached
from anytimenet.runtime.planners import Planners
from anytimenet.runtime.policies.policy import ExitPolicy
from anytimenet.runtime.running import Ran, Running
from anytimenet.runtime.session import Session

_RECENT = 0.2
"""How much the last answer counts in the running time of making a prediction of logits."""
_MOST, _FIRST_MS = 10.0, 1.0
"""It counts as no more than so many times what is usual, and so many milliseconds."""


class BudgetedRun(NamedTuple):
    """A batch that has run.

    Attributes:
        running: which stage answers whom.
        choice: what was chosen beforehand, where no clock is read and no policy is asked.
        began: the second at which the request came.
        ran: that at which the run ended.
        told_to_end: that at which the run was told to end, if that came before its end.
        deadline_ms: from `began`; None where there was no deadline.
    """

    running: Running
    choice: Choice | None
    began: float
    ran: float
    told_to_end: float | None
    deadline_ms: float | None

    def answering(self) -> list[int]:
        """For each example the stage that answers; see `Running.answering`."""
        return self.running.answering()


class BudgetedRuns:
    """The runs of one model, each within its budget; several threads may run at a time.

    What making a prediction of logits took of late is kept free before a deadline, and where a backend ends
    a run anywhere, what such an end took.

    Args:
        model: what is run.
        table: latencies measured here with its backend; None if nobody measured.
        segments: those that may be planned.
        variant: of the planner; see `Planner`.
        clock: seconds.

    Attributes:
        planners: by images in a batch.

    Raises:
        CostTableError: if the table is of another net, or was measured with another backend or placement.
    """

    def __init__(
        self,
        model: Model,
        table: CostTable | None,
        segments: Iterable[tuple[int, int]],
        *,
        variant: str = "alert",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.planners = Planners(model, table, segments, variant)
        self._clock = clock
        self._choices = StageChoices(model.manifest, stages_reached(model.backend.segments))
        self._validated = [record.val_accuracy for record in model.manifest.stages]
        self._ready: set[Ran] = set()
        self._making_ms = 0.0
        self._ending = Ending()

    def check(self, budget: Budget) -> None:
        """Raises ValueError or CostTableError for a budget that no run can keep to here."""
        if budget.is_timed:
            self.planners.of(1)
        else:
            self._choices.of(budget)

    def have_run(self, segments: Iterable[tuple[int, int]], batch: int) -> None:
        """These have run once with so many images: from now on their times tell how slow the machine is."""
        self._ready |= {(start, stop, batch) for start, stop in segments}

    def run(self, session: Session, budget: Budget, began: float, policy: ExitPolicy | None) -> BudgetedRun:
        """Runs a batch, however many images it has.

        Args:
            session: that has not run yet.
            budget: that `check` found right.
            began: the second from which a deadline counts.
            policy: who may leave early; None for nobody.
        """
        running = Running(session, self._validated, policy)
        choice = told_to_end = None
        if budget.is_timed:
            told_to_end = self._until(running, began + (budget.deadline_ms or 0.0) / 1000)
        elif budget.is_open and policy is not None:
            running.until_sure()
        else:
            choice = self._choices.of(budget)
            running.to(choice.stage)
        return BudgetedRun(running, choice, began, self._clock(), told_to_end, budget.deadline_ms)

    def timed(self, run: BudgetedRun) -> tuple[float, bool]:
        """Milliseconds since the request came, and whether that is late; for when the predictions are made.

        What was done since the run ended is kept free at the end of the next runs.
        """
        now, usual = self._clock(), self._making_ms
        if run.told_to_end is not None:
            self._ending.observe(1000 * (now - run.told_to_end))
        # A clock that was set, or a process that was stopped, tells nothing of the next answers.
        making_ms = min(max(0.0, 1000 * (now - run.ran)), _MOST * usual + _FIRST_MS)
        self._making_ms = usual + _RECENT * (making_ms - usual)
        elapsed_ms = max(0.0, 1000 * (now - run.began))
        return elapsed_ms, run.deadline_ms is not None and elapsed_ms > run.deadline_ms

    def _until(self, running: Running, deadline: float) -> float | None:
        """Runs until shortly before the deadline; when it was told to end, if it had not ended before."""
        session, reserve_ms = running.session, self._making_ms
        if session.stops_anywhere:
            left_ms = 1000 * (deadline - self._clock())
            reserve_ms = self._ending.reserve_ms(reserve_ms, left_ms)
        end = deadline - reserve_ms / 1000

        def remaining_ms() -> float:
            return 1000 * (end - self._clock())

        running.until(self.planners.of(session.batch), remaining_ms, self._ready)
        return end if running.overran else None
