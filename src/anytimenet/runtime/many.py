"""Answers for many images in batches, where a bad image is told from the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np

from anytimenet.core.answers.prediction import FailedPrediction, Prediction
from anytimenet.core.images.inputs import as_input
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.images.sources import Source

_log = logging.getLogger(__name__)


class AnswerBatch(Protocol):
    """How a batch is answered."""

    def __call__(
        self, x: np.ndarray, sources: list[Source], began: float, /
    ) -> list[Prediction | FailedPrediction]: ...


def answers_in_batches(
    images: Iterable[tuple[Source, Any]],
    preprocessing: Preprocessing,
    answer: AnswerBatch,
    *,
    batch_size: int,
    skip_bad: bool,
    clock: Callable[[], float],
) -> Iterator[Prediction | FailedPrediction]:
    """The answers for images with their sources, in order and as they come.

    Args:
        images: what each is called, and what `predict` reads.
        preprocessing: from an image to the net's input.
        answer: called with standardised images `(N, C, H, W)`, their sources, and when their reading began.
        batch_size: images that run together.
        skip_bad: leave out what cannot be predicted, with a warning each, in place of a `FailedPrediction`.
        clock: seconds.
    """
    left_out = 0
    for batch in _batches(images, batch_size):
        for found in _answered(batch, preprocessing, answer, clock):
            if skip_bad and isinstance(found, FailedPrediction):
                left_out += 1
                _log.warning("%s; it is left out", _with_source(found))
            else:
                yield found
    if left_out:
        _log.warning("%d image(s) could not be predicted and are left out", left_out)


def _answered(
    batch: list[tuple[Source, Any]],
    preprocessing: Preprocessing,
    answer: AnswerBatch,
    clock: Callable[[], float],
) -> list[Prediction | FailedPrediction]:
    began = clock()
    inputs: list[np.ndarray] = []
    sources: list[Source] = []
    failed: list[FailedPrediction | None] = []
    for source, image in batch:
        try:
            inputs.append(as_input(image, preprocessing))
            sources.append(source)
            failed.append(None)
        except (ValueError, TypeError, OSError) as error:
            failed.append(FailedPrediction(source, str(error)))
    answers = iter(answer(np.concatenate(inputs), sources, began) if inputs else [])
    return [next(answers) if fault is None else fault for fault in failed]


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
