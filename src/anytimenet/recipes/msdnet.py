"""MSDNet's own experiments, with the settings of the authors' code.

With Nesterov and He initialisation, as the first code (Lua) has them; `--preset official_code` (CIFAR) and
`--preset official_code_imagenet` are what the PyTorch code does. For anytime prediction the authors train on
all images and keep the last epoch, for budgeted batches they hold images out, which choose the thresholds.
Minutes are estimates.
"""

from __future__ import annotations

from anytimenet.data import DataOptions, LargeImageAugmentation
from anytimenet.recipes.experiment import Experiment, Recipe
from anytimenet.training import preset

_ALL_IMAGES = DataOptions(val_fraction=0.0)
_NO_NUMBER = "curves in the paper's figures only; the costs are those of the authors' counter"


def _cifar(net: str, data: str, minutes: float, summary: str, options: DataOptions = _ALL_IMAGES) -> Recipe:
    experiment = Experiment(data, net, options=options, config=preset("msdnet_cifar"))
    return Recipe.of(net, experiment, summary=summary, minutes=minutes, expected=_NO_NUMBER)


def _imagenet(net: str, minutes: float, summary: str, expected: str = _NO_NUMBER) -> Recipe:
    # As the Lua code; the PyTorch code has crop and flip only.
    colours = LargeImageAugmentation(colour_jitter=0.4, lighting=0.1)
    experiment = Experiment("", net, config=preset("msdnet_imagenet"), augmentation=colours)
    return Recipe.of(net, experiment, summary=summary, minutes=minutes, expected=expected)


RECIPES = (
    # The anytime nets of the Lua README and of the PyTorch README.
    _cifar(
        "msdnet_cifar_10",
        "cifar10",
        400,
        "anytime prediction on CIFAR-10: MSDNet with 10 exits, base 4, step 2, 300 epochs",
    ),
    _cifar(
        "msdnet_cifar_7",
        "cifar100",
        250,
        "anytime prediction on CIFAR-100: MSDNet with 7 exits, base 4, step 2, 300 epochs",
    ),
    # Their nets for efficient batch computation, PyTorch and Lua.
    _cifar(
        "msdnet_cifar_batch_5",
        "cifar100",
        200,
        "budgeted batches on CIFAR-100: MSDNet with 5 exits, growing steps, 300 epochs",
        DataOptions(),
    ),
    _cifar(
        "msdnet_cifar_batch_7",
        "cifar10",
        400,
        "budgeted batches on CIFAR-10: MSDNet with 7 exits, growing steps, 300 epochs",
        DataOptions(),
    ),
    _imagenet(
        "msdnet_imagenet_step4",
        4000,
        "ImageNet: MSDNet with 5 exits, 4 layers apart, 90 epochs, batches of 256",
    ),
    _imagenet("msdnet_imagenet_step6", 8000, "ImageNet: MSDNet with 5 exits, 6 layers apart"),
    _imagenet(
        "msdnet_imagenet_step7",
        9000,
        "ImageNet: MSDNet with 5 exits, 7 layers apart",
        "62.9 70.3 73.0 73.6 74.6 % top-1 of the authors' released weights (their issue 10)",
    ),
)
