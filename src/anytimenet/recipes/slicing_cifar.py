"""CIFAR experiments of "Anytime Neural Prediction via Slicing Networks Vertically", section 4.2 (Fig. 4a, b).

Settings: section 4.2 and appendix A. Expected errors are the paper's, of five runs; minutes are estimates.
"""

from __future__ import annotations

from anytimenet.recipes.experiment import Experiment, register_recipe
from anytimenet.training import preset

_HARDWARE = "one GPU; days on 2 CPU cores"


@register_recipe(
    summary="the paper's interruptible CIFAR-10 model: IS-ResNeXt, L=15 W=96 K=6 C=18, 300 epochs",
    command="anytimenet train isresnext_cifar --data-root data",
    hardware=_HARDWARE,
    minutes=600,
    expected="thinnest stage with 17.2 % less error than the shallowest MSDNet, at lower cost (section 4.2)",
)
def isresnext_cifar() -> Experiment:
    """IS-ResNeXt on CIFAR-10."""
    return Experiment(data="cifar10", net="isresnext_47", config=preset("paper"))


@register_recipe(
    summary="the same IS-ResNeXt on CIFAR-100",
    command="anytimenet train isresnext_cifar100 --data-root data",
    hardware=_HARDWARE,
    minutes=600,
    expected="thinnest stage with 12.1 % less error than the shallowest MSDNet, at lower cost (section 4.2)",
)
def isresnext_cifar100() -> Experiment:
    """IS-ResNeXt on CIFAR-100."""
    return Experiment(data="cifar100", net="isresnext_47", config=preset("paper"))


@register_recipe(
    summary="the paper's I-ResNeXt for CIFAR-10: L=21 W=64 K=8, 300 epochs",
    command="anytimenet train iresnext_cifar --data-root data",
    hardware=_HARDWARE,
    minutes=1800,
    expected="full stage with 10.7 % less error than MSDNet at the same cost (section 4.2)",
)
def iresnext_cifar() -> Experiment:
    """I-ResNeXt on CIFAR-10."""
    return Experiment(data="cifar10", net="iresnext_65", config=preset("paper"))


@register_recipe(
    summary="the same I-ResNeXt on CIFAR-100",
    command="anytimenet train iresnext_cifar100 --data-root data",
    hardware=_HARDWARE,
    minutes=1800,
    expected="full stage with 5.8 % less error than MSDNet at the same cost (section 4.2)",
)
def iresnext_cifar100() -> Experiment:
    """I-ResNeXt on CIFAR-100."""
    return Experiment(data="cifar100", net="iresnext_65", config=preset("paper"))


@register_recipe(
    summary="fixed budget: a plain ResNeXt of depth 65, 300 epochs",
    command="anytimenet train resnext_65 --data-root data",
    hardware=_HARDWARE,
    minutes=200,
    expected="1.2e8 operations in the full count (section 4.2); a stage of I-ResNeXt with 0.5e8 competes",
)
def resnext_65() -> Experiment:
    """ResNeXt-65 on CIFAR-10; `--data cifar100` for the other."""
    return Experiment(data="cifar10", net="resnext_65", config=preset("paper"))


@register_recipe(
    summary="the baseline of Fig. 4: MSDNet with 10 exits, linear heads and 32 channels, 300 epochs",
    command="anytimenet train msdnet_fig4 --data-root data",
    hardware=_HARDWARE,
    minutes=400,
    expected="a curve in Fig. 4 only; heads and channels are inferred from the costs that the paper states",
)
def msdnet_fig4() -> Experiment:
    """MSDNet as the paper must have had it, for its shallowest exit to cost more than the thinnest slice."""
    return Experiment(
        data="cifar10",
        net="msdnet_cifar_10",
        net_arguments={"classifier": "linear", "channels": 32},
        config=preset("paper"),
    )
