"""A toy backend whose runs end at any of its blocks, on a clock that moves only while they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from tests.unit.runtime.fakes.clock import FakeClock
from tests.unit.runtime.fakes.toy import WIDTH, ToyBackend, ToyState

from anytimenet.core.errors import BackendError
from anytimenet.runtime.backends.backend import Output, State

BLOCKS = 5
"""In each stage."""


class StoppingToy(ToyBackend):
    """A `ToyBackend` that keeps what `Interruptible` says.

    Args:
        clock: that deadlines are on.
        block: called with the stage and the block, each from its beginning: moves the clock on, or cancels.

    Attributes:
        blocks: that have run.
        broken: stages that answer with NaN.
    """

    answers_anywhere = True

    def __init__(self, clock: FakeClock, block: Callable[[int, int], object], **options) -> None:
        super().__init__(**options)
        self.clock, self.block, self.blocks, self.broken = clock, block, 0, ()
        self._cancelled = False

    def now_ns(self) -> int:
        return round(1e9 * self.clock())

    def cancel(self, state: State) -> None:
        assert isinstance(state, ToyState)
        self._cancelled = True

    def run(self, start: int, stop: int, state: State) -> tuple[ToyState, Output]:
        if self._stage(stop, state, 0, stop) < stop:
            raise BackendError("the run was cancelled")
        after, output = super().run(start, stop, state)
        return after, self._spoilt(output, stop)

    def run_until(
        self,
        stop: int,
        state: State,
        *,
        deadline_ns: int = 0,
        least: int = 1,
        answers: Sequence[int] | None = None,
    ) -> tuple[ToyState, int, Output | None]:
        assert isinstance(state, ToyState)
        assert state.batch == 1
        reached = self._stage(stop, state, deadline_ns, least)
        answered = stop if reached == stop or answers is None else answers[reached]
        answered = min(answered or reached, reached)
        output = None
        if reached > state.stage:
            before = state
            state, output = self._step(reached, state)
            if answered != reached:
                features = before.buffer[:, : answered * WIDTH]
                output = tuple(features @ head for head in self._heads[answered - 1])
        elif answered:  # as an engine that has the output still
            features = state.buffer[:, : answered * WIDTH]
            output = tuple(features @ head for head in self._heads[answered - 1])
        return state, answered, None if output is None else self._spoilt(output, answered)

    def _step(self, stop: int, state: State) -> tuple[ToyState, Output]:
        """An engine's jump is the steps that it consists of, whichever segments were exported."""
        exported, self.segments = self.segments, frozenset({(state.stage, stop)})
        after, output = ToyBackend.run(self, state.stage, stop, state)
        self.segments = exported
        return after, output

    def _stage(self, stop: int, state: State, deadline_ns: int, least: int) -> int:
        """Runs the blocks; the stage that they finish."""
        self._cancelled = False
        for stage in range(state.stage + 1, stop + 1):
            for block in range(BLOCKS):
                late = deadline_ns and stage > least and self.now_ns() >= deadline_ns
                if self._cancelled or late:
                    return stage - 1
                self.blocks += 1
                self.block(stage, block)
        return stage - 1 if self._cancelled else stop

    def _spoilt(self, output: Output, stage: int) -> Output:
        return tuple(level * np.nan for level in output) if stage in self.broken else output
