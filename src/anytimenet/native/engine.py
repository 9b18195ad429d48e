"""Programs and sessions of the native engine on numpy's arrays."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from ctypes import POINTER, c_float, c_int32
from dataclasses import dataclass

import numpy as np

from anytimenet.core.errors import BackendError
from anytimenet.native.library import Options, Result, library

WHOLE, CANCELLED, DEADLINE = "whole", "cancelled", "deadline"
_ENDS = (WHOLE, CANCELLED, DEADLINE)


@dataclass(frozen=True)
class Ran:
    """How a run ended.

    Attributes:
        stage: that is finished now.
        answered: the stage whose output stands; 0: of none.
        end: "whole", "cancelled" or "deadline".
    """

    stage: int
    answered: int
    end: str


class Engine:
    """A loaded program with its weights; sessions share it.

    Args:
        program: content of a `program.bin`.
        shards: of the weight files of the first stages; the stages that they hold can be run.
        instruction_set: a name of `native.library.instruction_sets()`; by default the best.

    Raises:
        BackendError: if the program or a shard does not fit, or the engine is not there.
    """

    def __init__(
        self, program: bytes, shards: Sequence[bytes], *, instruction_set: str | None = None
    ) -> None:
        reason = ctypes.create_string_buffer(256)
        named = None if instruction_set is None else instruction_set.encode()
        self._take(
            library().anytime_load(program, len(program), *_files(shards), named, reason, len(reason)), reason
        )

    def extended(self, shards: Sequence[bytes]) -> Engine:
        """Another engine that has the next weight files, too; what this one has packed is shared with it.

        This one stays as it is, and so do its sessions, which may run meanwhile; see `NativeSession.follow`.

        Raises:
            BackendError: if a shard does not fit.
        """
        reason = ctypes.create_string_buffer(256)
        found = Engine.__new__(Engine)
        found._take(self._library.anytime_extend(self.handle, *_files(shards), reason, len(reason)), reason)
        return found

    def _take(self, handle: int | None, reason: ctypes.Array[ctypes.c_char]) -> None:
        if not handle:
            raise BackendError(
                f"the native engine refuses the program or its weights ({reason.value.decode()}): "
                "export it again"
            )
        self.handle, self._library = handle, library()
        weakref.finalize(self, self._library.anytime_unload, handle)

    @property
    def num_stages(self) -> int:
        """Stages whose weights are there."""
        return int(self._library.anytime_stages(self.handle))

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weights."""
        return int(self._library.anytime_weight_bytes(self.handle))

    @property
    def instruction_set(self) -> str:
        """What its kernels are compiled for."""
        return str(self._library.anytime_instruction_set(self.handle).decode())

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the input."""
        shape = (c_int32 * 3)()
        self._library.anytime_input_shape(self.handle, shape)
        return shape[0], shape[1], shape[2]

    def session(self, *, poison: bool = False) -> NativeSession:
        """A new session; with `poison` its memory is NaN wherever nothing was written, for tests.

        Raises:
            BackendError: if there is no memory for it.
        """
        return NativeSession(self, poison)


class NativeSession:
    """One run at a time, on memory of its own; `cancel` alone may be called from another thread.

    Attributes:
        stage: that is finished; -1 before an input has come.
    """

    def __init__(self, engine: Engine, poison: bool = False) -> None:
        self.engine, self._library = engine, library()
        handle = self._library.anytime_open(engine.handle, int(poison))
        if not handle:
            raise BackendError("there is no memory for a session of the native engine: run fewer at a time")
        self._handle = handle
        weakref.finalize(self, self._library.anytime_close, handle)

    @property
    def stage(self) -> int:
        """The stage that is finished."""
        return int(self._library.anytime_stage(self._handle))

    @property
    def nbytes(self) -> int:
        """Bytes of its memory."""
        return int(self._library.anytime_session_bytes(self._handle))

    def begin(self, x: np.ndarray) -> None:
        """A new input, (C, H, W).

        Raises:
            ValueError: for an input of another shape.
        """
        if x.shape != self.engine.input_shape:
            raise ValueError(f"x of shape {self.engine.input_shape} is needed, not {x.shape}")
        values = np.ascontiguousarray(x, np.float32)
        self._library.anytime_begin(self._handle, _floats(values))

    def run(
        self,
        stop: int,
        *,
        deadline_ns: int = 0,
        least: int = 0,
        answers: Sequence[int] | None = None,
    ) -> Ran:
        """On to stage `stop`, without the GIL.

        Args:
            stop: a stage behind the one that is finished.
            deadline_ns: on the clock of `time.monotonic_ns`; 0: none.
            least: before this stage is finished, a deadline does not end the run.
            answers: for each stage 0..K the one whose output stands if the run ends there; by default itself.

        Raises:
            ValueError: for a stage that is not behind, or not there.
        """
        table = None
        if answers is not None:
            if len(answers) <= self.engine.num_stages:
                raise ValueError(
                    f"answers: one for each stage 0 to {self.engine.num_stages}, not {len(answers)}"
                )
            table = (c_int32 * len(answers))(*answers)
        options = Options(stop, least, deadline_ns, ctypes.cast(table, POINTER(c_int32)) if table else None)
        result = Result()
        if self._library.anytime_run(self._handle, ctypes.byref(options), ctypes.byref(result)):
            raise ValueError(f"stage {stop} does not follow stage {self.stage} of {self.engine.num_stages}")
        return Ran(result.stage, result.answered, _ENDS[result.stopped])

    def follow(self, engine: Engine) -> None:
        """Goes on with an engine that was extended from its own, and keeps its state; between two runs.

        Raises:
            ValueError: for any other engine.
        """
        if self._library.anytime_follow(self._handle, engine.handle):
            raise ValueError("a session goes on with an engine that was extended from its own, and no other")
        self.engine = engine

    def cancel(self) -> None:
        """Ends the run that is going on, or the next one, at the next block."""
        self._library.anytime_cancel(self._handle)

    def cancel_after(self, polls: int) -> None:
        """The same after that many looks at the stop flag; for tests."""
        self._library.anytime_cancel_after(self._handle, polls)

    def output(self, stage: int) -> np.ndarray:
        """The logits of a stage that has an output, all label levels one after the other.

        Raises:
            ValueError: if it has none.
        """
        found = np.empty(max(self._library.anytime_output(self._handle, stage, None), 0), np.float32)
        if self._library.anytime_output(self._handle, stage, _floats(found)) < 0:
            raise ValueError(f"stage {stage} has no output here")
        return found

    def state(self) -> list[np.ndarray]:
        """Copies of the tensors of the state, flat, in its order."""
        count = self._library.anytime_state_tensors(self.engine.handle, self.stage)
        found = []
        for place in range(max(count, 0)):
            size = self._library.anytime_read_state(self._handle, place, None)
            found.append(np.empty(size, np.float32))
            self._library.anytime_read_state(self._handle, place, _floats(found[-1]))
        return found

    def restore(self, stage: int, tensors: Sequence[np.ndarray]) -> None:
        """Goes on from a state that `state` gave at `stage`.

        Raises:
            ValueError: for another number of tensors.
        """
        count = self._library.anytime_state_tensors(self.engine.handle, stage)
        if len(tensors) != count:
            raise ValueError(f"the state at stage {stage} has {count} tensors, not {len(tensors)}")
        kept = [np.ascontiguousarray(tensor, np.float32) for tensor in tensors]
        pointers = (POINTER(c_float) * len(kept))(*map(_floats, kept))
        self._library.anytime_restore(self._handle, stage, pointers)


def _files(
    contents: Sequence[bytes],
) -> tuple[ctypes.Array[ctypes.c_char_p], ctypes.Array[ctypes.c_size_t], int]:
    count = len(contents)
    return (ctypes.c_char_p * count)(*contents), (ctypes.c_size_t * count)(*map(len, contents)), count


def _floats(array: np.ndarray) -> ctypes._Pointer[c_float]:
    return array.ctypes.data_as(POINTER(c_float))
