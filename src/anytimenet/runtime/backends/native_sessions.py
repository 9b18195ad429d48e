"""Sessions of an exported program, which is loaded when it is first needed."""

from __future__ import annotations

import threading

import numpy as np

from anytimenet.core.errors import BackendError
from anytimenet.core.files.regular import read_regular
from anytimenet.native.engine import Engine, NativeSession
from anytimenet.runtime.backends.buffered import Exported

_LARGEST_PROGRAM, _LARGEST = 2**27, 2**40
_HEADER, _TABLES = 16, (6, 8, 4, 32)
"""Words of a program's header, and of a row of its tensors, chunks, weights and operators."""
_STAGE, _ANSWERS = 10, 8
"""Words of a row of its stages, and which of them says whether the head may run at any time."""
_KEPT = 4
"""Sessions that are kept for the next images."""


class Sessions:
    """The engine of a folder of kind "native", and sessions of it that are used again.

    Args:
        source: the exported folder.
        instruction_set: a name of `native.library.instruction_sets()`; by default the best.
        before: those of the first stages of the same folder, with which weights are shared.
    """

    def __init__(
        self, source: Exported, instruction_set: str | None = None, before: Sessions | None = None
    ) -> None:
        self._source, self._instruction_set, self._before = source, instruction_set, before
        self._anywhere: bool | None = None if before is None else before._anywhere
        self._lock = threading.Lock()
        self._free: list[NativeSession] = []
        self._engine: Engine | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weights; 0 before they are loaded."""
        return 0 if self._engine is None else self._engine.nbytes

    @property
    def engine(self) -> Engine:
        """The loaded program.

        Raises:
            BackendError: for a program that does not fit, or if there is no engine in this installation.
        """
        with self._lock:
            if self._engine is None:
                self._engine = self._load()
            return self._engine

    @property
    def answers_anywhere(self) -> bool:
        """Whether every finished stage can answer after a stop."""
        if self._anywhere is None:
            self._anywhere = heads_are_short(self._program())
        return self._anywhere

    def upgraded(self, source: Exported) -> Sessions:
        """Those of further stages of the same folder, of which only the further files are read."""
        return Sessions(source, self._instruction_set, self)

    def take(self) -> NativeSession:
        """One that nobody has."""
        engine = self.engine
        with self._lock:
            if self._free:
                return self._free.pop()
        return engine.session()

    def keep(self, *sessions: NativeSession) -> None:
        """Takes back sessions for the next images; more than a few are given up."""
        with self._lock:
            self._free += sessions[: max(0, _KEPT - len(self._free))]

    def _program(self) -> bytes:
        return read_regular(self._source.files_of(*min(self._source.segments))[0], _LARGEST_PROGRAM)

    def _load(self) -> Engine:
        before, self._before = self._before, None
        known = 0 if before is None else before._source.num_stages
        pair = min(self._source.segments)
        stages = range(known + 1, self._source.num_stages + 1)
        files = [file for stage in stages for file in self._source.weight_files(stage)]
        try:
            shards = [read_regular(file, _LARGEST) for file in files]
            if before is None:
                program = self._program()
                engine = Engine(program, shards, instruction_set=self._instruction_set)
                self._anywhere = heads_are_short(program)
            else:
                engine = before.engine.extended(shards)
            if engine.num_stages < self._source.num_stages:
                raise BackendError(
                    f"the program reads weights that the files of stages 1 to {self._source.num_stages} do "
                    "not hold: export it again"
                )
        except (BackendError, OSError):
            self._source.recheck(*pair)
            self._before = before  # the next try
            raise
        return engine


def heads_are_short(program: bytes) -> bool:
    """Whether every stage of a program that the engine has taken may answer when a later one was stopped."""
    words = np.frombuffer(program, "<i4")
    before = sum(int(rows) * width for rows, width in zip(words[4:8], _TABLES, strict=True))
    stages = words[_HEADER + before :][: int(words[8]) * _STAGE].reshape(-1, _STAGE)
    return bool(stages[1:, _ANSWERS].all())
