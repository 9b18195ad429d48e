"""The native engine: steps in proportion to their cost, which a deadline or another thread ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, pairwise

import numpy as np

from anytimenet.core import checks
from anytimenet.core.errors import BackendError
from anytimenet.native.engine import Engine, NativeSession, Ran
from anytimenet.runtime.backends.backend import Output, Placement, State
from anytimenet.runtime.backends.buffered import Exported
from anytimenet.runtime.backends.native_sessions import Sessions
from anytimenet.runtime.backends.native_states import NativeState, check_saved
from anytimenet.runtime.backends.prefix_buffers import Needs
from anytimenet.runtime.backends.usable import usable

KIND = "native"


class Native:
    """Runs a folder of kind "native": one session an image, one thread an image, no copies between segments.

    A jump is the steps that it consists of, without the heads between: all paths are equal bit for bit, and
    every step costs little more than its own multiply-adds. Beside what every backend does, `run_until` ends
    at a deadline, and `cancel` ends a run from another thread; every finished stage is kept.

    Args:
        source: the exported folder.
        placement: device "cpu", "float32"; with several threads, so many images of a batch run at a time.
        instruction_set: a name of `native.library.instruction_sets()`; by default the best.

    Raises:
        BackendError: for a folder of another kind, another placement, a program that does not fit, or if the
            engine is not in this installation.
    """

    name = "native"
    tolerance = 1e-4

    def __init__(
        self, source: Exported, placement: Placement | None = None, *, instruction_set: str | None = None
    ) -> None:
        self.placement = placement or Placement()
        if source.kind != KIND:
            raise BackendError(
                f"the native engine runs its own programs, and this folder holds {source.kind}: export it "
                "with format='native'"
            )
        if (self.placement.device, self.placement.dtype) != ("cpu", "float32"):
            raise BackendError(
                f"the native engine runs on cpu in float32, not on {self.placement.device} in "
                f"{self.placement.dtype}"
            )
        self._source = source
        self._sessions = Sessions(source, instruction_set)
        self._needs = Needs(source.segment_specs)
        self._levels = {
            spec.stop: [level.shape[0] for level in spec.outputs] for spec in source.segment_specs
        }
        self._ready: set[tuple[int, int]] = set()
        threads = self.placement.threads
        self._pool = ThreadPoolExecutor(threads, "native") if threads > 1 else None

    def upgraded(self, source: Exported) -> Native:
        """What runs further stages of the same folder; the weights of the stages that are here are shared.

        This one stays as it is, with its states, while the other reads the further files only.
        """
        found = Native(source, self.placement)
        found._sessions = self._sessions.upgraded(source)
        return found

    @property
    def num_stages(self) -> int:
        """K."""
        return self._source.num_stages

    @property
    def segments(self) -> frozenset[tuple[int, int]]:
        """Every (start, stop) that was exported."""
        return self._source.segments

    @property
    def prepared(self) -> Mapping[tuple[int, int], int]:
        """The segments that are ready; none has weights of its own."""
        return dict.fromkeys(sorted(self._ready), 0)

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weights, which all segments share."""
        return self._sessions.nbytes

    @property
    def engine(self) -> Engine:
        """The loaded program."""
        return self._sessions.engine

    @property
    def answers_anywhere(self) -> bool:
        """Whether every finished stage can answer after a stop; see `Interruptible`."""
        return self._sessions.answers_anywhere

    def now_ns(self) -> int:
        """Nanoseconds of the clock that deadlines are on: that of `time.monotonic_ns`."""
        return time.monotonic_ns()

    def prepare(self, start: int, stop: int) -> None:
        """Loads the program and its weights; see `Backend.prepare`."""
        self._source.spec_of(start, stop)
        self._sessions.keep(self._sessions.take())
        self._ready.add((start, stop))

    def begin(self, x: np.ndarray) -> State:
        """The state before stage 1.

        Raises:
            TypeError, ValueError: for inputs of another kind or size than was exported.
        """
        checks.instance(x, np.ndarray, "x", "a float32 array (N, C, H, W)")
        shape = self._needs.state(0)[0].shape
        if x.ndim != len(shape) + 1 or tuple(x.shape[1:]) != shape or not len(x):
            wanted = ", ".join(map(str, ("N", *shape)))
            raise ValueError(
                f"x: inputs ({wanted}) are needed, not {tuple(x.shape)}; an export reads one size"
            )
        if not np.issubdtype(x.dtype, np.floating):
            raise ValueError(f"x must be standardised floats, not {x.dtype}")
        sessions = [self._sessions.take() for _ in x]
        for session, image in zip(sessions, x, strict=True):
            session.begin(image)
        return NativeState(0, sessions)

    def run(self, start: int, stop: int, state: State) -> tuple[State, Output]:
        """The state and the output at `stop`; `state`, which must be at `start`, is used up.

        Raises:
            ValueError: for a segment that was not exported, or a state that is used up or elsewhere.
            BackendError: if `cancel` ended it.
        """
        given = usable(state, NativeState, start)
        self._source.spec_of(start, stop)
        sessions = given.take()
        ran = self._each(lambda session: session.run(stop), sessions)
        if any(one.stage < stop or not one.answered for one in ran):
            raise BackendError(f"the run to stage {stop} was cancelled; run_until keeps what is finished")
        self._ready.add((start, stop))
        output = self._output(sessions, stop)
        if not self._needs.state(stop):  # nothing can follow
            self._sessions.keep(*sessions)
            sessions = []
        return NativeState(stop, sessions, batch=len(ran)), output

    def run_until(
        self,
        stop: int,
        state: State,
        *,
        deadline_ns: int = 0,
        least: int = 1,
        answers: Sequence[int] | None = None,
    ) -> tuple[State, int, Output | None]:
        """As far as stage `stop`, or until the deadline or `cancel`: of one image.

        Args:
            stop: the stage to reach.
            state: of one image; it is used up.
            deadline_ns: on the clock of `time.monotonic_ns`; 0: none. The time of the head that answers is
                kept free before it.
            least: before this stage is finished, the deadline does not end the run.
            answers: for each stage 0..K the one that answers where the run ends there: the best validated.

        Returns:
            The state at the last finished stage, and the stage that answered with its output; 0 and None if
            none can: nothing is finished, or (where heads are whole networks) no output was asked for so far.

        Raises:
            ValueError: for a batch, a state that is used up, or a stage that does not follow it.
        """
        given = usable(state, NativeState)
        if given.batch != 1:
            raise ValueError(f"a deadline is of one image; this state holds {given.batch}")
        if not given.stage < stop <= self.num_stages:
            raise ValueError(f"stage {stop} does not follow stage {given.stage} of {self.num_stages}")
        (session,) = given.take()
        ran = session.run(stop, deadline_ns=deadline_ns, least=least, answers=answers)
        output = self._output([session], ran.answered) if ran.answered else None
        return NativeState(ran.stage, [session]), ran.answered, output

    def cancel(self, state: State) -> None:
        """Ends the run that has taken this state, at the next block; from another thread."""
        if isinstance(state, NativeState):
            for session in state.sessions:
                session.cancel()

    def save(self, state: State) -> dict[str, np.ndarray]:
        """Copies of the state's tensors by name."""
        given = usable(state, NativeState)
        specs = self._needs.state(given.stage)
        found = [session.state() for session in given.sessions] if specs else []
        return {
            spec.name: np.stack([tensors[place].reshape(spec.shape) for tensors in found])
            for place, spec in enumerate(specs)
        }

    def restore(self, stage: int, tensors: Mapping[str, np.ndarray]) -> State:
        """The state that `save` wrote, bit for bit.

        Raises:
            ValueError: if these are not the tensors of that stage, or hold bits that are no numbers here.
        """
        specs = self._needs.state(stage)
        check_saved(stage, specs, tensors)
        batch = len(next(iter(tensors.values()))) if tensors else 0
        sessions = [self._sessions.take() for _ in range(batch)]
        for row, session in enumerate(sessions):
            session.restore(stage, [tensors[spec.name][row] for spec in specs])
        return NativeState(stage, sessions)

    def rows(self, state: State, index: Sequence[int]) -> State:
        """The state of these examples of the batch, in that order; `state` is used up.

        Raises:
            ValueError: for an example that is not there.
        """
        given, chosen = usable(state, NativeState), [int(place) for place in index]
        if not all(0 <= place < given.batch for place in chosen):
            raise ValueError(f"rows {chosen}: examples 0 to {given.batch - 1} are there")
        if not given.sessions or len(set(chosen)) < len(chosen):  # one that goes on twice needs memory twice
            tensors = {name: tensor[chosen] for name, tensor in self.save(given).items()}
            self.release(given)
            return (
                self.restore(given.stage, tensors)
                if tensors
                else NativeState(given.stage, [], batch=len(chosen))
            )
        sessions = given.take()
        self._sessions.keep(*(session for place, session in enumerate(sessions) if place not in chosen))
        return NativeState(given.stage, [sessions[place] for place in chosen])

    def release(self, state: State) -> None:
        """The memory of the state may be given to another run."""
        if isinstance(state, NativeState) and not state.used_up:
            self._sessions.keep(*state.take())

    def _output(self, sessions: Sequence[NativeSession], stage: int) -> Output:
        logits = np.stack([session.output(stage) for session in sessions])
        ends = accumulate(self._levels[stage], initial=0)
        return tuple(np.ascontiguousarray(logits[:, start:end]) for start, end in pairwise(ends))

    def _each(self, work: Callable[[NativeSession], Ran], sessions: Sequence[NativeSession]) -> list[Ran]:
        results: Iterable[Ran] = map(work, sessions) if self._pool is None else self._pool.map(work, sessions)
        return list(results)
