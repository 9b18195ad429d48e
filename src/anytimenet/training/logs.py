"""What a run tells while it goes: a JSON line per epoch, TensorBoard, a progress bar for people."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from anytimenet.core.errors import TrainingError
from anytimenet.core.files import write_text
from anytimenet.core.regular_files import read_regular


class RunLog:
    """JSON lines always (`log.jsonl`), TensorBoard events if it is installed.

    Used as a context manager. `folder` None logs nothing.
    """

    def __init__(self, folder: Path | None, *, resumed_step: int | None = None) -> None:
        self._folder = folder
        self._resumed_step = resumed_step
        self._stack = ExitStack()
        self._board: Any = None
        self._lines: Any = None

    def __enter__(self) -> RunLog:
        if self._folder is not None:
            path = self._folder / "log.jsonl"
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                kept = _lines_up_to(path, self._resumed_step)
                write_text(path, kept)
                self._lines = self._stack.enter_context(open(path, "a", encoding="utf-8"))
            except OSError as error:
                raise TrainingError(
                    f"the log {path} cannot be written ({error.strerror}): choose another out=FOLDER"
                ) from error
            self._board = _tensorboard(self._folder / "tensorboard")
            if self._board is not None:
                self._stack.callback(self._board.close)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """One record; numbers, and lists of numbers with one entry a stage, go to TensorBoard too."""
        if self._lines is not None:
            self._lines.write(json.dumps({"step": step, **values}) + "\n")
            self._lines.flush()
        if self._board is not None:
            for name, value in values.items():
                entries = enumerate(value, 1) if isinstance(value, list) else ((None, value),)
                for stage, number in entries:
                    if isinstance(number, (int, float)):
                        tag = name if stage is None else f"{name}/stage_{stage}"
                        self._board.add_scalar(tag, number, step)


class Reporter:
    """Progress for people on standard error: a bar on a terminal, a line an epoch elsewhere."""

    def __init__(self, *, quiet: bool = False, title: str = "training") -> None:
        console = Console(stderr=True)
        self._bar = None
        self._plain = not quiet and not console.is_terminal
        self._started = time.perf_counter()
        if not quiet and console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[scores]}"),
                console=console,
            )
        self._title = title
        self._task: Any = None
        self._epochs = 0

    def note(self, text: str) -> None:
        """One line about the run, before its first step."""
        if self._plain or self._bar is not None:
            print(f"{self._title}: {text}", file=sys.stderr)

    def start(self, total_steps: int, done: int, epochs: int) -> None:
        """Called once, before the first step."""
        self._epochs = epochs
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=total_steps, completed=done, scores="")

    def step(self) -> None:
        """One training step is done."""
        if self._bar is not None:
            self._bar.advance(self._task)

    def epoch(self, number: int, loss: float, scores: list[float]) -> None:
        """One epoch, counted from 1, is done."""
        text = " ".join(f"{100 * score:.1f}" for score in scores)
        if self._bar is not None:
            self._bar.update(
                self._task, scores=f"summed loss {loss:.3f}" + (f"  val % {text}" if scores else "")
            )
        due = number == self._epochs or number % max(1, self._epochs // 10) == 0
        if self._plain and due:
            seconds = time.perf_counter() - self._started
            print(
                f"{self._title}: epoch {number}/{self._epochs}  loss summed over stages {loss:.3f}  "
                f"{f'validation % by stage {text}  ' if scores else ''}{seconds:.0f} s",
                file=sys.stderr,
            )

    def stop(self) -> None:
        """Called at the end, also after an error."""
        if self._bar is not None:
            self._bar.stop()


def notice(text: str) -> None:
    """One line for people on standard error that is no progress: it is said where progress is off, too."""
    print(f"anytimenet: {text}", file=sys.stderr)


def _lines_up_to(path: Path, step: int | None) -> str:
    """The records of an earlier attempt that the resumed run will not write again."""
    if step is None or not path.exists():
        return ""
    kept = []
    for line in read_regular(path).decode(errors="replace").splitlines():
        try:
            before = json.loads(line)["step"] <= step
        except (ValueError, TypeError, KeyError, RecursionError):
            continue  # the process died while it wrote this line
        if before:
            kept.append(line + "\n")
    return "".join(kept)


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return SummaryWriter(str(folder))
