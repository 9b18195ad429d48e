"""Answers of one stage: for one image, or for many in batches, where a bad image is told from the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anytimenet.bundle.inputs import as_input, one_row
from anytimenet.core.answers.prediction import FailedPrediction, Prediction
from anytimenet.core.errors import StatisticsMissingError
from anytimenet.core.images.sources import Source
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.nets.contract import AnytimeNet, Segment, Snapshot
from anytimenet.nets.finite import check_finite

_log = logging.getLogger(__name__)


class SubNetworks:
    """The sub-networks of a net, each built when it is first asked for, then kept; for several threads.

    They share the weights of one snapshot, taken when the first one is asked for.
    """

    def __init__(self, net: AnytimeNet) -> None:
        self._net = net
        self._snapshot: Snapshot | None = None
        self._built: dict[int, Segment] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[SubNetworks], tuple[AnytimeNet]]:
        """Of a copy: the net alone, for it builds its sub-networks anew when it needs them."""
        return SubNetworks, (self._net,)

    def of(self, stage: int) -> Segment:
        """Sub-network `stage`, `(x,) -> Output`."""
        with self._lock:
            if self._snapshot is None or not self._built:
                self._snapshot = self._net.snapshot(next(self._net.parameters()).device)
            if stage not in self._built:
                try:
                    self._built[stage] = self._snapshot.segment(0, stage, last=True)
                except StatisticsMissingError:  # which may have been estimated since
                    self._built.clear()
                    self._snapshot = self._net.snapshot(next(self._net.parameters()).device)
                    self._built[stage] = self._snapshot.segment(0, stage, last=True)
            return self._built[stage]


@dataclass(frozen=True)
class Answering:
    """How images are answered: by which stage of which bundle.

    Attributes:
        segment: sub-network `stage`, `(x,) -> Output`.
        manifest: what is known of the bundle.
        stage: the stage that answers.
        over_budget: whether it costs more than was allowed.
        clock: seconds.
    """

    segment: Segment
    manifest: Manifest
    stage: int
    over_budget: bool
    clock: Callable[[], float]

    def one(self, image: Any) -> Prediction:
        """The answer for one image; `Bundle.predict` says what is raised."""
        began = self.clock()
        output = self._run(as_input(image, self.manifest.preprocessing))
        return self._answer(output, 1000 * (self.clock() - began), None)

    def many(
        self, images: Iterable[tuple[Source, Any]], batch_size: int, skip_bad: bool
    ) -> Iterator[Prediction | FailedPrediction]:
        """The answers for images with their sources, in order; `Bundle.predict_many` says more."""
        left_out = 0
        for batch in _batches(images, batch_size):
            for answer in self._batch(batch):
                if skip_bad and isinstance(answer, FailedPrediction):
                    left_out += 1
                    _log.warning("%s; it is left out", _with_source(answer))
                else:
                    yield answer
        if left_out:
            _log.warning("%d image(s) could not be predicted and are left out", left_out)

    def _batch(self, batch: list[tuple[Source, Any]]) -> list[Prediction | FailedPrediction]:
        began = self.clock()
        inputs: list[Tensor] = []
        answers: list[Prediction | FailedPrediction | None] = []
        for source, image in batch:
            try:
                inputs.append(as_input(image, self.manifest.preprocessing))
                answers.append(None)
            except (ValueError, TypeError, OSError) as error:
                answers.append(FailedPrediction(source, str(error)))
        if not inputs:
            return [answer for answer in answers if answer is not None]
        output = self._run(torch.cat(inputs))
        elapsed_ms = 1000 * (self.clock() - began) / len(inputs)
        rows = iter(range(len(inputs)))
        return [
            self._row(output, next(rows), elapsed_ms, source) if answer is None else answer
            for answer, (source, _) in zip(answers, batch, strict=True)
        ]

    def _row(
        self, output: tuple[Tensor, ...], row: int, elapsed_ms: float, source: Source
    ) -> Prediction | FailedPrediction:
        try:
            return self._answer(tuple(logits[row : row + 1] for logits in output), elapsed_ms, source)
        except ValueError as error:  # of this image alone: its values are not finite
            return FailedPrediction(source, str(error))

    def _run(self, x: Tensor) -> tuple[Tensor, ...]:
        weight = next(self.segment.parameters())
        with torch.inference_mode():
            return tuple(self.segment((x.to(weight.device, weight.dtype),)))

    def _answer(self, output: tuple[Tensor, ...], elapsed_ms: float, source: Source | None) -> Prediction:
        check_finite(self.stage, output)
        selection = self.manifest.level_selection
        return Prediction.of(
            [one_row(logits) for logits in output],
            self.manifest.class_names,
            stage=self.stage,
            elapsed_ms=elapsed_ms,
            macs=self.manifest.stages[self.stage - 1].macs,
            over_budget=self.over_budget,
            levels=None if selection is None else selection.levels,
            source=source,
        )


def _batches(images: Iterable[tuple[Source, Any]], size: int) -> Iterator[list[tuple[Source, Any]]]:
    batch = []
    for item in images:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _with_source(failed: FailedPrediction) -> str:
    """What is wrong, with the image's name where the words lack it."""
    source = str(failed.source)
    return failed.error if source in failed.error else f"image {source}: {failed.error}"
