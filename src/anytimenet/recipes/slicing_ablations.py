"""Ablations of "Anytime Neural Prediction via Slicing Networks Vertically", section 4.1 (Fig. 3).

29-layer nets on CIFAR-10: L=9 W=64 C=8 K=8, the settings of appendix A. Expected errors are the paper's;
minutes are estimates. `--alone` trains every sub-network of a recipe by itself.
"""

from __future__ import annotations

from anytimenet.recipes.experiment import Experiment, register_recipe
from anytimenet.training import preset

_HARDWARE = "one GPU; days on 2 CPU cores"


@register_recipe(
    summary="ablation, thin: I-ResNeXt with own BatchNorms, 300 epochs",
    command="anytimenet train iresnext_ablation --data-root data",
    hardware=_HARDWARE,
    minutes=900,
    expected="12.9 % error at the thinnest stage and 7.2 % at the full one",
)
def iresnext_ablation() -> Experiment:
    """Fig. 3a and 3c, the thin net."""
    return Experiment(data="cifar10", net="iresnext_29", config=preset("paper"))


@register_recipe(
    summary="ablation, normalisation: the same I-ResNeXt with one shared set of BatchNorms",
    command="anytimenet train iresnext_ablation_shared --data-root data",
    hardware=_HARDWARE,
    minutes=900,
    expected="more than 70 % error at the thinnest stage, about 8.95 % at the full one",
)
def iresnext_ablation_shared() -> Experiment:
    """Fig. 3a. `anytimenet reestimate` then gives every stage statistics of its own."""
    return Experiment(
        data="cifar10",
        net="iresnext_29",
        net_arguments={"normalisation": "shared"},
        config=preset("paper"),
    )


@register_recipe(
    summary="ablation, plain: a ResNeXt of that depth, whose branches weigh alike",
    command="anytimenet train resnext_ablation --data-root data",
    hardware=_HARDWARE,
    minutes=100,
    expected="no number in the text; flat branch norms in block 5 (reproductions/branch_norms.py)",
)
def resnext_ablation() -> Experiment:
    """Fig. 3b, beside `iresnext_ablation`."""
    return Experiment(data="cifar10", net="resnext_29", config=preset("paper"))


@register_recipe(
    summary="ablation, shallow: ResNeXt with exits after blocks 2 to 9, trained together",
    command="anytimenet train shallow_ablation --data-root data",
    hardware=_HARDWARE,
    minutes=150,
    expected="about 25.0 % error at the shallowest exit (12.9 % is 48.4 % less); up to 5.1 points lost",
)
def shallow_ablation() -> Experiment:
    """Fig. 3c, the shallow net."""
    return Experiment(data="cifar10", net="resnext_29_exits", config=preset("paper"))


@register_recipe(
    summary="ablation: the thinnest sub-network trained alone",
    command="anytimenet train thin_alone --data-root data",
    hardware=_HARDWARE,
    minutes=100,
    expected="about 11.7 % error; all eight beside the joint net: anytimenet train iresnext_ablation --alone",
)
def thin_alone() -> Experiment:
    """Fig. 3c, a plain ResNeXt with one branch."""
    return Experiment(data="cifar10", net="iresnext_29", config=preset("paper"), stages=(1,))


@register_recipe(
    summary="ablation: the shallowest sub-network trained alone",
    command="anytimenet train shallow_alone --data-root data",
    hardware=_HARDWARE,
    minutes=50,
    expected="19.9 % error; all eight beside the joint net: anytimenet train shallow_ablation --alone",
)
def shallow_alone() -> Experiment:
    """Fig. 3c, two blocks and a head."""
    return Experiment(data="cifar10", net="resnext_29_exits", config=preset("paper"), stages=(1,))
