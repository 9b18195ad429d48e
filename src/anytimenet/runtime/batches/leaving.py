"""A batch runs as one, and its examples leave when a policy lets them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from anytimenet.core import checks
from anytimenet.core.images.inputs import check_finite_pixels, check_shape, own_copy
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.runtime.backends.backend import Output, State
from anytimenet.runtime.batches.costs import LEAVING_MODES, LeavingCosts, LeavingMode
from anytimenet.runtime.batches.regrouping import Block, Pool
from anytimenet.runtime.model import Model
from anytimenet.runtime.paths import SegmentPath, check_path, steps_to
from anytimenet.runtime.policies.policy import ExitPolicy, asked

_READ = "standardised floats (N, C, H, W)"


@dataclass(frozen=True, eq=False)
class RowAnswer:
    """The answer of one example.

    Attributes:
        row: its place in the input, from 0.
        stage: at which it left.
        output: logits of that stage, `(1, classes, ...)` a label level.
        elapsed_ms: milliseconds from the begin of the run to this answer.
    """

    row: int
    stage: int
    output: Output
    elapsed_ms: float


class LeavingRun:
    """Examples in batches, each answered by the stage at which the policy lets it go.

    Outputs are those of a run of the example alone within the backend's tolerance.

    Args:
        model: what runs, a bundle for example.
        policy: decides after each segment who may leave; after the last segment of the path everybody does.
        path: the segments; by default one stage after the other, as far as segments lead.
        mode: one of `LEAVING_MODES`; None for the cheapest by `costs` and `shares`, `compact` without them.
        batch: examples of a full batch.
        costs: of this path; with it `compact` drops rows only where that pays for the copy. Or the cost table
            that they follow from, if it knows batches of 1 to `batch`.
        shares: of the examples that leave after each segment, on validation data.
        clock: seconds; for tests.

    Raises:
        TypeError, ValueError: for a path that cannot be run, another mode, or a policy for another net.

    Example::

        for answer in LeavingRun(bundle, policy, mode="compact", batch=32).answers(images):
            print(answer.row, answer.stage)
    """

    def __init__(
        self,
        model: Model,
        policy: ExitPolicy,
        *,
        path: Sequence[tuple[int, int]] | None = None,
        mode: LeavingMode | None = None,
        batch: int = 32,
        costs: LeavingCosts | CostTable | None = None,
        shares: Sequence[float] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._model, self._backend, self._policy = model, model.backend, policy
        stages, segments = self._backend.num_stages, self._backend.segments
        if policy.num_stages not in (None, stages):
            raise ValueError(f"the policy is for {policy.num_stages} stages, and this net has {stages}")
        chosen = steps_to(stages, 0, 0, segments) if path is None else check_path(path, 0, 0, segments)
        if not chosen:
            raise ValueError("path is empty: give one segment at least")
        self.path: SegmentPath = chosen
        self.batch = checks.whole_number(batch, "batch", 1)
        if isinstance(costs, CostTable):
            costs = LeavingCosts.if_known(costs, self.path, self.batch)
        if costs is not None and costs.path != self.path:
            raise ValueError(f"costs are of path {list(costs.path)}, and this run's is {list(self.path)}")
        if mode is None:
            mode = "compact" if costs is None or shares is None else costs.cheapest(shares, self.batch)
        self.mode = checks.choice(mode, "mode", LEAVING_MODES)
        self._costs, self._clock, self._began = costs, clock, 0.0
        for start, stop in self.path:
            self._backend.prepare(start, stop)

    def answers(self, images: np.ndarray | Iterable[np.ndarray]) -> Iterator[RowAnswer]:
        """Each example's answer as it leaves, not in order.

        Args:
            images: standardised floats `(N, C, H, W)`, or an iterable of such arrays, whose rows are counted
                on; nothing is read before it is needed.

        Raises:
            ValueError: for arrays of another shape, empty ones, NaN or infinity.
        """
        self._began = self._clock()
        batches = self._batches([images] if isinstance(images, np.ndarray) else images)
        if self.mode == "regroup":
            yield from self._regrouped(batches)
        else:
            for rows, x in batches:
                yield from self._alone(rows, x)

    def _batches(self, images: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Full batches, and one that may not be, with the places of their rows."""
        first, waiting = 0, 0
        pieces: list[np.ndarray] = []
        for image in images:
            checks.array(image, "images", _READ, (4,))
            if not np.issubdtype(image.dtype, np.floating):
                raise ValueError(f"images must be {_READ}, not {image.dtype}: standardise pixels first")
            check_shape(image.shape, self._model.manifest.preprocessing, batches=True)
            check_finite_pixels(image)
            pieces.append(own_copy(image))
            waiting += len(image)
            while waiting >= self.batch:
                joined = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
                yield np.arange(first, first + self.batch), joined[: self.batch]
                pieces = [joined[self.batch :]]
                first, waiting = first + self.batch, waiting - self.batch
        if waiting:
            yield np.arange(first, first + waiting), np.concatenate(pieces)

    def _alone(self, rows: np.ndarray, x: np.ndarray) -> Iterator[RowAnswer]:
        """One batch: rows that are done stay in it, or are dropped."""
        memory, inside = self._policy.begin(len(rows)), np.arange(len(rows))
        state: State | None = None
        try:
            for place, (start, stop) in enumerate(self.path):
                state = self._backend.begin(x) if state is None else state
                state, output = self._backend.run(start, stop, state)
                open_rows = _rows(output, inside)
                leaves, memory = asked(self._policy, stop, open_rows, memory)
                if place == len(self.path) - 1:
                    leaves = np.ones(len(inside), bool)
                yield from self._answered(rows[inside], stop, open_rows, leaves)
                stay = np.flatnonzero(~leaves)
                if not len(stay):
                    return
                memory, inside = memory.rows(stay), inside[stay]
                drops = self._drops(place, len(x), len(inside))
                if self.path[place + 1][0] == 0:
                    self._backend.release(state)
                    state = None
                elif drops:
                    state = self._backend.rows(state, inside.tolist())
                if drops:
                    rows, x, inside = rows[inside], x[inside], np.arange(len(inside))
        finally:
            if state is not None:
                self._backend.release(state)

    def _drops(self, place: int, rows: int, stay: int) -> bool:
        if self.mode == "results" or stay == rows:
            return False
        return self._costs is None or self._costs.worth_dropping(place, rows, stay)

    def _regrouped(self, batches: Iterator[tuple[np.ndarray, np.ndarray]]) -> Iterator[RowAnswer]:
        """Rows wait before each segment until they fill a batch; full batches furthest on go first."""
        pools = [Pool(self._backend, start, self.batch) for start, _ in self.path]
        try:
            while True:
                full = [place for place, pool in enumerate(pools) if pool.waiting >= self.batch]
                if full:
                    place = full[-1]
                elif (new := next(batches, None)) is not None:
                    pools[0].put(Block(new[0], new[1], {}, self._policy.begin(len(new[0]))))
                    continue
                else:  # the first of the rest, so that those further on may still fill
                    left = [place for place, pool in enumerate(pools) if pool.waiting]
                    if not left:
                        return
                    place = left[0]
                yield from self._one_segment(pools, place)
        finally:
            for pool in pools:
                pool.clear()

    def _one_segment(self, pools: Sequence[Pool], place: int) -> Iterator[RowAnswer]:
        start, stop = self.path[place]
        blocks, state = pools[place].take()
        answers: list[RowAnswer] = []
        stays, memories, first = [], [], 0
        last = place == len(self.path) - 1
        try:
            state, output = self._backend.run(start, stop, state)
            for block in blocks:
                inside = np.arange(first, first + len(block.rows))
                own = _rows(output, inside)
                leaves, memory = asked(self._policy, stop, own, block.memory)
                leaves = np.ones(len(inside), bool) if last else leaves
                answers += self._answered(block.rows, stop, own, leaves)
                stay = np.flatnonzero(~leaves)
                stays.append(stay)
                memories.append(memory.rows(stay))
                first += len(block.rows)
        except BaseException:  # of the engine or the policy
            self._backend.release(state)
            raise
        if last:
            self._backend.release(state)
        else:
            pools[place + 1].put_all(blocks, stays, memories, state)
        yield from answers

    def _answered(
        self, rows: np.ndarray, stage: int, output: Output, leaves: np.ndarray
    ) -> Iterator[RowAnswer]:
        elapsed_ms = max(0.0, 1000 * (self._clock() - self._began))
        for place in np.flatnonzero(leaves):
            own = tuple(level[place : place + 1].copy() for level in output)
            yield RowAnswer(int(rows[place]), stage, own, elapsed_ms)


def _rows(output: Output, index: np.ndarray) -> Output:
    """These rows of an output; all of them are it."""
    if len(index) == len(output[0]):
        return output
    return tuple(level[index] for level in output)
