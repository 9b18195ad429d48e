"""Progress for people, on standard error: where a run is, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from anytimenet.core import checks


class Reporter:
    """Tells how training goes: a bar on a terminal, else nothing or a line now and then.

    Training calls `note` with what it settles by itself, `phase` where heads learn alone, `start` once,
    `step` after every step, `epoch` after every epoch and `stop` at the end, also after an error. A class
    that inherits from this one may take its place, to show progress elsewhere.

    Args:
        progress: None shows it where a person looks: a bar on a terminal, a line every tenth of the run in a
            notebook, nothing where standard error goes to a file or another program. True tells it there too,
            in lines; False says nothing anywhere.
        quiet: True is another word for `progress=False`.
        title: what is trained, for the first line.
        console: where to write; standard error by default.
        clock: seconds, for tests.

    >>> Reporter(False).step()
    """

    def __init__(
        self,
        progress: bool | None = None,
        *,
        quiet: bool = False,
        title: str = "training",
        console: Console | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if progress is not None:
            progress = checks.flag(progress, "progress")
        if checks.flag(quiet, "quiet"):
            if progress:
                raise ValueError("quiet=True and progress=True contradict each other: give one of them")
            progress = False
        self._title = checks.words(title, "title")
        self._clock, self._started = clock, clock()
        self._console = Console(stderr=True) if console is None else console
        # A notebook counts as a terminal, but bars that are redrawn need a package of widgets there.
        notebook, terminal = self._console.is_jupyter, self._console.is_terminal
        self._lines = progress is not False and (notebook or (progress is True and not terminal))
        self._bar = None if progress is False or notebook or not terminal else _bar(self._console)
        self._task: Any = None
        self._phase: Any = None
        self._epochs = self._total = self._first = self._done = 0
        self._scores: Sequence[float] = ()

    def note(self, text: str) -> None:
        """One line about the run, before its first step; said where progress is."""
        if self._bar is not None or self._lines:
            self._say(f"{self._title}: {text}")

    def phase(self, what: str, steps: int) -> None:
        """Something begins that comes before the first training step, or after the last.

        `step` counts its steps, until the next phase, `start` or `stop`. Training does not call this where a
        class that takes the place of this one has no such method.

        Args:
            what: it is.
            steps: of it.
        """
        self._end_phase()
        if self._lines:
            self._say(f"{self._title}: {what}")
        if self._bar is not None:
            self._bar.start()
            self._phase = self._bar.add_task("", total=steps, place=what, left="", scores="")

    def start(self, total_steps: int, done: int, epochs: int) -> None:
        """Called once, before the first step.

        Args:
            total_steps: of the whole run.
            done: steps of an earlier attempt that this one goes on from.
            epochs: of the whole run.
        """
        self._epochs, self._total, self._first, self._done = epochs, total_steps, done, done
        self._started = self._clock()
        self._end_phase()
        if self._bar is not None or self._lines:
            steps = total_steps // max(1, epochs)
            self._say(f"{self._title}: {_count(epochs, 'epoch')} of {_count(steps, 'step')}")
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=total_steps, completed=done, **self._fields())

    def step(self) -> None:
        """One training step is done, or one of the phase before."""
        if self._bar is not None and self._phase is not None:
            self._bar.advance(self._phase)
            return
        self._done += 1
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, **self._fields())

    def epoch(self, number: int, loss: float, scores: list[float]) -> None:
        """One epoch is done.

        Args:
            number: counted from 1.
            loss: mean over its steps of the losses summed over stages.
            scores: of each stage on the validation images, fractions; none without such images.
        """
        self._scores = scores
        if self._bar is not None:
            self._bar.update(self._task, **self._fields())
        # The first, for it tells how long the others will take.
        due = number in (1, self._epochs) or number % max(1, self._epochs // 10) == 0
        if self._lines and due:
            self._say(f"epoch {number}/{self._epochs}  {self._left()}  loss {loss:.3f}{_in_percent(scores)}")

    def stop(self) -> None:
        """Called at the end, also after an error."""
        self._end_phase()
        if self._bar is not None:
            self._bar.stop()

    def _end_phase(self) -> None:
        if self._bar is not None and self._phase is not None:
            self._bar.remove_task(self._phase)
        self._phase = None

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _fields(self) -> dict[str, Any]:
        """What stands on the line of the bar, short enough for 80 columns."""
        steps = max(1, self._total // max(1, self._epochs))
        epoch = min(self._epochs, self._done // steps + 1)
        step = self._done - (epoch - 1) * steps
        return {
            "place": f"epoch {epoch}/{self._epochs} step {step}/{steps}",
            "left": self._left(),
            "scores": _in_percent(self._scores),
        }

    def _left(self) -> str:
        """How long the rest takes at the pace so far, validation included."""
        seconds, here = self._clock() - self._started, self._done - self._first
        if self._done >= self._total:
            return f"took {timedelta(seconds=round(seconds))}"
        if not here:
            return "ETA -:--:--"
        return f"ETA {timedelta(seconds=round(seconds / here * (self._total - self._done)))}"


def _bar(console: Console) -> Progress:
    columns = [TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("place", "left", "scores")]
    return Progress(columns[0], BarColumn(bar_width=16), *columns[1:], console=console)


def _in_percent(scores: Sequence[float], most: int = 4) -> str:
    """The validation accuracies of the stages; of many the first and the last."""
    shown = [f"{100 * score:.1f}" for score in scores]
    if len(shown) > most:
        shown = [shown[0], "..", shown[-1]]
    return f"  val % {' '.join(shown)}" if shown else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
