"""RANet's own experiments, with the settings of the authors' code.

The plain sum of the losses, SGD without Nesterov, all training images train and the last epoch is kept;
augmentation and constants as MSDNet. The authors' ImageNet script passes neither epochs nor a batch size, so
that run literally it makes 300 epochs of batches of 64: 90 epochs of 256, as for MSDNet, is the sensible
reading. Minutes are estimates.
"""

from __future__ import annotations

from anytimenet.data import DataOptions, LargeImageAugmentation
from anytimenet.recipes.experiment import Experiment, register_recipe
from anytimenet.training import preset

_HARDWARE = "one GPU; days on 2 CPU cores"
_LARGE = "four GPUs with --devices 4, or one large one"
_NO_NUMBER = "curves in the paper's figures only; the costs are those of the authors' counter"


@register_recipe(
    summary="anytime prediction on CIFAR-10: RANet with 8 exits in 4 flows, 300 epochs",
    command="anytimenet train ranet_cifar_8 --data-root data",
    hardware=_HARDWARE,
    minutes=500,
    expected=_NO_NUMBER,
)
def ranet_cifar_8() -> Experiment:
    """The authors' script; `--data cifar100` for the other."""
    return _cifar("ranet_cifar_8")


@register_recipe(
    summary="anytime prediction on CIFAR-10: RANet with 6 exits in 3 flows, growing blocks, 300 epochs",
    command="anytimenet train ranet_cifar_6_growing --data-root data",
    hardware=_HARDWARE,
    minutes=400,
    expected=_NO_NUMBER,
)
def ranet_cifar_6_growing() -> Experiment:
    """The authors' README; `--data cifar100` for the other."""
    return _cifar("ranet_cifar_6_growing")


@register_recipe(
    summary="ImageNet: RANet with 8 exits in 4 flows, 90 epochs, batches of 256",
    command="anytimenet train ranet_imagenet --data imagenet:PATH",
    hardware=_LARGE,
    minutes=6000,
    expected=_NO_NUMBER,
)
def ranet_imagenet() -> Experiment:
    """The authors' script."""
    return _imagenet("ranet_imagenet")


@register_recipe(
    summary="ImageNet: RANet with twice the channels, 90 epochs, batches of 256",
    command="anytimenet train ranet_imagenet_wide --data imagenet:PATH",
    hardware=_LARGE,
    minutes=9000,
    expected=_NO_NUMBER,
)
def ranet_imagenet_wide() -> Experiment:
    """The authors' README."""
    return _imagenet("ranet_imagenet_wide")


def _cifar(net: str) -> Experiment:
    return Experiment(
        data="cifar10", net=net, options=DataOptions(val_fraction=0.0), config=preset("official_code")
    )


def _imagenet(net: str) -> Experiment:
    return Experiment(
        data="",
        net=net,
        options=DataOptions(val_fraction=0.0),
        config=preset("official_code_imagenet"),
        augmentation=LargeImageAugmentation(),
    )
