"""The CIFAR experiments of "Anytime Neural Prediction via Slicing Networks Vertically", published settings.

Exact settings: sections 4.1 and 4.2 and appendix A of the paper. Expected errors are the paper's. The data
are class folders of CIFAR images, `cifar10/train/CLASS/*.png` and `cifar10/test/CLASS/*.png`.
"""

from __future__ import annotations

from anytimenet.recipes.experiment import Experiment, register_recipe
from anytimenet.training import preset

_HARDWARE = "one GPU; days on 2 CPU cores"


@register_recipe(
    summary="the paper's interruptible CIFAR model: IS-ResNeXt, L=15 W=96 K=6 C=18, 300 epochs",
    command="anytimenet train isresnext_cifar --data folder:cifar10",
    hardware=_HARDWARE,
    minutes=600,
    expected="thinnest stage 17.2 % (CIFAR-10) and 12.1 % (CIFAR-100) less error than the shallowest MSDNet",
)
def isresnext_cifar() -> Experiment:
    """Section 4.2, IS-ResNeXt."""
    return Experiment(data="", net="isresnext_47", config=preset("paper"))


@register_recipe(
    summary="the paper's I-ResNeXt for CIFAR: L=21 W=64 K=8, 300 epochs",
    command="anytimenet train iresnext_cifar --data folder:cifar10",
    hardware=_HARDWARE,
    minutes=1800,
    expected="full stage 10.7 % (CIFAR-10) and 5.8 % (CIFAR-100) less error than MSDNet at the same cost",
)
def iresnext_cifar() -> Experiment:
    """Section 4.2, I-ResNeXt."""
    return Experiment(data="", net="iresnext_65", config=preset("paper"))


@register_recipe(
    summary="the paper's ablation model: I-ResNeXt, L=9 W=64 K=8, 300 epochs",
    command="anytimenet train iresnext_ablation --data folder:cifar10 --net-args normalisation=own",
    hardware=_HARDWARE,
    minutes=900,
    expected="12.9 % error at the thinnest stage and 7.2 % at the full one (own BatchNorm, CIFAR-10)",
)
def iresnext_ablation() -> Experiment:
    """Section 4.1."""
    return Experiment(data="", net="iresnext_29", config=preset("paper"))
