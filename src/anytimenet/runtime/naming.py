"""From the logits of a stage to an answer with names."""

from __future__ import annotations

import numpy as np

from anytimenet.core.answers.prediction import Prediction
from anytimenet.core.errors import NotFiniteError
from anytimenet.core.images.sources import Source
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.runtime.backends.backend import Output
from anytimenet.runtime.budgets import Choice
from anytimenet.runtime.paths import SegmentPath


def named(
    manifest: Manifest,
    output: Output,
    row: int,
    *,
    stage: int,
    path: SegmentPath,
    choice: Choice | None = None,
    source: Source | None = None,
) -> Prediction:
    """What a stage says of one example of a batch; what time it took is not known yet.

    Args:
        manifest: class names, costs, and the label level of each stage.
        output: of the stage, `(N, classes)` a label level.
        row: of the example.
        stage: from 1.
        path: the segments that ran.
        choice: of the stage, where it was chosen beforehand.
        source: what the image is called.

    Raises:
        NotFiniteError: for NaN or infinity.
        ValueError: for an output with a label for every pixel.
    """
    selection = manifest.level_selection
    return Prediction.of(
        _row(output, stage, row),
        manifest.class_names,
        stage=stage,
        elapsed_ms=0.0,
        macs=manifest.stages[stage - 1].macs,
        over_budget=choice is not None and choice.over_budget,
        below_target=choice is not None and choice.below_target,
        levels=None if selection is None else selection.levels,
        path=path,
        source=source,
    )


def _row(output: Output, stage: int, row: int) -> list[np.ndarray]:
    """The logits of one example, `(classes,)` a label level, float64."""
    for level in output:
        if level.ndim != 2:
            raise ValueError(
                f"predict gives one label an image, and this net's output has shape {level.shape}: use "
                "anytimenet.label_map(bundle, image), or a session's outputs"
            )
        if not np.isfinite(level[row]).all():
            raise NotFiniteError.of_stage(stage)
    return [level[row].astype(np.float64) for level in output]
