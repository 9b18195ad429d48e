"""Answers within budgets: from an image to its prediction, one at a time and many."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from io import BytesIO
from operator import length_hint
from os import PathLike
from typing import Any, Literal

import numpy as np
from PIL import Image

from anytimenet.core import checks
from anytimenet.core.answers.prediction import FailedPrediction, Prediction
from anytimenet.core.errors import NotFiniteError
from anytimenet.core.images.sources import Source, image_sources
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.records import TASKS
from anytimenet.runtime.batches.leaving import LeavingRun
from anytimenet.runtime.budgeted_runs import BudgetedRuns
from anytimenet.runtime.budgets import Budget, Choice
from anytimenet.runtime.many import answers_in_batches
from anytimenet.runtime.model import Model
from anytimenet.runtime.naming import named
from anytimenet.runtime.paths import stages_reached, steps_to
from anytimenet.runtime.planners import usual_segments
from anytimenet.runtime.policies.known import policy_of
from anytimenet.runtime.policies.policy import ExitPolicy
from anytimenet.runtime.session import Session


class Predictor:
    """Answers images of a model, each within a budget of its own; may be asked from several threads.

    Under a deadline the planner is asked before every segment how the time that is left is best spent, with
    the latencies that were measured on this machine and how slow it has been of late. On a backend that can
    end a run anywhere (`Interruptible`: the native engine), one image runs on until the deadline instead, at
    which the run ends within a block. The answer is that of the best validated stage among those finished; it
    is late if not even the cheapest was in time, and never an error for that. Reading the image and making
    the prediction of logits count.

    Args:
        model: what has a `manifest` and a `backend`: a bundle, an exported folder, a `PreparedModel`.
        table: latencies measured here with that backend; deadlines need it.
        policy: which images are answered well enough early; "stored" is the one whose thresholds the manifest
            holds, if any, None is none. It is asked where no stage, multiply-adds or accuracy are given.
        variant: of the planner; see `Planner`.
        segments: those that may be planned; by default the steps and those from the input, as far as the
            backend has them. `warm_up` makes them ready.
        clock: seconds; for tests.

    Raises:
        BundleError: if the stored thresholds are of a policy that is not known here.
        CostTableError: if the table is of another net, or was measured with another backend or placement.

    Example::

        predictor = bundle.predictor()          # or runtime.load(FOLDER).predictor()
        answer = predictor.predict("cat.png", deadline_ms=5)
        answer.label, answer.stage, answer.elapsed_ms, answer.late
    """

    def __init__(
        self,
        model: Model,
        *,
        table: CostTable | None = None,
        policy: ExitPolicy | Literal["stored"] | None = "stored",
        variant: str = "alert",
        segments: Iterable[tuple[int, int]] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.model = model
        if table is not None:
            checks.instance(table, CostTable, "table", "profile(bundle)")
        self.table = table
        self.policy = _stored_policy(model) if policy == "stored" else policy
        self._clock = clock
        self._segments = usual_segments(model.backend) if segments is None else frozenset(segments)
        self._reached = stages_reached(model.backend.segments)
        self._runs = BudgetedRuns(model, table, self._segments, variant=variant, clock=clock)
        self.planners = self._runs.planners

    def predict(
        self,
        image: Any,
        *,
        deadline_ms: float | None = None,
        budget_macs: float | None = None,
        stage: int | None = None,
        target_accuracy: float | None = None,
    ) -> Prediction:
        """The answer for one image; at most one of the budgets is given.

        Args:
            image: a path, a PIL image, a uint8 array `(H, W)` or `(H, W, C)`, a tensor `(C, H, W)` of pixels;
                or standardised floats `(1, C, H, W)`.
            deadline_ms: wall-clock time from this call to its return.
            budget_macs: multiply-adds that may be spent: the best validated stage that fits answers, and
                stage 1, marked `over_budget`, if none fits.
            stage: the stage to answer with.
            target_accuracy: the cheapest stage whose validated accuracy is at least this answers; the best,
                marked `below_target`, if none is.

        Raises:
            NotFiniteError: if every stage that ran answers with NaN or infinity.
            CostTableError: for a deadline where no latencies were measured on this machine.
            ValueError: for input that is no image of the right shape, a budget that cannot be, or two.
        """
        began = self._clock()
        return self.answer(image, Budget(deadline_ms, budget_macs, stage, target_accuracy), began)

    def answer(self, image: Any, budget: Budget, began: float) -> Prediction:
        """The same for a request that came when the clock showed `began`, for deadlines count from there."""
        budget = self._checked(budget)
        session = self.session(image)
        if session.batch != 1:
            raise ValueError(
                f"predict answers one image and this is a batch of {session.batch}: use predict_many"
            )
        try:
            run = self._runs.run(session, budget, began, self.policy)
            answer = self._prediction(session, run.answering()[0], 0, run.choice)
            elapsed_ms, late = self._runs.timed(run)
            return answer.timed(elapsed_ms, late=late)
        finally:
            session.drop_state()

    def predict_many(
        self,
        images: Any,
        *,
        deadline_ms: float | None = None,
        budget_macs: float | None = None,
        stage: int | None = None,
        target_accuracy: float | None = None,
        batch_size: int = 32,
        skip_bad: bool = False,
    ) -> Iterator[Prediction | FailedPrediction]:
        """The answers for many images, in order and as they come: what `predict` says of each.

        Args:
            images: a folder, a pattern such as "photos/*.jpg", or an iterable of what `predict` reads; or a
                stack: uint8 pixels `(N, H, W, C)` or `(N, C, H, W)`, or floats `(N, C, H, W)`, taken as
                standardised already.
            deadline_ms: wall-clock time for each batch, from when its first image is read. The latencies of
                batches of one image and of that size have to be known.
            budget_macs, stage, target_accuracy: as in `predict`, for each image.
            batch_size: images that run together. Answers do not depend on it beyond rounding.
            skip_bad: leave out images that cannot be predicted, with a warning each, instead of giving a
                `FailedPrediction` in their place.

        Returns:
            Predictions with their `source`: the path of the image's file, or its place, from 0. Their
            `elapsed_ms` is the time of their batch, divided among its images; `late` if the batch was.

        Raises:
            DataError, TypeError: for what holds no images.
            ValueError, CostTableError: for a budget that cannot be, as in `predict`.
        """
        budget = self._checked(Budget(deadline_ms, budget_macs, stage, target_accuracy))
        if self.model.manifest.task_kind == "segmentation":
            raise ValueError(
                "predict_many gives one label an image, and this is a segmentation net: use "
                "anytimenet.label_map(bundle, image) on each"
            )
        sources = image_sources(images)
        batch_size = checks.whole_number(batch_size, "batch_size", least=1)
        if budget.is_timed:
            self.planners.of(min(batch_size, _count(images, sources) or batch_size))
        return answers_in_batches(
            sources,
            self.model.manifest.preprocessing,
            partial(self._batch, budget),
            batch_size=batch_size,
            skip_bad=checks.flag(skip_bad, "skip_bad"),
            clock=self._clock,
        )

    def session(self, image: Any) -> Session:
        """A run on `image` that is steered by hand, step by step."""
        return Session(self.model, image, clock=self._clock)

    def warm_up(self, batch: int = 1) -> None:
        """Prepares every segment that may be planned, and runs and reads once what a request will.

        Args:
            batch: images of a request.
        """
        batch = checks.whole_number(batch, "batch", 1, 2**20)
        backend = self.model.backend
        for start, stop in sorted(self._segments):
            backend.prepare(start, stop)
            if start == 0:
                Session.warm_up(self.model, [(0, stop)], batch=batch)
        Session.warm_up(self.model, batch=batch)
        ran = {pair for pair in self._segments if pair[0] == 0}.union(
            steps_to(backend.num_stages, 0, 0, backend.segments)
        )
        self._runs.have_run(ran, batch)
        if self.model.manifest.task_kind in TASKS[:2] and self._reached:
            self.predict(_small_png(), stage=self._reached[0])

    def _checked(self, budget: Budget) -> Budget:
        """`budget`, if it can be kept here; what is wrong with it is no fault of an image."""
        manifest = self.model.manifest
        if manifest.task_kind not in TASKS:
            raise ValueError(
                f"an answer names classes, and this net is one for {manifest.task_kind}: take the outputs of "
                "a session"
            )
        self._runs.check(budget)
        return budget

    def _batch(
        self, budget: Budget, x: np.ndarray, sources: list[Source], began: float
    ) -> list[Prediction | FailedPrediction]:
        if budget.is_open and self.policy is not None:
            return self._leaving(self.policy, x, sources, began)
        return self._together(budget, x, sources, began)

    def _together(
        self, budget: Budget, x: np.ndarray, sources: list[Source], began: float
    ) -> list[Prediction | FailedPrediction]:
        """A batch that stays whole."""
        session = self.session(x)
        try:
            run = self._runs.run(session, budget, began, self.policy)
            answers: list[Prediction | FailedPrediction] = []
            for row, (stage, source) in enumerate(zip(run.answering(), sources, strict=True)):
                try:
                    answers.append(self._prediction(session, stage, row, run.choice, source))
                except NotFiniteError as error:  # of this image alone
                    answers.append(FailedPrediction(source, str(error)))
        finally:
            session.drop_state()
        elapsed_ms, late = self._runs.timed(run)
        share_ms = elapsed_ms / len(sources)
        return [each.timed(share_ms, late=late) if each.error is None else each for each in answers]

    def _leaving(
        self, policy: ExitPolicy, x: np.ndarray, sources: list[Source], began: float
    ) -> list[Prediction | FailedPrediction]:
        """A batch without a budget: whoever is sure leaves it, and no work is done for it any more."""
        run = LeavingRun(self.model, policy, batch=len(x), costs=self.table, clock=self._clock)
        answers: dict[int, Prediction | FailedPrediction] = {}
        for found in run.answers(x):
            source = sources[found.row]
            path = tuple(segment for segment in run.path if segment[1] <= found.stage)
            try:
                answers[found.row] = named(
                    self.model.manifest, found.output, 0, stage=found.stage, path=path, source=source
                )
            except NotFiniteError:  # then an earlier stage may answer, as in `predict`
                again = self._together(Budget(), x[found.row : found.row + 1], [source], began)
                answers[found.row] = again[0]
        share_ms = max(0.0, 1000 * (self._clock() - began)) / len(sources)
        in_order = [answers[row] for row in range(len(sources))]
        return [each.timed(share_ms) if each.error is None else each for each in in_order]

    def _prediction(
        self, session: Session, stage: int, row: int, choice: Choice | None, source: Source | None = None
    ) -> Prediction:
        if stage == 0:
            raise NotFiniteError.of_stage(session.stage)
        output, path = session.outputs[stage], session.path
        return named(self.model.manifest, output, row, stage=stage, path=path, choice=choice, source=source)


def _count(images: Any, sources: Iterator[Any]) -> int:
    """How many images there are, 0 where nobody knows before they were read."""
    return length_hint(sources) or (0 if isinstance(images, str | PathLike) else length_hint(images))


def _small_png() -> Image.Image:
    """A picture as files hold them: what reads them is loaded when the first one is opened."""
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return Image.open(BytesIO(file.getvalue()))


def _stored_policy(model: Model) -> ExitPolicy | None:
    thresholds = model.manifest.thresholds
    return None if thresholds is None else policy_of(thresholds)
