"""The outputs of all stages as a backend gives them, one step after the other: what executed exits see."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from anytimenet.core.errors import DataError, NotFiniteError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data import Images, make_loader
from anytimenet.evaluation import Outputs
from anytimenet.evaluation.protocols.outputs import OutputCost
from anytimenet.runtime import Model
from anytimenet.workflows.images import images_for
from anytimenet.workflows.reading import Reading, Split


@dataclass(frozen=True, eq=False)
class PlainBatches:
    """Images in batches, in order and standardised, as sessions read them.

    Attributes:
        images: with their labels.
        preprocessing: from pixels to floats.
        size: images of a batch; the last may be smaller.
        workers: processes that decode files.
        data: name of the data.
        split: name of the split.
    """

    images: Images
    preprocessing: Preprocessing
    size: int
    workers: int | None
    data: str
    split: str

    @classmethod
    def of(cls, reading: Reading, split: Split, size: int) -> PlainBatches:
        """Those of a split.

        Raises:
            DataError: if it has none, or images with masks.
        """
        images, data, part = images_for(reading, split)
        if not len(images):
            why = "the net was trained on all of them (val_fraction=0)" if part == "val" else "it is empty"
            raise DataError(f"the {part} split of {data} holds no images: {why}; choose other data")
        preprocessing = reading.bundle.manifest.preprocessing
        return cls(images, preprocessing, size, reading.workers, data, part)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Floats `(N, C, H, W)` and labels `(N, levels)`."""
        loader = make_loader(self.images, self.preprocessing, batch_size=self.size, workers=self.workers)
        for x, labels in loader.epoch(0):
            yield np.ascontiguousarray(x.numpy()), np.stack([level.numpy() for level in labels], axis=1)

    def inputs(self) -> TimedInputs:
        """The floats alone, once."""
        return TimedInputs(x for x, _ in self)


class TimedInputs:
    """An iterator that knows how long it took to read.

    Attributes:
        seconds: spent so far.
    """

    def __init__(self, inputs: Iterator[np.ndarray]) -> None:
        self._inputs, self.seconds = inputs, 0.0

    def __iter__(self) -> TimedInputs:
        return self

    def __next__(self) -> np.ndarray:
        began = time.perf_counter()
        try:
            return next(self._inputs)
        finally:
            self.seconds += time.perf_counter() - began


def stepped_outputs(
    model: Model,
    batches: PlainBatches,
    costs: tuple[OutputCost, ...],
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Outputs, float]:
    """Every stage's output on every image, by steps, and the milliseconds that an image took.

    Args:
        model: whose backend runs the steps (0, 1), (1, 2), ...
        batches: of images.
        costs: of the stages.
        clock: seconds; reading images is not counted.

    Raises:
        NotFiniteError: if a stage answers with NaN or infinity.
    """
    backend, stages = model.backend, range(1, model.backend.num_stages + 1)
    collected: list[list[tuple[np.ndarray, ...]]] = [[] for _ in stages]
    labels, spent = [], 0.0
    for stage in stages:
        backend.prepare(stage - 1, stage)
    for x, told in batches:
        labels.append(told)
        began = clock()
        state = backend.begin(x)
        for stage in stages:
            state, output = backend.run(stage - 1, stage, state)
            collected[stage - 1].append(output)
        spent += clock() - began
        backend.release(state)
    logits = tuple(
        tuple(np.concatenate(level) for level in zip(*outputs, strict=True)) for outputs in collected
    )
    for stage, levels in zip(stages, logits, strict=True):
        if not all(np.isfinite(level).all() for level in levels):
            raise NotFiniteError.of_stage(stage)
    found = Outputs(
        logits=logits,
        labels=np.concatenate(labels),
        costs=costs,
        data=batches.data,
        split=batches.split,
        class_names=tuple(model.manifest.class_names[0]),
        device=backend.placement.device,
    )
    return found, 1000 * spent / found.count
