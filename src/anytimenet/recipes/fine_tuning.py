"""What a recipe becomes for trained weights: small steps, crops, and images as large as ten minutes allow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from anytimenet.core.launcher import launched_rank
from anytimenet.data import Augmentation, DataSplits, LargeImageAugmentation, first_look
from anytimenet.recipes.experiment import Experiment
from anytimenet.recipes.image_budget import IMAGES_OF_112, SMALLEST, epochs_for, side_for
from anytimenet.training import preset
from anytimenet.training.logs import notice

_CROPS = (0.35, 1.0)
"""Shares of a photograph that crops cover: few images show little else than what they are of."""


def fine_tuned(experiment: Experiment) -> Experiment:
    """`experiment` with the preset `pretrained`, crops of photographs, and epochs by the number of images.

    Whatever it mirrors it goes on to mirror; masks are moved as it says.

    >>> from anytimenet.recipes import recipe
    >>> fine_tuned(recipe("folder").build()).config.regime
    'mixed'
    """
    before, augmentation = experiment.config, experiment.augmentation
    if isinstance(augmentation, Augmentation):
        augmentation = LargeImageAugmentation(augmentation.flip, _CROPS, cutout=augmentation.cutout)
    return replace(
        experiment,
        config=replace(preset("pretrained"), seed=before.seed, scheme=before.scheme),
        augmentation=augmentation,
        images_seen=IMAGES_OF_112,
    )


def with_image_size(experiment: Experiment) -> Experiment:
    """`experiment` with images of the size that ten minutes allow; with its own, where it says one.

    Raises:
        DataError: if its data is a folder that cannot be used.
    """
    if experiment.options.image_size is not None:
        return experiment
    kind, _, path = experiment.data.partition(":")
    side = SMALLEST
    if kind == "folder" and path:
        found = first_look(Path(path), experiment.options)
        side = side_for(found.images, found.short_side)
    return replace(experiment, options=replace(experiment.options, image_size=side))


def with_epochs(experiment: Experiment, splits: DataSplits) -> Experiment:
    """`experiment` with the epochs in which its `images_seen` are shown; as it is, where it says none."""
    if experiment.images_seen is None:
        return experiment
    count, p = len(splits.train), splits.preprocessing
    epochs = epochs_for(count, (p.height * p.width) ** 0.5, experiment.images_seen)
    if launched_rank() == 0 and experiment.config.joint_epochs:
        notice(
            f"{count} training images of {p.height}x{p.width} pixels, {epochs} epochs: what about ten "
            "minutes on two cores allow; another image size or number of epochs spends more or less"
        )
    return replace(experiment, config=replace(experiment.config, epochs=epochs), images_seen=None)
