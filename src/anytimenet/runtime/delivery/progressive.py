"""`ProgressiveModel`: a net that answers with the stages that are here, while the others arrive."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, Self, TypeVar

from anytimenet.core import checks
from anytimenet.core.errors import AnytimeNetError, DeliveryError
from anytimenet.runtime.delivery.arrivals import Arrivals

M = TypeVar("M")
_log = logging.getLogger(__name__)


class ProgressiveModel(Generic[M]):
    """A net whose files are still arriving; a thread brings them, stage by stage.

    `model` is the complete smaller net of the stages that are here, and another object after each upgrade:
    whoever holds one, a session or a prediction that runs, keeps it and its answers. A new one is built and
    warmed up in the thread before it takes its place; what that costs is processor time, and for a moment the
    memory of both. `model` is read from any thread.

    Where files stop coming, or one is not what the manifest lists, `error` says why, `wait` raises it, and
    `model` answers on. `retry` tries again; what came is kept.

    Args:
        arrivals: where the files come from.
        grow: `grow(model, stages)` gives the net of the first so many stages, which are here; `model` is that
            of fewer stages, None at first.
        stages: how many are wanted; all by default.

    Raises:
        ValueError: if there are not so many stages.
    """

    def __init__(
        self, arrivals: Arrivals, grow: Callable[[M | None, int], M], stages: int | None = None
    ) -> None:
        total = arrivals.num_stages
        self._arrivals, self._grow = arrivals, grow
        self._wanted = total if stages is None else checks.whole_number(stages, "stages", 1, total)
        self._rest_too = stages is None
        self._changed = threading.Condition()
        self._model: M | None = None
        self._ready = 0
        self._complete = False
        self._error: AnytimeNetError | None = None
        self._closed = False
        self._start()

    @property
    def num_stages(self) -> int:
        """Stages that are wanted: K, or as many as were asked for."""
        return self._wanted

    @property
    def stages_ready(self) -> int:
        """Stages that `model` has; 0 before the first has come."""
        return self._ready

    @property
    def complete(self) -> bool:
        """Whether everything has come."""
        return self._complete

    @property
    def error(self) -> AnytimeNetError | None:
        """Why nothing comes at the moment; None while all is well."""
        return self._error

    @property
    def model(self) -> M:
        """The net of the stages that are here.

        Raises:
            DeliveryError: before stage 1 has come, for then there is nothing to answer with: `wait(1)`.
        """
        model = self._model
        if model is None:
            reason = self._error or "its files are on their way"
            raise DeliveryError(f"no stage has arrived yet ({reason}): wait(1) waits for the first")
        return model

    def wait(self, stages: int | None = None, timeout_s: float | None = None) -> M:
        """The net, once so many stages are here.

        Args:
            stages: how many; by default all that are wanted, and every other file, too.
            timeout_s: seconds to wait at most; without end by default.

        Raises:
            DeliveryError: if the time is over, or the delivery was closed.
            AnytimeNetError: the `error` for which no more come.
            ValueError: if not so many stages are wanted.
        """
        wanted = self._wanted if stages is None else checks.whole_number(stages, "stages", 1, self._wanted)
        timeout_s = checks.optional(timeout_s, "timeout_s", checks.number, 0)
        with self._changed:
            self._changed.wait_for(lambda: self._is_over(wanted, stages is None), timeout_s)
            if self._has(wanted, stages is None):
                return self.model
            there = f"stages 1 to {self._ready} answer" if self._ready else "no stage answers yet"
            if self._error is not None and not self._is_running:
                raise self._error
            if self._closed:
                raise DeliveryError(f"the delivery was closed before stage {wanted} had arrived: {there}")
            cause = "" if self._error is None else f" ({self._error})"
            raise DeliveryError(f"stage {wanted} has not arrived in {timeout_s:g} s: {there}{cause}")

    def retry(self) -> None:
        """Tries again after an error; while files are coming, or all are here, this does nothing."""
        with self._changed:
            if not (self._closed or self._complete or self._is_running):
                self._error = None
                self._start()

    def close(self) -> None:
        """Stops bringing files, within two seconds; `model` answers on, and what came is kept."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._arrivals.close()
        self._thread.join(2.0)  # a connection that is being made cannot be hurried

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ProgressiveModel(stages 1 to {self._ready} of {self._wanted} are here)"

    def _start(self) -> None:
        self._is_running = True
        self._thread = threading.Thread(target=self._run, name="anytimenet-delivery", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while self._ready < self._wanted and not self._closed:
                self._upgrade(min(self._arrivals.bring(self._ready + 1), self._wanted))
            if self._rest_too and not self._closed:
                self._arrivals.bring_rest()
            with self._changed:
                self._complete = self._ready == self._wanted
                self._is_running = False
                self._changed.notify_all()
        except AnytimeNetError as error:
            self._fail(error)
        except Exception as error:  # a net's own code, or a disk: whoever waits must hear of it
            failure = DeliveryError(
                f"the stages that arrived cannot be used: {type(error).__name__}: {error}"
            )
            failure.__cause__ = error
            self._fail(failure)

    def _upgrade(self, stages: int) -> None:
        """The net of so many stages, whose files are here, takes the place of the one before."""
        try:
            model = self._grow(self._model, stages)
        except AnytimeNetError as error:
            if not self._arrivals.spoilt(stages):
                raise
            _log.warning("%s; it is looked at again when it changes", error)
            with self._changed:
                self._error = error
                self._changed.notify_all()
            return
        with self._changed:
            self._model, self._ready, self._error = model, stages, None
            self._changed.notify_all()

    def _fail(self, error: AnytimeNetError) -> None:
        with self._changed:
            if not self._closed:
                self._error = error
            self._is_running = False
            self._changed.notify_all()

    def _has(self, stages: int, everything: bool) -> bool:
        return self._complete if everything else self._ready >= stages

    def _is_over(self, stages: int, everything: bool) -> bool:
        return self._has(stages, everything) or self._closed or not self._is_running
