"""MSDNet's own experiments, with the settings of the authors' code.

With Nesterov and He initialisation, as the first code (Lua) has them; `--preset official_code` (CIFAR) and
`--preset official_code_imagenet` are what the PyTorch code does. For anytime prediction the authors train on
all images and keep the last epoch, for budgeted batches they hold images out, which choose the thresholds.
Minutes are estimates.
"""

from __future__ import annotations

from anytimenet.data import DataOptions, LargeImageAugmentation
from anytimenet.recipes.experiment import Experiment, register_recipe
from anytimenet.training import preset

_HARDWARE = "one GPU; days on 2 CPU cores"
_LARGE = "four GPUs with --devices 4, or one large one"
_NO_NUMBER = "curves in the paper's figures only; the costs are those of the authors' counter"


@register_recipe(
    summary="anytime prediction on CIFAR-10: MSDNet with 10 exits, base 4, step 2, 300 epochs",
    command="anytimenet train msdnet_cifar_10 --data-root data",
    hardware=_HARDWARE,
    minutes=400,
    expected=_NO_NUMBER,
)
def msdnet_cifar_10() -> Experiment:
    """The Lua README's anytime net; `--data cifar100` for the other."""
    return _on_all_images("cifar10", "msdnet_cifar_10")


@register_recipe(
    summary="anytime prediction on CIFAR-100: MSDNet with 7 exits, base 4, step 2, 300 epochs",
    command="anytimenet train msdnet_cifar_7 --data-root data",
    hardware=_HARDWARE,
    minutes=250,
    expected=_NO_NUMBER,
)
def msdnet_cifar_7() -> Experiment:
    """The PyTorch README's anytime net, and the net of the block-dependent losses."""
    return _on_all_images("cifar100", "msdnet_cifar_7")


@register_recipe(
    summary="budgeted batches on CIFAR-100: MSDNet with 5 exits, growing steps, 300 epochs",
    command="anytimenet train msdnet_cifar_batch_5 --data-root data",
    hardware=_HARDWARE,
    minutes=200,
    expected=_NO_NUMBER,
)
def msdnet_cifar_batch_5() -> Experiment:
    """The PyTorch README's net for efficient batch computation."""
    return Experiment(data="cifar100", net="msdnet_cifar_batch_5", config=preset("msdnet_cifar"))


@register_recipe(
    summary="budgeted batches on CIFAR-10: MSDNet with 7 exits, growing steps, 300 epochs",
    command="anytimenet train msdnet_cifar_batch_7 --data-root data",
    hardware=_HARDWARE,
    minutes=400,
    expected=_NO_NUMBER,
)
def msdnet_cifar_batch_7() -> Experiment:
    """The Lua README's net for efficient batch computation."""
    return Experiment(data="cifar10", net="msdnet_cifar_batch_7", config=preset("msdnet_cifar"))


@register_recipe(
    summary="ImageNet: MSDNet with 5 exits, 4 layers apart, 90 epochs, batches of 256",
    command="anytimenet train msdnet_imagenet_step4 --data imagenet:PATH",
    hardware=_LARGE,
    minutes=4000,
    expected=_NO_NUMBER,
)
def msdnet_imagenet_step4() -> Experiment:
    """The smallest of the three ImageNet nets."""
    return _imagenet("msdnet_imagenet_step4")


@register_recipe(
    summary="ImageNet: MSDNet with 5 exits, 6 layers apart",
    command="anytimenet train msdnet_imagenet_step6 --data imagenet:PATH",
    hardware=_LARGE,
    minutes=8000,
    expected=_NO_NUMBER,
)
def msdnet_imagenet_step6() -> Experiment:
    """The middle one."""
    return _imagenet("msdnet_imagenet_step6")


@register_recipe(
    summary="ImageNet: MSDNet with 5 exits, 7 layers apart",
    command="anytimenet train msdnet_imagenet_step7 --data imagenet:PATH",
    hardware=_LARGE,
    minutes=9000,
    expected="62.9 70.3 73.0 73.6 74.6 % top-1 of the authors' released weights (their issue 10)",
)
def msdnet_imagenet_step7() -> Experiment:
    """The largest."""
    return _imagenet("msdnet_imagenet_step7")


def _on_all_images(data: str, net: str) -> Experiment:
    return Experiment(
        data=data, net=net, options=DataOptions(val_fraction=0.0), config=preset("msdnet_cifar")
    )


def _imagenet(net: str) -> Experiment:
    return Experiment(
        data="",
        net=net,
        config=preset("msdnet_imagenet"),
        # As the Lua code; the PyTorch code has crop and flip only.
        augmentation=LargeImageAugmentation(colour_jitter=0.4, lighting=0.1),
    )
