"""RANet's own experiments, with the settings of the authors' code.

The plain sum of the losses, SGD without Nesterov, all training images train and the last epoch is kept;
augmentation and constants as MSDNet. The authors' ImageNet script passes neither epochs nor a batch size, so
that run literally it makes 300 epochs of batches of 64: 90 epochs of 256, as for MSDNet, is the sensible
reading. Minutes are estimates.
"""

from __future__ import annotations

from anytimenet.data import DataOptions, LargeImageAugmentation
from anytimenet.recipes.experiment import Experiment, Recipe
from anytimenet.training import preset

_ALL_IMAGES = DataOptions(val_fraction=0.0)
_NO_NUMBER = "curves in the paper's figures only; the costs are those of the authors' counter"


def _cifar(net: str, minutes: float, summary: str) -> Recipe:
    experiment = Experiment("cifar10", net, options=_ALL_IMAGES, config=preset("official_code"))
    return Recipe.of(net, experiment, summary=summary, minutes=minutes, expected=_NO_NUMBER)


def _imagenet(net: str, minutes: float, summary: str) -> Recipe:
    config, crops = preset("official_code_imagenet"), LargeImageAugmentation()
    experiment = Experiment("", net, options=_ALL_IMAGES, config=config, augmentation=crops)
    return Recipe.of(net, experiment, summary=summary, minutes=minutes, expected=_NO_NUMBER)


RECIPES = (
    # The authors' script and their README; `--data cifar100` for the other data.
    _cifar("ranet_cifar_8", 500, "anytime prediction on CIFAR-10: RANet with 8 exits in 4 flows, 300 epochs"),
    _cifar(
        "ranet_cifar_6_growing",
        400,
        "anytime prediction on CIFAR-10: RANet with 6 exits in 3 flows, growing blocks, 300 epochs",
    ),
    # Again the script and the README.
    _imagenet("ranet_imagenet", 6000, "ImageNet: RANet with 8 exits in 4 flows, 90 epochs, batches of 256"),
    _imagenet(
        "ranet_imagenet_wide", 9000, "ImageNet: RANet with twice the channels, 90 epochs, batches of 256"
    ),
)
