"""What a run writes down while it goes: a JSON line per epoch, TensorBoard."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from anytimenet.core.errors import TrainingError
from anytimenet.core.files.regular import read_regular
from anytimenet.core.files.writing import write_text


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
